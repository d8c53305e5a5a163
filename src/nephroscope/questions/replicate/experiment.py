"""The whole replication: a study and options go in, every training is done or continued, the figures come out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nephroscope.base.documents import from_plain
from nephroscope.base.lock import writing
from nephroscope.base.version import __version__
from nephroscope.learning.engine.arms import train_arms
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.networks.layers import describe_layers
from nephroscope.learning.networks.networks import describe_networks
from nephroscope.learning.training.arm import ArmRecord, read_record
from nephroscope.learning.training.batches import labelled_slices
from nephroscope.learning.training.copies import AmplifiedSlices, amplify
from nephroscope.questions.readers.answers import Reader
from nephroscope.questions.replicate.answers import (
    Answers,
    Part,
    answer_tests,
    joined,
    judge,
    make_parts,
    milliseconds_per_slice,
)
from nephroscope.questions.replicate.cases_and_readers import (
    BothAnswers,
    case_rows,
    known_cases,
    mean_of_readers,
    read_test_calls,
    reader_results,
    readers_note,
)
from nephroscope.questions.replicate.numbers import (
    LEAKY,
    LEAKY_EPOCH,
    Judged,
    Reading,
    area_two_ways,
    by_case,
    by_image,
    differences,
    figures,
    one_sided,
    take,
    three_of_each,
)
from nephroscope.questions.replicate.replication import (
    TOGETHER,
    AreasOfTests,
    BothArms,
    CohortPart,
    Compared,
    Configuration,
    FiguresOfTests,
    Leak,
    Network,
    PaperArm,
    Parameters,
    Replication,
    Resources,
    ShuffledControl,
    TwinArm,
    TwinFold,
)
from nephroscope.questions.replicate.sentences import with_sentences
from nephroscope.questions.replicate.setup import ReplicateOptions, Setup, make_setup, test_sets
from nephroscope.records import DEVELOPMENT, EvaluationConfig
from nephroscope.study.artifact import Artifact
from nephroscope.study.snapshot import Snapshot

FORMAT = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Replicated:
    """A finished replication: what it found, and what its figures are drawn from.

    ``curves`` holds what Figure 4 draws of each network: what is drawn -> its rows.
    """

    found: Replication
    setup: Setup
    curves: Mapping[str, Mapping[str, Judged]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The parts of one network under true or shuffled labels."""

    model: str
    paper: Part
    twin: tuple[Part, ...]

    @cached_property
    def records(self) -> tuple[ArmRecord, ...]:
        """What arm.json says of the paper's training, then of each fold of the twin."""
        return tuple(read_record(part.arm) for part in (self.paper, *self.twin))

    @property
    def chosen_twin(self) -> Part:
        """The twin's fold that answers the test cases: lowest loss on the patients its epoch was chosen on."""
        return self.twin[int(np.argmin([record.lowest_loss for record in self.records[1:]]))]


def replicate(
    snapshot: Snapshot,
    options: ReplicateOptions,
    folder: Path,
    readers: Path | None = None,
    workers: Workers | None = None,
) -> Replicated:
    """Do everything that is not done yet, and write replicate.json into ``folder``.

    Args:
        snapshot: The study.
        options: Networks, epochs, images per epoch and folds.
        folder: Holds the trainings and the results.
        readers: CSV of radiologists' calls of the test cases; read first, so that a mistake is reported at once.
        workers: Where the trainings are done; here, one after the other, by default.

    Raises:
        CohortError: The study does not have two subtypes, has too few patients, or the readers' table is wrong.
        StudyError: A file of an earlier call is damaged, or another call is at work in this folder.
    """
    setup = make_setup(snapshot, options)
    calls = [] if readers is None else read_test_calls(setup, readers)
    with writing(snapshot.folder.root, "replicate"):
        parts = train_all(setup, folder, workers)
        done = _replicate(setup, calls, parts)
        path = folder / "replicate.json"
        Artifact(path=path, kind=Replication, number=FORMAT, made_from=done.found.digests).save(done.found)
    return done


def _replicate(setup: Setup, readers: Sequence[Reader], parts: Sequence[Part]) -> Replicated:
    snapshot, cohort, options = setup.snapshot, setup.cohort, setup.options
    reading = reading_of(setup, snapshot.settings.evaluation)
    networks = group_parts(parts, options.models, False)
    control = group_parts(parts, (options.shuffled,), True)[0] if options.shuffled else None
    answers: dict[str, BothAnswers] = {
        t.model: {"paper": answer_tests(t.paper, setup), "twin": answer_tests(t.chosen_twin, setup)}
        for t in networks
    }
    rows = case_rows(setup, reading, answers, readers)
    scored = reader_results(rows, readers, known_cases(setup, setup.tests), reading)
    seconds = [row.seconds for part in parts for row in read_record(part.arm).epochs]
    cases = [cohort.by_id[name] for name in (*setup.development, *setup.tests)]
    found = Replication(
        version=__version__,
        experiment="zuo2021",
        study=snapshot.folder.root.resolve().name,
        synthetic=cohort.synthetic,
        subtypes=cohort.subtypes,
        positive=cohort.positive,
        digests={"slices": setup.store.digest, "cohort": snapshot.cohort.label_digest},
        configuration=_configuration(setup, parts[0]),
        cohort=_cohort_parts(setup),
        leak=leak_of(setup, parts[0]),
        parameters={
            str(entry["name"]): from_plain(entry, Parameters, "networks")
            for entry in describe_networks(2, "zuo2021")
        },
        models=tuple(network_of(trained, answers[trained.model], setup, reading) for trained in networks),
        shuffled=None if control is None else ShuffledControl(**vars(_arms(control, setup, reading))),
        cases=rows,
        readers=scored,
        readers_mean=mean_of_readers(scored),
        readers_note=readers_note(snapshot, given=bool(scored)),
        trainings=len(parts),
        hours=round(sum(seconds) / 3600, 4),
        phases=dict(sorted(Counter(case.phase or "" for case in cases).items())),
        layers=tuple(describe_layers(2)),
    )
    curves = {t.model: _curves(t, answers[t.model], setup, reading) for t in networks}
    return Replicated(found=with_sentences(found), setup=setup, curves=curves)


def train_all(setup: Setup, folder: Path, workers: Workers | None = None) -> list[Part]:
    """Every part trained; one progress bar for all of them."""
    parts = make_parts(setup, folder)
    train_arms(setup.snapshot, [part.arm for part in parts], workers or Workers(), "replicate zuo2021")
    return parts


def group_parts(parts: Sequence[Part], models: Sequence[str], shuffled: bool) -> list[Trained]:
    """The parts network by network."""
    found = []
    for model in models:
        own = [part for part in parts if part.model == model and part.shuffled == shuffled]
        paper = next(part for part in own if part.kind == "paper")
        found.append(Trained(model=model, paper=paper, twin=tuple(p for p in own if p.kind == "twin")))
    return found


def reading_of(setup: Setup, config: EvaluationConfig) -> Reading:
    """How every answer of this replication is read."""
    cohort = setup.cohort
    return Reading(
        subtypes=cohort.subtypes,
        positive=cohort.subtypes.index(cohort.positive),
        config=config,
        seed=setup.options.seed,
    )


def network_of(trained: Trained, answers: BothAnswers, setup: Setup, reading: Reading) -> Network:
    """Everything about one network: validation and tests under both protocols, differences, resources."""
    paper, *folds = trained.records
    chosen = folds[trained.twin.index(trained.chosen_twin)]
    memory = [r.peak_memory_mb for r in (paper, chosen) if r.peak_memory_mb]
    return Network(
        **vars(_arms(trained, setup, reading)),
        tests={name: _of_tests(answers, cases, reading) for name, cases in test_sets(setup).items()},
        resources=Resources(
            seconds_per_epoch=paper.seconds_per_epoch,
            images_per_epoch=paper.images_per_epoch,
            peak_memory_mb=max(memory, default=None),
            memory_of=paper.memory_of,
            weights_mb=paper.weights_mb,
            ms_per_slice=milliseconds_per_slice(trained.paper, setup),
            device=paper.device,
            threads=paper.threads,
            precision=paper.precision,
        ),
    )


def _arms(trained: Trained, setup: Setup, reading: Reading) -> BothArms:
    """The paper's validation, LEAKY, and the twin's patients out of fold."""
    paper = by_image(judge(trained.paper, setup), reading, LEAKY)
    by_fold = [judge(part, setup) for part in trained.twin]
    out_of_fold = joined(by_fold)
    twin = by_image(out_of_fold, reading)
    record, *folds = trained.records
    return BothArms(
        model=trained.model,
        paper=PaperArm(
            mark=LEAKY,
            converged=record.converged,
            best_epoch=record.best_epoch,
            one_sided=one_sided(paper),
            steps=record.steps,
            validation=figures(paper, reading),
            n_train_images=record.n_train_images,
            epochs=record.epochs,
        ),
        twin=TwinArm(
            converged=tuple(fold.converged for fold in folds),
            best_epoch=tuple(fold.best_epoch for fold in folds),
            one_sided=tuple(one_sided(by_image(answers, reading)) for answers in by_fold),
            steps=tuple(fold.steps for fold in folds),
            by_image=figures(twin, reading),
            by_case=figures(by_case(out_of_fold, reading), reading),
            epochs=tuple(fold.epochs for fold in folds),
            folds=tuple(_patients_of(part, setup) for part in trained.twin),
        ),
        difference=differences(paper, twin, reading),
    )


def _patients_of(part: Part, setup: Setup) -> TwinFold:
    def count(images: AmplifiedSlices) -> int:
        case_ids = np.unique(setup.store.case_ids[images.rows]).tolist()
        return len({setup.cohort.by_id[case].patient_id for case in case_ids})

    train, choose, judged = (count(images) for images in (part.arm.train, part.arm.choose, part.judged))
    return TwinFold(train_patients=train, choose_patients=choose, judge_patients=judged)


def _of_tests(answers: BothAnswers, case_ids: Sequence[str], reading: Reading) -> FiguresOfTests:
    """Figures of one test set by image, by case (vote) and by case (mean), each under both protocols."""
    own = {kind: take(a, np.flatnonzero(np.isin(a.case_ids, case_ids))) for kind, a in answers.items()}

    def both(read: Callable[[Answers, str], Judged]) -> tuple[Judged, Judged]:
        return read(own["paper"], LEAKY_EPOCH), read(own["twin"], "")

    images = both(lambda a, mark: by_image(three_of_each(a, reading), reading, mark))
    votes = both(lambda a, mark: by_case(a, reading, mark, majority=True))
    means = both(lambda a, mark: by_case(a, reading, mark))
    return FiguresOfTests(
        by_image=_compared(*images, reading),
        by_case=_compared(*votes, reading, without="auc"),  # a vote has no score
        by_case_mean=_compared(*means, reading),
        roc=AreasOfTests(
            by_image_paper=area_two_ways(images[0], reading), by_case_twin=area_two_ways(means[1], reading)
        ),
    )


def _compared(paper: Judged, twin: Judged, reading: Reading, without: str = "") -> Compared:
    found = (figures(paper, reading), figures(twin, reading), differences(paper, twin, reading))
    kept = [{name: e for name, e in part.items() if name != without} for part in found]
    return Compared(paper=kept[0], twin=kept[1], difference=kept[2])


def _curves(trained: Trained, answers: BothAnswers, setup: Setup, reading: Reading) -> dict[str, Judged]:
    out_of_fold = joined([judge(part, setup) for part in trained.twin])
    return {
        "tests by image, paper's protocol, epoch chosen on the LEAKY split": by_image(
            three_of_each(answers["paper"], reading), reading
        ),
        "tests by case, twin": by_case(answers["twin"], reading),
        "development by case, twin out of fold": by_case(out_of_fold, reading),
    }


def leak_of(setup: Setup, paper: Part) -> Leak:
    """How far the paper's split leaks: patients with images in training and among those validated on."""
    images = amplify(labelled_slices(setup.store, setup.cohort, frozenset(setup.development)))
    of = np.array([setup.cohort.by_id[str(c)].patient_id for c in setup.store.case_ids[images.rows]])
    used = (setup.paper_split[0], setup.paper_split[1][: len(paper.arm.choose)])
    train, validation = (set(of[part].tolist()) for part in used)
    return Leak(
        development_patients=len(set(of.tolist())),
        validation_patients=len(validation),
        patients_on_both_sides=len(train & validation),
        amplified_images=len(images),
        train_images=len(setup.paper_split[0]),
        validation_images=len(setup.paper_split[1]),
    )


def _configuration(setup: Setup, first: Part) -> Configuration:
    options, spec = setup.options, setup.store.spec
    return Configuration(
        models=options.models,
        epochs=options.epochs,
        images_per_epoch=setup.images_per_epoch,
        twin_folds=setup.n_folds,
        shuffled_model=options.shuffled,
        seed=options.seed,
        training=first.arm.config,
        validation_images_used=len(first.arm.choose),
        size_px=spec.size_px,
        roi_mode=spec.roi_mode,
        margin_mm=spec.margin_mm,
        tests_drawn=setup.tests_drawn,
    )


def _cohort_parts(setup: Setup) -> dict[str, CohortPart]:
    """Counts of patients, cases and slices by part and subtype."""
    sets = {name: cases for name, cases in test_sets(setup).items() if name != TOGETHER}
    found = {}
    for part, names in {DEVELOPMENT: list(setup.development), **sets}.items():
        cases = [setup.cohort.by_id[name] for name in names]
        found[part] = CohortPart(
            patients=len({case.patient_id for case in cases}),
            cases=len(cases),
            slices=sum(len(setup.store.rows_by_case[name]) for name in names),
            by_subtype={s: sum(case.subtype == s for case in cases) for s in setup.cohort.subtypes},
        )
    return found
