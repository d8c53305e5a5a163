"""Draw a synthetic patient and the scan: clinical values and acquisition."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

SUBTYPES = ("PRCC", "ChRCC", "ccRCC", "oncocytoma")
N_SLICES, N_PIXELS = 24, 256
ATYPICAL = 0.03  # share of each subtype whose tumor looks like the next of the design


# KiTS23 (Heller et al.): share of men, age mean and SD, median size and SD of its logarithm.
@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The cohort to imitate.

    Attributes:
        cases: Cases of each subtype; with another number of cases the proportion stays.
        slice_mm: Slice spacing of each scan over the same height; None: random, as in hospitals.
        tests: Test cohorts with the number of cases of each subtype set aside for them, in the order of the roster.
        n_phases: Of each patient: 1, which is drawn by chance, or up to 3.
    """

    cases: Mapping[str, int]
    slice_mm: float | None = None
    tests: tuple[tuple[str, int], ...] = ()
    n_phases: int = 1

    @property
    def n_cases(self) -> int:
        """Cases of all subtypes."""
        return sum(self.cases.values())

    def of(self, subtypes: Collection[str]) -> "Design":
        """The same cohort with these of `SUBTYPES`; as it is where there are fewer than two of them.

        In KiTS23 four of five tumors are clear cell; here clear cell and oncocytoma have `_MORE` cases, so that a
        study of few phantoms has some of each.
        """
        every = {**_MORE, **self.cases}
        asked = {name: every[name] for name in SUBTYPES if name in subtypes}
        return replace(self, cases=asked) if len(asked) > 1 else self


# zuo2021: 39 + 35 tumors for training, 3 + 3 of the same hospital and 2 + 2 of TCIA for testing; with slices of
# 1.4 mm a tumor has about 25 slices, as there.
DESIGNS = {
    "kits23": Design(cases={"PRCC": 45, "ChRCC": 38}),
    "zuo2021": Design(
        cases={"PRCC": 44, "ChRCC": 40},
        slice_mm=1.4,
        tests=(("internal-test", 3), ("external-test:TCIA", 2)),
    ),
}
_MORE = {"ccRCC": 45, "oncocytoma": 38}
# Of clear cell and oncocytoma: what surgical series report, rounded.
_MEN = {"PRCC": 34 / 44, "ChRCC": 15 / 38, "ccRCC": 0.63, "oncocytoma": 0.60}
_AGE_YEARS = {
    "PRCC": (60.0, 14.0), "ChRCC": (53.0, 14.5), "ccRCC": (60.0, 12.5), "oncocytoma": (66.0, 11.0)
}  # fmt: skip
_SIZE_CM = {"PRCC": (3.3, 0.55), "ChRCC": (4.3, 0.60), "ccRCC": (4.2, 0.60), "oncocytoma": (3.4, 0.55)}

_PHASES = {"corticomedullary": 0.5, "nephrographic": 0.35, "excretory": 0.15}
SERIES_WORDS = {
    "corticomedullary": ("ARTERIAL", "CORTICOMEDULLARY", "Art. phase", "LATE ARTERIAL 35s"),
    "nephrographic": ("NEPHROGRAPHIC", "Nephro phase", "VENOUS", "PORTAL VENOUS 75s"),
    "excretory": ("EXCRETORY", "DELAYED 5min", "Excretory phase", "DELAY"),
}
# Manufacturer, model and its kernels from soft to sharp, with the frequency (cycles/mm) at which each fades.
_SCANNERS = (
    ("SIEMENS", "SOMATOM Definition AS+", (("B30f", 0.22), ("B40f", 0.30))),
    ("SIEMENS", "SOMATOM Definition Flash", (("I30f", 0.20), ("I40f", 0.28))),
    ("GE MEDICAL SYSTEMS", "LightSpeed VCT", (("SOFT", 0.20), ("STANDARD", 0.27))),
    ("Philips", "Brilliance 64", (("B", 0.24), ("C", 0.32))),
    ("TOSHIBA", "Aquilion ONE", (("FC08", 0.23), ("FC18", 0.29))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinical:
    """One row of the clinical table; ``look`` is the subtype the tumor looks like."""

    case_id: str
    subtype: str
    look: str
    sex: Literal["M", "F"]
    age_years: int
    size_cm: float
    phase: str
    site_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """How the scan was made; nothing of it depends on the subtype.

    Attributes:
        cutoff_per_mm: Spatial frequency at which the kernel's transfer has fallen to 1/e.
        noise_hu: Standard deviation of the noise.
        spacing_mm: Slice spacing, which is also the thickness, and pixel spacing.
        half_width_mm: Half width of the body, to which the field of view was fitted.
    """

    manufacturer: str
    model: str
    kernel: str
    cutoff_per_mm: float
    kvp: int
    noise_hu: float
    spacing_mm: tuple[float, float]
    half_width_mm: float
    origin_mm: tuple[float, float, float]
    series_words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherPhase:
    """Another scan of a patient: its phase, the words of its series, and how far the organs moved by breathing.

    Attributes:
        shift_mm: Of liver, spleen, kidneys and tumor against the drawn scan, to the left, the back and the head.
    """

    phase: str
    words: str
    shift_mm: tuple[float, float, float]


MISSING = 0.25  # share of the further scans that a patient does not have


def draw_phases(seed: int, index: int, drawn: str, n_phases: int) -> list[FurtherPhase]:
    """The further scans of a case: of the first ``n_phases`` phases those that it has, by chance alone.

    Kidneys move with the diaphragm: in quiet breathing by 11 (SD 5) mm along the body, 4 mm to front or back and 2 mm
    to the side (doi 10.1186/2193-1801-3-131), in deep breathing by up to 43 mm (Schwartz et al. 1994, Radiother Oncol
    32:84). Here two scans differ by 10 mm (SD) along the body, at most 25 mm.
    """
    rng = np.random.default_rng([seed, index, 1994])
    found = []
    for phase in list(SERIES_WORDS)[:n_phases] if n_phases > 1 else ():
        x, y, z = rng.normal(0, (1.5, 2.5, 10.0)).clip((-4, -6, -25), (4, 6, 25)).round(1).tolist()
        words, missing = str(rng.choice(SERIES_WORDS[phase])), bool(rng.random() < MISSING)
        if phase != drawn and not missing:
            found.append(FurtherPhase(phase=phase, words=words, shift_mm=(x, y, z)))
    return found


def draw_roster(seed: int, n_cases: int, design: Design = DESIGNS["kits23"]) -> list[tuple[str, str]]:
    """Subtype and look of each case, in the proportion of the design, in random order.

    From as many cases on as there are subtypes each has one; ``ATYPICAL`` of each look like the next one.
    """
    names = list(design.cases)
    ends = np.rint(np.cumsum(list(design.cases.values())) * n_cases / design.n_cases).astype(int)
    if n_cases >= len(names):  # at least one of each
        steps = np.arange(len(names))
        ends = np.clip(np.maximum.accumulate(ends - steps) + steps, steps + 1, n_cases - steps[::-1])
    roster = []
    for i, (subtype, n) in enumerate(zip(names, np.diff(ends, prepend=0).tolist(), strict=True)):
        n_atypical = round(ATYPICAL * n)
        other = names[(i + 1) % len(names)]
        roster += [(subtype, other)] * n_atypical + [(subtype, subtype)] * (n - n_atypical)
    order = np.random.default_rng([seed]).permutation(n_cases)
    return [roster[i] for i in order]


def deal_cohorts(roster: Sequence[tuple[str, str]], design: Design) -> list[str]:
    """The cohort of each case of a roster: the first of each subtype are set aside for the tests."""
    places = [name for name, n in design.tests for _ in range(n)]
    seen: Counter[str] = Counter()
    cohorts = []
    for subtype, _ in roster:
        cohorts.append(places[seen[subtype]] if seen[subtype] < len(places) else "development")
        seen[subtype] += 1
    return cohorts


def draw_patient(
    rng: np.random.Generator, index: int, subtype: str, look: str
) -> tuple[Clinical, Acquisition]:
    """One patient and one scan; the scan does not depend on the subtype."""
    phase = str(rng.choice(list(_PHASES), p=list(_PHASES.values())))
    acquisition = _draw_acquisition(rng, phase)
    age_mean, age_sd = _AGE_YEARS[subtype]
    size_median, size_sd = _SIZE_CM[subtype]
    size_cm = np.clip(size_median * np.exp(rng.normal(0, size_sd)), 1.2, 10)
    clinical = Clinical(
        case_id=f"SYNTHETIC-{index + 1:04d}",
        subtype=subtype,
        look=look,
        sex="M" if rng.random() < _MEN[subtype] else "F",
        age_years=round(float(np.clip(rng.normal(age_mean, age_sd), 18, 90))),
        size_cm=round(float(size_cm), 1),
        phase=phase,
        site_id=f"site-{rng.integers(1, 4)}",
    )
    return clinical, acquisition


def _draw_acquisition(rng: np.random.Generator, phase: str) -> Acquisition:
    manufacturer, model, kernels = _SCANNERS[rng.integers(len(_SCANNERS))]
    kernel, cutoff_per_mm = kernels[rng.integers(len(kernels))]
    half_width_mm = rng.uniform(146, 184)
    pixel_mm = round(2 * half_width_mm * rng.uniform(1.04, 1.10) / N_PIXELS, 3)
    slice_mm = float(rng.choice([2.5, 3.0, 3.75, 4.0, 5.0], p=[0.1, 0.2, 0.2, 0.2, 0.3]))
    half_mm = pixel_mm * (N_PIXELS - 1) / 2
    return Acquisition(
        manufacturer=manufacturer,
        model=model,
        kernel=kernel,
        cutoff_per_mm=cutoff_per_mm,
        kvp=int(rng.choice([100, 120, 130])),
        noise_hu=float(rng.uniform(8, 15)),
        spacing_mm=(slice_mm, pixel_mm),
        half_width_mm=half_width_mm,
        origin_mm=(
            round(-half_mm + rng.normal(0, 6), 1),
            round(-half_mm + rng.normal(0, 10), 1),
            round(rng.uniform(-900, 200), 1),
        ),
        series_words=str(rng.choice(SERIES_WORDS[phase])),
    )
