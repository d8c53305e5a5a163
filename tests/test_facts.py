"""Clinical facts beside a network: refused where impossible, what they moved, and a bundle with them."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import BundleError, ConfigError
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.facts import FactsModel, FactTerm, given_facts
from nephroscope.clinic.predict import predict
from nephroscope.exchange.read_sr import read_answer
from nephroscope.facade.listen import answering, facts_of_headers
from nephroscope.records import ClinicalFacts, CTVolume, RoiMask
from phantoms import box_tumor, dicom_slices, write_seg, write_slices
from small_study import geometry
from tiny_bundle import content_of, make_bundle, write_content

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

MODEL = FactsModel(
    image_weight=1.0,
    offsets=(0.0, 0.0),
    terms=(
        FactTerm(name="age_years", mean=60.0, sd=10.0, weights=(0.5, -0.5), unknown=(0.0, 0.0)),
        FactTerm(name="sex", mean=0.5, sd=0.5, weights=(0.25, -0.25), unknown=(0.1, -0.1)),
        FactTerm(name="size_cm", mean=math.log(4.0), sd=0.5, weights=(0.0, 0.0), unknown=(0.0, 0.0)),
    ),
    n_patients=40,
)


def log_odds(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"age_years": 300.0}, "age"),
        ({"age_years": -1.0}, "age"),
        ({"age_years": math.nan}, "age"),
        ({"sex": "X"}, "sex"),
        ({"sex": ""}, "sex"),
        ({"size_mm": 0.0}, "size"),
        ({"size_mm": 4200.0}, "size"),
    ],
)
def test_an_impossible_fact_is_refused_by_name(given, name):
    with pytest.raises(ConfigError) as refused:
        given_facts(**given)
    assert refused.value.where == f"clinical facts, {name}"


def test_facts_have_our_units():
    assert given_facts(61, "f", 42) == ClinicalFacts(age_years=61, sex="F", size_cm=4.2)
    assert given_facts() == ClinicalFacts()


def test_a_case_without_facts_gets_the_networks_own_answer():
    model = replace(MODEL, image_weight=0.3, offsets=(1.0, -1.0))
    assert model.probabilities((0.7, 0.3), ClinicalFacts(side="left")) == (0.7, 0.3)
    assert model.moved((0.7, 0.3), ClinicalFacts(), 0) == ()
    assert [f.code for f in model.doubts(ClinicalFacts(), "c")] == ["no-clinical-facts"]


def test_what_a_fact_moves_is_its_term_in_log_odds():
    facts = ClinicalFacts(age_years=70, sex="F")
    p = MODEL.probabilities((0.6, 0.4), facts)[0]
    assert log_odds(p) == pytest.approx(log_odds(0.6) + 1.0 - 0.5)
    age, sex = MODEL.moved((0.6, 0.4), facts, 0)
    assert (age.name, age.value, age.unit, sex.value) == ("age", 70.0, "years", "F")
    assert age.log_odds == pytest.approx(1.0)
    assert sex.log_odds == pytest.approx(-0.5 - 0.2)  # against "not known", which has a term of its own
    assert log_odds(age.probability_without) == pytest.approx(log_odds(p) - 1.0)


def test_a_fact_far_from_the_training_cases_is_doubted():
    assert [f.code for f in MODEL.doubts(ClinicalFacts(age_years=91), "c")] == ["fact-outside-training-range"]
    assert MODEL.doubts(ClinicalFacts(age_years=89, size_cm=9.0), "c") == []


def case():
    grid = geometry()
    voxels = np.zeros(grid.shape, bool)
    voxels[1:5, 8:16, 8:16] = True
    hu = np.full(grid.shape, 60, np.int16)
    return CTVolume(hu=hu, geometry=grid, series_uid="1.2"), RoiMask(
        voxels=voxels, geometry=grid, case_id="c"
    )


def test_a_bundle_with_facts_answers_with_them(tmp_path):
    plain, with_facts = (
        open_bundle(make_bundle(tmp_path / name, **about))
        for name, about in (("plain", {}), ("facts", {"facts": as_plain(MODEL)}))
    )
    facts = given_facts(70, "M", 40)
    alone = predict(plain, *case())[0]
    same = predict(with_facts, *case())[0]
    assert same.probabilities == alone.probabilities
    assert "no-clinical-facts" in {f.code for f in same.findings}
    both = predict(with_facts, *case(), facts=facts)[0]
    assert log_odds(both.probabilities["PRCC"]) == pytest.approx(log_odds(alone.probabilities["PRCC"]) + 1.5)
    assert both.image_probabilities == alone.probabilities
    assert [one.name for one in both.facts] == ["age", "sex", "size"]
    unused = predict(plain, *case(), facts=facts)[0]
    assert unused.probabilities == alone.probabilities
    assert "facts-not-used" in {f.code for f in unused.findings}


@pytest.mark.parametrize(
    "change", [{"sd": 0.0}, {"weights": [1.0]}, {"name": "weight_kg"}, {"unknown": [0.0, 0.0, 0.0]}]
)
def test_a_bundle_with_facts_that_cannot_be_used_is_refused(tmp_path, change):
    folder = make_bundle(tmp_path / "bundle", facts=as_plain(MODEL))
    content = content_of(folder)
    content["facts"]["terms"][0] |= change
    write_content(folder, content)
    with pytest.raises(BundleError, match="facts"):
        open_bundle(folder)


def test_no_change_of_a_bundle_with_facts_crashes_or_is_silent():
    import facts_damage

    counts = facts_damage.run(60, 1)
    assert counts["refused"] > 30
    assert counts["crashed"] == counts["silent"] == 0


@pytest.mark.parametrize(
    ("name", "value"), [("mean", 800.0), ("sd", 1e-300), ("weights", [1e300, 0.0]), ("unknown", [0.0, -1e9])]
)
def test_numbers_that_no_regression_has_are_refused(tmp_path, name, value):
    folder = make_bundle(tmp_path / "bundle", facts=as_plain(MODEL))
    content = content_of(folder)
    content["facts"]["terms"][2][name] = value
    write_content(folder, content)
    with pytest.raises(BundleError, match="facts"):
        open_bundle(folder)


def test_the_listener_takes_age_and_sex_of_headers_and_says_so(tmp_path):
    images = dicom_slices()
    for image in images:
        image.PatientAge, image.PatientSex = "061Y", "F"
    ct = write_slices(images, tmp_path / "ct")
    roi = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    assert facts_of_headers(ct) == ClinicalFacts(age_years=61, sex="F")
    bundle = make_bundle(tmp_path / "bundle", facts=as_plain(MODEL))
    (tmp_path / "out").mkdir()
    answering(bundle, picture=False)(SimpleNamespace(images=ct, roi=roi, series_uid="1"), tmp_path / "out")
    used = {one.name: (one.value, one.source) for one in read_answer(tmp_path / "out" / "sr.dcm").facts}
    assert used == {
        "age": (61.0, "the header of the CT (PatientAge)"),
        "sex": ("F", "the header of the CT (PatientSex)"),
    }
    images[0].PatientAge, images[0].PatientSex = "062Y", "F"
    write_slices(images, tmp_path / "ct")
    assert facts_of_headers(tmp_path / "ct") == ClinicalFacts(sex="F")
