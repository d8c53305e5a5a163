"""A ROI file's path in; what messages may call it, out: a file may be named after its patient."""

import re
from pathlib import Path

# What names of ROI files say beside numbers, single letters and the case when they name no one.
USUAL = re.compile(
    r".?|cts?|dcm|dicom|file|gz|image|img|jpe?g|kidneys?|left|lesion|map|mask|nii|nrrd|organs?|png|reader|right|roi"
    r"|label(s|map)?|rt|rts|rtstruct|seg(ment|mentation)?|struct|tumou?r",
    re.IGNORECASE,
)


def roi_file(path: Path, case_id: str = "") -> str:
    """The name of a ROI file where the case's id, numbers and usual words make it; else its size and kind."""
    own = path.name.replace(case_id, " ") if case_id else path.name
    if all(USUAL.fullmatch(word) for word in re.split(r"[\W\d_]+", own)):
        return path.name
    size = f" of {path.stat().st_size} bytes" if path.is_file() else ""
    kind = f" ({path.suffix})" if USUAL.fullmatch(path.suffix[1:]) and path.suffix else ""
    return f"a file{size}{kind}"
