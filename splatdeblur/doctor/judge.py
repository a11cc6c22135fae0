"""What a capture's numbers say: findings, each with its reason and what to shoot differently."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from ..blur import BlurKind
from ..capture import Capture
from .measure import LINK, Measured

GOOD_COUNT = 20
STRONG_BLUR = 0.02  # of the photo's width; where most photos smear further, COLMAP's own settings mostly fail
LONG_EXPOSURE_S = 1 / 60
STOPS_APART = 1.0
ONE_SPOT_SHARE = 0.8


@dataclass(frozen=True)
class Finding:
    """One thing about a capture.

    Attributes:
        level: "fine" needs nothing; "doubt" may cost quality; "trouble" most likely ends without a scene.
        what: found, with numbers.
        why: it matters.
        advice: what to do; empty where nothing is to be done.
    """

    level: Literal["fine", "doubt", "trouble"]
    what: str
    why: str = ""
    advice: str = ""


def judge(seen: Measured) -> Iterator[Finding]:
    """What the numbers say."""
    yield from _of_files(seen.capture)
    yield from _of_blur(seen)
    yield from _of_exposure(seen)
    if seen.capture.known_poses is not None:
        yield Finding("fine", f"camera poses came along: {seen.capture.known_poses}")
    else:
        yield from _of_overlap(seen)


def _of_files(capture: Capture) -> Iterator[Finding]:
    count = len(capture.frames)
    kind = "frames" if capture.is_video else "photos"
    if count < GOOD_COUNT and not capture.known_poses:
        yield Finding(
            "doubt",
            f"{count} {kind}",
            "every part of a scene has to be seen from three places or more, and blurry photos count less",
            f"take {2 * GOOD_COUNT} or more, on an arc around the subject, each half a step from the last",
        )
    else:
        yield Finding("fine", f"{count} {kind} of {capture.width}x{capture.height} (looked at reduced)")
    if capture.skipped:
        names = "; ".join(f"{name}: {reason}" for name, reason in list(capture.skipped.items())[:5])
        yield Finding("doubt", f"{len(capture.skipped)} files left out ({names})", "they cannot be used as they are")
    for note in capture.notes:
        yield Finding("fine", note)


def _of_blur(seen: Measured) -> Iterator[Finding]:
    answered = [(kind, strength) for kind, strength in seen.blur if kind != BlurKind.TEXTURELESS]
    if len(answered) < 0.5 * len(seen.blur):
        yield Finding(
            "trouble",
            f"{len(seen.blur) - len(answered)} of {len(seen.blur)} photos show hardly any texture",
            "plain walls, sky and darkness have nothing that could be matched, or sharpened",
            "get more of the surroundings into the picture, and more light",
        )
    if not answered:
        return
    strengths = [strength for _, strength in answered]
    strong = [(kind, strength) for kind, strength in answered if strength > STRONG_BLUR]
    middle = f"median blur {100 * float(np.median(strengths)):.1f} % of the width"
    if len(strong) < 0.5 * len(answered):
        yield Finding("fine", f"{middle}; {len(strong)} of {len(answered)} photos smear by more than 2 %")
        return
    out_of_focus = sum(kind == BlurKind.DEFOCUS for kind, _ in strong) > 0.5 * len(strong)
    yield Finding(
        "doubt",
        f"{middle}; {len(strong)} of {len(answered)} photos smear by more than 2 %"
        + (", most of them out of focus" if out_of_focus else ", most of them by motion"),
        "features move with the smear: poses become few or wrong, and detail finer than the smear has to be guessed",
        "lock the focus on the subject, and step back from what is near"
        if out_of_focus
        else "more light shortens the exposure; move slowly, stop for each photo, and keep some sharp ones in between",
    )
    if seen.capture.is_video and not out_of_focus:
        yield from _of_stabilisation(seen, float(np.median([strength for _, strength in strong])))


def _of_stabilisation(seen: Measured, smear: float) -> Iterator[Finding]:
    """A camera cannot smear further than it moves while the shutter is open, which is one frame's time at most."""
    speeds = [
        move / (after.time_s - before.time_s) * before.interval_s
        for move, (before, after) in zip(seen.moves, pairwise(seen.capture.frames), strict=True)
        if not math.isnan(move) and before.interval_s and before.time_s is not None and after.time_s is not None
    ]
    if len(speeds) >= 5 and smear > 2 * float(np.median(speeds)):
        yield Finding(
            "doubt",
            f"frames smear by {100 * smear:.1f} % of the width, but the picture moves by "
            f"{100 * float(np.median(speeds)):.1f} % from frame to frame",
            "stabilisation hides the movement that made the blur, and bends each frame a little differently, "
            "which no camera model explains; or the camera shakes to and fro",
            "switch electronic stabilisation off, or take photos instead",
        )


def _of_exposure(seen: Measured) -> Iterator[Finding]:
    frames = seen.capture.frames
    times = [f.exposure_s for f in frames if f.exposure_s]
    usual = float(np.median(times)) if times else 0.0
    if usual > LONG_EXPOSURE_S:
        yield Finding(
            "doubt",
            f"the shutter was open for {f'1/{1 / usual:.0f}' if usual < 0.5 else f'{usual:.1f}'} s (median)",
            "a hand moves the picture by several px in that time",
            "more light, or a shorter exposure at higher ISO: noise averages out over the photos, blur does not",
        )
    stops = [math.log2(f.exposure_s * f.iso) for f in frames if f.exposure_s and f.iso]
    spread = float(np.ptp(np.percentile(stops, (5, 95)))) if len(stops) > 2 else 0.0
    light = np.log2(np.maximum(seen.brightness, 1e-4)) if len(seen.brightness) > 2 else np.zeros(3)
    jumps = int((abs(np.diff(light)) > STOPS_APART).sum())
    if spread > STOPS_APART or jumps:
        told = f"exposures differ by {spread:.1f} stops" if spread > STOPS_APART else ""
        jumped = f"brightness jumps by more than a stop {jumps} times from one photo to the next" if jumps else ""
        yield Finding(
            "doubt",
            "; ".join(filter(None, (told, jumped))),
            "each photo gets a brightness of its own, but what was clipped white or black is lost, and features differ",
            "lock exposure and white balance (hold the finger on the subject until the camera says so)",
        )


def _groups(count: int, links: dict[tuple[int, int], int]) -> list[list[int]]:
    """Photos that hang together by links, largest group first."""
    group = list(range(count))

    def root(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for (i, j), matches in links.items():
        if matches >= LINK:
            group[root(j)] = root(i)
    found: dict[int, list[int]] = {}
    for i in range(count):
        found.setdefault(root(i), []).append(i)
    return sorted(found.values(), key=len, reverse=True)


def _of_overlap(seen: Measured) -> Iterator[Finding]:
    frames = seen.capture.frames
    main, *others = _groups(len(frames), seen.links)
    best = [0] * len(frames)
    for (i, j), matches in seen.links.items():
        best[i], best[j] = max(best[i], matches), max(best[j], matches)
    typical = f"photos share {float(np.median(best)):.0f} features with their best partner (median)"
    if not others:
        yield Finding("fine", f"{typical}; all {len(frames)} hang together")
    else:
        apart = [frames[i].name for i in sorted(i for group in others for i in group)]
        yield Finding(
            "trouble" if len(main) < 0.5 * len(frames) else "doubt",
            f"{typical}; only {len(main)} of {len(frames)} hang together, "
            f"apart from them stand {', '.join(apart[:6])}{', ...' if len(apart) > 6 else ''}",
            "a photo gets its pose from features that it shares with others; slower rungs may still place some",
            "neighbouring photos should share more than half of what they show: take smaller steps, "
            "and do not turn faster than you walk",
        )
    linked = sum(matches >= LINK for matches in seen.links.values())
    if linked >= 3 and seen.still_links > ONE_SPOT_SHARE * linked:
        yield Finding(
            "trouble",
            f"{seen.still_links} of {linked} pairs look as if the camera only turned, or the scene were flat",
            "depth is seen only by moving sideways; whether it was one spot or a flat scene, poses will tell",
            "walk around the subject instead of turning on the spot, and let it have depth",
        )
