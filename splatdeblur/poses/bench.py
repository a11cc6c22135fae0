"""One capture on COLMAP's bench: features, matches and mapping, each with progress, a deadline and Ctrl-C."""

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import pycolmap

from ..capture import Capture, Frame
from .adjust import adjusted
from .attempts import Features, Mapping
from .lens_groups import initial_focal_px, lens_groups
from .own_lenses import with_own_lenses

T = TypeVar("T")
Pairs = list[tuple[str, str]]
Report = Callable[[float, str], None]
"""Called with the finished fraction and a short message."""

MIN_PHOTOS = 3
MAX_EXHAUSTIVE = 200  # photos; above, and for videos, neighbours in time are matched


class OutOfTime(Exception):
    """The time limit came before this step was through."""


def pairs_to_match(capture: Capture) -> list[tuple[str, str]]:
    """Which photos are compared: all with all; in videos and large captures near and, rarer, far ones."""
    names = [f.name for f in capture.frames]
    if len(names) <= (60 if capture.is_video else MAX_EXHAUSTIVE):
        return list(combinations(names, 2))
    near, far = 10, {2**k for k in range(4, 12)}
    steps = sorted({*range(1, near + 1), *far})
    pairs = [(names[i], names[i + s]) for i in range(len(names)) for s in steps if i + s < len(names)]
    # Every tenth photo with every tenth: closes the loop where a walk comes back to where it began.
    return list(dict.fromkeys([*pairs, *combinations(names[::10], 2)]))


def batched(names: Sequence[str], count: int) -> list[Sequence[str]]:
    """Cut into runs of `count`, the last one shorter."""
    return [names[start : start + count] for start in range(0, len(names), count)]


def in_blocks(pairs: list[tuple[str, str]], photos: int = 24) -> list[list[tuple[str, str]]]:
    """The same pairs in groups that touch at most twice `photos` photos each.

    COLMAP builds a search index for every photo that a call touches, which costs as much as several pairs.
    """
    order = {name: index // photos for index, name in enumerate(dict.fromkeys(n for pair in pairs for n in pair))}
    blocks: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for a, b in pairs:
        blocks.setdefault((order[a], order[b]), []).append((a, b))
    return list(blocks.values())


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """COLMAP logs every step to stderr; progress and errors reach us otherwise."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.FATAL)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


@dataclass(frozen=True, eq=False)
class Bench:
    """The photos of one capture, and where to work on them.

    Attributes:
        scratch: a folder for databases and models; of no use afterwards.
        photos: the folder of the photos.
        masks: the folder of their masks, NAME.png for photo NAME, which may be missing; None for none.
        deadline: of `time.monotonic()`; infinity for none.
    """

    scratch: Path
    photos: Path
    capture: Capture
    seed: int
    deadline: float
    masks: Path | None = None

    def _interruptibly(self, work: Callable[[pycolmap.CancellationToken], T]) -> T:
        """Runs `work` in a thread, so that Ctrl-C and the deadline reach it while COLMAP computes."""
        if time.monotonic() >= self.deadline:
            raise OutOfTime
        token = pycolmap.CancellationToken()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work, token)
            try:
                while True:
                    try:
                        return future.result(timeout=0.2)
                    except StillRunning:
                        if future.done():  # by now, or the work itself ran into some time limit
                            return future.result()
                        if time.monotonic() > self.deadline:
                            token.cancel()
            except InterruptedError as error:
                raise OutOfTime from error
            finally:
                token.cancel()  # after Ctrl-C, for which the pool would wait; after success it does nothing

    def extract(
        self,
        database: Path,
        features: Features,
        names: Sequence[str],
        lenses: Sequence[pycolmap.Camera | None] | None,
        report: Report,
    ) -> None:
        """Makes a database with the features of some photos, none of them where a mask is black.

        Args:
            lenses: what is known of each photo's lens, equal ones being one camera; None, for a photo or for all,
                for one camera for each of `lens_groups`, which starts from EXIF, else from a usual focal length.
        """
        database.unlink(missing_ok=True)
        # Entered in order first, so that ids do not depend on which thread finishes first.
        pycolmap.Database.open(database).close()
        one_camera = pycolmap.CameraMode.SINGLE
        groups, frames = lens_groups(self.capture), {f.name: f for f in self.capture.frames}
        by_lens: dict[tuple, list[str]] = {}
        for name, lens in zip(names, lenses or (None,) * len(names), strict=True):
            size = self.capture.size_of(frames[name])
            known = (groups[name],) if lens is None else (lens.model_name, ",".join(map(str, lens.params)))
            by_lens.setdefault((size, known), []).append(name)
        reader = pycolmap.ImageReaderOptions()
        for (size, known), alike in by_lens.items():
            if len(known) == 1:
                known = self._first_guess([f for f in self.capture.frames if groups[f.name] == known[0]], size)
            reader.camera_model, reader.camera_params = known
            pycolmap.import_images(database, self.photos, one_camera, alike, reader)
        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu = False
        options.max_image_size = features.max_photo_px
        options.sift.max_num_features = features.max_count
        options.sift.peak_threshold = features.peak_threshold
        options.sift.estimate_affine_shape = features.follows_shape
        options.sift.domain_size_pooling = features.follows_shape
        # With a folder of masks, COLMAP finds nothing in a photo that has none there.
        masked = [name for name in names if self.masks is not None and frames[name].has_mask]
        others = [name for name in names if name not in set(masked)]
        done = 0
        for some in (*batched(others, 8), *batched(masked, 8)):
            report(0.3 * done / len(names), f"features, photo {done + 1} of {len(names)}")
            done += len(some)
            reader.mask_path = self.masks if some[0] in masked else ""
            self._interruptibly(
                lambda token, some=some: pycolmap.extract_features(
                    database,
                    self.photos,
                    image_names=list(some),
                    camera_mode=pycolmap.CameraMode.AUTO,  # each photo has its camera by now
                    reader_options=reader,
                    extraction_options=options,
                    device=pycolmap.Device.cpu,
                    cancellation_token=token,
                )
            )

    def _first_guess(self, frames: Sequence[Frame], size: tuple[int, int]) -> tuple[str, str]:
        """Model and parameters, as COLMAP wants to be told of a camera before it enters photos."""
        focal = initial_focal_px(frames, size)
        return "SIMPLE_RADIAL", "" if focal is None else f"{focal},{size[0] / 2},{size[1] / 2},0"

    def match(self, database: Path, features: Features, pairs: Pairs, report: Report) -> None:
        """Adds the verified matches of pairs of photos to a database."""
        options = pycolmap.FeatureMatchingOptions()
        options.use_gpu = False
        options.guided_matching = features.is_guided
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = self.seed
        listed = pycolmap.ImportedPairingOptions()
        listed.match_list_path = self.scratch / "pairs.txt"
        done = 0
        for block in in_blocks(pairs):
            report(0.3 + 0.4 * done / len(pairs), f"matches, pair {done + 1} of {len(pairs)}")
            done += len(block)
            listed.match_list_path.write_text("".join(f"{a} {b}\n" for a, b in block))
            self._interruptibly(
                lambda token: pycolmap.match_image_pairs(
                    database,
                    options,
                    listed,
                    verification_options=verification,
                    device=pycolmap.Device.cpu,
                    cancellation_token=token,
                )
            )

    def map(
        self,
        database: Path,
        options: pycolmap.IncrementalPipelineOptions,
        start: pycolmap.Reconstruction | None,
        report: Report,
    ) -> list[pycolmap.Reconstruction]:
        """Models, largest first; with `start`, that model and the photos that join it."""
        total, joined = len(self.capture.frames), 2
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        begin: Path | str = ""
        if start is not None:
            begin = folder / "start"
            begin.mkdir()
            start.write(begin)
            joined = start.num_reg_images()

        def one_more() -> None:
            nonlocal joined
            joined += 1
            report(0.7 + 0.3 * min(1.0, joined / total), f"placing photos, {min(joined, total)} of {total}")

        report(0.7, "looking for a pair to start from")
        models = self._interruptibly(
            lambda token: pycolmap.incremental_mapping(
                database,
                self.photos,
                folder,
                options,
                input_path=begin,
                next_image_callback=one_more,
                cancellation_token=token,
            )
        )
        return sorted(models.values(), key=lambda m: m.num_reg_images(), reverse=True)

    def map_at_once(self, database: Path, mapping: Mapping, report: Report) -> list[pycolmap.Reconstruction]:
        """Models of the photos in a database by the global mapper (GLOMAP), largest first. It cannot be interrupted."""
        options = pycolmap.GlobalPipelineOptions()
        options.min_num_matches = max(mapping.min_matches, options.min_num_matches)  # one bad pair bends all photos
        options.min_model_size = MIN_PHOTOS
        for part in (options, options.mapper, options.mapper.rotation_averaging, options.mapper.global_positioning):
            part.random_seed = self.seed
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        report(0.7, "placing all photos at once")
        models = self._interruptibly(lambda token: pycolmap.global_mapping(database, self.photos, folder, options))
        return sorted(models.values(), key=lambda m: m.num_reg_images(), reverse=True)

    def adjust(self, model: pycolmap.Reconstruction, without: Collection[str] = ()) -> pycolmap.Reconstruction:
        """The model after its last adjustment, `adjusted`; as it is where there is no time for that. It cannot be
        interrupted."""
        try:
            return self._interruptibly(lambda token: adjusted(model, without))
        except OutOfTime:
            return model

    def part_lenses(self, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction | None:
        """The model `with_own_lenses`; None where they do not differ. It takes seconds, whatever the deadline, and
        cannot be interrupted."""
        return replace(self, deadline=math.inf)._interruptibly(lambda token: with_own_lenses(model))

    def triangulate(
        self,
        database: Path,
        posed: pycolmap.Reconstruction,
        options: pycolmap.IncrementalPipelineOptions | None = None,
    ) -> pycolmap.Reconstruction:
        """The points that a database's matches give to photos whose poses are known and stay, with colours.

        Args:
            options: which matches become points; None for COLMAP's own.
        """
        options = options or pycolmap.IncrementalPipelineOptions()
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        return self._interruptibly(
            lambda token: pycolmap.triangulate_points(
                posed, database, self.photos, folder, clear_points=True, options=options, cancellation_token=token
            )
        )


def posed_model(
    database: Path, poses: dict[str, pycolmap.Rigid3d], lenses: dict[str, pycolmap.Camera]
) -> pycolmap.Reconstruction:
    """A model of photos with their poses and lenses, without points, under the ids that the database gives them."""
    opened = pycolmap.Database.open(database)
    try:
        images = {image.name: image for image in opened.read_all_images()}
        cameras = {camera.camera_id: camera for camera in opened.read_all_cameras()}
    finally:
        opened.close()
    model = pycolmap.Reconstruction()
    for name, pose in poses.items():
        camera = cameras[images[name].camera_id]
        if not model.exists_camera(camera.camera_id):
            camera.params = lenses[name].params
            model.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(name=name, camera_id=camera.camera_id, image_id=images[name].image_id)
        model.add_image_with_trivial_frame(image, pose)
    return model


def relensed(database: Path, model: pycolmap.Reconstruction) -> Path:
    """A copy of a database whose cameras have the lenses that a model made from it found."""
    copy = database.with_name(f"{database.stem}-relensed.db")
    shutil.copy(database, copy)
    opened = pycolmap.Database.open(copy)
    try:
        for camera in opened.read_all_cameras():
            if model.exists_camera(camera.camera_id):
                camera.params = model.cameras[camera.camera_id].params
                opened.update_camera(camera)
    finally:
        opened.close()
    return copy


def mapping_options(mapping: Mapping, seed: int) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = MIN_PHOTOS
    options.max_num_models = 5
    options.min_num_matches = mapping.min_matches
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    options.mapper.init_max_error = mapping.init_max_error
    options.mapper.init_min_num_inliers = mapping.init_min_inliers
    options.mapper.init_max_reg_trials = mapping.max_trials
    options.mapper.max_reg_trials = mapping.max_trials
    options.mapper.abs_pose_max_error = mapping.pose_max_error
    options.mapper.abs_pose_min_num_inliers = mapping.pose_min_inliers
    options.mapper.abs_pose_min_inlier_ratio = mapping.pose_min_inlier_ratio
    options.mapper.filter_max_reproj_error = mapping.filter_max_error
    return options
