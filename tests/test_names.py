"""What must not leave a study is found as whole words, and taken out; what says nothing is left alone."""

import re
from pathlib import Path

import numpy as np
import pytest

from nephroscope.base.errors import BundleError
from nephroscope.base.tables import save_table
from nephroscope.base.text import plain_markdown
from nephroscope.learning.export import _without_names, check_nothing_named, phantom_slices
from nephroscope.records import Cohort, SliceSpec
from nephroscope.study.folder import StudyFolder
from nephroscope.study.names import names_of
from one_series import one_series
from tiny_bundle import make_bundle, save_network


@pytest.fixture
def names(tmp_path):
    root = tmp_path / "our study"
    (root / "readers").mkdir(parents=True)
    save_table(
        root / "readers" / "readers.csv",
        ("name", "aided", "model"),
        [("Dr Zqreader", "no", "no"), ("Jörg Straße", "no", "no")],
    )
    rows = [("MRN770009", "no ROI")]
    save_table(root / "exclusions.csv", ("case_id", "reason"), rows)
    cases = [
        one_series(
            case_id="MRN770001",
            patient_id="P-00017",
            image=root / "Mueller_Hans" / "ct",
            roi=root / "rois" / "MRN770001_seg.nii.gz",
            series_uid="1.2.826.0.1.55",
            site_id="Klinikum Musterstadt",
            cohort="external-test:Musterstadt",
        ),
        one_series(case_id="12", patient_id="12", image=Path("ct"), roi=Path("roi"), site_id="site-1"),
        one_series(case_id="2021", patient_id="case-004", image=Path("ct"), site_id="site-1"),
    ]
    cohort = Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=tuple(cases))
    return names_of(StudyFolder(root), cohort)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5 cases: MRN770001", "case"),
        ("in mrn770001.", "case"),
        ("P-00017, aged 60", "case"),
        ("MRN770009 was left out", "case"),
        ("read by Dr Zqreader:", "reader"),
        ("JÖRG Straße and others", "reader"),
        ("from Klinikum Musterstadt", "site"),
        ("external-test:Musterstadt", "site"),
        ("series 1.2.826.0.1.55", "series"),
        ("in Mueller_Hans/ct", "path"),
        ("the file MRN770001_seg.nii.gz", "path"),
    ],
)
def test_each_kind_of_name_is_found_and_removed(names, text, kind):
    assert kind in names.found_in(text)
    assert names.found_in(names.removed_from(text)) == []
    assert f"[{kind}" in names.removed_from(text)


@pytest.mark.parametrize(
    "text",
    ["12 patients, Zuo et al. 2021", "site-1 and case-004", "MRN7700012", "XMRN770001", "0.12", "PRCC on CT"],
)
def test_what_says_nothing_is_left_alone(names, text):
    assert names.removed_from(text) == text


def test_lists_of_cases_become_one_word(names):
    assert names.removed_from("contradict in 3 cases: MRN770001, P-00017 and MRN770009") == (
        "contradict in 3 cases: [cases]"
    )


def test_names_leave_every_text_and_key_of_a_document(names):
    content = {"external-test:Musterstadt": {"n": 12}, "list": ["MRN770001", 3, None], "own": "PRCC"}
    plain = _without_names(content, names)
    assert plain == {"external-test:[site]": {"n": 12}, "list": ["[case]", 3, None], "own": "PRCC"}


def test_a_bundle_that_names_somebody_is_refused(names, tmp_path):
    bundle = make_bundle(tmp_path / "b")
    check_nothing_named(bundle, names)
    for name, content in (
        ("README.md", "For MRN770001."),
        ("MODEL_CARD.md", "Dr Zqreader"),
        ("bundle.json", '{"run": "Klinikum Musterstadt"}'),
    ):
        kept = (bundle / name).read_text() if (bundle / name).exists() else "A card.\n"
        (bundle / name).write_text(content)
        with pytest.raises(BundleError, match="the name of a") as refused:
            check_nothing_named(bundle, names)
        assert refused.value.where == f"bundle, {name}"
        (bundle / name).write_text(kept)
    save_network(bundle / "model.onnx")
    network = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(network + b"\x32\x09MRN770001")  # its doc_string
    with pytest.raises(BundleError, match="the name of a case"):
        check_nothing_named(bundle, names)


def test_reference_slices_are_of_a_phantom_as_the_network_needs_them():
    for mode in ("crop", "mask", "full"):
        hu = phantom_slices(SliceSpec(size_px=48, roi_mode=mode))
        assert (hu.shape, hu.dtype) == ((8, 48, 48), np.int16)
        assert len({one.tobytes() for one in hu}) > 1
    assert np.array_equal(phantom_slices(SliceSpec(size_px=48)), phantom_slices(SliceSpec(size_px=48)))


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "</p><script>x</script>",
        "<!-- hidden -->",
        "<?php?>",
        "![](https://example.invalid/a.png)",
        "[here](javascript:alert(1))",
        "[a][b] of a run\n[b]: https://example.invalid",
        "<https://example.invalid>",
    ],
)
def test_names_cannot_become_html_links_or_pictures(text):
    plain = plain_markdown(f"Subtype {text} of a run")
    assert "<" not in plain
    assert "](" not in plain
    assert not re.search(r"^ *\[[^\]]*\]:", plain, re.MULTILINE)


def test_ordinary_text_is_not_changed():
    text = "p < 0.001, n = 12; AUC 0.9 (0.8 to 1.0)\n\n| a | b |\n| --- | --- |\n"
    text += "* [cases] and `run`, reader [reader]: [case]\n"
    assert plain_markdown(text) == text
