"""The ladder: settings for structure from motion that are tried in order, each with its reason."""

from dataclasses import dataclass, replace

MANY_PHOTOS, MAX_COUNT_AMONG_MANY = 60, 4096


@dataclass(frozen=True)
class Features:
    """What is found in each photo, and how it is compared.

    Attributes:
        max_photo_px: photos are reduced to this length for it; blur leaves no detail above it anyway.
        max_count: strongest features kept in each photo.
        peak_threshold: the contrast a feature needs (COLMAP: 0.0067); blur takes contrast away.
        follows_shape: affine shape and pooling over domain sizes: blur stretches a feature, and this looks
            along the stretch. Ten times slower.
        is_guided: matches are looked for a second time along the epipolar lines of the first ones.
    """

    max_photo_px: int = 1000
    max_count: int = 8192
    peak_threshold: float = 0.02 / 3
    follows_shape: bool = False
    is_guided: bool = False


@dataclass(frozen=True)
class Mapping:
    """When a photo may join the model; errors in px. The defaults are COLMAP's.

    Attributes:
        init_max_error, init_min_inliers: of the pair that it starts from.
        pose_max_error, pose_min_inliers, pose_min_inlier_ratio: of each photo that joins.
        filter_max_error: points with a larger reprojection error are dropped.
        max_trials: how often a photo may try to join.
        min_matches: pairs with fewer are ignored.
    """

    init_max_error: float = 4.0
    init_min_inliers: int = 100
    pose_max_error: float = 12.0
    pose_min_inliers: int = 30
    pose_min_inlier_ratio: float = 0.25
    filter_max_error: float = 4.0
    max_trials: int = 3
    min_matches: int = 15


@dataclass(frozen=True)
class Attempt:
    """One rung.

    Attributes:
        name: for messages.
        reason: why it may help where the rung before did not.
        features, mapping: the settings.
        continues: starts from the best model so far, if it has the same features, and only adds to it.
        joins: adds single photos to the best model so far, whose cameras stay as they are, if that holds most
            photos; only where it does not, a model of all photos is made with these features.
        again: solves the attempt before again, from the same matches, in other ways: a chain of photos added one by one
            bends where a step is weak, and where several ways agree it did not. Its features are not looked at.
        below: tried only if a smaller fraction of the photos than this is registered so far.
    """

    name: str
    reason: str
    features: Features
    mapping: Mapping
    continues: bool = False
    joins: bool = False
    again: bool = False
    below: float = 1.0

    def fitted(self, num_photos: int) -> "Attempt":
        """The same rung for so many photos: in large captures each photo has many partners and needs fewer features,
        and comparing two photos costs as much as the product of their counts."""
        if num_photos <= MANY_PHOTOS:
            return self
        count = min(self.features.max_count, MAX_COUNT_AMONG_MANY)
        return replace(self, features=replace(self.features, max_count=count))


PATIENT = Mapping(
    # DeblurGS's thresholds for blurry photos, but not its looser errors (filter 8, pair 12, pose 20 px):
    # those register as many photos and place them several times worse.
    init_max_error=6.0,
    init_min_inliers=30,
    pose_min_inliers=15,
    pose_min_inlier_ratio=0.12,
    max_trials=5,
    min_matches=5,
)

SHAPED = Features(max_photo_px=800, max_count=4096, peak_threshold=0.002, follows_shape=True, is_guided=True)
FAINT = Features(max_count=8192, peak_threshold=0.001, follows_shape=True, is_guided=True)
SMALL = Features(max_photo_px=240, max_count=4096, peak_threshold=0.001, follows_shape=True, is_guided=True)
SECOND_OPINION = "the same matches, for a second opinion"

LADDER: tuple[Attempt, ...] = (
    Attempt(
        "plain",
        "COLMAP's own settings: the most exact on photos that are sharp enough",
        Features(),
        Mapping(),
    ),
    Attempt("patient", "blurry photos join with fewer matches", Features(), PATIENT, continues=True),
    Attempt(
        "shaped",
        "features that follow the smear, in fainter contrast, matched twice",
        SHAPED,
        PATIENT,
        joins=True,
    ),
    Attempt("again", SECOND_OPINION, SHAPED, PATIENT, again=True),
    Attempt(
        "faint",
        "even fainter features: the only ones where every photo is smeared; elsewhere they mismatch",
        FAINT,
        PATIENT,
        below=0.9,
    ),
    Attempt("faint again", SECOND_OPINION, FAINT, PATIENT, again=True, below=0.9),
    Attempt("small", "small photos, in which blur is short", SMALL, PATIENT, below=0.9),
    Attempt("small again", SECOND_OPINION, SMALL, PATIENT, again=True, below=0.9),
)
