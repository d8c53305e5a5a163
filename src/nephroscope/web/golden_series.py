"""Kinds of golden cases that differ in the CT: how it is stored, what its headers say, what is wrong with it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nephroscope.web.golden_draft import KNOWN_SIDES, Draft
from nephroscope.web.golden_files import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    dicom_series,
    flipped,
    make_scene,
    turned,
)


def _plain(draft: Draft) -> None:
    draft.asked["side"] = draft.rng.choice(KNOWN_SIDES) if draft.rng.random() < 0.4 else "unknown"


def _seg(draft: Draft) -> None:
    draft.roi_kind = "seg"


def _nifti(draft: Draft) -> None:
    draft.nifti_ct = True


def _flips(draft: Draft) -> None:
    axes = [axis for axis in range(3) if draft.rng.random() < 0.6] or [0]
    flipped(draft.scene, tuple(axes))


def _flipped_seg(draft: Draft) -> None:
    _flips(draft)
    draft.roi_kind = "seg"


def _flipped_nifti(draft: Draft) -> None:
    _flips(draft)
    draft.nifti_ct = True


def _oblique(draft: Draft) -> None:
    turned(draft.scene, float(draft.rng.uniform(-25, 25)), int(draft.rng.integers(0, 3)))
    draft.roi_kind = "seg" if draft.rng.random() < 0.5 else "nifti"


def _oblique_nifti(draft: Draft) -> None:
    _oblique(draft)
    draft.roi_kind, draft.nifti_ct = "nifti", True
    draft.ct_header = {"codes": (0, 1) if draft.rng.random() < 0.5 else (1, 1)}


def _signed(draft: Draft) -> None:
    scene = draft.scene
    scene.signed, scene.intercept = True, float(draft.rng.choice([0.0, -1024.0, 24.0]))


def _twelve_bits(draft: Draft) -> None:
    draft.scene.bits = 12


def _slope(draft: Draft) -> None:
    draft.scene.slope = float(draft.rng.choice([0.5, 2.0, 1.37]))
    draft.scene.intercept = float(draft.rng.choice([-1024.0, -1000.5]))


def _padding(draft: Draft) -> None:
    scene = draft.scene
    scene.signed, scene.intercept = True, 0.0
    scene.tags["PixelPaddingValue"] = -2000
    scene.hu[:, :2], scene.hu[:, :, -2:] = -2000, -2000


def _wide_values(draft: Draft) -> None:
    scene = draft.scene
    scene.hu[:, 1:4, 1:4] = 3071 if draft.rng.random() < 0.5 else 20_000


def _syntax(uid: str) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.scene.syntax = uid
        draft.roi_kind = "seg" if draft.rng.random() < 0.5 else "nifti"

    return change


def _tag(**tags: Any) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.scene.tags |= tags

    return change


def _described(draft: Draft) -> None:
    words = (
        "arterial 30 s",
        "nativ",
        "Abdomen",
        "late venous",
        "delayed 5 min",
        "art/ven",
        "B70f lung",
        "iodine map",
    )
    draft.scene.tags["SeriesDescription"] = str(draft.rng.choice(words))


def _kernel(draft: Draft) -> None:
    draft.scene.tags["ConvolutionKernel"] = str(
        draft.rng.choice(["B70f", "B30f", "BONE", "FC51", "STANDARD"])
    )


def _missing_slice(draft: Draft) -> None:
    lost = int(draft.rng.integers(1, len(draft.scene.hu) - 1))
    draft.scene.change = lambda image, index: index != lost


def _same_place(draft: Draft) -> None:
    def change(image: Any, index: int) -> bool:
        if index == 2:
            image.ImagePositionPatient = [str(mm) for mm in (draft.scene.affine @ (1, 0, 0, 1))[:3]]
        return True

    draft.scene.change = change


def _tilted(draft: Draft) -> None:
    draft.scene.affine[1, 0] += float(draft.rng.uniform(0.3, 1.0))


def _lacking(keyword: str) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        def drop(image: Any, index: int) -> bool:
            if index == 1:
                delattr(image, keyword)
            return True

        draft.scene.change = drop

    return change


def _copies(draft: Draft) -> None:
    draft.files = lambda files: files | {"IM9000.dcm": files["IM0002.dcm"]}


def _two_series(draft: Draft) -> None:
    other = make_scene(draft.rng, 7, f"{draft.scene.uid}.5")
    draft.files = lambda files: files | {f"B{name}": content for name, content in dicom_series(other).items()}
    draft.roi_kind = "seg" if draft.rng.random() < 0.6 else "nifti"


def _scout(draft: Draft) -> None:
    def change(image: Any, index: int) -> bool:
        if index == 0:
            image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        return True

    draft.scene.change = change


def _cut_file(draft: Draft) -> None:
    keep = float(draft.rng.uniform(0.6, 0.95))
    draft.files = lambda files: (
        files | {"IM0003.dcm": files["IM0003.dcm"][: int(len(files["IM0003.dcm"]) * keep)]}
    )


def _no_ct(draft: Draft) -> None:
    draft.files = lambda files: {"readme.txt": b"no CT here " * 40}


def _numbers_turned(draft: Draft) -> None:
    n = len(draft.scene.hu)

    def change(image: Any, index: int) -> bool:
        image.InstanceNumber = n - index if index != 3 else n - 1
        return True

    draft.scene.change = change


def _cut_short(draft: Draft) -> None:
    draft.scene.tags["ImagesInAcquisition"] = len(draft.scene.hu) + 3


def _spacing_said(draft: Draft) -> None:
    draft.scene.tags["SpacingBetweenSlices"] = "7.5"


def _dense(draft: Draft) -> None:
    draft.scene.hu[draft.scene.tumor] += 500


def _float_ct(draft: Draft) -> None:
    draft.nifti_ct, draft.dtype = True, str(draft.rng.choice(["float32", "float64", "int32"]))
    draft.scene.hu = draft.scene.hu + (0.25 if draft.dtype.startswith("float") else 0)


def _scaled_ct(draft: Draft) -> None:
    draft.nifti_ct = True
    draft.ct_header = {"scl_slope": float(draft.rng.choice([1.0, 0.5, -1.0])), "scl_inter": 3.0}


def _no_orientation(draft: Draft) -> None:
    draft.nifti_ct, draft.ct_header = True, {"codes": (0, 0)}


def _two_places(draft: Draft) -> None:
    off = float(draft.rng.choice([0.3, 5.0]))
    draft.nifti_ct = True
    origin = draft.scene.affine[0, 3]
    draft.ct_header = {"codes": (1, 1), "qoffset_x": -origin + off * float(np.abs(draft.scene.affine[0, 2]))}


def _bad_header(draft: Draft) -> None:
    draft.nifti_ct = True
    headers: list[dict[str, Any]] = [
        {"bitpix": 8},
        {"magic": b"ni1"},
        {"pixdim": [1, 0, 1, 1, 1, 0, 0, 0]},
        {"dim": [3, 40, 40, 40, 1, 1, 1, 1]},
    ]
    draft.ct_header = headers[int(draft.rng.integers(0, len(headers)))]


KINDS: dict[str, Callable[[Draft], None]] = {
    "plain": _plain,
    "SEG": _seg,
    "NIfTI": _nifti,
    "flipped": _flips,
    "missing slice": _missing_slice,
    "JPEG 2000": _syntax("1.2.840.10008.1.2.4.90"),
    "oblique": _oblique,
    "JPEG-LS": _syntax("1.2.840.10008.1.2.4.80"),
    "signed": _signed,
    "flipped SEG": _flipped_seg,
    "flipped NIfTI": _flipped_nifti,
    "oblique NIfTI": _oblique_nifti,
    "twelve bits": _twelve_bits,
    "slope": _slope,
    "padding": _padding,
    "wide values": _wide_values,
    "JPEG lossless": _syntax("1.2.840.10008.1.2.4.70"),
    "RLE": _syntax("1.2.840.10008.1.2.5"),
    "implicit": _syntax(IMPLICIT),
    "big endian": _syntax(BIG_ENDIAN),
    "deflated": _syntax(DEFLATED),
    "MONOCHROME1": _tag(PhotometricInterpretation="MONOCHROME1"),
    "color": _tag(PhotometricInterpretation="RGB", SamplesPerPixel=3),
    "other unit": _tag(RescaleType="US"),
    "description": _described,
    "kernel": _kernel,
    "same place": _same_place,
    "tilted gantry": _tilted,
    "no position": _lacking("ImagePositionPatient"),
    "no rescale": _lacking("RescaleSlope"),
    "copies": _copies,
    "two series": _two_series,
    "scout": _scout,
    "cut file": _cut_file,
    "no CT": _no_ct,
    "numbers turned": _numbers_turned,
    "cut short": _cut_short,
    "other spacing said": _spacing_said,
    "dense": _dense,
    "float CT": _float_ct,
    "scaled CT": _scaled_ct,
    "no orientation": _no_orientation,
    "two places": _two_places,
    "damaged header": _bad_header,
}
