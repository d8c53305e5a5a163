"""The model of a reader study is asked about each case, before the protocol is locked.

Only an answer that is independent of the case may aid a reader: a run answers each case by the network of a fold that
did not see its patient; a bundle that was trained on a case, or on another tumor of its patient, is refused.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import file_digest
from nephroscope.base.text import first_few
from nephroscope.records import Answer, ChosenCase
from nephroscope.study.snapshot import Snapshot
from nephroscope.workstation.reading.aid import PICTURES, Aid, AidedAnswer
from nephroscope.workstation.reading.protocol import ChosenModel
from nephroscope.workstation.reading.refusals import AidError

PICTURE_PX = 512
SEEN = "seen-in-training"


def answers_of_model(snapshot: Snapshot, model: ChosenModel, cases: Sequence[ChosenCase]) -> Aid:
    """The model's independent answers about some cases.

    Raises:
        AidError: There is no such run or bundle, it is leaky or did not converge, or it has no independent answer
            about a case.
        NephroscopeError: A case cannot be read.
    """
    digest, found = (_of_run if model.kind == "run" else _of_bundle)(snapshot, model.name, cases)
    missing = [case.case_id for case in cases if case.case_id not in found]
    if missing:
        raise AidError(
            where=f"{model.kind} {Path(model.name).name}",
            expected="an independent answer about each case",
            found=f"none about {first_few(missing)}",
            remedy="choose cases that the run was tested on, or train with --folds so that each case is tested once",
        )
    answers = [_kept(found[case_id]) for case_id in sorted(case.case_id for case in cases)]
    return Aid(model=model, digest=digest, answers=tuple(answers))


def _kept(answer: Answer) -> AidedAnswer:
    return AidedAnswer(
        case_id=answer.case_id,
        probabilities={name: float(p) for name, p in answer.probabilities.items()},
        call=answer.call,
        forced_call=answer.forced_call,
        group=answer.group,
        fold=str(answer.fold) if answer.group else "",
    )


def _of_run(snapshot: Snapshot, name: str, cases: Sequence[ChosenCase]) -> tuple[str, dict[str, Answer]]:
    """Digest of run.json, and the answers of the folds that did not see the patient."""
    from nephroscope.learning.run_files import load_run, open_run
    from nephroscope.learning.score_run import score_run

    run = open_run(snapshot, name)
    record = load_run(run.folder)
    why = "was trained on slices of its test patients (LEAKY)" if record.leaky else ""
    why = why or ("" if record.converged else "did not converge")
    if why:
        raise AidError(
            where=f"run {name}",
            expected="a run whose answers about its test cases mean something",
            found=f"one that {why}",
            remedy="choose another run",
        )
    wanted = {case.case_id for case in cases}
    answers, _ = score_run(run)
    return record.digest, {answer.case_id: answer for answer in answers if answer.case_id in wanted}


def _of_bundle(snapshot: Snapshot, name: str, cases: Sequence[ChosenCase]) -> tuple[str, dict[str, Answer]]:
    """Digest of bundle.json, and the answers with the same doubts as in the clinic."""
    from nephroscope.clinic.bundle import open_bundle

    folder = Path(name) if Path(name).is_absolute() else snapshot.folder.root / name
    bundle = open_bundle(folder)
    subtypes, positive = snapshot.cohort.subtypes, snapshot.cohort.positive
    if (set(bundle.scorer.subtypes), bundle.scorer.positive) != (set(subtypes), positive):
        raise AidError(
            where=f"bundle {folder.name}",
            expected=f"{' and '.join(subtypes)}, positive {positive}",
            found=f"{' and '.join(bundle.scorer.subtypes)}, positive {bundle.scorer.positive}",
            remedy="choose a bundle that was made for these subtypes",
        )
    patients = {case.patient_id for case in cases}
    wanted = {case.case_id for case in cases}
    found: dict[str, Answer] = {}
    seen: dict[str, str] = {}
    for case in snapshot.cases_to_read:
        if case.patient_id not in patients:
            continue
        try:
            answer = _by_bundle(snapshot, bundle, case)
        except NephroscopeError:
            if case.case_id in wanted:
                raise
            continue  # another tumor of the patient that cannot be read; it was not trained on either
        if any(finding.code == SEEN for finding in answer.findings):
            seen[case.patient_id] = case.case_id
        if case.case_id in wanted:
            found[case.case_id] = answer
    if seen:
        raise AidError(
            where=f"bundle {folder.name}",
            expected="a bundle that was not trained on these patients",
            found=f"that it was trained on {first_few(sorted(seen.values()))} (seen in training)",
            remedy="choose a run, whose folds did not see the patient, or leave these patients out",
        )
    return file_digest(folder / "bundle.json")[:16], found


def _by_bundle(snapshot: Snapshot, bundle: object, case: ChosenCase) -> Answer:
    from nephroscope.clinic.bundle import Bundle
    from nephroscope.facade.patient import PatientCt
    from nephroscope.facade.prediction import answer_with_doubts, phases_of_patient
    from nephroscope.study.phases import further_series

    assert isinstance(bundle, Bundle)  # noqa: S101
    volume, roi = snapshot.read_case(case)
    ct = PatientCt(volume=volume, name=case.case_id, phase=case.phase)
    placed = phases_of_patient(bundle, ct, roi, *further_series(case)) if bundle.scorer.phases else None
    side = case.clinical.side or "unknown"
    return answer_with_doubts(bundle, ct, roi, side, case, case.clinical, placed)[0]


def save_pictures(folder: Path, snapshot: Snapshot, cases: Iterable[ChosenCase], aid: Aid) -> None:
    """Write a picture of the slice with the largest cross-section of each tumor, with its outline.

    The files have numbers for names, in the order of the answers, and hold nothing but pixels.
    """
    from nephroscope.imaging.picture import draw_slice

    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    by_id = {case.case_id: case for case in cases}
    for place, answer in enumerate(aid.answers):
        volume, roi = snapshot.read_case(by_id[answer.case_id])
        picture = draw_slice(volume, roi, size_px=PICTURE_PX)
        picture.image.save(folder / PICTURES / f"{place}.png", format="PNG")
