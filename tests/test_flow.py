"""The participant flow diagram: its counts by hand, its reasons folded, its figure readable."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nephroscope.records import Cohort, Exclusion, Finding, Fold, Split, SplitConfig
from nephroscope.report.cohort.flow import draw_flow, flow_of, reason_group
from nephroscope.report.page.drawing import svg_of
from nephroscope.study.format_1 import kind_of_older
from nephroscope.study.split import make_split
from one_series import one_series


def case(i, subtype="PRCC", patient=None, cohort="development", **more):
    return one_series(
        case_id=f"c{i}",
        patient_id=patient or f"p{i}",
        image=Path("ct"),
        format="dicom",
        subtype=subtype,
        cohort=cohort,
        **more,
    )


def cohort(*cases, exclusions=()):
    left_out = tuple(
        Exclusion(case_id=f"x{i}", reason=reason, kind=kind_of_older(reason))
        for i, reason in enumerate(exclusions)
    )
    return Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=cases, exclusions=left_out)


def texts(box):
    return [box.title, *("  " * line.indent + line.text for line in box.lines)]


THREE = (case(1), case(2, patient="p1"), case(3, "ChRCC"))
PATIENT_OF = {"c1": "p1", "c2": "p1", "c3": "p3", "c4": "p4"}


def test_patients_and_tumors_both():
    flow = flow_of(cohort(*THREE))
    assert texts(flow.reviewed) == ["Reviewed: 3 tumors"]
    assert flow.excluded is flow.later is None
    assert texts(flow.included) == [
        "Included: 2 patients, 3 tumors",
        "PRCC: 1 patient, 2 tumors",
        "ChRCC: 1 patient, 1 tumor",
    ]
    assert [line.subtype for line in flow.included.lines] == [0, 1]


def test_exclusions_are_counted_by_reason():
    reasons = [
        *["subtype oncocytoma is not in the study"] * 2,
        "subtype clear_cell is not in the study (3 images)",
        "left out by hand: motion",
        "labelled, but no CT of it was found",
        "pathology text 'favor papillary' is not in pathology.csv",
    ]
    flow = flow_of(cohort(*THREE, exclusions=reasons))
    assert flow.reviewed.title == "Reviewed: 9 tumors"
    assert texts(flow.excluded) == [
        "Excluded: 6 tumors",
        "another subtype: 3",
        "  oncocytoma: 2",
        "  clear cell: 1",
        "motion: 1",
        "no CT found: 1",
        "subtype not stated in the pathology text: 1",
    ]


def test_long_lists_are_folded():
    reasons = [f"left out by hand: {'abcdefghijklmno'[i]}" for i in range(15)]
    subtypes = [f"subtype s{i} is not in the study" for i in range(14) for _ in range(i + 1)]
    lines = texts(flow_of(cohort(*THREE, exclusions=reasons + subtypes)).excluded)
    assert lines[1:3] == ["another subtype: 105", "  s13: 14"]
    assert lines[8:10] == ["  and 8 more subtypes: 36", "a: 1"]
    assert lines[-1] == "and 8 more reasons: 8"
    assert len(lines) == 17


def test_a_case_that_came_in_later_is_not_excluded():
    found = cohort(*THREE, exclusions=["no label row names it"])
    again = replace(found, exclusions=(*found.exclusions, replace(found.exclusions[0], case_id="c1")))
    assert flow_of(again).reviewed.title == "Reviewed: 4 tumors"


@pytest.mark.parametrize(
    ("reason", "group"),
    [
        (
            "2 label rows (t1, t2) for one CT volume name the same ROI",
            "several tumors, unclear which ROI is whose",
        ),
        ("its rows contradict each other: age_years 50.0 and 51.0", "contradicting labels"),
        ("no ROI: no SEG or RTSTRUCT refers to its CT series (3)", "no region of interest"),
        ("no label map beside P1.nii.gz", "no region of interest"),
        ("no usable CT series: slices 1.6 mm apart (and 2 more)", "no usable CT series"),
        ("12 strange things (a, b): here", "n strange things"),
    ],
)
def test_reasons_are_grouped(reason, group):
    assert reason_group(Exclusion(case_id="c", reason=reason, kind=kind_of_older(reason))) == group


def split_of(*folds, holdout=(), protocol="patient"):
    made = [
        Fold(index=i, train=frozenset(a), validation=frozenset(b), test=frozenset(c))
        for i, (a, b, c) in enumerate(folds)
    ]
    return Split(protocol=protocol, folds=tuple(made), patient_of=PATIENT_OF, holdout=frozenset(holdout))


def test_parts_of_one_fold_and_a_test_set():
    split = split_of((["c1", "c2"], ["c3"], ["c4"]), holdout=["c4"])
    flow = flow_of(cohort(*THREE, case(4, "ChRCC", cohort="external-test:North")), split)
    assert [texts(box) for box in flow.parts] == [
        [
            "Development",
            "2 patients, 3 tumors",
            "PRCC: 1 patient, 2 tumors",
            "ChRCC: 1 patient, 1 tumor",
            "trained on: 1 patient, 2 tumors",
            "validated on: 1 patient, 1 tumor",
        ],
        [
            "External test: North",
            "1 patient, 1 tumor",
            "PRCC: 0 patients, 0 tumors",
            "ChRCC: 1 patient, 1 tumor",
            "never used for training or validation",
        ],
    ]
    assert flow.later is None


def test_held_out_of_development_is_an_internal_test():
    split = split_of((["c1", "c2"], ["c3"], ["c4"]), holdout=["c4"])
    assert [box.title for box in flow_of(cohort(*THREE, case(4)), split).parts] == [
        "Development",
        "Internal test",
    ]


def test_what_is_in_no_part_was_left_out_later():
    split = split_of((["c1", "c2"], ["c3"], []), ([], ["c1", "c2"], ["c3"]))
    refusal = Finding(code="roi-small", severity="refusal", message="m", case_id="c4")
    everyone = cohort(*THREE, case(4), case(5, None), case(6))
    flow = flow_of(everyone, split, [refusal, replace(refusal, severity="note", case_id="c6")])
    assert texts(flow.later) == [
        "Excluded later: 3 tumors",
        "no label: 1",
        "no usable slice: 1",
        "roi small: 1",
    ]
    assert (
        texts(flow.parts[0])[-1] == "used in turn for training, validation and testing (2 folds by patient)"
    )
    assert texts(flow.included)[-1] == "no label: 1 patient, 1 tumor"


def test_a_split_by_image_is_leaky():
    split = split_of((["c1#1", "c3#1"], ["c1#2"], ["c3#2"]), protocol="image")
    flow = flow_of(cohort(*THREE), split)
    assert (
        texts(flow.parts[0])[-1]
        == "used in turn for training, validation and testing (1 fold by image: LEAKY)"
    )
    assert flow.later.title == "Excluded later: 1 tumor"
    assert "LEAKY" in svg_of(draw_flow(cohort(*THREE), split), "flow")
    assert "SYNTHETIC" in svg_of(draw_flow(cohort(case(1, synthetic=True))), "flow")


def big_cohort():
    cases = []
    for i in range(50):
        part = "external-test:a far city" if i > 40 else "development"
        cases.append(case(i, ("PRCC", "ChRCC")[i % 2], cohort=part))
    words = "in quite many words, as people write"
    reasons = [f"left out by hand: reason number {chr(97 + i % 20)} {words}" for i in range(90)]
    return cohort(*cases, exclusions=reasons)


def test_every_text_lies_inside_its_box_and_no_box_on_another():
    """Measured as matplotlib draws it; a browser's font is narrower."""
    found = big_cohort()
    split = make_split(found, {c.case_id: [1] for c in found.cases[:-1]}, SplitConfig(folds=5, holdout=0.2))
    figure = draw_flow(found, split)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [patch.get_window_extent(renderer) for patch in axes.patches]
    assert len(boxes) == 7
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[i + 1 :])
    page = figure.bbox
    drawn = [text for text in axes.texts if text.get_text()]
    assert len(drawn) > 30
    for text in drawn:
        extent = text.get_window_extent(renderer)
        inside = [box for box in boxes if box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0]
        assert inside, text.get_text()
        assert page.y0 <= extent.y0
        assert extent.y1 <= page.y1


def test_the_svg_is_text_and_the_same_each_time():
    svg = svg_of(draw_flow(cohort(*THREE)), "flow")
    assert svg == svg_of(draw_flow(cohort(*THREE)), "flow")
    assert re.search(r"<text[^>]*>Included: 2 patients, 3 tumors</text>", svg)
    assert "href" not in svg.replace('xlink:href="#', "")
