"""A run against its reference: the whole evaluation, from the scene to scores.json."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..capture.pixels import write_picture
from ..errors import FormatError, PoseError
from ..geometry import Cameras, inverse, log
from ..render import Rasterizer, RenderOptions
from ..run import Run
from ..scene import Gaussians
from .alignment import Alignment, fit_similarity
from .gains import fit_gains, with_gains
from .metrics import PictureScores, find_lpips, score
from .pictures import Comparison, telling_photos, unsharpness, write_side_by_side
from .scores import AlignmentScores, DeblurredInputs, NovelView, Scores
from .studio import SIDE_BY_SIDE, Studio, TrainedPhotos, read_photos
from .trajectory import PathErrors, Paths, center_errors, path_errors
from .truth import Truth, load_truth

Progress = Callable[[str, float], None]


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


def _moved(before: Cameras, after: Cameras, scale: float) -> tuple[list[float], list[float]]:
    delta = log(after.viewmats.double() @ inverse(before.viewmats.double()))
    shift = (after.centers - before.centers).norm(dim=-1) / scale
    return delta[:, 3:].norm(dim=-1).rad2deg().tolist(), shift.tolist()


class _Evaluation:
    """One evaluation under way; each method makes one part of the scores."""

    def __init__(self, run: Run, truth: Truth, studio: Studio, photos: TrainedPhotos, downscale: float) -> None:
        self.run, self.truth, self.studio, self.photos, self.downscale = run, truth, studio, photos, downscale
        self.missing = dict(truth.missing)
        self.perceptual, self.about_lpips = find_lpips()
        self.mine, self.theirs = _match(photos, truth)
        self.names = tuple(photos.names[i] for i in self.mine)
        self.cameras = photos.cameras.at(self.mine).to("cpu")
        self.reference = truth.photos.cameras.at(self.theirs).to("cpu")
        for whose, cameras in (("the run's photos", self.cameras), ("the reference's photos", self.reference)):
            if cameras.sizes is not None:
                raise FormatError(
                    f"{whose} have {len(set(cameras.sizes))} sizes; scores are made for photos of one size only"
                )
        self.alignment: Alignment = fit_similarity(self.cameras, self.reference)

    def score(self, names: tuple[str, ...], pictures: Tensor, truths: Tensor) -> PictureScores:
        return score(names, pictures, truths, perceptual=self.perceptual, without_perceptual=self.about_lpips)

    def write(self, folder: str, names: tuple[str, ...], pictures: Tensor) -> None:
        for name, picture in zip(names, pictures, strict=True):
            write_picture(self.run.evaluation / folder / _file(name), picture)

    def novel_view(self, steps: int, on_progress: Callable[[float], None]) -> NovelView | None:
        views = self.truth.tests
        if views is None:
            return None
        found = [(i, path) for i, name in enumerate(views.names) if (path := self.truth.test_picture(name))]
        if not found:
            self.missing["novel_view"] = f"{self.truth.folder} has none of the test pictures it names"
            return None
        names = tuple(Path(views.names[i]).name for i, _ in found)
        truths = torch.stack([views.read(i, path, self.downscale) for i, path in found])
        lenses = views.cameras.at([i for i, _ in found]).scaled(1 / self.downscale)
        similarity = self.alignment.run_from_reference
        start = similarity.cameras(lenses).to(dtype=torch.float32)
        pictures, depth = self.studio.render(start)
        self.write("novel_view/unaligned", names, pictures)
        aligned = self.studio.refined(start, truths, depth, steps, on_progress)
        better, _ = self.studio.render(aligned)
        self.write("novel_view/aligned", names, better)
        gains = fit_gains(better, truths)
        degrees, shifts = _moved(start, aligned, similarity.scale)
        return NovelView(
            aligned=self.score(names, better, truths),
            unaligned=self.score(names, pictures, truths),
            exposed=self.score(names, with_gains(better, gains), truths),
            gains=dict(zip(names, gains.tolist(), strict=True)),
            moved_deg=dict(zip(names, degrees, strict=True)),
            moved=dict(zip(names, shifts, strict=True)),
        )

    def deblurred_inputs(
        self, pictures: Tensor, depth: Tensor, steps: int, on_progress: Callable[[float], None]
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
        sizes = {tuple(picture.shape[1::-1]) for picture in sharp.values()}
        if len(sizes) > 1:
            self.missing["deblurred_inputs"] = f"the sharp photos have several sizes: {sorted(sizes)} px"
            return None
        size = sizes.pop()
        pictures, depth = pictures[found], depth[found]
        if size != (cameras.width, cameras.height):
            # The run straightened its photos, and so cropped them: look through the reference's lens instead.
            lens = self.reference.at(found).resized(*size).to(dtype=torch.float32)
            cameras = lens.with_viewmats(cameras.viewmats)
            pictures, depth = self.studio.render(cameras)
            self.write("deblurred_inputs", names, pictures)
        truths = torch.stack(list(sharp.values()))
        aligned = None
        if steps:
            moved = self.studio.refined(cameras, truths, depth, steps, on_progress)
            aligned = self.score(names, self.studio.render(moved)[0], truths)
        photos = self.read_photos(names)
        if photos is not None and photos.shape != truths.shape:
            photos = None
        return DeblurredInputs(
            unaligned=self.score(names, pictures, truths),
            aligned=aligned,
            photos=None if photos is None else self.score(names, photos, truths),
        )

    def paths(self, depth: Tensor) -> PathErrors | None:
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
            reference=self.reference.resized(self.cameras.width, self.cameras.height),
            depth=depth,
        )

    def sharp_photos(self) -> dict[int, Tensor]:
        """Index of a matched photo -> the same photo sharp, reduced, where the reference has it."""
        paths = {i: self.truth.sharp(name) for i, name in enumerate(self.names)}
        views = self.truth.photos
        return {i: views.read(self.theirs[i], path, self.downscale) for i, path in paths.items() if path}

    def read_photos(self, names: tuple[str, ...]) -> Tensor | None:
        """The run's blurred photos at training size; None if a file is gone or has another size."""
        rows = [self.names.index(name) for name in names]
        photos = read_photos(self.run, names, self.downscale, self.cameras.at(rows))
        return None if photos is None else torch.stack(photos)

    def side_by_side(self, pictures: Tensor, extents: dict[str, float] | None) -> list[str]:
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


def _silent(stage: str, fraction: float) -> None:
    """Nobody listens."""


def evaluate(
    run: Run,
    reference: Path,
    *,
    scene: Gaussians,
    rasterizer: Rasterizer,
    photos: TrainedPhotos,
    options: RenderOptions,
    downscale: float,
    refine_steps: int = 200,
    inputs_refine_steps: int = 0,
    on_progress: Progress = _silent,
) -> Scores:
    """Scores a scene against the truth, writes RUN/scores.json and the pictures it scored to RUN/evaluation.

    Test views are drawn with the reference's lenses, through the similarity that the training cameras give
    (*unaligned*); then each pose is refined on its picture (*aligned*), and last each view takes its picture's
    brightness and white balance (*exposed*).

    Args:
        reference: a folder with transforms.json, and any of sharp/, test/, trajectories.npz.
        downscale: training read the photos reduced by this factor; so are the reference's.
        refine_steps: render calls with gradient spent on the test views' poses.
        inputs_refine_steps: the same for the training photos' poses; 0 scores them as trained only.
        on_progress: told the part that begins and the share that is done.
    Raises:
        PoseError: the reference is none, or shares too few photos with the run.
        FormatError: a test picture has another size than its camera.
    """
    began = time.monotonic()
    truth = load_truth(reference)
    work = _Evaluation(run, truth, Studio(scene.detached(), rasterizer, options), photos, downscale)
    on_progress("novel views", 0.0)
    novel = work.novel_view(refine_steps, lambda share: on_progress("novel views", 0.5 * share))
    on_progress("deblurred photos", 0.5)
    pictures, depth = work.studio.render(work.cameras.to(dtype=torch.float32))
    work.write("deblurred_inputs", work.names, pictures)
    inputs = work.deblurred_inputs(
        pictures, depth, inputs_refine_steps, lambda share: on_progress("deblurred photos", 0.5 + 0.4 * share)
    )
    on_progress("paths and pictures", 0.9)
    paths = work.paths(depth)
    sheets = work.side_by_side(pictures, paths.extent_px if paths else None)
    focal_ratio = work.cameras.Ks[:, 0, 0] / work.cameras.width / (work.reference.Ks[:, 0, 0] / work.reference.width)
    scores = Scores(
        novel_view=novel,
        deblurred_inputs=inputs,
        centers=center_errors(work.names, work.alignment, work.reference),
        paths=paths,
        alignment=work.alignment_scores(),
        missing=work.missing,
        settings={
            "reference": str(reference),
            "downscale": downscale,
            "size": [work.cameras.width, work.cameras.height],
            "refine_steps": refine_steps,
            "inputs_refine_steps": inputs_refine_steps,
            "rasterizer": rasterizer.name,
            "gaussians": len(scene),
            "focal_over_true_focal": focal_ratio.median().item(),
            "values": "sRGB floats clipped to [0, 1], not rounded; PSNR per picture, then mean",
            "lpips": work.about_lpips,
        },
        seconds=time.monotonic() - began,
        pictures=sheets,
    )
    scores.save(run.scores)
    on_progress("done", 1.0)
    return scores
