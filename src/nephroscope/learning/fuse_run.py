"""A run and the clinical facts of its cases -> how a bundle uses age, sex and size beside the image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from nephroscope.base.errors import StudyError
from nephroscope.clinic.facts import AGE, SEX, WORDS, FactsModel, fact_number
from nephroscope.learning.baselines.fusion import facts_table, fit_fusion
from nephroscope.learning.run_files import CompleteRun
from nephroscope.records import OUT_OF_FOLD, Answer, ChosenCase, Evaluation
from nephroscope.study.snapshot import Snapshot

FEWEST = 10  # patients of a subtype: six numbers are fitted


def facts_model(run: CompleteRun, report: Evaluation) -> FactsModel:
    """The regression on the out-of-fold answers of a run and the facts of its cases.

    Raises:
        StudyError: There are too few out-of-fold answers, or no fact is known of half of their cases.
    """
    known, by_id = _known(report.predictions), run.snapshot.cohort.by_id
    _check(f"run {report.run}, --facts", [by_id[p.case_id] for p in known], report.subtypes, report.leaky)
    return fold_models(known, report.subtypes, by_id, [None])[None]


def check_fusable(snapshot: Snapshot) -> None:
    """Refuse a study on whose folds nothing could be fused, before a network is trained.

    Raises:
        StudyError: There are too few patients or folds, folds by image, or too few clinical facts.
    """
    cohort, folds = snapshot.cohort, snapshot.split.folds
    tested = [cohort.by_id[name] for fold in folds for name in sorted(fold.test) if name in cohort.by_id]
    leaky = snapshot.split.leaky or len(folds) < 2
    _check("--model fusion", [case for case in tested if case.subtype], cohort.subtypes, leaky)


def _check(where: str, cases: Sequence[ChosenCase], subtypes: Sequence[str], leaky: bool) -> None:
    counts = {name: len({case.patient_id for case in cases if case.subtype == name}) for name in subtypes}
    table = facts_table([case.clinical for case in cases])
    with_fact = int(np.isfinite(table).any(axis=1).sum())
    if leaky or min(counts.values()) < FEWEST or 2 * with_fact < len(cases):
        told = ", ".join(f"{n} {name}" for name, n in counts.items())
        one = ", and no several folds by patient" if leaky else ""
        raise StudyError(
            where=where,
            expected=f"out-of-fold answers about {FEWEST} patients of each subtype, half of the cases with a fact",
            found=f"patients: {told}{one}; {with_fact} of {len(cases)} cases with age, sex or size",
            remedy="add them to cohort.csv and train with several folds by patient, or leave the facts out: "
            "`nephroscope train --model mobilenet_v2`, `export` without --facts",
        )


def _known(answers: Sequence[Answer]) -> list[Answer]:
    return [p for p in answers if p.group == OUT_OF_FOLD and p.truth is not None]


Fold = TypeVar("Fold", int, None)


def fold_models(
    answers: Sequence[Answer],
    subtypes: Sequence[str],
    by_id: Mapping[str, ChosenCase],
    folds: Sequence[Fold],
) -> dict[Fold, FactsModel]:
    """For each fold the regression on the out-of-fold answers of all others, which its cases had no part in.

    Args:
        answers: Of a run.
        subtypes: In order.
        by_id: The cases of the cohort.
        folds: None, or a number that no fold has, stands for the regression on all answers.
    """
    found: dict[Fold, FactsModel] = {}
    for fold in folds:
        learn = [p for p in _known(answers) if p.fold != fold]
        said = np.array([[[p.of_image[s] for s in subtypes] for p in learn]])
        labels = np.array([subtypes.index(p.truth or "") for p in learn], dtype=np.intp)
        facts = [by_id[p.case_id].clinical for p in learn]
        found[fold] = fit_fusion(said, facts, labels, [p.patient_id for p in learn]).model
    return found


def fused(
    answers: Sequence[Answer], subtypes: Sequence[str], by_id: Mapping[str, ChosenCase]
) -> list[Answer]:
    """Out-of-fold answers with a known fact, each with the probabilities of the regression of the other folds."""
    known = _known(answers)
    models = fold_models(known, subtypes, by_id, sorted({p.fold for p in known}))
    found = []
    for answer in known:
        image, clinical = answer.of_image, by_id[answer.case_id].clinical
        if all(fact_number(clinical, term.name) is None for term in models[answer.fold].terms):
            continue
        p = models[answer.fold].probabilities([image[s] for s in subtypes], clinical)
        both = dict(zip(subtypes, p, strict=True))
        found.append(replace(answer, probabilities=both, image_probabilities=image))
    return found


def facts_words(model: FactsModel, evaluated: bool = False) -> str:
    """What the README of a bundle says of it.

    Args:
        model: Of the bundle.
        evaluated: The run is one of `fusion`: its figures are those of answers with facts.
    """
    figures = (
        "The figures above are those of answers with facts, each by regressions of other folds"
        if evaluated
        else "The figures above are those of the image alone"
    )
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
            f"answers with their mean. {figures}; `nephroscope compare`",
            "says what the facts add.",
            "",
            *rows,
            "",
        ]
    )


def _shown(name: str, value: float) -> str:
    if name == SEX:
        return f"{100 * value:.0f} % men"
    return f"{value:.0f} years" if name == AGE else f"{10 * math.exp(value):.0f} mm"
