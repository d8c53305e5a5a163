"""Subgroups: counts, gaps known by construction, an exact permutation test, and what is too small."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from nephroscope.base.tables import save_table
from nephroscope.intake.export.series_table import COLUMNS
from nephroscope.questions.evaluation.subgroups import (
    attributes_of,
    series_facts,
    spacing_of,
    subgroup_table,
    vendor_of,
)
from nephroscope.records import Answer, Cohort, EvaluationConfig
from nephroscope.statistics.metrics import auc
from one_series import one_series

CONFIG = EvaluationConfig(resamples=400)
SUBTYPES = ("PRCC", "ChRCC")


def make_case(name, subtype, **fields):
    fields = {"patient_id": f"p{name}", **fields}
    return one_series(
        case_id=name, image=Path("ct"), roi=Path("roi"), format="nifti", subtype=subtype, **fields
    )


def make_prediction(case, p, subtypes=SUBTYPES):
    values = dict(zip(subtypes, [p, 1 - p] if np.isscalar(p) else p, strict=True))
    call = max(values, key=values.get)
    return Answer(
        case_id=case.case_id,
        patient_id=case.patient_id,
        probabilities=values,
        slices=(),
        forced_call=call,
        call=call,
        reason="",
        truth=case.subtype,
        group="out-of-fold",
    )


def of_sex(n_women=20, n_men=20, seed=0, gap=True):
    """Women told apart without a mistake, men by chance (or all by the same rule); half of each are PRCC."""
    rng = np.random.default_rng(seed)
    cases, found = [], []
    for i in range(n_women + n_men):
        subtype = SUBTYPES[i % 2]
        sex = "F" if i < n_women else "M"
        cases.append(make_case(f"c{i:03}", subtype, sex=sex))
        sure = (0.9 if subtype == "PRCC" else 0.1) + rng.uniform(-0.1, 0.1)
        blurred = 0.5 + 0.1 * (subtype == "PRCC") + rng.uniform(-0.2, 0.2)
        found.append(make_prediction(cases[-1], (sure if sex == "F" else rng.random()) if gap else blurred))
    return found, Cohort(subtypes=SUBTYPES, positive="PRCC", cases=tuple(cases))


def table_of(found, cohort, facts=None, config=CONFIG):
    groups = subgroup_table(found, cohort, facts or {}, cohort.subtypes, cohort.positive, config)
    return {(g.attribute, g.value): g for g in groups}


def test_a_gap_by_construction_is_found_and_is_the_difference_of_the_figures():
    table = table_of(*of_sex())
    women, men = table["sex", "women"], table["sex", "men"]
    assert women.figures["auc"].value == 1.0
    assert women.gaps["auc"].value == pytest.approx(women.figures["auc"].value - men.figures["auc"].value)
    assert men.gaps["auc"].value == pytest.approx(-women.gaps["auc"].value)
    assert men.gaps["accuracy"].value == pytest.approx(
        men.figures["accuracy"].value - women.figures["accuracy"].value
    )
    assert women.gaps["auc"].low > 0.1
    assert women.p == men.p < 0.02
    assert women.p_holm == women.p  # one attribute with two sides is one test
    assert (women.n_cases, women.n_patients, women.n_by_subtype) == (20, 20, {"PRCC": 10, "ChRCC": 10})


def test_attributes_that_nobody_knows_are_left_out_and_the_same_for_all_have_no_gap():
    table = table_of(*of_sex())
    assert {attribute for attribute, _ in table} == {"sex", "site"}
    site = table["site", "site-1"]
    assert site.figures["auc"].value is not None
    assert site.gaps["auc"].method == "undefined: no other case"
    assert site.p is None
    assert site.p_holm is None


def test_permutation_p_is_the_exact_one():
    """All 252 x 252 ways of drawing five women of ten in each class, against 4,000 drawn at random."""
    found, cohort = of_sex(10, 10, seed=5, gap=False)
    p = table_of(found, cohort, config=EvaluationConfig(resamples=4000))["sex", "women"].p
    score = np.array([f.probabilities["PRCC"] for f in found])
    yes = np.array([f.truth == "PRCC" for f in found])
    wins = (score[yes][:, None] > score[~yes][None, :]).astype(float)
    picks = np.zeros((252, 10))
    for row, chosen in enumerate(combinations(range(10), 5)):
        picks[row, list(chosen)] = 1
    gaps = (picks @ wins @ picks.T - (1 - picks) @ wins @ (1 - picks).T) / 25
    women = np.arange(20) < 10
    observed = auc(score[women], yes[women]) - auc(score[~women], yes[~women])
    exact = np.mean(np.abs(gaps) >= abs(observed) - 1e-12)
    assert p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 4000) ** 0.5 + 1e-3)
    assert 0.02 < exact < 0.98


def test_without_a_gap_p_is_seldom_small():
    """40 cohorts without a gap: 2 below 0.05 are expected, and 7 or more come less than once in a hundred times."""
    config = EvaluationConfig(resamples=100)
    small = sum(
        table_of(*of_sex(14, 14, seed, gap=False), config=config)["sex", "men"].p < 0.05 for seed in range(40)
    )
    assert small < 7


def test_a_small_group_shows_its_counts_and_no_figure():
    found, cohort = of_sex(8, 30)
    table = table_of(found, cohort)
    women, men = table["sex", "women"], table["sex", "men"]
    assert women.n_by_subtype == {"PRCC": 4, "ChRCC": 4}
    why = "fewer than 5 patients of a subtype (4 PRCC, 4 ChRCC)"
    assert women.figures["auc"].method == women.gaps["auc"].method == f"undefined: {why}"
    assert women.figures["auc"].value is None
    assert men.figures["auc"].value is not None
    assert men.gaps["auc"].method == f"undefined: the other cases: {why}"
    assert men.p is None


def test_patients_on_both_sides_are_tested_by_the_bootstrap():
    """Every patient has a small and a large tumor; both are told apart alike."""
    rng = np.random.default_rng(0)
    cases, found = [], []
    for i in range(24):
        for size in (2.0, 6.0):
            subtype = SUBTYPES[i % 2]
            cases.append(make_case(f"c{i}-{size:g}", subtype, patient_id=f"p{i}", size_cm=size))
            p = np.clip(0.5 + 0.1 * (subtype == "PRCC") + rng.uniform(-0.3, 0.3), 0, 1)
            found.append(make_prediction(cases[-1], p))
    table = table_of(found, Cohort(subtypes=SUBTYPES, positive="PRCC", cases=tuple(cases)))
    small = table["size", "up to 4 cm"]
    assert (small.n_cases, small.n_patients) == (24, 24)
    assert "patients are on both sides" in small.gaps["auc"].method
    assert small.gaps["auc"].low < 0 < small.gaps["auc"].high
    assert small.p > 0.05
    assert table["size", "over 4 cm"].p == small.p


def test_unknown_values_are_counted_and_are_nobodys_rest():
    found, cohort = of_sex()
    vendors = ("GE", "Siemens", "Philips")
    facts = {f"c{i:03}": {"vendor": vendors[i // 10]} for i in range(30)}
    table = table_of(found, cohort, facts)
    unknown = table["vendor", "unknown"]
    assert (unknown.n_cases, unknown.figures["auc"].method) == (10, "undefined: the value is not known")
    assert table["vendor", "GE"].gaps["auc"].n == 30
    tested = [table["vendor", name] for name in vendors]
    assert all(g.p is not None for g in tested)
    assert table["sex", "women"].p_holm >= table["sex", "women"].p
    order = sorted([*tested, table["sex", "women"]], key=lambda g: g.p)
    expected = np.maximum.accumulate([min(1.0, g.p * (4 - k)) for k, g in enumerate(order)])
    assert [g.p_holm for g in order] == pytest.approx(expected)


def test_three_subtypes_have_a_macro_auc():
    rng = np.random.default_rng(0)
    names = ("a", "b", "c")
    cases, found = [], []
    for i in range(60):
        cases.append(
            make_case(f"c{i}", names[i % 3], sex="FM"[i % 2], phase=("nephrographic", "excretory")[i % 2])
        )
        found.append(
            make_prediction(cases[-1], rng.dirichlet(1 + 3 * (np.arange(3) == i % 3)).tolist(), names)
        )
    table = table_of(found, Cohort(subtypes=names, positive="a", cases=tuple(cases)))
    women = table["sex", "women"]
    assert 0.6 < women.figures["auc"].value < 1
    assert women.p is not None
    assert ("phase", "nephrographic") in table


def test_attributes_of_a_case():
    case = make_case("c", "PRCC", sex="F", age_years=60.0, size_cm=4.0, phase="unknown")
    found = attributes_of(case, {"vendor": "GE"})
    assert found == {
        "sex": "women",
        "age": "60 and over",
        "size": "up to 4 cm",
        "phase": "unknown",
        "site": "site-1",
        "vendor": "GE",
        "slice spacing": "unknown",
    }
    assert attributes_of(make_case("d", "PRCC", age_years=59.9, size_cm=4.1), {})["age"] == "under 60"
    assert attributes_of(make_case("d", "PRCC", age_years=59.9, size_cm=4.1), {})["size"] == "over 4 cm"
    assert attributes_of(make_case("d", "PRCC"), {})["age"] == "unknown"


def test_vendors_and_spacings_have_one_name():
    assert {vendor_of(name) for name in ("SIEMENS", "Siemens Healthineers", "SIEMENS-HEALTHCARE")} == {
        "Siemens"
    }
    assert vendor_of("GE MEDICAL SYSTEMS") == "GE"
    assert vendor_of("CANON_MEC") == vendor_of("TOSHIBA") == "Canon or Toshiba"
    assert vendor_of("Analogic") == "Analogic"  # not in the table: as it stands
    assert vendor_of("  ") == "unknown"
    spacings = [spacing_of(mm) for mm in ("0.8", "1.5", "3", "5", "")]
    assert spacings == ["up to 1.5 mm", "up to 1.5 mm", "over 1.5 to 3 mm", "over 3 mm", "unknown"]


def test_facts_come_from_series_csv(tmp_path):
    def row(case_ids, maker, spacing):
        known = {"case_ids": case_ids, "manufacturer": maker, "spacing_mm": spacing}
        return [known.get(name, "") for name in COLUMNS]

    assert series_facts(tmp_path) == {}
    rows = [row("a b", "GE MEDICAL SYSTEMS", "1.25"), row("b", "Philips", "1"), row("", "SIEMENS", "5")]
    save_table(tmp_path / "seen_series.csv", COLUMNS, rows)
    assert series_facts(tmp_path) == {
        "a": {"vendor": "GE", "slice spacing": "up to 1.5 mm"},
        "b": {"slice spacing": "up to 1.5 mm"},  # two makers: neither
    }
