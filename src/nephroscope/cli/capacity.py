"""The command capacity: reads networks and widths, prints AUC against the number of weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.progress import time_words
from nephroscope.cli.command import (
    CountOption,
    NamesOption,
    Outcome,
    StudyCommand,
    Switch,
    table,
)
from nephroscope.records import Estimate

if TYPE_CHECKING:
    from nephroscope.questions.capacity.study import CapacityPlan, CapacityResult


@dataclass(frozen=True, kw_only=True)
class Capacity(StudyCommand):
    """Compare networks of several sizes on the folds of the study: accuracy against the number of weights.

    Trains in capacity/runs and writes capacity/capacity.json, .csv, .svg and .png. Run it again to continue.

    Example: nephroscope capacity my-study --models mobilenet_v2 shufflenet_v2_x1_0 --widths 0.25 0.5 1 --epochs 20
    """

    models: NamesOption = ()
    """Networks, separated by spaces or commas; by default all six."""
    widths: Annotated[tuple[float, ...], tyro.conf.arg(metavar="NUMBER ...", help_behavior_hint="")] = ()
    """Channel multipliers; by default 0.25, 0.5 and 1, where a network has them."""
    epochs: CountOption = None
    """Epochs per training; by default as in study.toml."""
    repeats: int = 1
    """Number of times to train each network, each from different initial weights."""
    dry_run: Switch = False
    """Only list what would be trained, and measure how long it would take."""

    def run(self) -> Outcome:
        """Train what is missing, and compare."""
        from nephroscope.facade.study import Study
        from nephroscope.questions.capacity.runs import CapacityOptions

        named = tuple(dict.fromkeys(name for part in self.models for name in part.split(",") if name))
        models = named if self.models else CapacityOptions.models
        options = CapacityOptions(models=models, widths=self.widths, epochs=self.epochs, repeats=self.repeats)
        study = Study(self.study)
        if self.dry_run:
            plan = study.plan_capacity(options)
            return Outcome(data=plan, text=_plan(plan))
        found = study.capacity(options)
        return Outcome(data=found, text=_text(found))


def _plan(content: "CapacityPlan") -> str:
    lines = [f"networks: {', '.join(content.networks)}", *content.absent]
    if not content.folds_left:
        return "\n".join([*lines, "all of them are trained already"])
    time = time_words(content.seconds_about)
    return "\n".join(
        [
            *lines,
            f"{content.folds_left} folds to train: about {time} on this machine, less if training stops early",
        ]
    )


def _text(content: "CapacityResult") -> str:
    rows = [(p.name, f"{p.trainable:,}", _figure(p.auc), _figure(p.accuracy)) for p in content.points]
    lines = [
        content.summary(),
        "",
        table(rows, ("network", "weights", "AUC by case", "accuracy by case")),
        "",
    ]
    return "\n".join([*lines, *content.words, *content.absent, f"wrote {content.files[0]}"])


def _figure(estimate: Estimate) -> str:
    return estimate.method.partition(":")[0] if estimate.value is None else estimate.interval()
