"""The constants and words of the program that the page uses too, read from where they stand, as one document."""

import re
from typing import Any

from nephroscope.base.errors import ConfigError
from nephroscope.clinic import call, outside, score, session, sets
from nephroscope.imaging.dicom import hounsfield
from nephroscope.imaging.masks import words
from nephroscope.intake.phase import series as phase_series
from nephroscope.intake.phase import text as phase_text
from nephroscope.regions import check, enhancement, organs, surroundings

_CLASSES = ((r"[^\W\d_]", r"\p{L}"), (r"[^\W_]", r"[\p{L}\p{N}]"), (r"\w", r"[\p{L}\p{N}_]"))


def javascript(pattern: str | re.Pattern[str]) -> str:
    """A regular expression as JavaScript writes it, under its flag u.

    Raises:
        ConfigError: It has something that JavaScript does not know.
    """
    text = pattern if isinstance(pattern, str) else pattern.pattern
    for python, other in _CLASSES:
        text = text.replace(python, other)
    if re.search(r"\\[WAZB]|\(\?[PaiLmsux#]", text):
        raise ConfigError(
            where="export --web",
            expected="a regular expression that JavaScript knows",
            found=text[:60],
            remedy="report this",
        )
    return text


def page_rules() -> dict[str, Any]:
    """Everything, by the place in the page that uses it."""
    from pydicom._uid_dict import UID_dictionary

    return {
        "syntaxes": {uid: row[0] for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax"},
        "classes": {uid: 1 for uid, row in UID_dictionary.items() if "SOP Class" in row[1]},
        "hounsfield": {
            "derived": hounsfield.DERIVED,
            "byType": hounsfield.BY_TYPE,
            "words": {kind: javascript(pattern) for kind, pattern in hounsfield.WORDS.items()},
            "plainUnits": sorted(hounsfield.PLAIN_UNITS),
            "sharpFrom": hounsfield.SHARP_FROM,
            "numbered": javascript(hounsfield._NUMBERED),
            "canon": javascript(hounsfield._CANON),
            "named": javascript(hounsfield._NAMED),
            "sharpWords": javascript(hounsfield._SHARP_WORDS),
        },
        "phase": _phase(),
        "segments": {
            "tumorCodes": sorted(words.TUMOR_CODES),
            "patterns": {
                "tumor": javascript(words.TUMOR_WORDS),
                "rest": javascript(words.REST_WORDS),
                "other": javascript(words.OTHER_WORDS),
                "organ": javascript(words.ORGAN_WORDS),
                "lesion": javascript(words.LESION_WORDS),
            },
        },
        "organs": {"kits": organs.KITS, "codes": organs.CODES},
        "regions": {
            "airBelowHu": surroundings.AIR_BELOW_HU,
            "denseAboveHu": surroundings.DENSE_ABOVE_HU,
            "fatHu": surroundings.FAT_HU,
            "coarseMm": surroundings.COARSE_MM,
            "tableMm": surroundings.TABLE_MM,
            "mostSlices": surroundings.MOST_SLICES,
            "midlineMm": surroundings.MIDLINE_MM,
            "shellMm": surroundings.SHELL_MM,
            "shellGridMm": surroundings.SHELL_GRID_MM,
            "softHu": surroundings.SOFT_HU,
            "leastSoft": surroundings.LEAST_SOFT,
            "leastSoftByKidney": surroundings.LEAST_SOFT_BY_KIDNEY,
        },
        "check": {
            "mostOutside": check.MOST_OUTSIDE,
            "mostFat": check.MOST_FAT,
            "mostAir": check.MOST_AIR,
            "mostDense": check.MOST_DENSE,
            "largeMl": check.LARGE_ML,
            "largeMm": check.LARGE_MM,
            "impossibleMl": check.IMPOSSIBLE_ML,
            "impossibleBodyShare": check.IMPOSSIBLE_BODY_SHARE,
            "fewestVoxels": check.FEWEST_VOXELS,
            "speck": check.SPECK,
            "mostGapMm": check.MOST_GAP_MM,
            "kidneyDice": check.KIDNEY_DICE,
            "leastFatAround": check.LEAST_FAT_AROUND,
            "mostBrightAround": check.MOST_BRIGHT_AROUND,
        },
        "enhancement": {
            "cortexDepthMm": enhancement.CORTEX_DEPTH_MM,
            "medullaDepthMm": enhancement.MEDULLA_DEPTH_MM,
            "aortaWallMm": enhancement.AORTA_WALL_MM,
            "fewestVoxels": enhancement.FEWEST_VOXELS,
            "tissueHu": enhancement.TISSUE_HU,
            "unenhancedAortaHu": enhancement.UNENHANCED_AORTA_HU,
            "unenhancedKidneyHu": enhancement.UNENHANCED_KIDNEY_HU,
            "arterialAortaHu": enhancement.ARTERIAL_AORTA_HU,
            "arterialDifferenceHu": enhancement.ARTERIAL_DIFFERENCE_HU,
            "venousAortaHu": enhancement.VENOUS_AORTA_HU,
            "nephrographicCortexHu": enhancement.NEPHROGRAPHIC_CORTEX_HU,
            "nephrographicDifferenceHu": enhancement.NEPHROGRAPHIC_DIFFERENCE_HU,
            "urineHu": enhancement.URINE_HU,
            "urineAboveCortexHu": enhancement.URINE_ABOVE_CORTEX_HU,
            "urineMm3": enhancement.URINE_MM3,
        },
        "features": score.FEATURES,
        "outside": {"kept": outside.KEPT},
        "sets": {"rounding": sets.ROUNDING},
        "chance": call.CHANCE,
        "score": {
            "slack": score.SLACK,
            "leastSlack": score.LEAST_SLACK,
            "rounding": call.ROUNDING,
            "batch": session.BATCH_SLICES,
        },
    }


def _phase() -> dict[str, Any]:
    return {
        "phrases": {
            first: [
                {
                    "meaning": one.meaning,
                    "level": one.level,
                    "words": one.words,
                    "atEnd": one.at_end,
                    "rank": [int(part) for part in one.rank],
                }
                for one in phrases
            ]
            for first, phrases in phase_text._phrases().items()
        },
        "noAgent": sorted(phase_series.NO_AGENT),
        "delays": phase_text.DELAYS_S,
        "delayWords": sorted(phase_text._DELAY_WORDS),
        "unitsS": phase_text._UNITS_S,
        "afterS": phase_series.AFTER_S,
        "beforeS": phase_series.BEFORE_S,
        "sameAcquisitionS": phase_series.SAME_ACQUISITION_S,
        "beforeInjectionS": phase_series.BEFORE_INJECTION_S,
        "longestBareS": phase_text.LONGEST_BARE_S,
        "longestText": phase_text.LONGEST_TEXT,
    }
