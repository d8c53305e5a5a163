"""The commands models, train, evaluate and report."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Optional

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.base.text import shell_line
from nephroscope.cli.command import (
    Command,
    CountOption,
    Outcome,
    PathOption,
    RunCommand,
    StudyCommand,
    Switch,
    TextOption,
    estimates_text,
    table,
    warnings_text,
)
from nephroscope.records import Evaluation, Protocol, TrainConfig, counted_noun
from nephroscope.records.settings import Settings

if TYPE_CHECKING:
    from nephroscope.learning.run_files import FoldRecord


_OneProtocol = tyro.conf.arg(metavar="{patient,image}", help_behavior_hint="")
ProtocolOption = Annotated[Optional[Protocol], _OneProtocol]  # noqa: UP045


@dataclass(frozen=True, kw_only=True)
class Models(Command):
    """List the six networks: number of trainable weights, total including batch-norm statistics, and head.

    Example: nephroscope models --recipe zuo2021
    """

    recipe: Literal["default", "zuo2021"] = "default"
    """Heads of the networks; zuo2021 builds those of Zuo et al. 2021 and compares them with their Table 1."""
    subtypes: int = 2
    """Number of subtypes."""

    def run(self) -> Outcome:
        """List them."""
        from nephroscope.learning.networks.networks import describe_networks

        if self.subtypes < 2:
            raise ConfigError(
                where="--subtypes",
                expected="two or more",
                found=str(self.subtypes),
                remedy="name at least two",
            )
        entries = describe_networks(self.subtypes, self.recipe)
        rows = [[e["name"], f"{e['trainable']:,}", f"{e['total']:,}", e["head"]] for e in entries]
        header = ["network", "trainable", "total", "head"]
        text = table(rows, header)
        if self.recipe == "zuo2021" and self.subtypes == 2:
            text += "\n\n" + _against_paper(entries)
        note = "Input: HU, windowed; gray copied to three channels; normalized as for ImageNet; torchvision's stem."
        return Outcome(data=entries, text=f"{text}\n\n{note}")


def _against_paper(entries: list[dict[str, Any]]) -> str:
    equal = sum(e[kind] == e[f"paper_{kind}"] for e in entries for kind in ("trainable", "total"))
    lines = [f"Table 1 of Zuo et al. 2021: {equal} of {2 * len(entries)} numbers match exactly."]
    for e in entries:
        for kind in ("trainable", "total"):
            if e[kind] != e[f"paper_{kind}"]:
                difference = e[f"paper_{kind}"] - e[kind]
                lines.append(
                    f"  {e['name']}, {kind}: printed {e[f'paper_{kind}']:,}, {difference:+,}: {e['note']}"
                )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Train(StudyCommand):
    """Train a network on every fold; settings not given here come from study.toml.

    With --task segment it learns to draw, from the ROIs of the study: kidneys where each CT has masks of them, tumors
    where 20 patients have one; --model unet, unet-kidney or unet-tumor insists.

    Example: nephroscope train my-study --model mobilenet_v2 --folds 3 --epochs 20

    Example: nephroscope train my-study --task segment
    """

    left_before: ClassVar[frozenset[str]] = frozenset()  # runs that were interrupted before this command
    task: Literal["classify", "segment"] = "classify"
    """Tell subtypes apart, or draw."""
    training: TrainConfig = field(default_factory=TrainConfig)
    folds: CountOption = None
    """Divide patients into this many folds first; by default splits.json is used as it is."""
    protocol: ProtocolOption = None
    """Split by patient, or by image as in Zuo et al. 2021 (LEAKY); by default splits.json is used as it is."""
    name: TextOption = None
    """Name of the run; by default the name of the network."""
    resume: Switch = False
    """Continue an interrupted run with the settings it was started with."""
    more_epochs: CountOption = None
    """Train a complete run, by default the last one, for so many more epochs with its own settings."""
    jobs: CountOption = None
    """Folds trained at the same time; by default as many as cores and memory allow. Results do not depend on it."""
    ray: TextOption = None
    """Address of a Ray cluster to train on, or auto; every machine must see the study under the same path."""

    @classmethod
    def with_settings(cls, settings: Settings | None) -> "Train":
        """The study's settings as defaults."""
        return cls(study=tyro.MISSING, training=settings.training if settings else TrainConfig())

    def goes_on(self, words: Sequence[str]) -> Sequence[str]:
        """With ``--resume`` and the name of the run, where it has begun."""
        begun = [name for name in self._interrupted() if name not in Train.left_before]
        if self.resume or not begun:
            return words
        more = [
            *(["--task", self.task] if self.task != "classify" else []),
            *(["--jobs", str(self.jobs)] if self.jobs is not None else []),
            *(["--ray", self.ray] if self.ray else []),
            *(["--json"] if self.json else []),
        ]
        return ["train", str(self.study), "--resume", "--name", begun[-1], *more]

    def _interrupted(self) -> list[str]:
        """Names of the runs that have begun and are not complete."""
        from nephroscope.study.folder import StudyFolder

        folder = StudyFolder(self.study)
        runs = (folder.segmenters if self.task == "segment" else folder).runs()
        return [path.name for path in runs if not (path / "run.json").exists()]

    def run(self) -> Outcome:
        """Train it."""
        from nephroscope.facade.study import Study
        from nephroscope.learning.engine.workers import Workers

        Train.left_before = frozenset(self._interrupted())
        workers = None
        if self.jobs is not None or self.ray:
            workers = Workers(jobs=1 if self.jobs is None else self.jobs, ray=self.ray)
        study = Study(self.study)
        given = {"folds": self.folds, "protocol": self.protocol}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        old = self.resume or self.more_epochs is not None
        split = replace(study.settings.split, **changes) if changes and not old else None
        if self.task == "segment":
            from nephroscope.cli.learn_segment import trained_segmenter

            more = (self.name, self.resume, workers, split, self.more_epochs)
            return trained_segmenter(study, study.train_segmenter(self.training, *more))
        run = study.train(self.training, self.name, self.resume, workers, split, self.more_epochs)
        lines = [_fold_line(fold) for fold in run.record.folds]
        lost = [str(fold.index) for fold in run.record.folds if not fold.converged]
        if lost:
            what = f"fold {', '.join(lost)}" if run.converged else "the run"
            lines.append(
                f"did not converge: {what} never beat chance on its own training slices, or diverged"
            )
        if run.leaky:
            lines.append("LEAKY: split by image")
        lines.append(f"run {run.name} complete; next: {shell_line('nephroscope', 'report', self.study)}")
        return Outcome(data=run.content, text="\n".join(lines), warning=warnings_text(study.split().findings))


def _fold_line(fold: "FoldRecord") -> str:
    if fold.best is None:
        return f"fold {fold.index}: no finite validation loss"
    return (
        f"fold {fold.index}: best epoch {fold.best.epoch}, validation loss {fold.best.validation_loss:.3f} "
        f"(mean over cases), {fold.seconds:.0f} s"
    )


@dataclass(frozen=True, kw_only=True)
class Evaluate(RunCommand):
    """Compute AUC, accuracy and more on the test cases of a run, by image and by case, with confidence intervals.

    Of a run that draws: its Dice by patient, on CTs that its networks never saw.

    Example: nephroscope evaluate my-study --run mobilenet_v2
    """

    jitter: Switch = False
    """Also answer every case with its ROI 2 mm larger, smaller and shifted; reads every CT again (jitter.json)."""
    then: PathOption = None
    """Study of a second question: which of the others it is, where the first is not its positive subtype."""
    then_run: TextOption = None
    """With --then: the run of that study, where it has several."""

    def run(self) -> Outcome:
        """Evaluate it."""
        from nephroscope.facade.study import Study
        from nephroscope.questions.evaluation.evaluate import document_of
        from nephroscope.questions.evaluation.jitter import jitter_words

        study = Study(self.study)
        if self.draws:
            from nephroscope.cli.learn_segment import evaluate_segmenter

            return evaluate_segmenter(study.segmenter(self.run_name), (self.jitter, self.then is not None))
        run = study.run(self.run_name)
        report = run.evaluate()
        data, text = as_plain(document_of(report)), evaluation_text(report)
        if self.jitter:
            found = run.jitter()
            data |= {"jitter": as_plain(found)}
            lines = [*map(jitter_words, found.groups), *(f"{f.case_id}: {f.message}" for f in found.findings)]
            text = "\n".join([text, *lines])
        if self.then is not None:
            from nephroscope.questions.evaluation.linked import evaluate_linked

            second = Study(self.then)
            config = Study(self.study).settings.evaluation
            both = evaluate_linked(report, second.run(self.then_run).evaluate(), config)
            data |= {"linked": as_plain(both)}
            rows = [(name, *row) for name, row in zip(both.subtypes, both.confusion, strict=True)]
            text = "\n".join(
                [
                    text,
                    f"both questions, {counted_noun(both.n_cases, 'case')}, cross-validation:",
                    estimates_text(both.figures),
                    table(rows, ["truth \\ call", *both.subtypes, "another"]),
                ]
            )
        return Outcome(data=data, text=text)


def evaluation_text(report: Evaluation) -> str:
    """The figures as lines, marked SYNTHETIC or LEAKY where that applies."""
    lines = [report.summary(), *(f"{f.severity} [{f.code}]: {f.message}" for f in report.findings)]
    for group in report.groups:
        lines += [f"{group.name}, by case:", estimates_text(group.case)]
        lines += [f"{group.name}, by image:", estimates_text(group.image)]
        lines += [f"{group.name}, majority of three random slices:", estimates_text(group.majority)]
    lines += sets_text(report)
    return "\n".join(lines)


def sets_text(report: Evaluation) -> list[str]:
    """How often the sets of possible subtypes held the truth, or why there are none."""
    found = report.sets
    if found is None or found.why_not:
        return [f"no sets of possible subtypes: {found.why_not}"] if found else []
    rows = [
        [
            one.name,
            *(e.interval() for e in one.coverage.values()),
            *(e.interval() for e in one.sizes.values()),
        ]
        for one in found.checked
    ]
    names = [*(f"coverage {name}".strip() for name in ("", *report.subtypes)), "one", "several", "none"]
    rests = ", ".join(f"{n} {name}" for name, n in found.n_patients.items())
    head = f"sets of possible subtypes at {100 * found.confidence:g} %, from patients: {rests}"
    own = ", ".join(f"{n} {name}" for name, n in found.n_with_facts.items())
    head += f"; for answers with clinical facts: {own}" if own else ""
    return [head, table(rows, ["limits of other cases, on", *names])] if rows else [head]


@dataclass(frozen=True, kw_only=True)
class Report(RunCommand):
    """Write the report of a run as one self-contained HTML page.

    Example: nephroscope report my-study
    """

    paper_figures: Switch = False
    """Write every figure for a paper too: PDF, SVG and PNG of 600 dots an inch, 85 and 174 mm wide."""

    def run(self) -> Outcome:
        """Write it."""
        from nephroscope.facade.study import Study

        page = Study(self.study).run(self.run_name).report(self.paper_figures)
        return Outcome(data={"report": str(page)}, text=f"wrote {page}; open it in a browser")
