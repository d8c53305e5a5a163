"""Place and paint a tumor, and outline it as two annotators do, who differ along the edge and at the poles."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.intake.phantom.anatomy import Plan
from nephroscope.intake.phantom.canvas import Box, Canvas, Floats, Solid, blend, edge, turned

# HU of enhancing tumor by phase: mean over patients, and SD between patients. The order of subtypes and phases is
# that of the literature (clear cell 173, 149 and 98 HU, oncocytoma 151, 137 and 79 HU, where hypervascular: Urologia,
# doi 10.5301/uj.5000256); the difference is smaller and the spread wider, so that attenuation alone does not decide.
_SOLID_HU = {
    "PRCC": {"corticomedullary": 92.0, "nephrographic": 100.0, "excretory": 95.0},
    "ChRCC": {"corticomedullary": 109.0, "nephrographic": 117.0, "excretory": 110.0},
    "ccRCC": {"corticomedullary": 158.0, "nephrographic": 138.0, "excretory": 106.0},
    "oncocytoma": {"corticomedullary": 140.0, "nephrographic": 130.0, "excretory": 98.0},
}
_SOLID_SD_HU = 27.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Tumor:
    """A tumor on the grid of a scan.

    Attributes:
        solid: The ellipsoid that the outline follows.
        box: Voxels (S, R, C) around it, with room for the annotators' errors.
        level: Negative inside, on ``box``; 0.1 is about 5 % of the radius.
        width: How much ``level`` changes across a voxel.
    """

    solid: Solid
    box: Box
    level: Floats
    width: Floats


def place_tumor(canvas: Canvas, plan: Plan, size_cm: float, lobes: float, rng: np.random.Generator) -> Tumor:
    """Attach a tumor to one kidney, inside the abdominal wall and away from the spine.

    Args:
        canvas: Grid; nothing is painted yet.
        plan: Anatomy of the patient.
        size_cm: Largest diameter in the axial plane.
        lobes: Deviation of the outline from the ellipsoid, as a share of the radius.
        rng: Random numbers.
    """
    radius = 5 * size_cm
    room = (len(canvas.z) / 2 - 2) * canvas.spacing_mm[0]
    short, tall = rng.uniform(0.82, 1.0, 2)
    kidney = plan.kidneys[rng.integers(2)]
    best, best_clash = kidney.center, np.inf
    for _ in range(60):
        way = np.array([rng.uniform(-1, 0.5), rng.uniform(-1, 1), rng.uniform(-0.35, 0.35)])
        way /= np.linalg.norm(way)
        exophytic = rng.uniform(0.25, 0.85)  # share of the diameter outside the kidney
        surface = np.subtract(kidney.at(way), kidney.center)
        outward = surface / np.linalg.norm(surface)
        center = kidney.center + surface + outward * radius * (2 * exophytic - 1)
        clash = _clash(plan, center, radius)
        if clash < best_clash:
            best, best_clash = (float(center[0]), float(center[1]), float(center[2])), clash
        if clash == 0:
            break
    # The scan is centered on the tumor: its middle moves, and the rest of the abdomen with it.
    height = min(radius * tall, room)
    shift = float(np.clip(best[2], height - room, room - height))
    solid = Solid(
        center=(best[0], best[1], shift),
        axes=(radius, radius * short, height),
        rotation=turned(rng.uniform(0, 180)),
    )
    box = canvas.box(solid.grown(0.35 * radius + 3))
    level, width = canvas.level(solid, box)
    level = level - 2 * lobes * canvas.waves(box, 1.5 * radius, rng)
    return Tumor(solid=solid, box=box, level=level, width=width)


def _clash(plan: Plan, center: npt.NDArray[np.float64], radius: float) -> float:
    """How far a ball reaches into the abdominal wall or the spine, in mm; 0 if it is free."""
    cavity, spine = plan.cavity, plan.spine
    from_middle = np.hypot(
        (center[0] - cavity.center[0]) / (cavity.axes[0] - radius),
        (center[1] - cavity.center[1]) / (cavity.axes[1] - radius),
    )
    from_spine = np.hypot(*(center - spine.center)[:2]) - (30 + radius)
    return float(max(from_middle - 1, 0) * 60 + max(-from_spine, 0))


def paint_tumor(
    canvas: Canvas, tumor: Tumor, look: str, subtype: str, phase: str, rng: np.random.Generator
) -> None:
    """Paint the tumor with the texture of ``look`` and the enhancement of ``subtype``."""
    solid_hu = max(rng.normal(_SOLID_HU[subtype][phase], _SOLID_SD_HU), 42.0)
    hu = _TEXTURES[look](canvas, tumor, solid_hu, rng)
    blend(canvas.hu[tumor.box], edge(tumor.level, tumor.width), hu)


def _papillary(canvas: Canvas, tumor: Tumor, solid_hu: float, rng: np.random.Generator) -> Floats:
    """Patches, blobs of fluid and necrosis, flecks of calcium: HU on the tumor's box."""
    radius = tumor.solid.axes[0]
    patches = canvas.waves(tumor.box, float(np.clip(0.9 * radius, 6, 16)), rng)
    fronds = canvas.waves(tumor.box, 5, rng)
    uneven = rng.uniform(0.8, 1.2)
    hu = solid_hu + uneven * (0.30 * solid_hu * patches + 8 * fronds)
    for _ in range(int(rng.integers(7, 13))):
        blob = _ball_inside(canvas, tumor, max(radius * rng.uniform(0.18, 0.34), 2.9), rng)
        box = canvas.box(blob)
        hu_there, covered = _common(hu, tumor.box, box), canvas.coverage(blob, box)
        blend(hu_there, _common(covered, box, tumor.box), rng.uniform(2, 26))
    for _ in range(2 + int(rng.poisson(0.2 * radius))):
        fleck = _ball_inside(canvas, tumor, rng.uniform(0.7, 1.4), rng)
        box = canvas.box(fleck)
        hu_there, covered = _common(hu, tumor.box, box), canvas.coverage(fleck, box)
        blend(hu_there, _common(covered, box, tumor.box), rng.uniform(250, 600))
    return hu


def _ball_inside(canvas: Canvas, tumor: Tumor, radius: float, rng: np.random.Generator) -> Solid:
    """A somewhat flattened ball with its center inside the tumor."""
    way = rng.normal(size=3)
    way *= 0.78 * rng.random() ** (1 / 3) / np.linalg.norm(way)
    x, y, z = np.maximum(radius * rng.uniform(0.7, 1.3, 3), (0, 0, 0.5 * canvas.spacing_mm[0]))
    return Solid(center=tumor.solid.at(way), axes=(x, y, z), rotation=turned(rng.uniform(0, 180)))


def _common(values: Floats, box: Box, other: Box) -> Floats:
    """The part of ``values`` (on ``box``) that is also in ``other``: a view."""
    return values[
        tuple(
            slice(max(b.start, o.start) - b.start, min(b.stop, o.stop) - b.start)
            for b, o in zip(box, other, strict=True)
        )
    ]


def _chromophobe(canvas: Canvas, tumor: Tumor, solid_hu: float, rng: np.random.Generator) -> Floats:
    """Even tissue with spokes around an axis near z and a star-shaped scar along it: HU on the tumor's box."""
    a, b, c = tumor.solid.axes
    lean = turned(rng.uniform(0, 360), rng.uniform(-12, 12))
    hub = Solid(center=tumor.solid.center, axes=tumor.solid.axes, rotation=lean @ tumor.solid.rotation)
    u, v, w = canvas.local(hub, tumor.box)
    radius = np.hypot(u, v) / np.float32((a + b) / 2)
    n_spokes = int(rng.integers(5, 9))
    wheel = np.cos(n_spokes * np.arctan2(v, u) + np.float32(rng.uniform(0, 6.28)))
    hu = solid_hu + 3 * canvas.waves(tumor.box, max(0.8 * a, 8), rng)
    hu = hu + np.float32(rng.uniform(10, 16)) * wheel * np.clip(3 * radius, 0, 1)
    # The scar is a hub of about a fifth of the radius with arms in the dark spokes, thinning to the poles.
    arms = np.float32(0.19) + np.float32(0.26) * np.clip(-wheel, 0, 1) ** 2
    reach = arms * np.sqrt(np.clip(1 - np.square(w / np.float32(0.85 * c)), 0, 1))
    voxel = np.float32(canvas.spacing_mm[1] / a)
    scar = np.clip(0.5 + (reach - radius) / voxel, 0, 1)
    depth = rng.uniform(0.35, 0.55) * (solid_hu - 5) * np.clip(a / 15, 0.6, 1)
    even: Floats = hu - np.float32(depth) * scar
    return even


def _clear_cell(canvas: Canvas, tumor: Tumor, solid_hu: float, rng: np.random.Generator) -> Floats:
    """Bright, uneven tissue, brightest at the rim, with branching vessels and necrosis in the middle."""
    radius = tumor.solid.axes[0]
    patches = canvas.waves(tumor.box, float(np.clip(0.6 * radius, 5, 14)), rng)
    vessels = np.maximum(canvas.waves(tumor.box, 6, rng) - 1.0, 0)
    hu = solid_hu * (1 + 0.14 * patches) + rng.uniform(35, 60) * vessels
    depth = -tumor.level + 0.35 * canvas.waves(tumor.box, float(np.clip(radius, 6, 16)), rng)  # 0 at the rim
    start = rng.uniform(0.62, 0.9)  # the larger, the smaller the necrosis
    dead = np.clip((depth - np.float32(start)) / np.float32(0.12), 0, 1)
    uneven: Floats = hu + (np.float32(rng.uniform(18, 38)) - hu) * dead
    return uneven


def _oncocytoma(canvas: Canvas, tumor: Tumor, solid_hu: float, rng: np.random.Generator) -> Floats:
    """Bright, even tissue without spokes; two of three have a small compact scar in the middle."""
    a, _, c = tumor.solid.axes
    u, v, w = canvas.local(tumor.solid, tumor.box)
    hu = solid_hu + 3 * canvas.waves(tumor.box, max(0.8 * a, 8), rng)
    share = rng.uniform(0.14, 0.26) * (rng.random() < 2 / 3)
    turn = np.float32(rng.uniform(0, 6.28))
    star = 1 + 0.35 * np.cos(3 * np.arctan2(v, u) + turn)
    reach = np.float32(share * a) * star * np.sqrt(np.clip(1 - np.square(w / np.float32(0.6 * c)), 0, 1))
    scar = np.clip(0.5 + (reach - np.hypot(u, v)) / np.float32(canvas.spacing_mm[1]), 0, 1) * (reach > 0)
    even: Floats = hu - np.float32(rng.uniform(0.4, 0.6) * (solid_hu - 20)) * scar
    return even


_TEXTURES = {
    "PRCC": _papillary,
    "ChRCC": _chromophobe,
    "ccRCC": _clear_cell,
    "oncocytoma": _oncocytoma,
}
LOBES = {"PRCC": 0.03, "ChRCC": 0.06, "ccRCC": 0.05, "oncocytoma": 0.03}  # see `place_tumor`


def draw_outline(canvas: Canvas, tumor: Tumor, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The mask (S, R, C) of one annotator: with a bias, a smoothly wandering hand, and poles left out at random."""
    radius = tumor.solid.axes[0]
    bias_mm = rng.normal(0, 0.25 + 0.015 * radius)
    wander_mm = (0.3 + 0.028 * radius) * canvas.waves(tumor.box, max(1.2 * radius, 10), rng)
    drawn = tumor.level < 2 * np.clip(bias_mm + wander_mm, -0.25 * radius, 0.25 * radius) / radius
    slices = np.flatnonzero(drawn.any(axis=(1, 2)))
    for pole in (slices[0], slices[-1]):
        if slices.size > 4 and rng.random() < 0.4:
            drawn[pole] = False
    voxels = np.zeros(canvas.hu.shape, np.bool_)
    voxels[tumor.box] = drawn
    return voxels
