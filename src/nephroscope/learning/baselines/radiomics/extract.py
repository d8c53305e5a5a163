"""IBSI features of one tumor from its HU and mask. MIRP computes them; the settings are here.

MIRP is imported on first use: it takes seconds and brings ITK. It logs to stdout and warns; neither leaves this file.
"""

import contextlib
import logging
import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import ConfigError, RoiError
from nephroscope.base.files import digest_of
from nephroscope.base.version import install_line
from nephroscope.records import CTVolume, RoiMask

EXTRA = install_line("train,radiomics")
TEXTURE = ("statistics", "intensity_histogram", "glcm", "glrlm", "glszm", "gldzm", "ngtdm", "ngldm")
SAMPLED = (
    "morph_moran_i",
    "morph_geary_c",
)  # MIRP draws pairs of voxels for them where the ROI has 1,000 or more
CROP_VOXELS = 10  # kept around the ROI's box: more than any neighbourhood that is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiomicsSettings:
    """How features are computed; the same for every case of a study.

    Attributes:
        by_slice: Textures in the plane, merged over the directions of a slice and averaged over slices; else 3D.
        families: IBSI's.
        spacing_mm: Of the isotropic grid on which they are computed, by linear interpolation; 0 keeps the grid.
        bin_hu: Width of the gray levels, counted from the lower end of ``range_hu``; 0 takes intensities as levels.
        range_hu: Voxels outside it leave the intensity mask.
    """

    by_slice: bool = False
    families: tuple[str, ...] = ("morphology", *TEXTURE)
    spacing_mm: float = 2.0
    bin_hu: float = 25.0
    range_hu: tuple[float, float] = (-1000.0, 400.0)

    @property
    def digest(self) -> str:
        """Digest of the settings and of the version of MIRP that is installed."""
        return digest_of([asdict(self), mirp_version()])

    @property
    def summary(self) -> str:
        """The settings in words, for a report's methods."""
        grid = f"{self.spacing_mm:g} mm, linear" if self.spacing_mm else "the grid of the image"
        low, high = self.range_hu
        texture = "by slice, merged over directions" if self.by_slice else "3D, merged over directions"
        return (
            f"{', '.join(self.families)}; {grid}; {low:g} to {high:g} HU; fixed bin size {self.bin_hu:g} HU; "
            f"textures {texture}; no filter"
        )


VOLUME = RadiomicsSettings()  # IBSI 1, configuration C
# IBSI 1, configuration A, without shape: the distance between slice images is not known.
SLICES = RadiomicsSettings(by_slice=True, families=TEXTURE, spacing_mm=0.0, range_hu=(-500.0, 400.0))


def mirp_version() -> str:
    """Version of MIRP; empty when it is not installed. Nothing is imported."""
    try:
        return version("mirp")
    except PackageNotFoundError:
        return ""


def extract(volume: CTVolume, roi: RoiMask, settings: RadiomicsSettings) -> dict[str, float | None]:
    """Features of one tumor by their IBSI names; None where one is not defined for it.

    Moran's I and Geary's C are left out: of a larger tumor they would be known only up to chance. The volume is
    cut to the ROI's box with a margin, so a feature does not depend on where in the image the tumor is.

    Raises:
        RoiError: No voxel of the ROI is within the range of intensities.
    """
    hu, mask = crop(volume.hu, roi.voxels)
    found = features_of(hu.astype(np.float32), mask, volume.geometry.spacing_mm, settings)
    if found.get("stat_mean") is None:
        low, high = settings.range_hu
        raise RoiError(
            where=f"case {roi.case_id}, radiomics",
            expected=f"an ROI with voxels of {low:g} to {high:g} HU",
            found=f"none among {int(mask.sum())} voxels",
            remedy="look at the ROI and the CT's units, or leave the case out",
        )
    return {name: value for name, value in found.items() if name not in SAMPLED}


def crop(
    hu: npt.NDArray[np.int16], voxels: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """HU and ROI (S, R, C) cut to the ROI's box and a margin; past the edge of the image lies its last voxel."""
    box, pads = [], []
    for axis in range(3):
        inside = np.flatnonzero(voxels.any(axis=tuple(a for a in range(3) if a != axis)))
        low, high = int(inside[0]) - CROP_VOXELS, int(inside[-1]) + 1 + CROP_VOXELS
        size = voxels.shape[axis]
        box.append(slice(max(low, 0), min(high, size)))
        pads.append((max(-low, 0), max(high - size, 0)))
    cut = tuple(box)
    return np.pad(hu[cut], pads, mode="edge"), np.pad(voxels[cut], pads)


def features_of(
    intensities: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    settings: RadiomicsSettings,
) -> dict[str, float | None]:
    """MIRP's features of an image (S, R, C) under a mask, by name without the suffix that repeats the settings.

    The IBSI phantom goes through this same function.

    Raises:
        ConfigError: MIRP is not there, or cannot be imported.
    """
    with _quiet():
        try:
            from mirp import extract_features
            from mirp._images.generic_image import GenericImage
            from mirp._masks.base_mask import BaseMask
        except ImportError as error:
            raise ConfigError(
                where="radiomics",
                expected="MIRP",
                found=f"that {error.name} cannot be imported",
                remedy=EXTRA,
            ) from error

        place = {
            "image_spacing": spacing_mm,
            "image_origin": (0.0, 0.0, 0.0),
            "image_orientation": np.eye(3),
            "image_dimensions": mask.shape,
            "sample_name": "tumor",
        }
        tables = extract_features(
            image=GenericImage(image_data=intensities, image_modality="ct", **place),
            mask=BaseMask(roi_name="tumor", image_data=mask, **place),
            export_features=True,
            write_features=False,
            **_options(settings),
        )
    if not tables:
        return {}
    row = tables[0].iloc[0]
    suffix = f"_fbs_w{settings.bin_hu}"
    named = {
        str(name).removesuffix(suffix): row[name] for name in tables[0].columns if _is_feature(str(name))
    }
    return {name: _finite(value) for name, value in named.items()}


def _options(settings: RadiomicsSettings) -> dict[str, object]:
    options: dict[str, object] = {
        "by_slice": settings.by_slice,
        "base_feature_families": list(settings.families),
        "anti_aliasing": False,
        "spline_order": 1,
        "roi_spline_order": 1,
        "glcm_spatial_method": "2d_slice_merge" if settings.by_slice else "3d_volume_merge",
        "glrlm_spatial_method": "2d_slice_merge" if settings.by_slice else "3d_volume_merge",
    }
    if settings.spacing_mm:
        options["new_spacing"] = settings.spacing_mm
    if not settings.bin_hu:
        return options | {"base_discretisation_method": "none"}
    return options | {
        "base_discretisation_method": "fixed_bin_size",
        "base_discretisation_bin_width": settings.bin_hu,
        "resegmentation_intensity_range": list(settings.range_hu),
    }


def _is_feature(column: str) -> bool:
    return column.partition("_")[0] in {"morph", "stat", "ih", "cm", "rlm", "szm", "dzm", "ngt", "ngl"}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MIRP from warning, from logging and from giving the root logger a handler on stdout."""
    root, disabled = logging.getLogger(), logging.root.manager.disable
    held, level = list(root.handlers), root.level
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = held
        root.setLevel(level)
        logging.disable(disabled)


PHANTOM_3D = replace(VOLUME, spacing_mm=0.0, bin_hu=0.0)
PHANTOM_2D = replace(SLICES, bin_hu=0.0)
