"""How blurred photos are, of which kind and where; which frames of a video to keep."""

from .assess import BlurKind, BlurMap, PhotoBlur, assess_blur
from .choose import FrameChoice, choose_frames
from .survey import FrameSurvey

__all__ = ["BlurKind", "BlurMap", "FrameChoice", "FrameSurvey", "PhotoBlur", "assess_blur", "choose_frames"]
