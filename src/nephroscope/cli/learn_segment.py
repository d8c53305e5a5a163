"""What train, evaluate and export say of a network that draws."""

from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.base.text import counted_noun, shell_line
from nephroscope.cli.command import Outcome, estimates_text, warnings_text

if TYPE_CHECKING:
    from nephroscope.facade.segmenters import Segmenter
    from nephroscope.facade.study import Study
    from nephroscope.questions.evaluation.drawings import DrawingEvaluation


def trained_segmenter(study: "Study", run: "Segmenter") -> Outcome:
    """How well a network that was just trained draws."""
    found = run.evaluate()
    lines = []
    for fold in run.record.folds:
        dice = (
            "none" if fold.best is None else f"{1 - fold.best.validation_loss:.3f} at epoch {fold.best.epoch}"
        )
        lines.append(f"fold {fold.index}: Dice of its validation patients {dice}, {fold.seconds:.0f} s")
    lines += [f"{found.seconds_per_epoch:g} s per epoch of a fold", evaluation_text(found)]
    line = shell_line("nephroscope", "export", study.folder.root, "--run", run.name, "--out", "BUNDLE")
    lines.append(f"run {run.name} complete; next: {line}")
    return Outcome(data=_data(run, found), text="\n".join(lines), warning=warnings_text(found.findings))


def evaluate_segmenter(run: "Segmenter", others: tuple[bool, bool]) -> Outcome:
    """How well a network draws; ``others``: --jitter and --then were given, which are for other networks."""
    if any(others):
        raise _refusal("--jitter" if others[0] else "--then", run.name)
    found = run.evaluate()
    return Outcome(data=_data(run, found), text=evaluation_text(found), warning=warnings_text(found.findings))


def export_segmenter(run: "Segmenter", out: Path | None, others: tuple[object, ...]) -> Outcome:
    """Write a bundle that draws; ``others`` are options of other bundles, none of which may be given."""
    names = ("--web", "--web-libraries", "--patient-slices", "--facts", "--fold")
    given = [name for name, value in zip(names, others, strict=True) if value not in (None, False)]
    if given:
        raise _refusal(given[0], run.name)
    if out is None:
        raise ConfigError(where="export", expected="--out FOLDER", found="none", remedy="give it")
    folder = run.export(out)
    line = shell_line("nephroscope", "segment", "STUDY", "--with", folder)
    return Outcome(data={"bundle": str(folder)}, text=f"wrote {folder}; next: {line}")


def evaluation_text(found: "DrawingEvaluation") -> str:
    """The figures as lines, with what the literature says."""
    lines = [found.summary()]
    for label, figures in found.figures.items():
        lines += [f"{label}, by patient:", estimates_text(figures)]
        if label == "tumor":
            lines += [
                f"  Dice {size:18} {of_size['dice']}" for size, of_size in found.by_size.items() if of_size
            ]
        lines.append(f"  {found.beside[label]}")
    lines += [f"note [{f.code}]: {f.message}" for f in found.findings if f.severity == "note"]
    refused = sum(finding.severity == "refusal" for finding in found.findings)
    return "\n".join([*lines, f"{counted_noun(refused, 'CT')} could not be compared"] if refused else lines)


def _data(run: "Segmenter", found: "DrawingEvaluation") -> dict[str, object]:
    return {"folds": run.records()} | as_plain(found)


def _refusal(option: str, name: str) -> ConfigError:
    return ConfigError(
        where=option,
        expected="a run of a network that tells subtypes apart",
        found=f"{name}, which draws",
        remedy="leave it out, or name another --run",
    )
