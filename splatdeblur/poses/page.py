"""A page for people: what became of each photo and why, how blurred it is, and where its camera stood."""

import base64
import io
from html import escape
from math import isfinite
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..blur import BlurKind, assess_blur
from ..capture import Capture
from ..capture.pixels import eight_bit, read_photo, resize_photo
from ..geometry import inverse
from ..run import Run, atomic_write
from .evidence import MAX_RESIDUAL, RENDERING
from .reconstruction import Reconstruction

THUMBNAIL_PX = 200
BLUR_PX = 640  # longest side at which blur is assessed
BLUR_STRIDE_PX = 64
MOST_ASSESSED = 150  # photos; of larger captures every second one or fewer
MAP_PX = 640
MARGIN = 0.08  # of the map's side
MOST_POINTS = 1500
COLORS = {"firm": "#2e8b57", "found by rendering": "#2c6fbb", "doubtful": "#d2691e", "no pose": "#a02020"}
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #202020 }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 1em }
figure { margin: 0; border-top: 5px solid; padding-top: 4px } figure img { max-width: 100% }
figcaption { font-size: 13px; overflow-wrap: anywhere } svg { max-width: 100%; background: #f6f6f4 }
b { font-weight: 600 }
"""


def write_page(run: Run, capture: Capture, reconstruction: Reconstruction) -> Path:
    """Writes `poses/poses.html`, one file without anything from elsewhere."""
    names = [frame.name for frame in capture.frames]
    state = {name: _state(name, reconstruction) for name in names}
    counts = ", ".join(f"{list(state.values()).count(kind)} {kind}" for kind in COLORS if kind in state.values())
    every = -(-len(names) // MOST_ASSESSED)
    figures = [
        _figure(run, name, state[name], reconstruction, is_assessed=index % every == 0)
        for index, name in enumerate(names)
    ]
    legend = " ".join(f'<b style="color:{color}">&#9632; {kind}</b>' for kind, color in COLORS.items())
    attempts = "".join(f"<li>{escape(sentence)}</li>" for sentence in reconstruction.attempts)
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Poses of {len(names)} photos</title>'
        f"<style>{STYLE}</style><h1>Poses of {len(names)} photos: {counts}</h1><p>{legend}</p>"
        f"<h2>From above</h2>{_map(reconstruction, state)}<h2>What was tried</h2><ol>{attempts}</ol>"
        f'<h2>Photos</h2><div class="photos">{"".join(figures)}</div></html>'
    )
    path = run.poses / "poses.html"
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def _state(name: str, reconstruction: Reconstruction) -> str:
    if name not in reconstruction.names:
        return "no pose"
    if name in reconstruction.doubtful:
        return "doubtful"
    evidence = reconstruction.evidence.get(name)
    return "found by rendering" if evidence is not None and evidence.found_by == RENDERING else "firm"


def _figure(run: Run, name: str, state: str, reconstruction: Reconstruction, *, is_assessed: bool) -> str:
    photo = read_photo(run.images / name)
    height, width = photo.shape[:2]
    factor = max(1.0, max(width, height) / BLUR_PX)
    photo = resize_photo(photo, max(1, round(width / factor)), max(1, round(height / factor)))
    lines = [f"<b>{escape(name)}</b>", f'<b style="color:{COLORS[state]}">{state}</b>']
    if is_assessed:
        lines.append(_blur_words(photo, factor))
    lines.append(escape(_words(name, reconstruction)))
    caption = "<br>".join(filter(None, lines))
    return (
        f'<figure style="border-color:{COLORS[state]}"><img alt="{escape(name)}" src="{_thumbnail(photo)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _thumbnail(photo: Float[Tensor, "height width 3"]) -> str:
    image = Image.fromarray(eight_bit(photo))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _blur_words(photo: Float[Tensor, "height width 3"], factor: float) -> str:
    """How blurred a photo is, in px of its own; `factor`: by how much it is reduced here."""
    blur = assess_blur(photo, stride_px=BLUR_STRIDE_PX)
    if not isfinite(blur.strength_px):
        return "too plain to tell its blur"
    if blur.kind == BlurKind.SHARP:
        return "sharp"
    return f"{blur.kind.name.lower()} blur of {blur.strength_px * factor:.0f} px"


def _words(name: str, reconstruction: Reconstruction) -> str:
    """Why it has its pose, or none."""
    if name in reconstruction.missing:
        return reconstruction.missing[name]
    evidence = reconstruction.evidence.get(name)
    if evidence is None:
        return ""
    words = [evidence.doubt] if evidence.doubt else []
    if evidence.inliers:
        words.append(f"{evidence.inliers} points, {evidence.error_px:.1f} px")
    if evidence.residual is not None and not evidence.doubt:
        like = "the photos around it" if evidence.residual <= MAX_RESIDUAL else "photos that it has not seen"
        words.append(f"explained by the scene like {like} (residual {evidence.residual:.2f})")
    return "; ".join(words)


def _map(reconstruction: Reconstruction, state: dict[str, str]) -> str:
    """Cameras as wedges and points as dots, seen along the mean of the photos' own vertical."""
    viewmats = reconstruction.cameras.viewmats.double()
    down = torch.nn.functional.normalize(viewmats[:, 1, :3].mean(0), dim=0)
    ahead = viewmats[:, 2, :3].mean(0)
    ahead = torch.nn.functional.normalize(ahead - (ahead @ down) * down, dim=0)
    plane = torch.stack([torch.linalg.cross(down, ahead), -ahead])  # right, and away from the reader upwards
    centers, ways = inverse(viewmats)[:, :3, 3] @ plane.T, viewmats[:, 2, :3] @ plane.T
    points = reconstruction.points.double()[:: max(1, len(reconstruction.points) // MOST_POINTS)] @ plane.T
    low, high = centers.amin(0), centers.amax(0)
    if len(points) > 20:  # a few points far away would make all else small
        low = torch.minimum(low, points.quantile(0.05, dim=0))
        high = torch.maximum(high, points.quantile(0.95, dim=0))
    scale = MAP_PX * (1 - 2 * MARGIN) / (high - low).max().clamp(min=1e-9)
    start = MARGIN * MAP_PX

    def place(at: Tensor) -> Tensor:
        return (at - low) * scale + start

    width, height = ((high - low) * scale + 2 * start).round().int().tolist()
    parts = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1" fill="#b0b0a8"/>'
        for x, y in place(points).tolist()
        if 0 <= x <= width and 0 <= y <= height
    ]
    size = MAP_PX / 28
    for name, at, way in zip(reconstruction.names, place(centers), ways, strict=True):
        side = torch.stack([-way[1], way[0]]) * size / 2
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at, at + way * size + side, at + way * size - side))
        color = COLORS[state.get(name, "firm")]
        parts.append(
            f'<polygon points="{corners}" fill="{color}" fill-opacity="0.35" stroke="{color}">'
            f"<title>{escape(name)}</title></polygon>"
        )
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{"".join(parts)}</svg>'
