"""How blurred photos are, of which kind and where; which frames of a video to keep."""

from .assess import BlurKind, BlurMap, PhotoBlur, assess_blur

__all__ = ["BlurKind", "BlurMap", "PhotoBlur", "assess_blur"]
