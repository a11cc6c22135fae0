"""Gaussians as SPZ, Niantic's packed format: 16 bytes of header, then one block for each attribute, compressed.

Versions 1 to 3 are one gzip stream; version 4 is a header and a zstd stream per block. Positions are 24-bit fixed
point, logs of scales 1/16 apart, rotations the three smallest components, opacities, colours and harmonics a byte each.
Axes are x right, y up, z back, so the scene is turned by half a turn about x on its way in and out.

The libraries on the index that know SPZ (gsply 0.4.6, gaussforge 0.6.0) leave the axes as they are, which turns the
scene over in other programs, so this module does it itself. Source: github.com/nianticlabs/spz, load-spz.cc, README.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import FormatError
from ..run import atomic_write
from .gaussians import Gaussians
from .values import bytes_of_logits, logits_of_bytes, quantized, scene_of_file, unit, values_to_write

MAGIC = 0x5053474E  # "NGSP"
HARMONICS = (0, 3, 8, 15)  # coefficients above the constant, degree 0 to 3
MAX_FRACTIONAL_BITS = 16  # as many as the farthest Gaussian leaves room for, but no more than this
MAX_RATIO = 64  # scenes are packed to half or a third; a file that claims much more than that is a bomb
COLOR_SCALE, HALF = 0.15, 0.5
ROOT_HALF = 0.5**0.5

_TURN = np.array([1, -1, -1], np.float32)
_TURN_QUAT = np.array([1, 1, -1, -1], np.float32)
# Signs of the harmonics, degree 1 to 3, when y and z change theirs.
_TURN_SH = np.array([-1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], np.float32)[:, None]


class _Header(NamedTuple):
    magic: int
    version: int
    count: int
    degree: int
    fractional_bits: int
    flags: int
    streams: int

    def blocks(self) -> list[int]:
        """Sizes in bytes: positions, opacities, colours, scales, rotations, harmonics."""
        rotation = 4 if self.version >= 3 else 3
        return [self.count * size for size in (9, 1, 3, 3, rotation, 3 * HARMONICS[self.degree])]


_HEADER = struct.Struct("<IIIBBBB")


def write(gaussians: Gaussians, path: Path) -> None:
    """Writes version 3; a file already there is replaced only once the new one is whole.

    Raises:
        FormatError: see `values_to_write`; or a Gaussian lies farther out than 24 bits can say.
    """
    raw = values_to_write(gaussians, path)
    farthest = float(np.abs(raw["means"]).max())
    if farthest >= 2**23 - 1:
        raise FormatError(f"a Gaussian lies {farthest:.3g} units out, SPZ reaches {2**23}; {path} was not written")
    bits = min(MAX_FRACTIONAL_BITS, int(np.floor(np.log2((2**23 - 1) / max(farthest, 1e-6)))))
    fixed = np.round(raw["means"].astype(np.float64) * _TURN * 2**bits).astype("<i4")
    blocks = (
        fixed.view(np.uint8).reshape(-1, 4)[:, :3],
        bytes_of_logits(raw["opacities"]),
        quantized((raw["sh0"] * COLOR_SCALE + HALF) * 255, 255).astype(np.uint8),
        quantized((raw["scales"] + 10) * 16, 255).astype(np.uint8),
        _packed(unit(raw["quats"]) * _TURN_QUAT),
        quantized(raw["shN"] * _TURN_SH[: raw["shN"].shape[1]] * 128 + 128, 255).astype(np.uint8),
    )
    header = _HEADER.pack(MAGIC, 3, len(gaussians), gaussians.sh_degree, bits, 0, 0)
    with atomic_write(path) as temporary:
        temporary.write_bytes(gzip.compress(header + b"".join(block.tobytes() for block in blocks), mtime=0))


def read(path: Path) -> Gaussians:
    """The scene in `path`.

    Raises:
        FormatError: it is no SPZ of version 2 to 4, is damaged or cut short, or claims more than so small a file can
            hold: nothing is inflated beyond what a sound header says.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    header, blocks = _unzipped(path, content) if content[:2] == b"\x1f\x8b" else _unpacked_streams(path, content)
    cut = np.cumsum(header.blocks())
    position, alpha, color, scale, rotation, rest = np.split(np.frombuffer(blocks, np.uint8), cut[:-1])
    count = header.count
    wide = np.zeros((count, 3, 4), np.uint8)
    wide[..., 1:] = position.reshape(count, 3, 3)  # in the upper three bytes, so that the sign comes along
    fixed = wide.view("<i4")[..., 0] >> 8
    quats = _unpacked(rotation.view("<u4")) if header.version >= 3 else _first_three(rotation.reshape(count, 3))
    sh = (rest.reshape(count, -1, 3).astype(np.float32) - 128) / 128 * _TURN_SH[: HARMONICS[header.degree]]
    sh0 = (color.reshape(count, 1, 3) / np.float32(255) - HALF) / COLOR_SCALE
    return scene_of_file(
        path, means=fixed / np.float64(2**header.fractional_bits) * _TURN, quats=quats * _TURN_QUAT,
        log_scales=scale.reshape(count, 3) / np.float32(16) - 10, opacity_logits=logits_of_bytes(alpha),
        sh=np.concatenate([sh0, sh], axis=1),
    )  # fmt: skip


def _checked(path: Path, header: _Header, size: int) -> _Header:
    """The header, if it can be true of a file of `size` bytes."""
    if header.magic != MAGIC:
        raise FormatError(f"{path} is not an SPZ file")
    if header.version not in (2, 3, 4):
        raise FormatError(f"{path} is SPZ version {header.version}; this program reads versions 2 to 4")
    if header.degree >= len(HARMONICS):
        raise FormatError(f"{path} has spherical harmonics of degree {header.degree}; need 0 to 3")
    if header.fractional_bits > 24:
        raise FormatError(f"{path} is damaged: it has positions with {header.fractional_bits} fractional bits of 24")
    if header.count == 0:
        raise FormatError(f"{path} holds no Gaussians")
    claimed = sum(header.blocks())
    if claimed > MAX_RATIO * size:
        raise FormatError(
            f"{path} claims {header.count} Gaussians, {claimed / 1e6:.0f} MB, in a file of {size / 1e6:.3f} MB; "
            "no scene can be packed so tightly, so the file is damaged or hostile"
        )
    return header


def _unzipped(path: Path, content: bytes) -> tuple[_Header, bytes]:
    """Header and blocks of versions 2 and 3."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        start = inflate.decompress(content, _HEADER.size)
        if len(start) < _HEADER.size:
            raise FormatError(f"{path} is cut short")
        header = _checked(path, _Header(*_HEADER.unpack(start)), len(content))
        if header.version == 4:
            raise FormatError(f"{path} is damaged: it is zipped as version 3, and says version 4")
        needed = sum(header.blocks())
        blocks = inflate.decompress(inflate.unconsumed_tail, needed)
        beyond = inflate.decompress(inflate.unconsumed_tail, 1)  # the checksum is compared on the way to the end
    except zlib.error as error:
        raise FormatError(f"{path} is damaged: {error}") from error
    if len(blocks) < needed or not (beyond or inflate.eof):
        raise FormatError(f"{path} is cut short: its header claims {needed} bytes of data, it holds {len(blocks)}")
    return header, blocks


def _unpacked_streams(path: Path, content: bytes) -> tuple[_Header, bytes]:
    """Header and blocks of version 4: a table of sizes, then a zstd stream for each block that is not empty."""
    if len(content) < 32:
        raise FormatError(f"{path} is not an SPZ file")
    header = _checked(path, _Header(*_HEADER.unpack_from(content)), len(content))
    if header.version != 4:
        raise FormatError(f"{path} is damaged: it is not zipped, and says version {header.version}")
    try:
        import zstandard
    except ImportError as error:
        raise FormatError(f"{path} is SPZ version 4, which needs zstandard: pip install 'splatdeblur[spz]'") from error
    sizes = [size for size in header.blocks() if size]
    table = struct.unpack_from("<I", content, _HEADER.size)[0]
    start = table + 16 * len(sizes)
    if header.streams != len(sizes) or start > len(content):
        raise FormatError(f"{path} is damaged: its table of {header.streams} streams does not fit the file")
    blocks = []
    for index, size in enumerate(sizes):
        packed, _ = struct.unpack_from("<QQ", content, table + 16 * index)
        try:
            with zstandard.ZstdDecompressor().stream_reader(content[start : start + packed]) as stream:
                blocks.append(stream.read(size + 1))  # one more than there should be, and never all that it claims
        except zstandard.ZstdError as error:
            raise FormatError(f"{path} is damaged or cut short: {error}") from error
        if len(blocks[-1]) != size:
            raise FormatError(f"{path} is damaged: stream {index} does not hold the {size} bytes it claims")
        start += packed
    return header, b"".join(blocks)


def _packed(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions (wxyz) in 32 bits: which component is largest, and sign and 9 bits of each other one."""
    q = np.roll(quats, -1, axis=1)  # xyzw, as the format counts
    largest = np.abs(q).argmax(axis=1)
    q = q * np.where(np.take_along_axis(q, largest[:, None], 1) < 0, -1, 1)
    packed = largest.astype(np.uint32)
    for axis in range(4):
        fields = np.minimum(np.round(np.abs(q[:, axis]) / ROOT_HALF * 511), 511).astype(np.uint32)
        fields |= (q[:, axis] < 0).astype(np.uint32) << 9
        packed = np.where(axis == largest, packed, packed << 10 | fields)
    return packed.astype("<u4")


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """The inverse of `_packed`."""
    largest = packed >> 30
    q = np.zeros((len(packed), 4), np.float32)
    for axis in (3, 2, 1, 0):
        size = (packed & 511) / np.float32(511) * ROOT_HALF
        q[:, axis] = np.where(axis == largest, 0, np.where(packed >> 9 & 1, -size, size))
        packed = np.where(axis == largest, packed, packed >> 10)
    q[np.arange(len(q)), largest] = np.sqrt(np.maximum(0, 1 - np.square(q).sum(axis=1)))
    return np.roll(q, 1, axis=1)


def _first_three(rotation: np.ndarray) -> np.ndarray:
    """Quaternions (wxyz) of versions before 3: x, y and z in a byte each, w positive."""
    xyz = rotation / np.float32(127.5) - 1
    w = np.sqrt(np.maximum(0, 1 - np.square(xyz).sum(axis=1, keepdims=True)))
    return np.concatenate([w, xyz], axis=1)
