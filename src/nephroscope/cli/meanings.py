"""What a finding's code means, in a few words, as in docs/reference/findings.md: codes in, counted lines out."""

from collections import Counter
from collections.abc import Iterable

from nephroscope.cli.command import table
from nephroscope.records import Finding, counted_noun

SEVERITIES = ("refusal", "warning", "note")
MEANINGS = {
    "refused": "input refused for a reason of its own",
    "series": "the CT cannot be read as one",
    "roi": "ROI missing, damaged, empty, or drawn elsewhere than on its CT",
    "cohort": "manifest, label table or split contradicts itself",
    "study": "a file or step of the study is missing or older than what it was made from",
    "environment": "a package is not installed, or a file cannot be read or written",
    "config": "a setting outside what it may be",
    "bundle": "a bundle damaged, newer, or made for other input",
    "excluded": "left out by the readers' decision in adjudication.csv",
    "unreadable": "the system cannot read a file",
    "roi-impossible": "more than 10 l, or half of the body: no tumor",
    "roi-measures": "volume, diameters and side of the tumor",
    "roi-outside-body": "more than 2 % of the ROI outside the body",
    "roi-on-air": "more than 5 % below -300 HU",
    "roi-on-fat": "more than 25 % from -150 to -30 HU",
    "roi-on-bone": "more than 25 % above 300 HU",
    "roi-on-black": "mostly at the dark end of the window",
    "roi-mirrored": "mirrored, it would lie where a kidney is",
    "roi-cut-off": "the tumor reaches the first or last slice, or the edge",
    "roi-one-slice": "one slice thick in a CT of several",
    "roi-gap": "empty slices between drawn ones",
    "roi-parts": "several parts that do not touch",
    "roi-specks": "parts below 1 %: slips of the pen",
    "roi-tiny": "fewer than 10 voxels",
    "roi-large": "more than 2500 ml or 250 mm",
    "roi-size-differs": "another size than the clinical table says",
    "roi-off-kidney": "more than 5 mm from every kidney",
    "roi-is-kidney": "nearly a whole kidney",
    "organs-unreadable": "file of organs cannot be used",
    "organs-no-kidney": "file of organs without a kidney",
    "roi-resampled": "drawn on another grid than the CT's",
    "roi-volume-changed": "resampling changed the volume by more than 10 %",
    "roi-outside": "part of the ROI lies outside the CT",
    "roi-reference": "the ROI does not name its series",
    "roi-open-contours": "points and open contours left out",
    "roi-repeated-contours": "contours stored more than once, counted once",
    "roi-crossing-contours": "contours overlap in part, taken for a hole",
    "roi-several-tumors": "several segments say tumor; the named one was taken",
    "roi-orphan": "ROI files of a CT that is not in the export",
    "roi-other-patient": "ROI files of a CT with another PatientID",
    "readers-assumed": "two ROI files taken for two readers'",
    "roi-unused": "further ROI of the series, not used",
    "no-mask": "no mask: the whole image counts as tumor",
    "mask-values": "masks hold several values",
    "mask-missing": "an image has no mask",
    "roi-reader2-unreadable": "the second reader's ROI cannot be used",
    "one-reader": "one reader only",
    "no-reader": "drawn by no reader; the ROI of a program or a consensus was used",
    "single-slice": "one slice, its thickness as declared",
    "scout-in-series": "scouts left out",
    "duplicate-files": "copies of files left out",
    "sop-uid-shared": "slices at different places share a UID",
    "damaged-files": "damaged files beside the series",
    "file-damaged": "files of the export damaged or closed to us",
    "series-unusable": "CT series that cannot be used",
    "series-cut-short": "the series has more slices than came",
    "rescale-type": "values may be no Hounsfield units",
    "hu-implausible": "no air, no soft tissue, or values shifted",
    "orientation-unknown": "NIfTI without orientation; right, front, head assumed",
    "units-not-mm": "NIfTI in other units, turned into mm",
    "window-assumed": "level 40, width 400 HU assumed",
    "eight-bit": "gray images: HU known inside the window only",
    "spacing-unknown": "pixel spacing not known: sizes mean nothing",
    "constant-image": "one gray value in all pixels",
    "image-missing": "labelled images that do not exist",
    "image-unlabelled": "images without a label left out",
    "phases-kept": "which phase was taken, and which are kept",
    "phase-from-image": "phase suggested by enhancement, not by DICOM",
    "phase-disagrees": "phase by text and by enhancement disagree",
    "subtype-unmapped": "pathology text that the table does not tell",
    "subtype-unknown": "patient without a subtype",
    "subtype-from-source": "a subtype from one collection only",
    "path-names-patient": "folders or files named after their patient",
    "case-known": "cases that cohort.csv has already",
    "patient-shared": "patients already in the study",
    "patient-contradicts": "two sources differ in a patient's data",
    "clinical-unreadable": "a clinical value taken as not known",
    "age-from-dates": "ages computed from dates",
    "label-columns": "columns of the label table not read",
    "label-hidden": "hidden rows of the sheet read too",
    "label-sheet": "which sheet the labels are from",
    "label-repeated": "the same label row twice",
    "label-reviewed": "who reviewed the labels",
    "data-citation": "licence and citation of public data",
    "labels-shuffled": "subtypes dealt out at random",
    "outside-training-range": "differs from all training cases in a feature",
    "seen-in-training": "the case was used in training",
    "synthetic-training": "trained on SYNTHETIC phantoms",
    "leaky-split": "trained under the image split",
    "reader-cases-missing": "a reader has no answer about a case",
    "reader-not-sure": "a reader gave cases no call",
    "reader-contradicts": "call and confidence contradict",
    "reader-scale": "confidences would fit a smaller scale",
    "readers-few": "fewer than five readers",
    "readers-clustered": "patients with several cases: no exact McNemar",
    "model-no-cases": "a model has no answer about a case",
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
