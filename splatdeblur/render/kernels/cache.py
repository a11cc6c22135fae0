"""Where compiled kernels are kept between processes."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent


def cache_folder(package: Path = HERE) -> str:
    """A folder that belongs to the kernels' very source.

    numba looks for changes in each function's own file only, and would go on using what it compiled with another
    file's old constants. The folder lies beside the source, or in the user's cache where that is read-only;
    NUMBA_CACHE_DIR comes before both.
    """
    sources = [*sorted(package.glob("*.py")), package.parent / "rasterizer.py"]
    mark = sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    asked = os.environ.get("NUMBA_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splatdeblur"
    for base in ([Path(asked)] if asked else []) + [package / "__pycache__", user]:
        folder = base / f"kernels-{mark}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return tempfile.mkdtemp(prefix="splatdeblur-kernels-")
