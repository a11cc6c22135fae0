"""Judges a capture before anything long starts, and says what to shoot differently, with a reason."""

from pathlib import Path

from ..capture.photos import Progress
from .judge import Finding, judge
from .measure import Measured, measure

__all__ = ["Finding", "Measured", "examine", "judge", "measure"]


def examine(input: Path, on_progress: Progress | None = None) -> tuple[Finding, ...]:
    """Findings on an input, worst first; writes nothing but a scratch folder that it takes away.

    Raises:
        CaptureError: it has no photos that can be used.
    """
    order = ("trouble", "doubt", "fine")
    return tuple(sorted(judge(measure(input, on_progress)), key=lambda finding: order.index(finding.level)))
