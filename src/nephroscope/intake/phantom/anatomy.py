"""Paint the abdomen around the tumor: body, bones, vessels, liver, spleen, bowel and kidneys, by phase."""

from dataclasses import dataclass

import numpy as np

from nephroscope.intake.phantom.canvas import FOREVER, Canvas, Floats, Solid, turned

FAT, MUSCLE, URINE = -102.0, 58.0, 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhancement:
    """Typical HU of the organs at one moment after the injection."""

    cortex: float
    medulla: float
    pelvis: float
    aorta: float
    cava: float
    liver: float
    spleen: float


ENHANCEMENT = {
    "corticomedullary": Enhancement(
        cortex=185, medulla=105, pelvis=URINE, aorta=290, cava=115, liver=78, spleen=125
    ),
    "nephrographic": Enhancement(
        cortex=170, medulla=158, pelvis=URINE, aorta=160, cava=155, liver=112, spleen=122
    ),
    "excretory": Enhancement(cortex=128, medulla=122, pelvis=350, aorta=122, cava=120, liver=98, spleen=102),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The anatomy of one patient in mm, planned before anything is painted.

    Attributes:
        body: The skin's surface.
        cavity: The inner surface of the abdominal wall.
        spine: Vertebral bodies with psoas and great vessels, where no tumor may be.
        kidneys: Right, left; the first axis of each points to its hilum.
    """

    body: Solid
    cavity: Solid
    spine: Solid
    kidneys: tuple[Solid, Solid]


def plan_anatomy(rng: np.random.Generator, half_width_mm: float) -> Plan:
    """Draw one patient's proportions; the kidneys are centered on the scan."""
    depth = half_width_mm * rng.uniform(0.68, 0.76)
    fat = rng.uniform(0.06, 0.14) * half_width_mm
    body = Solid(center=(0, 0, 0), axes=(half_width_mm, depth, FOREVER))
    cavity = Solid(
        center=(0, -0.3 * fat, 0), axes=(half_width_mm - fat - 14, depth - 0.75 * fat - 12, FOREVER)
    )
    back = depth - 0.5 * fat
    spine = Solid(center=(0, back - 54, 0), axes=(48, 42, FOREVER))
    scale = rng.uniform(0.9, 1.1)
    kidneys = []
    for side in (-1, 1):
        hilum = -rng.uniform(20, 50) if side < 0 else -180 + rng.uniform(20, 50)
        place = (side * rng.uniform(68, 76), back - rng.uniform(52, 60), side * 6 + rng.normal(0, 5))
        size = scale * rng.normal(1, 0.03, 3) * (26, 30, 54)
        kidneys.append(
            Solid(center=place, axes=(size[0], size[1], size[2]), rotation=turned(hilum, rng.uniform(2, 10)))
        )
    return Plan(body=body, cavity=cavity, spine=spine, kidneys=(kidneys[0], kidneys[1]))


def paint_abdomen(
    canvas: Canvas,
    plan: Plan,
    tumor: Solid,
    phase: str,
    rng: np.random.Generator,
    breathing: Canvas | None = None,
) -> None:
    """Paint everything except the tumor, for which the organs leave room; each organ covers those before it.

    Liver, spleen and kidneys are painted on ``breathing``, the same canvas moved by the diaphragm.
    """
    moving = breathing or canvas
    typical = ENHANCEMENT[phase]
    # Contrast dose and timing differ from patient to patient.
    strength = rng.normal(1, 0.08)
    own = {name: 40 + (getattr(typical, name) - 40) * strength for name in typical.__slots__}
    level = Enhancement(**{name: hu + rng.normal(0, 5) for name, hu in own.items()})
    body, cavity = plan.body, plan.cavity
    flat = Canvas((1, *canvas.hu.shape[1:]), canvas.spacing_mm)  # what all slices share is painted once
    flat.paint(body, 30)
    flat.paint(body.grown(-2), FAT)
    wall = Solid(
        center=cavity.center, axes=(cavity.axes[0] + rng.uniform(9, 14), cavity.axes[1] + 9, FOREVER)
    )
    flat.paint(wall, MUSCLE)
    flat.paint(cavity, FAT)
    canvas.hu[:] = flat.hu
    inside = canvas.coverage(cavity, (slice(0, 1), slice(None), slice(None)))
    _paint_ribs(canvas, cavity, rng)
    _paint_bowel(canvas, cavity, inside, rng)
    _paint_liver_and_spleen(moving, cavity, inside, level, rng)
    moving.paint(tumor.grown(rng.uniform(3, 6)), FAT)
    for kidney in plan.kidneys:
        moving.paint(kidney.grown(rng.uniform(7, 11)), FAT)
    _paint_spine(canvas, plan.spine, level, rng)
    for kidney in plan.kidneys:
        _paint_kidney(moving, kidney, level, rng)


def _paint_ribs(canvas: Canvas, cavity: Solid, rng: np.random.Generator) -> None:
    """Short arcs of ribs in the wall, lower ones further back, as in an axial slice."""
    for side in (0, 180):
        start = rng.uniform(-20, 20)
        for i in range(10):
            angle = 48 - 18 * (i % 4) + rng.normal(0, 3)
            a = np.radians(side + angle if side == 0 else side - angle)
            x = cavity.center[0] + (cavity.axes[0] + 5) * np.cos(a)
            y = cavity.center[1] + (cavity.axes[1] + 5) * np.sin(a)
            rib = Solid(
                center=(x, y, start - 60 + 13 * i),
                axes=(4.5, 15, 8),
                rotation=turned(np.degrees(a), 15),
            )
            canvas.paint(rib, 520)
            canvas.paint(rib.grown(-2), 220)


def _paint_bowel(canvas: Canvas, cavity: Solid, inside: Floats, rng: np.random.Generator) -> None:
    """Loops in the front half with wall, contents, and gas that rises to the front."""
    for _ in range(44):
        x = cavity.center[0] + cavity.axes[0] * rng.uniform(-0.8, 0.8)
        y = cavity.center[1] + cavity.axes[1] * rng.uniform(-0.9, 0.0)
        size = rng.uniform(11, 22)
        loop = Solid(
            center=(x, y, rng.uniform(-65, 65)),
            axes=(size, size * rng.uniform(0.6, 1), rng.uniform(12, 35)),
            rotation=turned(rng.uniform(0, 180), rng.uniform(-30, 30)),
        )
        canvas.paint(loop.grown(1.5), FAT, inside)
        canvas.paint(loop, 70, inside)
        canvas.paint(loop.grown(-2.5), rng.uniform(5, 45), inside)
        if rng.random() < 0.35:
            gas = Solid(center=(x, y - 0.25 * size, loop.center[2]), axes=(size * 0.5, size * 0.3, 8))
            canvas.paint(gas, -850, inside)


def _paint_liver_and_spleen(
    canvas: Canvas, cavity: Solid, inside: Floats, level: Enhancement, rng: np.random.Generator
) -> None:
    a, b, _ = cavity.axes
    x, y, _ = cavity.center
    liver = Solid(
        center=(x - 0.62 * a, y - 0.22 * b, rng.uniform(35, 60)),
        axes=(0.62 * a, 0.78 * b, rng.uniform(90, 115)),
        rotation=turned(rng.uniform(-20, 0)),
    )
    box = canvas.box(liver)
    vessels = np.maximum(canvas.waves(box, 26, rng) - 1.5, 0) * (0.22 * (level.cava - 50))
    canvas.paint(liver, level.liver + vessels, inside)
    spleen = Solid(
        center=(x + 0.84 * a, y + 0.30 * b, rng.uniform(55, 80)),
        axes=(0.20 * a, 0.42 * b, rng.uniform(55, 70)),
    )
    canvas.paint(spleen, level.spleen, inside)


def _paint_spine(canvas: Canvas, spine: Solid, level: Enhancement, rng: np.random.Generator) -> None:
    """Vertebrae with discs between them, canal, processes, muscles at the sides, aorta and cava in front."""
    _, y, _ = spine.center
    for side in (-1, 1):
        canvas.paint(Solid(center=(side * 40, y + 30, 0), axes=(30, 19, FOREVER)), MUSCLE)
        canvas.paint(Solid(center=(side * 67, y + 22, 0), axes=(16, 9, FOREVER)), MUSCLE)
        canvas.paint(Solid(center=(side * 36, y + 2, 0), axes=(13, 17, FOREVER)), MUSCLE)
    vertebra = Solid(center=(0, y, 0), axes=(24, 18, FOREVER))
    disc = (np.sin(2 * np.pi * (canvas.z / 36 + rng.random())) > 0.72)[:, None, None]
    canvas.paint(vertebra, np.where(disc, np.float32(95), np.float32(430)))
    marrow = vertebra.grown(-2.2)
    _, rows, columns = canvas.box(marrow)
    spongy = 170 + 22 * canvas.waves((slice(None), rows, columns), 7, rng)
    canvas.paint(marrow, np.where(disc, np.float32(85), spongy))
    canvas.paint(Solid(center=(0, y + 27, 0), axes=(13, 12, FOREVER)), 420)
    canvas.paint(Solid(center=(0, y + 26, 0), axes=(9, 8, FOREVER)), 28)
    for z in range(-72, 73, 36):
        canvas.paint(Solid(center=(0, y + 44, z), axes=(3.5, 13, 13)), 330)
        for side in (-1, 1):
            wing = Solid(center=(side * 26, y + 22, z), axes=(16, 4, 7), rotation=turned(side * 15))
            canvas.paint(wing, 330)
    canvas.paint(Solid(center=(12, y - 28, 0), axes=(10.5, 10.5, FOREVER)), 60)
    canvas.paint(Solid(center=(12, y - 28, 0), axes=(9.5, 9.5, FOREVER)), level.aorta)
    canvas.paint(Solid(center=(-18, y - 25, 0), axes=(12, 8.5, FOREVER)), level.cava)


def _paint_kidney(canvas: Canvas, kidney: Solid, level: Enhancement, rng: np.random.Generator) -> None:
    """Cortex with columns between the pyramids, sinus fat, collecting system, and the vein to the midline."""
    canvas.paint(kidney, level.cortex)
    for z in np.linspace(-0.66, 0.66, 6):
        for angle in np.arange(75, 286, 42) + rng.normal(0, 6, 6):
            a = np.radians(angle)
            width = np.sqrt(1 - z**2)
            place = kidney.at((0.60 * width * np.cos(a), 0.60 * width * np.sin(a), 0.92 * z))
            axes = (9.0 * width, 6.5 * width, 7.0)
            canvas.paint(
                Solid(center=place, axes=axes, rotation=turned(angle) @ kidney.rotation), level.medulla
            )
    sinus = Solid(
        center=kidney.at((0.48, 0, 0)),
        axes=(0.66 * kidney.axes[0], 0.36 * kidney.axes[1], 0.52 * kidney.axes[2]),
        rotation=kidney.rotation,
    )
    canvas.paint(sinus, FAT + 15)
    for z in (-0.5, -0.17, 0.17, 0.5):
        calyx = sinus.at((-0.55, rng.uniform(-0.5, 0.5), z))
        canvas.paint(Solid(center=calyx, axes=(5, 5, 6)), level.pelvis)
    pelvis = Solid(center=sinus.at((0.1, 0.1, 0)), axes=(11, 5, 14), rotation=kidney.rotation)
    canvas.paint(pelvis, level.pelvis)
    end = np.array([np.sign(kidney.center[0]) * 14, kidney.center[1] - 22])
    start = np.array(sinus.at((0.3, -0.3, 0))[:2])
    middle, run = (start + end) / 2, end - start
    vein = Solid(
        center=(middle[0], middle[1], kidney.center[2] + rng.normal(0, 6)),
        axes=(float(np.hypot(*run)) / 2, 4.5, 6.0),
        rotation=turned(float(np.degrees(np.arctan2(run[1], run[0])))),
    )
    canvas.paint(vein, level.cava)
