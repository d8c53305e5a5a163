"""Short meanings of finding codes, as in docs/reference/findings.md, and a table that counts findings by code."""

from collections import Counter
from collections.abc import Iterable

from nephroscope.cli.command import table
from nephroscope.records import Finding, counted_noun

SEVERITIES = ("refusal", "warning", "note")
MEANINGS = {
    "refused": "input refused for another reason",
    "series": "not a readable CT series",
    "roi": "ROI missing, damaged, empty, or drawn on another CT",
    "cohort": "cohort.csv, a label table or a split contradicts itself",
    "study": "a file or step of the study is missing or out of date",
    "environment": "a package is not installed, or a file cannot be read or written",
    "config": "a setting is outside the allowed range",
    "bundle": "a bundle that is damaged, newer, or made for other input",
    "excluded": "excluded in adjudication.csv",
    "unreadable": "the system cannot read a file",
    "roi-impossible": "more than 10 l or half of the body: not a tumor",
    "roi-measures": "volume, diameters and side of the tumor",
    "roi-outside-body": "more than 2 % of the ROI is outside the body",
    "roi-on-air": "more than 5 % below -300 HU",
    "roi-on-fat": "more than 25 % from -150 to -30 HU",
    "roi-on-bone": "more than 25 % above 300 HU",
    "roi-on-black": "mostly at the dark end of the window",
    "roi-mirrored": "its mirror image would lie on a kidney",
    "roi-cut-off": "the tumor reaches the edge of the scan",
    "roi-one-slice": "one slice thick in a CT of several",
    "roi-gap": "empty slices between drawn slices",
    "roi-parts": "several parts that do not touch",
    "roi-specks": "parts below 1 % of the tumor",
    "roi-tiny": "fewer than 10 voxels",
    "roi-large": "more than 2500 ml or 250 mm",
    "roi-size-differs": "the size differs from the clinical table",
    "roi-off-kidney": "more than 5 mm from every kidney",
    "roi-is-kidney": "nearly a whole kidney",
    "organs-unreadable": "the organ file cannot be used",
    "organs-no-kidney": "the organ file has no kidney",
    "roi-resampled": "drawn on a grid other than that of the CT",
    "roi-volume-changed": "resampling changed the volume by more than 10 %",
    "roi-outside": "part of the ROI lies outside the CT",
    "roi-reference": "the ROI does not name its series",
    "roi-open-contours": "points and open contours left out",
    "roi-repeated-contours": "contours stored more than once, counted once",
    "roi-crossing-contours": "contours overlap partly; the overlap counts as a hole",
    "roi-frame-differs": "ROI and CT name different frames of reference",
    "roi-labels-rounded": "labels that were not quite whole numbers were rounded",
    "roi-several-tumors": "several segments are called a tumor; the named one was used",
    "roi-orphan": "ROI files for a CT that is not in the export",
    "roi-other-patient": "ROI files of a CT with another PatientID",
    "readers-assumed": "two ROI files taken as those of two annotators",
    "roi-unused": "another ROI of the series, not used",
    "no-mask": "no mask: the whole image counts as tumor",
    "mask-values": "masks hold several values",
    "mask-missing": "an image has no mask",
    "roi-reader2-unreadable": "the ROI of the second annotator cannot be used",
    "one-reader": "only one annotator",
    "no-reader": "no annotator; the ROI of a program or a consensus is used",
    "single-slice": "one slice; its declared thickness is used",
    "scout-in-series": "scouts left out",
    "duplicate-files": "copies of files left out",
    "sop-uid-shared": "slices at different positions share a UID",
    "damaged-files": "damaged files next to the series",
    "file-damaged": "files of the export that are damaged or cannot be opened",
    "series-unusable": "CT series that cannot be used",
    "series-cut-short": "slices of the series may be missing",
    "rescale-type": "values may not be Hounsfield units",
    "hu-implausible": "no air, no soft tissue, or values shifted",
    "orientation-unknown": "NIfTI without orientation; right, anterior, superior assumed",
    "units-not-mm": "NIfTI in other units, converted to mm",
    "window-assumed": "level 40, width 400 HU assumed",
    "eight-bit": "gray images: HU known only inside the window",
    "spacing-unknown": "pixel spacing not known: sizes in mm are meaningless",
    "constant-image": "one gray value in all pixels",
    "image-missing": "labeled images that do not exist",
    "image-unlabelled": "images without a label left out",
    "phase-left-out": "a further phase that cannot be read or does not show the tumor",
    "phases-frame-differs": "phases without a common frame of reference",
    "phases-kept": "which phase is used, and which are kept",
    "phase-from-image": "phase suggested by enhancement, not by DICOM",
    "phase-disagrees": "phase by text and by enhancement disagree",
    "subtype-unmapped": "a pathology text that pathology.csv does not list",
    "subtype-unknown": "patient without a subtype",
    "subtype-from-source": "a subtype comes from one collection only",
    "path-names-patient": "folders or files named after their patient",
    "case-known": "cases already in cohort.csv",
    "patient-shared": "patients already in the study",
    "patient-contradicts": "two sources disagree about a patient's data",
    "clinical-unreadable": "a clinical value that cannot be read, taken as unknown",
    "age-from-dates": "ages computed from dates",
    "label-columns": "columns of the label table that were not used",
    "label-hidden": "hidden rows of the sheet were used too",
    "label-sheet": "the sheet with the labels",
    "label-repeated": "the same label row twice",
    "label-reviewed": "who reviewed the labels",
    "data-citation": "license and citation of public data",
    "labels-shuffled": "subtypes assigned at random",
    "outside-training-range": "outside the range of the training cases in a feature",
    "seen-in-training": "the case was used in training",
    "synthetic-training": "trained on SYNTHETIC phantoms",
    "leaky-split": "trained with a split by image",
    "reader-cases-missing": "cases that a reader did not read",
    "reader-not-sure": "cases for which a reader made no call",
    "reader-contradicts": "call and confidence contradict",
    "reader-scale": "the confidences would fit a smaller scale",
    "readers-few": "fewer than five readers",
    "readers-clustered": "patients have several cases: no exact McNemar test",
    "model-no-cases": "cases without a model's prediction",
    "model-left-out": "a run or comparison that could not be used",
}


def counted_findings(findings: Iterable[tuple[str, Finding]]) -> list[str]:
    """Lines of a table: for each code its severity, in how many cases it was found, and what it means.

    Args:
        findings: Each with the name of its case.
    """
    cases = {(f.severity, f.code, name) for name, f in findings}
    counts = Counter((severity, code) for severity, code, _ in cases)
    ordered = sorted(counts.items(), key=lambda item: (SEVERITIES.index(item[0][0]), -item[1], item[0][1]))
    rows = [
        (code, severity, counted_noun(n, "case"), MEANINGS.get(code, "")) for (severity, code), n in ordered
    ]
    return table(rows, ("finding", "severity", "found in", "what it means")).splitlines() if rows else []
