"""The header of a binary PLY file, read with suspicion: what it claims must fit into the file."""

from pathlib import Path

from ..errors import FormatError

MAX_HEADER_BYTES = 65536
BYTES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8, "float64": 8,
}  # fmt: skip
FLOATS = ("float", "float32", "double", "float64")

Elements = dict[str, tuple[int, dict[str, str]]]
"""Of each element of the file: how many there are, and name -> type of its properties."""


def read_header(path: Path) -> Elements:
    """What the header of a binary little-endian PLY claims, checked against the file's size.

    Raises:
        FormatError: it cannot be read, is no such header, has lists, or claims more data than the file holds.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(MAX_HEADER_BYTES)
            size = stream.seek(0, 2)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    if not head.startswith((b"ply\n", b"ply\r")):
        raise FormatError(f"{path} is not a PLY file")
    end = head.find(b"end_header")
    if end < 0:
        raise FormatError(f"{path}: no end of the PLY header in its first {MAX_HEADER_BYTES} bytes")
    elements: Elements = {}
    encoding = None
    current: dict[str, str] = {}
    for line in head[:end].decode("ascii", errors="replace").splitlines()[1:]:
        match line.split():
            case ["format", encoding, _]:
                pass
            case ["element", name, count] if count.isdecimal() and len(count) < 16 and name not in elements:
                current = {}
                elements[name] = (int(count), current)
            case ["property", kind, name] if kind in BYTES and elements and name not in current:
                current[name] = kind
            case [("comment" | "obj_info"), *_] | []:
                pass
            case _:
                raise FormatError(f"{path}: a PLY of Gaussians has no header line {line[:80]!r}")
    if encoding != "binary_little_endian":
        raise FormatError(f"{path}: found {str(encoding)[:40]}; need binary little-endian, convert it first")
    held = size - end - len(b"end_header\n")
    claimed = sum(count * sum(map(BYTES.get, kinds.values())) for count, kinds in elements.values())
    if claimed > held:
        raise FormatError(f"{path} is cut short: its header claims {claimed} bytes of data, it holds {held}")
    return elements
