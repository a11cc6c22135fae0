"""A room of textured boxes and balls, and rays through it: pictures of known truth.

Numpy alone, with its own rays and sRGB curve, so that it can share no mistake with the package.
Cameras are pinholes; poses are OpenCV camera-to-world. Light is added up in linear RGB and encoded last.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

ROOM_SIZE = np.array([4.4, 4.4, 2.6])
GLOW_CONTRAST = 0.2  # of a lamp's paint, to that of one that does not glow
_LIGHTMAP = 40  # lighting is smooth: one value per 1/40 of a face, interpolated
_BLOCK = 16384  # rays at a time: their arrays stay in the processor's cache
_AIR = 1e-4  # rays start this far off the surface they leave


@dataclass(frozen=True, eq=False)
class Body:
    """A box or a ball, turned about the vertical; colours lie on the six faces of a cube around it.

    Attributes:
        is_ball: the ball fills the box.
        center, half: middle and half edge lengths, in world units.
        world_from_body: rotation.
        mips: linear RGB on the faces, each level half as fine as the one before: [6, R, R, 3].
    """

    is_ball: bool
    center: Array
    half: Array
    world_from_body: Array
    mips: list[Array]


@dataclass(frozen=True, eq=False)
class Scene:
    """Bodies in a room; `bodies[0]` is the room itself, seen from inside."""

    bodies: list[Body]
    seed: int

    @property
    def target(self) -> Array:
        """The point that the cameras look at."""
        return np.array([0.0, 0.0, 0.45])


def encode_srgb(linear: Array) -> Array:
    """Linear light to sRGB values, clipped to [0, 1]."""
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


# ---- the scene


def make_scene(seed: int, *, bodies: int = 9, texels: int = 384, lamps: tuple[float, ...] = ()) -> Scene:
    """A furnished room.

    Args:
        bodies: boxes and balls in the middle of the room.
        texels: along one wall; pictures wider than about 400 px want more than the default.
        lamps: mean linear brightness (white is 1) of as many bodies, which glow almost evenly, as a shade does.
    """
    rng = np.random.default_rng(seed)
    room_texture = np.stack([_paint(rng, texels, brightness=0.45 if face == 4 else 0.6) for face in range(6)])
    room = Body(False, np.array([0, 0, ROOM_SIZE[2] / 2]), ROOM_SIZE / 2, np.eye(3), [room_texture])
    placed: list[Body] = []
    spots: list[tuple[Array, float]] = []
    for k in range(200):
        if len(placed) == bodies:
            break
        is_ball = bool(rng.random() < 0.35)
        half = rng.uniform([0.1, 0.1, 0.1], [0.25, 0.25, 0.42])
        half = np.full(3, rng.uniform(0.13, 0.24)) if is_ball else half
        place = rng.uniform(-0.85, 0.85, 2)
        reach = float(half[0] if is_ball else np.hypot(half[0], half[1]))
        if k < 150 and any(np.hypot(*(place - other)) < reach + r for other, r in spots):
            continue
        spots.append((place, reach))
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        # Bodies are smaller than walls: fewer texels a face are as fine.
        finish = {"resolution": max(32, texels // 3), "feature": 0.55, "marks": 45}
        paint = np.stack([_paint(rng, brightness=rng.uniform(0.5, 0.9), **finish) for _ in range(6)])
        placed.append(Body(is_ball, np.array([*place, half[2]]), half, turn, [paint]))
    scene = Scene([room, *placed], seed)
    lit = [_light(scene, body, rng) for body in scene.bodies]
    for k, brightness in enumerate(lamps):
        shades = [mip**GLOW_CONTRAST for mip in lit[1 + k].mips]
        lit[1 + k] = replace(lit[1 + k], mips=[shade * (brightness / shades[0].mean()) for shade in shades])
    return Scene(lit, seed)


def _noise(rng: np.random.Generator, resolution: int, cells: int) -> Array:
    """Smooth noise in [0, 1] with `cells` bumps along a side: [resolution, resolution, 1]."""
    grid = rng.random((cells + 2, cells + 2)).astype(np.float32)
    at = np.linspace(0.5, cells + 0.5 - 1e-3, resolution).astype(np.float32)
    low, t = at.astype(int), at % 1
    t = t * t * (3 - 2 * t)
    rows = grid[low] * (1 - t)[:, None] + grid[low + 1] * t[:, None]
    return (rows[:, low] * (1 - t) + rows[:, low + 1] * t)[..., None]


def _paint(
    rng: np.random.Generator, resolution: int, *, brightness: float, feature: float = 0.16, marks: int = 260
) -> Array:
    """One face: a ground of noise at many scales, then discs, bars and stripes of all sizes: strong corners.

    Args:
        brightness: of the ground.
        feature: size of the largest marks, as a part of the face.
    """
    hue = rng.uniform(0.3, 1, 3).astype(np.float32)
    picture = np.broadcast_to(hue / hue.max() * brightness, (resolution, resolution, 3)).astype(np.float32)
    for cells in (4, 11, 31, resolution // 5):
        picture = picture * (1 + 0.4 * (_noise(rng, resolution, cells) - 0.5))
    y, x = np.mgrid[:resolution, :resolution].astype(np.float32)
    for size in np.geomspace(feature, max(feature / 14, 2.5 / resolution), marks):
        radius = max(1.0, size * resolution / 2)
        r = int(np.ceil(radius))
        row, column = rng.integers(0, resolution, 2)
        window = (slice(max(0, row - r), row + r + 1), slice(max(0, column - r), column + r + 1))
        u, v = x[window] - column, y[window] - row
        angle = rng.uniform(0, np.pi)
        along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
        kind = rng.integers(3)
        if kind == 0:
            inside = u * u + v * v < radius * radius
        elif kind == 1:
            inside = (abs(along) < radius * 0.8) & (abs(across) < radius * 0.55)
        else:
            inside = (u * u + v * v < radius * radius) & (np.floor(along * 2.5 / radius) % 2 < 1)
        color = rng.uniform(0.03, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.choice([0.04, 0.9]))
        picture[window][inside] = color.astype(np.float32)
    return picture


def _faces(body: Body, resolution: int) -> tuple[Array, Array]:
    """World positions and unit normals of the texels' middles: [6 * resolution^2, 3] each."""
    at = ((np.arange(resolution) + 0.5) / resolution * 2 - 1).astype(np.float32)
    v, u = np.meshgrid(at, at, indexing="ij")
    cube = np.empty((6, resolution, resolution, 3), np.float32)
    normals = np.zeros_like(cube)
    for face in range(6):
        axis, sign = face // 2, 1 - 2 * (face % 2)
        cube[face][..., axis] = sign
        cube[face][..., (axis + 1) % 3] = u
        cube[face][..., (axis + 2) % 3] = v
        normals[face][..., axis] = sign
    cube, normals = cube.reshape(-1, 3), normals.reshape(-1, 3)
    if body.is_ball:
        cube = normals = cube / np.linalg.norm(cube, axis=-1, keepdims=True)
    return (cube * body.half) @ body.world_from_body.T + body.center, normals @ body.world_from_body.T


def _light(scene: Scene, body: Body, rng: np.random.Generator) -> Body:
    """The body, lit by a lamp under the ceiling (with soft shadows) and by the light of the room around."""
    is_room = body is scene.bodies[0]
    positions, normals = _faces(body, _LIGHTMAP)
    normals = -normals if is_room else normals
    positions = positions + normals * 4e-3
    count = len(positions)
    light = np.zeros(count)
    for k in range(9):  # a square lamp, one jittered place in each of its nine parts
        lamp = np.array([(k % 3 - 1) / 3, (k // 3 - 1) / 3, 0]) * 0.9 + [0.5, -0.4, 2.55]
        way = lamp + np.r_[rng.uniform(-0.15, 0.15, 2), 0] - positions
        distance = np.linalg.norm(way, axis=-1)
        way /= distance[:, None]
        hit = _trace(scene.bodies[1:], positions, way)[0]
        facing = np.maximum((way * normals).sum(-1), 0) * np.maximum(way[:, 2], 0)
        light += np.where(hit > distance, facing, 0) * 2.6 / (0.6 + distance**2) / 9
    open_sky = np.zeros(count)
    for _ in range(12):
        way = rng.normal(size=(count, 3))
        way = way / np.linalg.norm(way, axis=-1, keepdims=True) + normals
        way /= np.linalg.norm(way, axis=-1, keepdims=True) + 1e-6
        open_sky += np.minimum(_trace(scene.bodies[1:], positions, way)[0], 0.8) / 0.8 / 12
    lightmap = (0.32 * open_sky**1.5 + light).reshape(6, _LIGHTMAP, _LIGHTMAP, 1).astype(np.float32)
    padded = np.pad(lightmap, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    smooth = sum(padded[:, i : i + _LIGHTMAP, j : j + _LIGHTMAP] for i in range(3) for j in range(3)) / 9
    resolution = body.mips[0].shape[1]
    at = np.clip((np.arange(resolution) + 0.5) / resolution * _LIGHTMAP - 0.5, 0, _LIGHTMAP - 1 - 1e-3)
    low, t = at.astype(int), (at % 1).astype(np.float32)[:, None]
    rows = smooth[:, low] * (1 - t)[:, :, None] + smooth[:, low + 1] * t[:, :, None]
    lit = body.mips[0] * (rows[:, :, low] * (1 - t) + rows[:, :, low + 1] * t)
    mips = [np.ascontiguousarray(lit)]
    while mips[-1].shape[1] % 2 == 0 and mips[-1].shape[1] > 8:
        m = mips[-1]
        mips.append((m[:, ::2, ::2] + m[:, 1::2, ::2] + m[:, ::2, 1::2] + m[:, 1::2, 1::2]) / 4)
    return Body(body.is_ball, body.center, body.half, body.world_from_body, mips)


# ---- rays


def _trace(bodies: list[Body], origins: Array, ways: Array) -> tuple[Array, NDArray[np.integer]]:
    """Distance to the first body met from outside (infinity: none) and its index, per ray."""
    nearest = np.full(len(ways), np.inf, ways.dtype)
    which = np.full(len(ways), -1, np.int32)
    for index, body in enumerate(bodies):
        # A ray that misses the ball around the body misses the body: most rays stop here.
        radius = body.half[0] if body.is_ball else np.linalg.norm(body.half)
        offset = (origins - body.center).astype(ways.dtype)
        b = np.einsum("...i,...i", offset, ways)
        c = np.einsum("...i,...i", offset, offset) - radius**2
        hopeful = np.flatnonzero(np.broadcast_to((b * b > c) & ((b < 0) | (c < 0)), nearest.shape))
        if body.is_ball:
            b, c = (np.broadcast_to(x, nearest.shape)[hopeful] for x in (b, c))
            distance = -b - np.sqrt(b * b - c)
            distance = np.where(distance > _AIR, distance, np.inf)
        else:
            way = ways[hopeful] @ body.world_from_body.astype(ways.dtype)
            offset = np.broadcast_to(offset, ways.shape)[hopeful] @ body.world_from_body.astype(ways.dtype)
            near, far = _slabs(offset, way, body.half)
            distance = np.where((near < far) & (near > _AIR), near, np.inf)
        closer = distance < nearest[hopeful]
        nearest[hopeful[closer]] = distance[closer]
        which[hopeful[closer]] = index
    return nearest, which


def _slabs(offset: Array, way: Array, half: Array) -> tuple[Array, Array]:
    """Where rays enter and leave the box of half edges `half` about the origin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / np.where(abs(way) < 1e-9, np.asarray(1e-9, way.dtype), way)
    middle = -offset * inverse
    reach = abs(inverse) * half.astype(way.dtype)
    near, far = middle - reach, middle + reach
    near = np.maximum(np.maximum(near[:, 0], near[:, 1]), near[:, 2])
    far = np.minimum(np.minimum(far[:, 0], far[:, 1]), far[:, 2])
    return near, far


def shoot(scene: Scene, origins: Array, ways: Array, spread: float) -> tuple[Array, Array]:
    """Linear RGB and distance seen along unit rays.

    Args:
        spread: width of a ray at distance 1; picks how fine the texture is read.
    """
    room = scene.bodies[0]
    distance, which = _trace(scene.bodies[1:], origins, ways)
    leave = _slabs((origins - room.center).astype(ways.dtype), ways, room.half)[1]
    which = np.where(distance < leave, which + 1, 0)
    distance = np.minimum(distance, leave)
    points = origins + distance[:, None] * ways
    colors = np.empty_like(ways)
    for index, body in enumerate(scene.bodies):
        rays = np.flatnonzero(which == index)
        if len(rays):
            colors[rays] = _texture(body, points[rays], distance[rays] * spread)
    return colors, distance


def _texture(body: Body, points: Array, width: Array) -> Array:
    """Colours at surface points, read at the level of detail of rays `width` wide, bilinearly."""
    kind = points.dtype
    local = (points - body.center.astype(kind)) @ (body.world_from_body / body.half).astype(kind)
    axis = abs(local).argmax(-1)
    rows = np.arange(len(local))
    along = local[rows, axis]
    face = 2 * axis + (along < 0)
    u, v = (local[rows, (axis + i) % 3] / np.maximum(abs(along), 1e-6) for i in (1, 2))
    texel = 2 * float(body.half.mean()) / body.mips[0].shape[1]
    level = np.round(np.log2(np.maximum(width / texel, 1e-6)) + 0.3)
    level = np.clip(level, 0, len(body.mips) - 1).astype(int)
    colors = np.empty((len(points), 3), np.float32)
    for k, texture in enumerate(body.mips):
        chosen = np.flatnonzero(level == k)
        if not len(chosen):
            continue
        resolution = texture.shape[1]
        x = np.clip((u[chosen] + 1) / 2 * resolution - 0.5, 0, resolution - 1.001)
        y = np.clip((v[chosen] + 1) / 2 * resolution - 0.5, 0, resolution - 1.001)
        column, row = x.astype(np.int32), y.astype(np.int32)
        s, t = (x - column)[:, None].astype(np.float32), (y - row)[:, None].astype(np.float32)
        flat = texture.reshape(-1, 3)
        first = (face[chosen] * resolution + row) * resolution + column
        upper = flat[first] * (1 - s) + flat[first + 1] * s
        lower = flat[first + resolution] * (1 - s) + flat[first + resolution + 1] * s
        colors[chosen] = upper * (1 - t) + lower * t
    return colors


def render(
    scene: Scene,
    world_from_camera: Array,
    K: Array,
    size: tuple[int, int],
    *,
    samples: int,
    rng: np.random.Generator,
    aperture: float = 0.0,
    focus: float = 1.0,
) -> Array:
    """The mean over the given poses of what a camera sees, linear RGB, [height, width, 3].

    Args:
        world_from_camera: [pose, 4, 4], OpenCV axes; each weighs the same. Or [pose, height, 4, 4], where each row
            of the picture has poses of its own.
        samples: rays per pixel and pose, jittered within the pixel.
        aperture: radius of the lens in world units; 0 is a pinhole.
        focus: z-depth at which everything is sharp.
    """
    width, height = size
    total = np.zeros((height * width, 3), np.float32)
    column, row = (x.ravel().astype(np.float32) for x in np.meshgrid(np.arange(width), np.arange(height)))
    center, focal = np.float32(K[[0, 1], 2]), np.float32(K[[0, 1], [0, 1]])
    cells = _cells(samples * len(world_from_camera), rng)
    spread = 1 / K[0, 0] / np.sqrt(samples)
    turns, shares = (rng.uniform(0, 2 * np.pi, len(total)), rng.permutation(len(cells))) if aperture else ([], [])
    for k, pose in enumerate(world_from_camera):
        for i, cell in enumerate(cells[k * samples : (k + 1) * samples], k * samples):
            shift = np.float32(cell + rng.uniform(-0.5, 0.5, 2) / np.sqrt(len(cells))) - center
            for part in range(0, len(total), _BLOCK):
                rays = slice(part, part + _BLOCK)
                x, y = (column[rays] + shift[0]) / focal[0], (row[rays] + shift[1]) / focal[1]
                through = np.zeros((1, 3), np.float32)
                if aperture:
                    through = _on_lens(turns[rays], shares[i], len(cells), rng) * np.float32(aperture)
                # One pose for all rays, or each row's own.
                here = np.float32(pose[None] if pose.ndim == 2 else pose[row[rays].astype(int)])
                ways = _turned(here, np.stack([x, y, np.ones_like(x)], -1) - through / np.float32(focus))
                ways /= np.sqrt(np.einsum("ri,ri->r", ways, ways))[:, None]
                starts = here[:, :3, 3] + _turned(here, through)
                total[rays] += shoot(scene, starts, ways, spread)[0]
    return (total / len(cells)).reshape(height, width, 3)


def _turned(poses: Array, vectors: Array) -> Array:
    """Vectors by the rotation of the one pose, or each by its own."""
    if len(poses) == 1:
        return vectors @ poses[0, :3, :3].T
    return np.einsum("rij,rj->ri", poses[:, :3, :3], np.broadcast_to(vectors, (len(poses), 3)))


def _on_lens(turn: Array, share: int, shares: int, rng: np.random.Generator) -> Array:
    """For each ray a point in one of the equal shares of the unit disk in the plane z = 0: [ray, 3].

    The shares wind outwards by the golden angle, from `turn` on, each pixel's own: a pixel that gets one ray for each
    sees the whole lens evenly, and neighbours see it differently.
    """
    radius = np.sqrt((share + rng.random(len(turn))) / shares)
    angle = turn + share * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(len(turn))], -1).astype(np.float32)


def _cells(count: int, rng: np.random.Generator) -> Array:
    """`count` well-spread places in the unit square, in random order: [count, 2]."""
    k = np.arange(count)
    # Source: the R2 sequence, Roberts 2018.
    places = (0.5 + k[:, None] * np.array([0.7548776662466927, 0.5698402909980532])) % 1
    return rng.permutation(places)
