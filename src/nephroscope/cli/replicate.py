"""The command `nephroscope replicate zuo2021`: options in, the sentence of the page and where it lies out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nephroscope.cli.outcome import Command, Outcome, StudyPath, table

DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Zuo2021(Command):
    """Repeat Zuo et al. 2021 on a study: the paper's protocol, LEAKY, and beside each number its leak-free twin.

    Writes replicate/zuo2021 (page, JSON, tables, figures). Started again it goes on where it stopped.

    Example: nephroscope replicate zuo2021 my-study --models mobilenet_v2,shufflenet_v2_x1_0 --epochs 2
    """

    study: StudyPath
    """Study folder."""
    models: tuple[str, ...] = ()
    """Networks, apart by commas or spaces; all six where none is named."""
    epochs: int = 30
    """Of every training; the paper does not say how many it took."""
    images_per_epoch: int | None = None
    """Drawn from the augmented copies; by default as many as there are slices, 0 for all, sixteen times that."""
    twin_folds: int | None = None
    """Trainings of the leak-free twin, by patient; by default 5. 1 is the cheapest and judges few patients."""
    shuffled_model: str | None = None
    """Network that also learns shuffled labels; by default the lightest, none for no such control."""
    readers: Path | None = None
    """CSV of radiologists' calls of the test cases, with the columns case, reader, call."""
    seed: int = 0
    """Of everything drawn."""

    def run(self) -> Outcome:
        """Repeat it."""
        from nephroscope.facade import Study
        from nephroscope.questions.replicate.setup import ReplicateOptions

        named = [name for part in self.models for name in part.split(",") if name]
        models: dict[str, Any] = {"models": tuple(dict.fromkeys(named))} if self.models else {}
        options = ReplicateOptions(
            epochs=self.epochs,
            images_per_epoch=self.images_per_epoch,
            twin_folds=self.twin_folds,
            shuffled_model=self.shuffled_model,
            seed=self.seed,
            **models,
        )
        content = Study(self.study).replicate_zuo2021(options, self.readers)
        return Outcome(data=content, text=_text(content))


def _text(content: dict[str, Any]) -> str:
    rows = [
        (
            network["model"] + ("" if network["paper"]["converged"] else " (did not converge)"),
            _said(network["paper"]["validation"]["accuracy"]),
            _said(network["twin"]["by_image"]["accuracy"]),
            _said(network["difference"]["accuracy"]),
        )
        for network in content["models"]
    ]
    header = ("accuracy by image", "paper's protocol, LEAKY", "leak-free twin", "difference")
    marks = "SYNTHETIC | " if content["synthetic"] else ""
    told = [content["tests_sentence"], *([content["one_sided"]] if content["one_sided"] else [])]
    lines = [marks + content["summary"], "", *told, "", table(rows, header)]
    if content["shuffled"]:
        lines += ["", content["shuffled"]["sentence"]]
    lines += ["", "The twin differs in more than the leak:", *content["twin_differs"], content["isolated"]]
    lines += ["", "Shortened:", *content["shortened"], content["hours_sentence"]]
    lines += [f"wrote {content['page']}; open it in a browser"]
    return "\n".join(lines)


def _said(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "not available"
    if estimate["low"] is None:
        return f"{estimate['value']:.{DIGITS}f}"
    low, high = (f"{estimate[name]:.{DIGITS}f}" for name in ("low", "high"))
    return f"{estimate['value']:.{DIGITS}f} ({low} to {high})"


REPLICATES = {"zuo2021": Zuo2021}
