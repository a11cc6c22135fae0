"""A run against its reference, part by part."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..capture.pixels import write_picture
from ..errors import PoseError
from ..exposure.gains import fit_gains, with_gains
from ..geometry import Cameras, inverse, log
from ..run import Run
from .alignment import Alignment, fit_similarity, fit_to_scene
from .metrics import PictureScores, find_lpips, score
from .pictures import Comparison, telling_photos, unsharpness, write_side_by_side
from .scores import AlignmentScores, DeblurredInputs, NovelView, Scores
from .studio import SIDE_BY_SIDE, Depths, Masks, Pictures, Studio, TrainedPhotos, read_masks, read_photos
from .trajectory import PathErrors, Paths, center_errors, path_errors
from .truth import Truth

Progress = Callable[[str, float], None]
MOST_CROPPED = 0.15  # of a side, by straightening; pictures that differ by more are of another size


def _file(name: str) -> str:
    return f"{Path(name).stem}.png"


def _match(photos: TrainedPhotos, truth: Truth) -> tuple[list[int], list[int]]:
    """Indices of the photos that both know, by file name without its ending."""
    known = {Path(name).stem: i for i, name in enumerate(truth.photos.names)}
    pairs = [(i, known[Path(name).stem]) for i, name in enumerate(photos.names) if Path(name).stem in known]
    if not pairs:
        raise PoseError(
            f"no photo of the run ({', '.join(photos.names[:2])}, ...) is in the reference {truth.folder} "
            f"({', '.join(truth.photos.names[:2])}, ...); need the same file names. Is it this capture's reference?"
        )
    mine, theirs = zip(*pairs, strict=True)
    return list(mine), list(theirs)


def _relative_focals(cameras: Cameras) -> Tensor:
    """Focal lengths in parts of the pictures' widths."""
    return cameras.Ks[:, 0, 0] / cameras.Ks.new_tensor([width for width, _ in cameras.own_sizes])


def _moved(before: Cameras, after: Cameras, scale: float) -> tuple[list[float], list[float]]:
    delta = log(after.viewmats.double() @ inverse(before.viewmats.double()))
    shift = (after.centers - before.centers).norm(dim=-1) / scale
    return delta[:, 3:].norm(dim=-1).rad2deg().tolist(), shift.tolist()


class AgainstTruth:
    """A comparison under way; each method makes one part of the scores."""

    def __init__(self, run: Run, truth: Truth, studio: Studio, photos: TrainedPhotos, downscale: float) -> None:
        self.run, self.truth, self.studio, self.photos, self.downscale = run, truth, studio, photos, downscale
        self.missing = dict(truth.missing)
        self.perceptual, self.about_lpips = find_lpips()
        self.mine, self.theirs = _match(photos, truth)
        self.names = tuple(photos.names[i] for i in self.mine)
        self.cameras = photos.cameras.at(self.mine).to("cpu")
        self.reference = truth.photos.cameras.at(self.theirs).to("cpu")
        self.alignment: Alignment = fit_similarity(self.cameras, self.reference)

    def score(
        self, names: tuple[str, ...], pictures: Pictures, truths: Pictures, keeps: Masks | None = None
    ) -> PictureScores:
        return score(names, pictures, truths, keeps, perceptual=self.perceptual, without_perceptual=self.about_lpips)

    def write(self, folder: str, names: tuple[str, ...], pictures: Pictures) -> None:
        for name, picture in zip(names, pictures, strict=True):
            write_picture(self.run.evaluation / folder / _file(name), picture)

    def novel_view(self, depths: Depths, steps: int, on_progress: Callable[[float], None]) -> NovelView | None:
        """Held-out views; `depths` are the scene's in the matched photos."""
        views = self.truth.tests
        if views is None:
            return None
        found = [(i, path) for i, name in enumerate(views.names) if (path := self.truth.test_picture(name))]
        if not found:
            self.missing["novel_view"] = f"{self.truth.folder} has none of the test pictures it names"
            return None
        names = tuple(Path(views.names[i]).name for i, _ in found)
        truths = tuple(views.read(i, path, self.downscale) for i, path in found)
        lenses = views.cameras.at([i for i, _ in found]).scaled(1 / self.downscale)
        similarity = fit_to_scene(self.alignment.run_from_reference, self.cameras, self.reference_lenses(), depths)
        start = similarity.cameras(lenses).to(dtype=torch.float32)
        pictures, view_depths = self.studio.render(start)
        self.write("novel_view/unaligned", names, pictures)
        aligned = self.studio.refined(start, truths, view_depths, steps, on_progress)
        better, _ = self.studio.render(aligned)
        self.write("novel_view/aligned", names, better)
        gains = tuple(map(fit_gains, better, truths))
        degrees, shifts = _moved(start, aligned, similarity.scale)
        return NovelView(
            aligned=self.score(names, better, truths),
            unaligned=self.score(names, pictures, truths),
            exposed=self.score(names, tuple(map(with_gains, better, gains)), truths),
            gains={name: gain.tolist() for name, gain in zip(names, gains, strict=True)},
            moved_deg=dict(zip(names, degrees, strict=True)),
            moved=dict(zip(names, shifts, strict=True)),
        )

    def reference_lenses(self) -> Cameras:
        """The reference's cameras for pictures like the run's: of its size, or cropped around the middle by the little
        that straightening takes."""
        reduced = self.reference.scaled(1 / self.downscale)
        more = torch.tensor(self.cameras.own_sizes) - torch.tensor(reduced.own_sizes)
        if (more.abs() > MOST_CROPPED * torch.tensor(reduced.own_sizes)).any():
            return self.reference.resized_each(self.cameras.own_sizes)
        Ks = reduced.Ks.clone()
        Ks[:, :2, 2] += more / 2
        return Cameras.of_sizes(reduced.viewmats, Ks, self.cameras.own_sizes)

    def deblurred_inputs(
        self, pictures: Pictures, depths: Depths, steps: int, on_progress: Callable[[float], None]
    ) -> DeblurredInputs | None:
        if "deblurred_inputs" in self.missing:
            return None
        sharp = self.sharp_photos()
        if not sharp:
            self.missing["deblurred_inputs"] = f"{self.truth.folder}/sharp has none of the run's photos"
            return None
        found = list(sharp)
        names = tuple(self.names[i] for i in found)
        cameras = self.cameras.at(found).to(dtype=torch.float32)
        truths = tuple(sharp.values())
        sizes = tuple((truth.shape[1], truth.shape[0]) for truth in truths)
        photos, keeps = self.read_photos(names), read_masks(self.run, names, self.downscale)
        pictures, depths = (tuple(each[i] for i in found) for each in (pictures, depths))
        if sizes != cameras.own_sizes:
            # The run straightened its photos, and so cropped them: look through the reference's lens instead.
            lens = self.reference.at(found).resized_each(sizes).to(dtype=torch.float32)
            cameras, photos, keeps = lens.with_viewmats(cameras.viewmats), None, (None,) * len(names)
            pictures, depths = self.studio.render(cameras)
            self.write("deblurred_inputs", names, pictures)
        aligned = None
        if steps:
            moved = self.studio.refined(cameras, truths, depths, steps, on_progress, keeps)
            aligned = self.score(names, self.studio.render(moved)[0], truths, keeps)
        return DeblurredInputs(
            unaligned=self.score(names, pictures, truths, keeps),
            aligned=aligned,
            photos=None if photos is None else self.score(names, photos, truths, keeps),
            masked=[name for name, keep in zip(names, keeps, strict=True) if keep is not None],
        )

    def paths(self, depths: Depths) -> PathErrors | None:
        if self.photos.paths is None or self.photos.times is None:
            self.missing["path_error_px"] = "the training knew no motion within an exposure"
        if "path_error_px" in self.missing:
            return None
        return path_errors(
            self.names,
            Paths(self.photos.paths.detach().cpu()[self.mine], self.photos.times.detach().cpu()),
            Paths(self.truth.paths.viewmats[self.theirs], self.truth.paths.times),
            scale=self.alignment.run_from_reference.scale,
            cameras=self.cameras,
            reference=self.reference.resized_each(self.cameras.own_sizes),
            depths=depths,
        )

    def sharp_photos(self) -> dict[int, Tensor]:
        """Index of a matched photo -> the same photo sharp, reduced, where the reference has it."""
        paths = {i: self.truth.sharp(name) for i, name in enumerate(self.names)}
        views = self.truth.photos
        return {i: views.read(self.theirs[i], path, self.downscale) for i, path in paths.items() if path}

    def read_photos(self, names: tuple[str, ...]) -> Pictures | None:
        """The run's blurred photos at training size; None if a file is gone or has another size."""
        rows = [self.names.index(name) for name in names]
        return read_photos(self.run, names, self.downscale, self.cameras.at(rows))

    def side_by_side(self, pictures: Pictures, extents: dict[str, float] | None) -> list[str]:
        photos = self.read_photos(self.names)
        if photos is None:
            return []
        blur = torch.tensor([extents[n] for n in self.names]) if extents else unsharpness(photos)
        rows = []
        for i in telling_photos(blur):
            path = self.truth.sharp(self.names[i])
            truth = self.truth.photos.read(self.theirs[i], path, self.downscale) if path else None
            note = f"blurred by {blur[i]:.1f} px" if extents else ""
            rows.append(Comparison(self.names[i], photos[i], pictures[i], truth, note))
        path = self.run.evaluation / SIDE_BY_SIDE
        write_side_by_side(path, rows)
        return [str(path.relative_to(self.run.folder))]

    def scores(self, empty: Scores, steps: int, inputs_steps: int, on_progress: Progress) -> Scores:
        """All parts, put into `empty`."""
        on_progress("novel views", 0.0)
        pictures, depths = self.studio.render(self.cameras.to(dtype=torch.float32))
        novel = self.novel_view(depths, steps, lambda share: on_progress("novel views", 0.5 * share))
        on_progress("deblurred photos", 0.5)
        self.write("deblurred_inputs", self.names, pictures)
        inputs = self.deblurred_inputs(
            pictures, depths, inputs_steps, lambda share: on_progress("deblurred photos", 0.5 + 0.3 * share)
        )
        on_progress("paths and pictures", 0.8)
        paths = self.paths(depths)
        sheets = self.side_by_side(pictures, paths.extent_px if paths else None)
        focal_ratio = _relative_focals(self.cameras) / _relative_focals(self.reference)
        about = {"reference": str(self.truth.folder), "focal_over_true_focal": focal_ratio.median().item()}
        return replace(
            empty,
            novel_view=novel,
            deblurred_inputs=inputs,
            centers=center_errors(self.names, self.alignment, self.reference),
            paths=paths,
            alignment=self.alignment_scores(),
            missing=self.missing,
            settings=about | empty.settings,
            pictures=sheets,
        )

    def alignment_scores(self) -> AlignmentScores:
        similarity = self.alignment.run_from_reference
        kept = ~torch.tensor(self.alignment.is_outlier)
        return AlignmentScores(
            scale=similarity.scale,
            rotation=similarity.rotation.tolist(),
            translation=similarity.translation.tolist(),
            residual=self.alignment.residuals[kept].square().mean().sqrt().item(),
            cameras=len(self.names),
            without_pose=[n for i, n in enumerate(self.truth.photos.names) if i not in self.theirs],
            outliers=[n for n, out in zip(self.names, self.alignment.is_outlier, strict=True) if out],
        )
