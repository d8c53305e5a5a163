"""A run and the clinical facts of its cases -> how a bundle uses age, sex and size beside the image."""

import math

import numpy as np

from nephroscope.base.errors import StudyError
from nephroscope.clinic.facts import AGE, SEX, WORDS, FactsModel
from nephroscope.learning.baselines.fusion import facts_table, fit_fusion
from nephroscope.learning.run_files import CompleteRun
from nephroscope.records import OUT_OF_FOLD, Evaluation

FEWEST = 10  # patients of a subtype: six numbers are fitted


def facts_model(run: CompleteRun, report: Evaluation) -> FactsModel:
    """The regression on the out-of-fold answers of a run and the facts of its cases.

    Raises:
        StudyError: There are too few out-of-fold answers, or no fact is known of half of their cases.
    """
    known = [p for p in report.predictions if p.group == OUT_OF_FOLD and p.truth is not None]
    by_id = run.snapshot.cohort.by_id
    facts = [by_id[p.case_id].clinical for p in known]
    labels = np.array([report.subtypes.index(p.truth or "") for p in known], dtype=np.intp)
    patients = [p.patient_id for p in known]
    counts = {
        name: len({patient for patient, label in zip(patients, labels, strict=True) if label == place})
        for place, name in enumerate(report.subtypes)
    }
    with_fact = int(np.isfinite(facts_table(facts)).any(axis=1).sum()) if facts else 0
    if report.leaky or min(counts.values()) < FEWEST or 2 * with_fact < len(known):
        told = ", ".join(f"{n} {name}" for name, n in counts.items())
        leaky = ", of a LEAKY split by image" if report.leaky else ""
        raise StudyError(
            where=f"run {report.run}, --facts",
            expected=f"out-of-fold answers about {FEWEST} patients of each subtype, half of the cases with a fact",
            found=f"patients: {told}{leaky}; {with_fact} of {len(known)} cases with age, sex or size",
            remedy="add them to cohort.csv, train with several folds by patient, or export without --facts",
        )
    said = np.array([[[p.probabilities[s] for s in report.subtypes] for p in known]])
    return fit_fusion(said, facts, labels, patients).model


def facts_words(model: FactsModel) -> str:
    """What the README of a bundle says of it."""
    rows = [
        f"* {WORDS[term.name]}: mean {_shown(term.name, term.mean)}"
        + ("" if term.name == SEX else f", {_shown(term.name, term.mean - term.sd)} to ")
        + ("" if term.name == SEX else f"{_shown(term.name, term.mean + term.sd)} within an SD")
        for term in model.terms
    ]
    return "\n".join(
        [
            "",
            "## Clinical facts",
            "",
            "`--age` (years), `--sex` (M or F) and `--size-mm` (largest diameter) are used where they are given;",
            "without any, the answer is that of the image. The threshold is 0.5. One logistic regression, fitted on",
            f"the out-of-fold answers about {model.n_patients} patients: those of single networks, while this bundle",
            "answers with their mean. The figures above are those of the image alone; `nephroscope compare` says",
            "what the facts add.",
            "",
            *rows,
            "",
        ]
    )


def _shown(name: str, value: float) -> str:
    if name == SEX:
        return f"{100 * value:.0f} % men"
    return f"{value:.0f} years" if name == AGE else f"{10 * math.exp(value):.0f} mm"
