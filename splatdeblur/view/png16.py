"""PNG with 16 bits a channel, which Pillow cannot write in colour.

Source: the PNG specification (W3C, third edition), without filters or interlacing.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from ..run import atomic_write

GREY, COLOR = 0, 2


def write_png16(
    path: Path, pixels: UInt16[np.ndarray, "height width"] | UInt16[np.ndarray, "height width 3"]
) -> None:
    """Writes grey or sRGB values, whole or not at all."""
    height, width = pixels.shape[:2]
    kind = COLOR if pixels.ndim == 3 else GREY
    rows = np.zeros((height, 1 + pixels.nbytes // height), np.uint8)  # a row starts with the number of its filter
    rows[:, 1:] = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    # Differences to the pixel before pack better; filter 1 says that they are.
    step = pixels.nbytes // height // width
    rows[:, 1 + step :] -= rows[:, 1:-step].copy()
    rows[:, 0] = 1
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")]
    if kind == COLOR:
        chunks.insert(1, (b"sRGB", b"\0"))
    with atomic_write(path) as temporary, open(temporary, "wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        for name, content in chunks:
            stream.write(struct.pack(">I", len(content)) + name + content)
            stream.write(struct.pack(">I", zlib.crc32(name + content)))
