"""What the trained networks answer: probabilities of images, kept next to the weights of the network.

ONNX Runtime in fp32, as in evaluation and clinic.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError, StudyError
from nephroscope.base.files import digest_of, file_digest
from nephroscope.clinic.session import NetworkSession, runtime_version
from nephroscope.learning.run_files import MODEL, load_array, save_array
from nephroscope.learning.training.arm import Arm, read_record
from nephroscope.learning.training.batches import labelled_slices
from nephroscope.learning.training.copies import (
    RECIPE,
    AmplifiedSlices,
    amplify,
    hu_of_gray,
    paper_spec,
    through_jpeg,
)
from nephroscope.questions.replicate.setup import Setup
from nephroscope.study.artifact import Artifact

VERSION = 1  # of what an arm computes; part of its digest
Kind = Literal["paper", "twin"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One training and the images it is judged on afterwards."""

    model: str
    kind: Kind
    shuffled: bool
    arm: Arm
    judged: AmplifiedSlices


def make_parts(setup: Setup, folder: Path) -> list[Part]:
    """Every training of the experiment, network by network; each folder is named by what it depends on."""
    parts = []
    for model in setup.options.models:
        parts += [_paper_part(setup, model, False, folder), *_twin_parts(setup, model, False, folder)]
    shuffled = setup.options.shuffled
    if shuffled is not None:
        parts += [_paper_part(setup, shuffled, True, folder), *_twin_parts(setup, shuffled, True, folder)]
    return parts


def _paper_part(setup: Setup, model: str, shuffled: bool, folder: Path) -> Part:
    cohort = setup.shuffled_cohort if shuffled else setup.cohort
    images = amplify(labelled_slices(setup.store, cohort, frozenset(setup.development)))
    train, validation = setup.paper_split
    batch = setup.training(model).batch_size
    if setup.options.images_per_epoch != 0:
        validation = validation[: max(setup.images_per_epoch, batch)]
    if len(validation) >= batch:
        validation = validation[: len(validation) // batch * batch]  # the last partial batch is dropped
    choose = _renumbered(images.take(validation))
    return _part(setup, model, ("paper", shuffled, 0), (images.take(train), choose, choose), folder)


def _twin_parts(setup: Setup, model: str, shuffled: bool, folder: Path) -> list[Part]:
    cohort = setup.shuffled_cohort if shuffled else setup.cohort
    parts = []
    for fold in setup.twin_folds(cohort):
        train, choose, judged = (
            labelled_slices(setup.store, cohort, names) for names in (fold.train, fold.validation, fold.test)
        )
        images = (amplify(train), amplify(choose, 1), amplify(judged, 1))
        parts.append(_part(setup, model, ("twin", shuffled, fold.index), images, folder))
    return parts


def _part(
    setup: Setup,
    model: str,
    what: tuple[Kind, bool, int],
    images: tuple[AmplifiedSlices, AmplifiedSlices, AmplifiedSlices],
    folder: Path,
) -> Part:
    kind, shuffled, fold = what
    train, choose, judged = images
    config = setup.training(model)
    content = [VERSION, RECIPE, kind, shuffled, fold, config.digest, setup.images_per_epoch]
    content += [setup.store.digest, *(_digest(part) for part in (train, choose))]
    name = "-".join([model, kind, *["shuffled"] * shuffled, *[f"fold{fold}"] * (kind == "twin")])
    arm = Arm(
        folder=folder / "arms" / f"{name}-{digest_of(content)}",
        train=train,
        choose=choose,
        choose_by="accuracy" if kind == "paper" else "loss",
        images_per_epoch=setup.images_per_epoch,
        n_subtypes=2,
        config=config,
        spec=paper_spec(setup.store.spec),
        fold=fold,
    )
    return Part(model=model, kind=kind, shuffled=shuffled, arm=arm, judged=judged)


def _digest(images: AmplifiedSlices) -> str:
    return digest_of([images.rows.tolist(), images.copies.tolist(), images.labels.tolist()])


def _renumbered(images: AmplifiedSlices) -> AmplifiedSlices:
    """With cases numbered from 0 without gaps, as the mean over cases needs."""
    return replace(images, cases=np.unique(images.cases, return_inverse=True)[1].astype(np.int64))


FORMAT = 1
BATCH = 64
TIMED = 30


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """Images with what one network, or the folds of one protocol, answered for them.

    Arrays are (n,) but ``p``, which is (n, 2) in the order of the subtypes; ``rows`` are rows of the slice store.
    """

    rows: npt.NDArray[np.int64]
    truth: npt.NDArray[np.intp]
    p: npt.NDArray[np.float64]
    case_ids: npt.NDArray[np.str_]
    patient_ids: npt.NDArray[np.str_]
    n_folds: int = 1


def judge(part: Part, setup: Setup) -> Answers:
    """Probabilities of the images that a part is judged on; computed once."""
    return _answers(setup, part.judged.rows, part.judged.labels, _kept(part, "judged", part.judged))


def joined(answers: Sequence[Answers]) -> Answers:
    """The answers of several folds as one set."""
    return Answers(
        **{
            name: np.concatenate([getattr(a, name) for a in answers])
            for name in ("rows", "truth", "p", "case_ids", "patient_ids")
        },
        n_folds=len(answers),
    )


def answer_tests(part: Part, setup: Setup) -> Answers:
    """Probabilities of every slice of every test case; computed once."""
    rows = np.concatenate([setup.store.rows_by_case[name] for name in setup.tests]).astype(np.int64)
    subtypes = [str(setup.cohort.by_id[str(name)].subtype) for name in setup.store.case_ids[rows]]
    labels = np.array([setup.cohort.subtypes.index(s) for s in subtypes], dtype=np.int64)
    nothing = np.zeros(len(rows), dtype=np.int64)
    images = AmplifiedSlices(hu=setup.store.hu, rows=rows, labels=labels, cases=nothing, copies=nothing)
    return _answers(setup, rows, labels, _kept(part, "tests", images))


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Median time of one slice on this machine."""

    ms_per_slice: float


def milliseconds_per_slice(part: Part, setup: Setup) -> float:
    """Median time of ONNX Runtime for one slice, on this machine; measured once."""
    path = part.arm.folder / "timing.json"
    kept = Artifact(path=path, kind=Timing, number=FORMAT, made_from=runtime_version())
    known = kept.load()
    if known is None:
        session = open_network(part)
        hu = hu_of_gray(through_jpeg(np.asarray(setup.store.hu[0])))[None]
        taken = []
        for _ in range(TIMED):
            started = time.perf_counter()
            session.logits(hu)
            taken.append(time.perf_counter() - started)
        known = Timing(ms_per_slice=round(1000 * float(np.median(taken[5:])), 3))
        kept.save(known)
    return known.ms_per_slice


def open_network(part: Part) -> NetworkSession:
    """The trained network.

    Raises:
        StudyError: Its file is lost or damaged.
    """
    path, trained = part.arm.folder / MODEL, read_record(part.arm).model_sha256
    if not path.is_file():
        raise _no_network(part, "no such file")
    if trained and file_digest(path) != trained:
        raise _no_network(part, "a file that was changed since, or comes from another arm")
    try:
        return NetworkSession(path)
    except BundleError as error:
        raise _no_network(part, "a damaged file") from error


def _no_network(part: Part, found: str) -> StudyError:
    return StudyError(
        where=f"arms/{part.arm.folder.name}/{MODEL}",
        expected="the trained network",
        found=found,
        remedy=f"delete the folder {part.arm.folder.name}, and run the command again; it will be trained again",
    )


def _kept(part: Part, what: str, images: AmplifiedSlices) -> npt.NDArray[np.float64]:
    """Probabilities (n, 2) from the part's folder, or computed and kept there under the digest of the images."""
    key = digest_of([images.rows.tolist(), images.copies.tolist()])
    path, network = part.arm.folder / f"{what}-{key}.npy", read_record(part.arm).model_sha256
    kept = load_array(path, network)
    if kept is None:
        session = open_network(part)
        places = np.arange(len(images))
        kept = np.concatenate(
            [
                session.probabilities(images.images(places[i : i + BATCH]))
                for i in range(0, len(images), BATCH)
            ]
        )
        save_array(path, kept, network)
    return kept


def _answers(
    setup: Setup, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], p: npt.NDArray[np.float64]
) -> Answers:
    case_ids = setup.store.case_ids[rows]
    patients = [setup.cohort.by_id[str(name)].patient_id for name in case_ids]
    return Answers(
        rows=rows,
        truth=labels.astype(np.intp),
        p=p,
        case_ids=case_ids,
        patient_ids=np.array(patients, dtype=str),
    )
