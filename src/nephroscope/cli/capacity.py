"""The command `nephroscope capacity`: networks and widths in; a table of AUC against weights, and words, out."""

from dataclasses import dataclass
from typing import Any

from nephroscope.base.progress import time_words
from nephroscope.cli.outcome import Command, Outcome, StudyPath, table
from nephroscope.records import counted_noun


@dataclass(frozen=True, kw_only=True)
class Capacity(Command):
    """Accuracy against the number of weights: networks and widths on the study's folds, intervals over patients.

    Trains below capacity/runs and writes capacity/capacity.json, .csv, .svg, .png. Started again it goes on.

    Example: nephroscope capacity my-study --models mobilenet_v2 shufflenet_v2_x1_0 --widths 0.25 0.5 1 --epochs 20
    """

    study: StudyPath
    """Study folder."""
    models: tuple[str, ...] = ()
    """Networks, apart by commas or spaces; all six where none is named."""
    widths: tuple[float, ...] = ()
    """Multipliers of channels, 0.25, 0.5 and 1 where none is named; a network takes part at those that it has."""
    epochs: int | None = None
    """Of every training; by default the study's."""
    repeats: int = 1
    """Trainings of each network, from other initial weights."""
    dry_run: bool = False
    """Only say what would be trained, and measure how long it would take."""

    def run(self) -> Outcome:
        """Train what is not trained yet, and compare."""
        from nephroscope.facade import Study
        from nephroscope.questions.capacity.runs import CapacityOptions

        named = tuple(dict.fromkeys(name for part in self.models for name in part.split(",") if name))
        chosen: dict[str, Any] = {"models": named} if self.models else {}
        options = CapacityOptions(widths=self.widths, epochs=self.epochs, repeats=self.repeats, **chosen)
        content = Study(self.study).capacity(options, self.dry_run)
        return Outcome(data=content, text=_plan(content) if self.dry_run else _text(content))


def _plan(content: dict[str, Any]) -> str:
    lines = [f"networks: {', '.join(content['networks'])}", *content["absent"]]
    if not content["folds_left"]:
        return "\n".join([*lines, "all of them are trained"])
    time = time_words(content["seconds_about"])
    return "\n".join(
        [
            *lines,
            f"{content['folds_left']} folds to train: about {time} on this machine, less where patience ends early",
        ]
    )


def _text(content: dict[str, Any]) -> str:
    rows = [
        (p["name"], f"{p['trainable']:,}", _said(p["auc"]), _said(p["accuracy"])) for p in content["points"]
    ]
    mark = "SYNTHETIC | " if content["synthetic"] else ""
    cases, patients = counted_noun(content["n_cases"], "case"), counted_noun(content["n_patients"], "patient")
    head = f"{mark}{content['group']}: {cases} of {patients}"
    lines = [head, "", table(rows, ("network", "weights", "AUC by case", "accuracy by case")), ""]
    return "\n".join([*lines, *content["words"], *content["absent"], f"wrote {content['files'][0]}"])


def _said(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return str(estimate["method"]).partition(":")[0]
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
