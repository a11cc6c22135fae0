"""Single photos join a model of the others, by better features, which only they and their neighbours need.

The model's cameras stay where sharper features put them; the cost grows with the number of photos that are
missing, not with the square of all.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pycolmap

from .attempts import Attempt
from .bench import Bench, Pairs, Report, mapping_options, posed_model
from .evidence import Evidence, centers_of, evidence_in, extent_of
from .lens_groups import lenses_from
from .reconstruction import Posed, posed_from_colmap

MOST_MATCHED = 6  # neighbours of a missing photo by the number of matches with it
NEXT_IN_ORDER = 2  # and on either side of it in the order of the photos


def join(
    bench: Bench,
    attempt: Attempt,
    model: pycolmap.Reconstruction,
    matches: Path,
    database: Path,
    report: Report,
) -> tuple[Posed, dict[str, Evidence]] | None:
    """The missing photos that the attempt's features and mapping can place, with the points of these features, all
    in the model's world, and what holds these photos; None if there is none.

    Args:
        matches: the database that the model was made from; its matches, verified or not, tell neighbours.
        database: a file to be made.
    """
    lenses = lenses_from(model, bench.capture)
    names = [frame.name for frame in bench.capture.frames if frame.name in lenses]
    placed = {i.name: i for i in model.images.values() if i.has_pose}
    pairs = neighbour_pairs(names, set(placed), matches_between(matches))
    touched = sorted({name for pair in pairs for name in pair}, key=names.index)
    known = [placed[name] for name in touched if name in placed]
    if len(known) < 4:  # too few to bring a result back into the model's world
        return None
    bench.extract(database, attempt.features, touched, [lenses[name] for name in touched], report)
    bench.match(database, attempt.features, pairs, report)
    poses = {image.name: image.cam_from_world() for image in known}
    start = bench.triangulate(database, posed_model(database, poses, lenses))
    options = mapping_options(attempt.mapping, bench.seed)
    options.load_all_images = True  # else COLMAP fails on a start image whose features match nothing
    options.fix_existing_frames = True
    options.ba_refine_focal_length = options.ba_refine_extra_params = False
    options.mapper.abs_pose_refine_focal_length = options.mapper.abs_pose_refine_extra_params = False
    models = bench.map(database, options, start, report)
    if not models or not _brought_into_world_of(placed, models[0]):
        return None
    models[0].extract_colors_for_all_images(bench.photos)
    posed = posed_from_colmap(models[0])
    rows = [row for row, name in enumerate(posed.names) if name not in placed]
    evidence = evidence_in(models[0], attempt.name, extent_of(centers_of(model)))
    joined = replace(
        posed,
        names=tuple(posed.names[row] for row in rows),
        viewmats=posed.viewmats[rows],
        lenses=tuple(lenses[posed.names[row]] for row in rows),
    )
    return joined, {name: evidence[name] for name in joined.names}


def matches_between(database: Path) -> dict[tuple[str, str], int]:
    """How many features of two photos match, fitting one geometry or not, for every pair that has any."""
    opened = pycolmap.Database.open(database)
    try:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        counts = zip(*opened.read_num_matches(), strict=True)
        pairs = ((pycolmap.pair_id_to_image_pair(pair), count) for pair, count in counts)
        return {(names[a], names[b]): count for (a, b), count in pairs}
    finally:
        opened.close()


def neighbour_pairs(names: list[str], placed: set[str], counts: dict[tuple[str, str], int]) -> Pairs:
    """For every photo that is not placed: pairs with its likely neighbours, and of these with each other.

    Args:
        names: all photos, in order.
        placed: those with a pose.
        counts: matches between two photos.
    """
    found: dict[tuple[str, str], None] = {}
    both_ways = counts | {(b, a): n for (a, b), n in counts.items()}
    order = {name: index for index, name in enumerate(names)}
    for name in (n for n in names if n not in placed):
        ranked = sorted(placed, key=lambda other: (-both_ways.get((name, other), 0), order[other]))
        before = [n for n in names[: order[name]] if n in placed][-NEXT_IN_ORDER:]
        after = [n for n in names[order[name] :] if n in placed][:NEXT_IN_ORDER]
        near = list(dict.fromkeys([*ranked[:MOST_MATCHED], *before, *after]))
        others = [n for n in names if n not in placed and n != name and abs(order[n] - order[name]) <= NEXT_IN_ORDER]
        for pair in (*((name, n) for n in (*near, *others)), *combinations(near, 2)):
            found[tuple(sorted(pair, key=order.__getitem__))] = None
    return sorted(found, key=lambda pair: (order[pair[0]], order[pair[1]]))


def _brought_into_world_of(placed: dict[str, pycolmap.Image], model: pycolmap.Reconstruction) -> bool:
    """Moves the model by the similarity that fits its images to the placed ones; False if there is none."""
    common = [i for i in model.images.values() if i.has_pose and i.name in placed]
    ours = np.array([i.projection_center() for i in common])
    theirs = np.array([placed[i.name].projection_center() for i in common])
    world_from_model = pycolmap.estimate_sim3d(ours, theirs) if len(common) >= 4 else None
    if world_from_model is not None:
        model.transform(world_from_model)
    return world_from_model is not None
