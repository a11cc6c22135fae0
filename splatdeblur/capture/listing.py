"""Which photo files an input means, and whether camera poses came along; reads no pixels."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import CaptureError
from .masks import FOLDER as MASKS
from .masks import find_masks
from .names import shown
from .photos import OTHER_SUFFIXES, PHOTO_SUFFIXES

COLMAP_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", ".")


@dataclass(frozen=True)
class Listing:
    """The photos of an input.

    Attributes:
        photos: the files, in order.
        skipped: photos that the input names or holds but that cannot be taken, name -> reason.
        known_poses: the file or folder with their poses; None if there is none.
        held_out: how many photos the input sets aside for testing.
        masks: photo -> its mask, see `masks`.
        notes: sentences on what the input holds that is not used.
    """

    photos: tuple[Path, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    known_poses: Path | None = None
    held_out: int = 0
    masks: dict[Path, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def photos_in(folder: Path, *, is_recursive: bool = False) -> tuple[Path, ...]:
    """The photo files in a folder, sorted by name, numbers in numeric order; hidden files are left out."""
    photos = [f for f in _files_in(folder, is_recursive) if f.suffix.lower() in PHOTO_SUFFIXES]

    def in_reading_order(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", path.relative_to(folder).as_posix())
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return tuple(sorted(photos, key=in_reading_order))


def _files_in(folder: Path, is_recursive: bool) -> list[Path]:
    files = folder.rglob("*") if is_recursive else folder.iterdir()
    return [
        f for f in files if not f.name.startswith(".") and f.is_file() and MASKS not in f.relative_to(folder).parts[:-1]
    ]


def _listing(folder: Path, *, is_recursive: bool = False, known_poses: Path | None = None) -> Listing:
    """The photos in a folder with their masks, and why other pictures are left out.

    A link that leads out of the folder is not followed: what it names was not given.
    """
    photos, root = photos_in(folder, is_recursive=is_recursive), folder.resolve()
    inside = tuple(p for p in photos if p.resolve().is_relative_to(root))
    skipped = {
        shown(p.name): "a link that leaves the folder; copy the photo there to use it"
        for p in photos
        if p not in set(inside)
    }
    skipped |= {
        shown(f.name): f"{f.suffix.lower()} is not read; export it as JPEG, PNG or TIFF"
        for f in sorted(_files_in(folder, is_recursive))
        if f.suffix.lower() in OTHER_SUFFIXES
    }
    return Listing(inside, skipped, known_poses, masks=find_masks(inside, folder))


def colmap_model(folder: Path) -> Path | None:
    """Where in `folder` a COLMAP model lies (cameras, images and points3D, .bin or .txt); None if nowhere."""
    for candidate in COLMAP_FOLDERS:
        if any((folder / candidate / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            return folder / candidate
    return None


def load_transforms(path: Path) -> dict:
    """The content of a `transforms.json`.

    Raises:
        CaptureError: it is no JSON, or has no list of frames with a `file_path` each.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaptureError(
            f"{path} cannot be read as JSON ({error}); repair it or give the folder of photos"
        ) from error
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames:
        raise CaptureError(f"{path} has no list of frames; need {{'frames': [{{'file_path', 'transform_matrix'}}]}}")
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise CaptureError(f"{path}: frame {index} has no file_path; each needs one, relative to {path.parent}")
    return content


def listed_path(transforms: Path, file_path: str) -> Path:
    """The file that a `file_path` of a `transforms.json` means; it need not exist.

    Backslashes are separators, and a missing suffix is looked for (`./train/r_0` in synthetic NeRF scenes).

    Raises:
        CaptureError: it lies outside the folder of `transforms.json`, by `..`, an absolute path or a link, or no
            file can be called so.
    """
    root = transforms.parent.resolve()
    if "\0" in file_path or any("\ud800" <= letter <= "\udfff" for letter in file_path):
        raise CaptureError(f"{transforms}: file_path {file_path!r} is no file name; correct it")
    relative = PurePosixPath(file_path.replace("\\", "/"))
    path = root / relative
    suffixes = ("", ".png", ".jpg", ".jpeg", ".JPG") if relative.suffix.lower() not in PHOTO_SUFFIXES else ("",)
    found = next((p for s in suffixes if (p := path.with_name(path.name + s)).is_file()), path) if path.name else path
    is_absolute = relative.is_absolute() or bool(PureWindowsPath(file_path).drive)
    if is_absolute or not found.resolve().is_relative_to(root):
        raise CaptureError(
            f"{transforms}: file_path {file_path!r} leaves the folder of transforms.json; "
            f"photos must lie inside {root}, copy them there and name them relative to it"
        )
    return found


def is_training_frame(content: dict, frame: dict) -> bool:
    """Whether a frame of a `transforms.json` is for training, by its `split` or the file's lists of names."""
    if isinstance(content.get("train_filenames"), list):
        return frame["file_path"] in content["train_filenames"]
    held_out = [*(content.get("val_filenames") or ()), *(content.get("test_filenames") or ())]
    return frame["file_path"] not in held_out and frame.get("split", "train") == "train"


def _list_transforms(path: Path) -> Listing:
    content = load_transforms(path)
    frames = [f for f in content["frames"] if is_training_frame(content, f)]
    if content["frames"] and not frames:
        raise CaptureError(
            f"{path} sets all of its {len(content['frames'])} photos aside for testing: no file_path is in "
            "train_filenames, or every split is another than train; name at least two photos for training"
        )
    files = {f["file_path"]: listed_path(path, f["file_path"]) for f in frames}
    photos = tuple(dict.fromkeys(p for p in files.values() if p.is_file()))
    masks = find_masks(photos, path.parent.resolve()) | find_masks(photos, path.parent.resolve() / "images")
    notes: list[str] = []
    for frame in frames:
        if isinstance(frame.get("mask_path"), str) and files[frame["file_path"]].is_file():
            mask = listed_path(path, frame["mask_path"])
            if mask.is_file():
                masks[files[frame["file_path"]]] = mask
            else:
                notes.append(f"{path.name} names the mask {shown(frame['mask_path'])}, but there is no such file")
    if any(key in frame for frame in frames for key in ("depth_file_path", "depth_path")):
        notes.append(f"{path.name} names depth pictures; they are not used")
    return Listing(
        photos,
        skipped={
            shown(name): f"{path.name} names it, but there is no such file"
            for name, p in files.items()
            if not p.is_file()
        },
        known_poses=path,
        held_out=len(content["frames"]) - len(frames),
        masks=masks,
        notes=tuple(notes),
    )


def llff_photos(poses_bounds: Path) -> tuple[tuple[Path, ...], tuple[bool, ...]]:
    """The photos beside a `poses_bounds.npy`, in the order of its rows, and which of them are held out.

    A file called `hold=N`, as Deblur-NeRF's scenes have it, sets every Nth photo aside.
    """
    folder = poses_bounds.parent
    photos = photos_in(folder / "images") if (folder / "images").is_dir() else ()
    # LLFF's rows follow plain string order, not reading order.
    photos = tuple(sorted(photos, key=lambda p: p.name))
    holds = [int(m[1]) for f in folder.glob("hold=*") if (m := re.fullmatch(r"hold=(\d+)", f.name))]
    every = holds[0] if holds and holds[0] > 0 else len(photos) + 1
    return photos, tuple(i % every == 0 and every <= len(photos) for i in range(len(photos)))


def list_photos(folder: Path) -> Listing:
    """The photos that a folder (or a `transforms.json`) means.

    Poses that came along are found in this order: `transforms.json`, `transforms_train.json`, a COLMAP model,
    `poses_bounds.npy`. To find poses anew, give the folder of the photos themselves.

    Raises:
        CaptureError: unreadable `transforms.json`, or one that names files outside its folder.
    """
    if folder.is_file():
        return _list_transforms(folder)
    for name in ("transforms.json", "transforms_train.json"):
        if (folder / name).is_file():
            return _list_transforms(folder / name)
    model = colmap_model(folder)
    if model is not None and (folder / "images").is_dir():
        return _listing(folder / "images", is_recursive=True, known_poses=model)
    if (folder / "poses_bounds.npy").is_file():
        photos, is_held_out = llff_photos(folder / "poses_bounds.npy")
        kept = tuple(p for p, out in zip(photos, is_held_out, strict=True) if not out)
        masks = find_masks(kept, folder / "images")
        return Listing(kept, known_poses=folder / "poses_bounds.npy", held_out=sum(is_held_out), masks=masks)
    listing = _listing(folder)
    if not listing.photos and (folder / "images").is_dir():
        return _listing(folder / "images")
    return listing
