"""Export the model of a run as a bundle. This needs torch: ONNX must compute what torch computes."""

import logging
import shutil
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.errors import BundleError
from nephroscope.base.files import save_json, save_text
from nephroscope.base.version import __version__
from nephroscope.clinic.bundle import Needs, bundle_content, file_digest, slices_digest
from nephroscope.learning.run_files import CompleteRun, run_config
from nephroscope.learning.score_run import exported_fold, fold_scorer
from nephroscope.records import Evaluation, Fold, TrainConfig

logger = logging.getLogger(__name__)


def export_bundle(run: CompleteRun, report: Evaluation, out: Path, card: str = "") -> Path:
    """Write the model of the run's best fold as a bundle, beside a temporary name, and rename it.

    Args:
        run: Complete.
        report: Its evaluation.
        out: Folder that does not exist yet.
        card: The model card of the report; written as MODEL_CARD.md.

    Raises:
        BundleError: ``out`` exists, or ONNX and torch differ by more than 1e-4 on the reference slices.
    """
    from nephroscope.learning.networks.networks import build_network
    from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES, export_onnx
    from nephroscope.learning.training.batches import labelled_slices
    from nephroscope.learning.training.checkpoint import load_weights

    if out.exists():
        raise BundleError(
            where=f"bundle {out.name}",
            expected="a folder that does not exist yet",
            found="an existing one",
            remedy="choose another --out, or remove it; nothing was changed",
        )
    index = exported_fold(run.folder)
    fold = next(fold for fold in run.snapshot.split.folds if fold.index == index)
    n_known = len(fold.train | fold.validation)
    logger.info("export, step 1 of 2: fold %d as ONNX, compared with torch", index)
    config = run_config(run.folder)
    network = build_network(
        config.model,
        len(run.snapshot.cohort.subtypes),
        run.snapshot.slices.spec,
        config.recipe,
        width=config.width,
    )
    load_weights(network, run.folder / f"fold-{index}" / "weights.safetensors")
    rows = labelled_slices(run.snapshot.slices, run.snapshot.cohort, fold.train).rows
    reference = np.asarray(
        run.snapshot.slices.hu[rows[:: max(len(rows) // REFERENCE_SLICES, 1)][:REFERENCE_SLICES]]
    )
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        logits = export_onnx(network, len(run.snapshot.cohort.subtypes), reference, part / "model.onnx")
        np.savez_compressed(part / "reference.npz", hu=reference, logits=logits)
        save_text(part / "README.md", _card(run, report, index))
        if card:
            save_text(part / "MODEL_CARD.md", card)
        logger.info("export, step 2 of 2: what the model knows, from %d %ss", n_known, _unit(report))
        scorer = fold_scorer(run, fold)
        content = bundle_content(scorer, _about(run, report, config, index), part)
        content["training"]["slices_digests"] = sorted(_seen(run, _cases(run, fold)))
        save_json(part / "bundle.json", content)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _about(run: CompleteRun, report: Evaluation, config: TrainConfig, index: int) -> dict[str, Any]:
    fold = next(fold for fold in run.snapshot.split.folds if fold.index == index)
    return {
        "nephroscope": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": config.model,
        "recipe": config.recipe,
        "training": {
            "run": run.folder.name,
            "fold": index,
            "cohort_digest": run.snapshot.cohort.digest,
            "weights_sha256": file_digest(run.folder / f"fold-{index}" / "weights.safetensors"),
            "protocol": report.protocol,
            "leaky": report.leaky,
            "synthetic": report.synthetic,
            "converged": report.converged,
            "n_train": len(fold.train),
            "n_validation": len(fold.validation),
            "n_unit": _unit(report),
            "phases": dict(
                Counter(run.snapshot.cohort.by_id[n].phase for n in sorted(_cases(run, fold))).most_common()
            ),
        },
        "needs": asdict(Needs()),
        "evaluation": {
            group.name: {name: asdict(estimate) for name, estimate in group.case.items()}
            for group in report.groups
        },
    }


def _unit(report: Evaluation) -> str:
    """What a fold's parts are made of."""
    return "image" if report.leaky else "case"


def _cases(run: CompleteRun, fold: Fold) -> set[str]:
    """Cases of which the network has seen at least a slice."""
    known = run.snapshot.slices.rows_by_case
    return {name if name in known else name.rpartition("#")[0] for name in fold.train | fold.validation}


def _seen(run: CompleteRun, cases: set[str]) -> set[str]:
    return {
        slices_digest(np.asarray(run.snapshot.slices.hu[run.snapshot.slices.rows_by_case[case]]))
        for case in cases
    }


def _card(run: CompleteRun, report: Evaluation, index: int) -> str:
    """The model card that lies in the bundle."""
    marks = [
        mark
        for mark, on in (("SYNTHETIC phantoms", report.synthetic), ("LEAKY image split", report.leaky))
        if on
    ]
    n_folds = len(run.snapshot.split.folds)
    lines = [
        f"# {report.model}: {' or '.join(report.subtypes)}",
        "",
        "Research use only; not a medical device." + (f" **{'; '.join(marks)}.**" if marks else ""),
        "",
        f"Made by nephroscope {__version__} from run `{report.run}`, fold {index}"
        f" ({n_folds} fold{'' if n_folds == 1 else 's'}, split by {report.protocol}).",
        f"Probabilities are of {', '.join(report.subtypes)}; the threshold is on {report.positive}.",
        "",
        "Predict:",
        "",
        "    nephroscope predict . IMAGE --roi ROI",
        "",
        "## By case",
    ]
    for group in report.groups:
        lines += ["", f"### {group.name} ({group.n_patients} patients)", ""]
        lines += [f"* {name}: {estimate}" for name, estimate in group.case.items()]
    if not report.converged:
        lines += ["", "The run **did not converge**: do not use this model."]
    lines += [
        "",
        "The interval belongs to the training procedure, not to this very network. Tumors of other subtypes",
        'get one of these names too, unless the answer is "not sure".',
        "",
    ]
    return "\n".join(lines)
