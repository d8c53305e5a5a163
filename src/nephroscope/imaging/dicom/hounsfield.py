"""Turn stored values into Hounsfield units (int16) with the rescale of each slice, and say whose values are none."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import SeriesError
from nephroscope.base.text import first_few
from nephroscope.imaging.dicom.files import DICOM_DAMAGE
from nephroscope.imaging.dicom.pixel_data import PixelFile, PixelForm, damage_text, form_of, stored_frames
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.imaging.grid import AIR_HU, MOST_VOXELS
from nephroscope.records import Finding, warning

Stored = npt.NDArray[Any]

# HU that a patient's own voxels can have.
TISSUE_HU = (-500, 3072)
HU_UNITS = {"", "HU"}
MOST_HU = 65535  # what 16 bits hold; above 32767 values are clipped
BODY_HU = -500  # more than air
COMPARED_PX = 128  # about so many pixels along each side of a slice are compared with the next slice
# The tissue of neighbouring slices differs by less than the first, or less than twice as much as elsewhere in the
# series; by less than the second where all slices have scales of their own.
LEAST_STEP_HU, MOST_STEP_HU = 4.0, 15.0


def check_size(headers: Sequence[SliceHeader], where: str) -> None:
    """Refuse a volume that would not fit into memory, before it is read.

    Raises:
        SeriesError: More voxels than any CT has.
    """
    n_voxels = sum((one.rows or 0) * (one.columns or 0) for one in headers)
    if n_voxels > MOST_VOXELS:
        raise SeriesError(
            where=where,
            expected=f"at most {MOST_VOXELS} voxels",
            found=f"{n_voxels} in {len(headers)} slices of {headers[0].rows} x {headers[0].columns}",
            remedy="export the original CT series",
        )


def check_rescale(headers: Sequence[SliceHeader], where: str) -> list[Finding]:
    """A warning when rescaling gives other units than HU. Source: DICOM PS3.3 C.11.1.1.2."""
    others = ", ".join(sorted({one.rescale_type for one in headers} - HU_UNITS))
    text = f"Rescale Type is {others}, not HU: the values may not be Hounsfield units"
    return [warning("rescale-type", text, where)] if others else []


def check_scales(
    slices: Sequence[SliceHeader], scales: Sequence[object], hu: npt.NDArray[np.int16], where: str
) -> list[Finding]:
    """A warning about slices of another scale than their neighbours, whose values do not fit theirs.

    Scales may differ from slice to slice; then the tissue of neighbours still has about the same HU.

    Args:
        slices: Their names are used.
        scales: Of each slice what turns its stored values into HU.
        hu: (S, R, C), in the same order.
        where: The series.
    """
    if len(set(scales)) < 2:
        return []
    step = max(1, max(hu.shape[1:]) // COMPARED_PX)
    steps_hu = [_step_hu(hu[i, ::step, ::step], hu[i + 1, ::step, ::step]) for i in range(len(hu) - 1)]
    alike = [mm for mm, one, two in zip(steps_hu, scales, scales[1:], strict=False) if one == two]
    most = max(LEAST_STEP_HU, 2 * max(alike)) if alike else MOST_STEP_HU
    counts = Counter(scales)
    odd = {
        i if counts[scales[i]] <= counts[scales[i + 1]] else i + 1
        for i, step_hu in enumerate(steps_hu)
        if scales[i] != scales[i + 1] and step_hu > most
    }
    if not odd:
        return []
    listed = first_few(slices[i].name for i in sorted(odd))
    worst = max(step_hu for i, step_hu in enumerate(steps_hu) if {i, i + 1} & odd)
    text = (
        f"{listed}: another rescale or number of bits than in neighboring slices, and values up to {worst:.0f} HU "
        "away from theirs; one of them is damaged"
    )
    return [warning("slice-scale", text, where)]


def _step_hu(one: npt.NDArray[np.int16], two: npt.NDArray[np.int16]) -> float:
    """How far the values of two neighbouring slices are apart where one of them shows more than air: the median."""
    body = np.maximum(one, two) > BODY_HU
    if not body.any():
        return 0.0
    return float(abs(np.median(two[body].astype(int) - one[body])))


def read_hu(file: PixelFile, frames: Sequence[tuple[SliceHeader, npt.NDArray[np.int16]]], where: str) -> None:
    """Write the HU of slices of one file into arrays; padding becomes air.

    Args:
        file: The file with the pixels.
        frames: Each slice and the array (R, C) to fill.
        where: The series, for the refusal.

    Raises:
        SeriesError: The pixel data are missing, of another size, damaged, or without a decoder.
    """
    name = frames[0][0].name
    try:
        form = form_of(file.header)
        for (one, out), stored in zip(
            frames, stored_frames(file, form, [one for one, _ in frames]), strict=True
        ):
            name = one.name
            _fill_hu(stored, form, (one.slope or 1.0, one.intercept or 0.0), out)
    except _OverflowError as error:
        raise SeriesError(
            where=where,
            expected=f"HU of 16 bits in {name}",
            found=f"{error} (slope {one.slope:g}, intercept {one.intercept:g})",
            remedy="send the series again; if it stays so, its rescale is wrong",
        ) from error
    except DICOM_DAMAGE as error:
        undecoded = isinstance(error, NotImplementedError)
        raise SeriesError(
            where=where,
            expected=f"decodable pixel data in {name}",
            found=damage_text(file.header, error),
            remedy="export the series uncompressed" if undecoded else "send the series again",
        ) from error


class _OverflowError(Exception):
    """Values leave 16 bits; the message is the highest."""


def _fill_hu(
    stored: Stored, form: PixelForm, rescale: tuple[float, float], out: npt.NDArray[np.int16]
) -> None:
    """Write HU = stored value * slope + intercept, rounded, with padding as air."""
    slope, intercept = rescale
    padded = None
    if form.padding is not None and (form.padding[0] < form.limits[0] or form.padding[1] > form.limits[1]):
        padded = _in_range(stored, form.padding)  # a value outside the bits stored
    values = _masked(stored, form)
    low, high = int(values.min()), int(values.max())
    if padded is None and form.padding is not None:
        padding_hu = [value * slope + intercept for value in form.padding]
        if max(padding_hu) > AIR_HU:  # else it is air, or below, already
            padded = _in_range(values, form.padding)
            if any(TISSUE_HU[0] < hu < TISSUE_HU[1] for hu in padding_hu):
                padded = _from_the_sides(padded)
    shift = int(intercept)
    if (
        slope == 1
        and intercept == shift
        and values.dtype.itemsize == 2
        and low + shift >= -32768
        and high + shift <= 32767
        and abs(shift) <= 32767
    ):
        # 16-bit addition is exact as long as the result fits, also for unsigned values.
        np.add(values.view(values.dtype.newbyteorder("=").str.replace("u", "i")), np.int16(shift), out=out)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            hu = values * slope + intercept
        if padded is not None:
            hu[padded] = AIR_HU
        if not (highest := float(hu.max())) <= MOST_HU:
            raise _OverflowError(f"{highest:g}")
        np.rint(hu, out=hu)
        out[...] = np.clip(hu, AIR_HU, 32767)
    if padded is not None:
        out[padded] = AIR_HU


def _from_the_sides(padded: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Padding that reaches the left or right end of its row without a gap.

    Some scanners pad with 0, which is also the HU of water: inside the scan circle it is water.
    """
    left = np.logical_and.accumulate(padded, axis=1)
    right = np.logical_and.accumulate(padded[:, ::-1], axis=1)[:, ::-1]
    return left | right


def _in_range(stored: Stored, span: tuple[int, int]) -> npt.NDArray[np.bool_]:
    low, high = span
    found: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high) if low < high else stored == low
    return found


def _masked(stored: Stored, form: PixelForm) -> Stored:
    """The bits that belong to the value: bits above may hold overlays or the sign. In native byte order.

    Source: DICOM PS3.5 8.1.1.
    """
    values = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    low, high = form.limits
    aligned = form.high_bit == form.bits_stored - 1
    unused = values.dtype.itemsize * 8 - form.bits_stored
    if unused == 0 or (aligned and low <= values.min() and values.max() <= high):
        return values
    above = values.dtype.itemsize * 8 - 1 - form.high_bit
    shifted: Stored = np.right_shift(np.left_shift(values, above), unused)
    return shifted


PROJECTION = "projection"
# Kind -> what it is, in words.
DERIVED = {
    PROJECTION: "a projection (MIP or the like): its values are not attenuation",
    "monoenergetic": "a virtual monoenergetic image: its HU are not those of a conventional CT",
    "material-map": "a material map or an image with a material removed (iodine, water, virtual non-contrast)",
    "effective-z": "a map of the effective atomic number",
    "electron-density": "a map of electron density",
    "subtraction": "a difference of two images",
    "calculated": "an image calculated from others",
    "not-hu": "values in another unit than HU",
    "eight-bit": "8 bits a pixel, where CT has 16: a mask or a picture",
}
# Values of Image Type from the third on. Source: DICOM PS3.3 C.8.2.1.1.1 and C.8.15.3 (multi-energy), C.8.16.1.3 and
# C.8.16.1.4 (volume based calculation technique, derived pixel contrast).
BY_TYPE = {
    "VMI": "monoenergetic",
    **dict.fromkeys(
        (
            *("MAT_SPECIFIC", "MAT_REMOVED", "MAT_FRACTIONAL", "MAT_MODIFIED", "MAT_VALUE_BASED"),
            *("PROTON_DENSITY", "IODINE", "VNC"),
        ),
        "material-map",
    ),
    "EFF_ATOMIC_NUM": "effective-z",
    "ELECTRON_DENSITY": "electron-density",
    "SUBTRACTION": "subtraction",
    **dict.fromkeys(
        ("MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "VOLUME_RENDER", "SURFACE_RENDER"), PROJECTION
    ),
    **dict.fromkeys(
        ("ADDITION", "DIVISION", "MASKED", "MULTIPLICATION", "QUANTITY", "STD_DEVIATION"), "calculated"
    ),
}
_BEGIN, _END = r"(?<![^\W\d_])", r"(?![^\W\d_])"
# Words of a Series Description, where Image Type does not say it.
_WORDS = {
    PROJECTION: r"(thin|thick|3d|ax|cor|sag)?(m[ai]?[xn]?ip|mnip|vrt|ssd)s?|(max|min)(imum)? intensity"
    r"|volume render\w*",
    "monoenergetic": r"mono ?(e|plus|energ\w*|chrom\w*)|mono[ +_]*\d+ ?kev|vmi|\d{2,3} ?kev",
    "effective-z": r"z[ -]?eff\w*|eff\w* ?(z|atomic n\w*)",
    "electron-density": r"electron[ -]?dens\w*|elektronendichte|rho ?/? ?z|densit\w+ electr\w+",
    "material-map": r"(iodine|jod|iod|yodo|iode|water|fat|calcium|uric acid|material)[ -]?"
    r"(map|maps|karte|bild|density|dens|overlay|only|no water|suppr\w*|basis|decomp\w*)"
    r"|(water|iodine|calcium|hap) ?\(?(iodine|water)\)?|vnc|virtual (non|un|nat)\w*|virtuell nativ",
    "subtraction": r"subtra[ck]\w*|subtr|soustraction|su[bs]traccion|sottrazione|differenzbild|dsa",
}
WORDS = {kind: re.compile(f"{_BEGIN}({words}){_END}", re.IGNORECASE) for kind, words in _WORDS.items()}
PLAIN_UNITS = {"", "HU", "US"}  # US is unspecified

# Kernels that sharpen edges and raise noise: of Siemens (B70f, Br60, I70f) from 55 on, of Canon FC30 to 39, 50 to 59
# and 80 to 89, and those that GE and Philips name.
SHARP_FROM = 55
_NUMBERED = re.compile(r"\b[A-Z]{1,2}[a-z]?(\d\d)[a-z]{0,2}\b")
_CANON = re.compile(r"\bFC ?([358])\d\b", re.IGNORECASE)
_NAMED = re.compile(
    rf"{_BEGIN}(bone ?(plus)?|lung|edge|ultra|sharp|hrct|knochen|lunge|poumon|hueso|pulmon|osso|polmone"
    rf"|y[b-e]|d|e|l){_END}",
    re.IGNORECASE,
)
_SHARP_WORDS = re.compile(
    rf"{_BEGIN}(bone|lung|sharp|hrct|knochen|lunge|lungen\w*|poumons?|hueso|osso|polmone|scharf){_END}",
    re.IGNORECASE,
)


def derived_kind(one: SliceHeader, description: str = "") -> str:
    """Which of `DERIVED` a CT image is; empty for a plain CT.

    Args:
        one: Header of a slice.
        description: Its Series Description, where it may count.
    """
    kinds = (BY_TYPE.get(word.upper().strip()) for word in one.image_type[2:])
    kind = next((kind for kind in kinds if kind), "")
    if not kind and one.bits_allocated == 8:
        return "eight-bit"
    kind = kind or next(
        (kind for kind, words in WORDS.items() if words.search(description.replace("_", " "))), ""
    )
    return kind or ("" if one.rescale_type.strip().upper() in PLAIN_UNITS else "not-hu")


def kinds_of(slices: Sequence[SliceHeader], description: str = "") -> list[str]:
    """The kinds among the slices of one series that are no scouts; empty for plain CT."""
    return sorted({derived_kind(one, description) for one in slices if not one.is_localizer})


def is_sharp(kernel: str, description: str = "") -> bool:
    """True for a kernel that sharpens: for bone or lung.

    Args:
        kernel: Convolution Kernel as written.
        description: Series Description, which counts where there is no kernel.
    """
    if not kernel.strip():
        return _SHARP_WORDS.search(description.replace("_", " ")) is not None
    first = kernel.replace("\\", " ").strip()
    canon = _CANON.search(first)
    if canon or first.upper().startswith("FC"):
        return canon is not None
    number = _NUMBERED.search(first)
    return int(number[1]) >= SHARP_FROM if number else _NAMED.search(first) is not None
