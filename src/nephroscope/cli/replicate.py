"""The command replicate zuo2021: reads options, prints the summary and the path of the page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nephroscope.base.documents import as_plain
from nephroscope.cli.command import (
    CountOption,
    NamesOption,
    Outcome,
    PathOption,
    StudyCommand,
    TextOption,
    table,
)
from nephroscope.records import Estimate

if TYPE_CHECKING:
    from nephroscope.questions.replicate.replication import Replication


@dataclass(frozen=True, kw_only=True)
class Zuo2021(StudyCommand):
    """Repeat Zuo et al. 2021 on a study: the paper's LEAKY protocol, and a leak-free version of it (the twin).

    Writes replicate/zuo2021 (page, JSON, tables, figures). Run it again to continue where it stopped.

    Example: nephroscope replicate zuo2021 my-study --models mobilenet_v2,shufflenet_v2_x1_0 --epochs 2
    """

    models: NamesOption = ()
    """Networks, separated by spaces or commas; by default all six."""
    epochs: int = 30
    """Epochs per training; the paper does not say how many it used."""
    images_per_epoch: CountOption = None
    """Augmented images per epoch; by default as many as there are slices; 0 uses all, 16 times as many."""
    twin_folds: CountOption = None
    """Folds of the leak-free twin, by patient; by default 5; 1 is fastest but tests few patients."""
    shuffled_model: TextOption = None
    """Network to train on shuffled labels as a control; by default the smallest; none skips the control."""
    readers: PathOption = None
    """CSV of radiologists' calls on the test cases, with columns case, reader, call."""
    seed: int = 0
    """Random seed."""
    jobs: int = 1
    """Number of processes on this machine, a training each."""
    ray: TextOption = None
    """Address of a Ray cluster to use instead, or auto; every machine must see the study under the same path."""

    def run(self) -> Outcome:
        """Repeat it."""
        from nephroscope.facade.study import Study
        from nephroscope.learning.engine.workers import Workers
        from nephroscope.learning.networks.table import NETWORKS
        from nephroscope.questions.replicate.setup import ReplicateOptions

        named = [name for part in self.models for name in part.split(",") if name]
        options = ReplicateOptions(
            epochs=self.epochs,
            images_per_epoch=self.images_per_epoch,
            twin_folds=self.twin_folds,
            shuffled_model=self.shuffled_model,
            seed=self.seed,
            models=tuple(dict.fromkeys(named)) if self.models else tuple(NETWORKS),
        )
        workers = Workers(jobs=self.jobs, ray=self.ray)
        found = Study(self.study).replicate_zuo2021(options, self.readers, workers)
        page = str(self.study.resolve() / "replicate" / "zuo2021" / "index.html")
        return Outcome(data=as_plain(found) | {"page": page}, text=_text(found, page))


def _text(found: "Replication", page: str) -> str:
    rows = [
        (
            network.model + ("" if network.paper.converged else " (did not converge)"),
            _figure(network.paper.validation["accuracy"]),
            _figure(network.twin.by_image["accuracy"]),
            _figure(network.difference["accuracy"]),
        )
        for network in found.models
    ]
    header = ("accuracy by image", "paper's protocol, LEAKY", "leak-free twin", "difference")
    marks = "SYNTHETIC | " if found.synthetic else ""
    sentences = [found.tests_sentence, *([found.one_sided] if found.one_sided else [])]
    lines = [marks + found.summary, "", *sentences, "", table(rows, header)]
    if found.shuffled is not None:
        lines += ["", found.shuffled.sentence]
    lines += ["", "The twin differs in more than the leak:", *found.twin_differs, found.isolated]
    lines += ["", "Shortened:", *found.shortened, found.hours_sentence]
    lines += [f"wrote {page}; open it in a browser"]
    return "\n".join(lines)


def _figure(estimate: Estimate) -> str:
    return "not available" if estimate.value is None else estimate.interval()


REPLICATES = {"zuo2021": Zuo2021}
