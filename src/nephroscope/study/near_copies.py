"""Slices that are copies of each other in another window, mirrored, or saved again as JPEG.

What two copies share is their noise: what is left of a slice without its smooth part and without edges. Of two scans,
also of one patient, or of two phantoms of one shape, this has nothing in common.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 64  # pixels of the picture that is compared
FINE, AROUND = 3, 7  # pixels; noise finer than the first is lost in JPEG, coarser than the second is anatomy
WINDOW_HU = (-160.0, 240.0)
ROUNDS, EDGE = 2, 3.0  # in standard deviations of the noise
FEWEST_PIXELS = 200  # with noise in both
MOST_EMPTY = 0.25  # share of pixels that a picture drawn by a program has at its edges
LEAST_CORRELATION = 0.5  # of copies: 0.5 to 1 down to JPEG of quality 60; of other slices below 0.3
SURE_CORRELATION = 0.8
LEAST_COMMON = 0.6  # of the pixels with noise in one of them; in copies nearly all are common
LEAST_DEVIATIONS = 7.0
EACH_WITH_EACH = 3000  # slices; above this, only those that share a bucket are compared
N_BITS, N_TABLES, BITS_PER_TABLE = 256, 50, 11
MOST_BITS_APART = 96
MOST_NEIGHBORS = 32  # compared within a bucket
MOST_SLICES = 6000  # above this, only a few of each case are looked at
FEW = 5
REVERSED = slice(None, None, -1)
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """Two patients of whom one seems to be a copy of the other.

    Attributes:
        one, other: Who.
        n_slices: Slices of the one with fewer that are copies.
        sure: True where their noise is as alike as in copies of good quality.
    """

    one: str
    other: str
    n_slices: int
    sure: bool


def copied_patients(hu: npt.NDArray[np.int16], rows: Sequence[int], owner: Sequence[str]) -> Iterator[Copied]:
    """Patients of whom at least half of the slices are copies of another's.

    A single slice of many that looks like another one is chance: thousands are compared.

    Args:
        hu: Slices, (N, size_px, size_px).
        rows: Of them, those to look at.
        owner: Patient of each slice.
    """
    rows = _fewer(rows, owner)
    prints, kept = _prints(hu, rows)
    if len(kept) < 2:
        return
    n_looked_at = Counter(owner[row] for row in kept)
    alike: dict[tuple[str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    for one, other in _alike(prints):
        pair = (owner[kept[one]], owner[kept[other]])
        if pair[0] == pair[1] or (one, other) in alike[min(pair), max(pair)]:
            continue
        correlation = _correlation_of_copies(prints[one], prints[other])
        if correlation:
            alike[min(pair), max(pair)][one, other] = correlation
    for (first, second), found in sorted(alike.items()):
        fewer = min((first, second), key=n_looked_at.__getitem__)
        copied = {row for pair in found for row in pair if owner[kept[row]] == fewer}
        if copied and 2 * len(copied) >= n_looked_at[fewer]:
            sure = float(np.median(list(found.values()))) >= SURE_CORRELATION
            yield Copied(one=first, other=second, n_slices=len(copied), sure=sure)


FLIPS = ((slice(None), slice(None)), (REVERSED, slice(None)), (slice(None), REVERSED), (REVERSED, REVERSED))


def _alike(prints: Floats) -> Iterator[tuple[int, int]]:
    """Pairs (first, second) of prints that may be alike, also mirrored."""
    if len(prints) <= EACH_WITH_EACH:
        flat = prints.reshape(len(prints), -1)
        for flip in FLIPS:
            products = np.triu(flat @ prints[:, flip[0], flip[1]].reshape(len(prints), -1).T, 1)
            yield from map(tuple, np.argwhere(products >= LEAST_CORRELATION / 2).tolist())
        return
    rng = np.random.default_rng(20)
    planes = rng.standard_normal((N_BITS, SIDE, SIDE)).astype(np.float32)
    tables = [rng.choice(N_BITS, BITS_PER_TABLE, replace=False) for _ in range(N_TABLES)]
    stored = _bits(prints, planes)
    for flip in FLIPS:
        yield from _candidates(stored, _bits(prints, planes[:, flip[0], flip[1]]), tables)


def _fewer(rows: Sequence[int], owner: Sequence[str]) -> Sequence[int]:
    if len(rows) <= MOST_SLICES:
        return rows
    of_owner: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        of_owner[owner[row]].append(row)
    return [
        group[i]
        for group in of_owner.values()
        for i in sorted({round(k) for k in np.linspace(0, len(group) - 1, FEW)})
    ]


def _prints(hu: npt.NDArray[np.int16], rows: Sequence[int]) -> tuple[Floats, list[int]]:
    """The noise of each slice that has enough of it, (n, SIDE, SIDE), of length 1; and which rows these are."""
    prints, kept = [], []
    for row in rows:
        one = noise_print(hu[row])
        if one is not None:
            prints.append(one)
            kept.append(row)
    return np.array(prints, np.float32).reshape(-1, SIDE, SIDE), kept


def noise_print(hu: npt.NDArray[np.int16]) -> Floats | None:
    """The noise of one slice; None where it has too little of it, as pictures that a program drew."""
    from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

    low, high = WINDOW_HU
    clipped = np.clip(np.asarray(hu, np.float32), low, high)
    small = np.asarray(Image.fromarray(clipped).resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    around = uniform_filter(small, AROUND)
    rough = uniform_filter(small, FINE) - around
    rough[(small < low + 1) | (small > high - 1)] = 0
    if np.count_nonzero(rough) < MOST_EMPTY * rough.size:
        return None
    steps = maximum_filter(around, FINE) - minimum_filter(around, FINE)
    for _ in range(ROUNDS):  # noise is known better once edges are away
        most = EDGE * 1.4826 * float(np.median(np.abs(rough[rough != 0])))
        without = np.where(maximum_filter((np.abs(rough) > most) | (steps > most), AROUND), 0, rough)
        if np.count_nonzero(without) < FEWEST_PIXELS:
            break  # full of edges, as an abdomen: these are a patient's own
        rough = without
    length = float(np.linalg.norm(rough))
    return np.asarray(rough / length, np.float32) if length > 0 else None


def _bits(prints: Floats, planes: Floats) -> npt.NDArray[np.bool_]:
    """On which side of random planes each print lies: equal bits for equal noise, (n, N_BITS)."""
    sides: npt.NDArray[np.bool_] = prints.reshape(len(prints), -1) @ planes.reshape(N_BITS, -1).T > 0
    return sides


def _candidates(
    stored: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_], tables: Sequence[npt.NDArray[np.int64]]
) -> Iterator[tuple[int, int]]:
    """Pairs that share a bucket of some table and differ in few bits."""
    weights = 1 << np.arange(BITS_PER_TABLE)
    tried: set[tuple[int, int]] = set()
    for table in tables:
        buckets: dict[int, list[int]] = defaultdict(list)
        for index, key in enumerate((stored[:, table] @ weights).tolist()):
            if len(buckets[key]) < MOST_NEIGHBORS:
                buckets[key].append(index)
        for index, key in enumerate((asked[:, table] @ weights).tolist()):
            for other in buckets.get(key, ()):
                pair = (min(index, other), max(index, other))
                if index == other or pair in tried:
                    continue
                tried.add(pair)
                if np.count_nonzero(stored[other] != asked[index]) <= MOST_BITS_APART:
                    yield pair


def _correlation_of_copies(one: Floats, other: Floats) -> float:
    """Correlation of the noise of one with that of the other, or of its mirror image; 0 where they are no copies."""
    smaller = min(np.count_nonzero(one), np.count_nonzero(other))
    for image in (other[flip] for flip in FLIPS):
        common = (one != 0) & (image != 0)
        if np.count_nonzero(common) < max(FEWEST_PIXELS, LEAST_COMMON * smaller):
            continue
        a, b = one[common], image[common]
        product, lengths = float(a @ b), float(np.linalg.norm(a) * np.linalg.norm(b))
        if product >= LEAST_CORRELATION * lengths and product >= LEAST_DEVIATIONS * _by_chance(one, image):
            return product / lengths
    return 0.0


def _by_chance(one: Floats, other: Floats) -> float:
    """Standard deviation of the product of two prints that are shifted against each other.

    An enlarged slice has few pixels of its own, so its noise meets that of another more often by chance.
    """
    shifted = np.fft.ifft2(np.fft.fft2(one) * np.conj(np.fft.fft2(other))).real
    shifted[[-2, -1, 0, 1, 2]] = 0
    return float(np.sqrt((shifted**2).sum() / (shifted.size - 5 * SIDE)))
