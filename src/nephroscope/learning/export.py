"""Export the model of a run as a bundle. This needs torch: ONNX must compute what torch computes.

A bundle is made to be given away, so nothing in it names a case, reader, site or path: such names are taken out of
every text, and everything that is written is searched for them before the bundle gets its name.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import BundleError
from nephroscope.base.files import save_text
from nephroscope.base.lock import new_folder
from nephroscope.base.text import plain_markdown
from nephroscope.base.version import __version__
from nephroscope.clinic.bundle import save_bundle_file, slices_digest
from nephroscope.clinic.bundle_file import CARD, EMBEDDING, MOST_BYTES, Needs, TrainedNetwork
from nephroscope.clinic.cut import cut_slices
from nephroscope.clinic.network_file import strings_of
from nephroscope.clinic.sets import limits_of
from nephroscope.imaging.grid import AIR_HU
from nephroscope.intake.phantom.make import make_phantom
from nephroscope.learning.fuse_run import facts_model, facts_words, fused
from nephroscope.learning.networks.table import fuses, phases_of
from nephroscope.learning.outside import check_outside, outside_words, save_embedding
from nephroscope.learning.run_files import WEIGHTS, CompleteRun, fold_file, run_config
from nephroscope.learning.score_run import FIXED, exported_folds, exported_scorer, fold_scorer
from nephroscope.records import (
    OUT_OF_FOLD,
    CTVolume,
    Evaluation,
    Fold,
    RoiMask,
    SliceSpec,
    counted_noun,
)
from nephroscope.study.names import StudyNames, names_of

N_REFERENCE = 8
PHANTOM_SEED = 2021
OF_PHANTOMS, OF_PATIENTS = "phantoms", "training cases"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportChoice:
    """What a bundle holds.

    Attributes:
        patient_slices: Slices of training cases as reference, instead of phantoms.
        facts: It answers with age, sex and size beside the image, where they are given.
        fold: The network of this fold alone; None for the mean of all.
    """

    patient_slices: bool = False
    facts: bool = False
    fold: int | None = None


MEAN_OF_ALL = ExportChoice()


def export_bundle(
    run: CompleteRun, report: Evaluation, out: Path, card: str = "", choice: ExportChoice = MEAN_OF_ALL
) -> Path:
    """Write the networks of a run's folds, as one that answers with their mean, beside a temporary name; rename it.

    Args:
        run: Complete.
        report: Its evaluation.
        out: Folder that does not exist yet.
        card: The model card of the report; written as MODEL_CARD.md.
        choice: What it holds.

    Raises:
        StudyError: Facts are asked for, and too few are known or were answered out of fold.
        BundleError: ``out`` exists, ONNX and torch differ by more than 1e-4 on the reference slices or on slices of
            training cases, the networks are too large together, the fold has no usable network, or a file would
            name a case, reader, site or path.
        StudyError: Another process is making ``out``.
    """
    if out.exists():
        raise BundleError(
            where=f"bundle {out.name}",
            expected="a folder that does not exist yet",
            found="an existing one",
            remedy="choose another --out, or remove it; nothing was changed",
        )
    exported = exported_folds(run.folder) if choice.fold is None else _one_fold(run, choice.fold)
    folds = [fold for fold in run.snapshot.split.folds if fold.index in exported]
    which = f"{'the mean of folds' if len(folds) > 1 else 'fold'} {', '.join(map(str, exported))}"
    logger.info("export, step 1 of 2: %s as ONNX, compared with torch", which)
    is_fused = fuses(run_config(run.folder).model)
    with_facts = choice.facts or is_fused
    model = facts_model(run, report) if with_facts else None
    trained = _training_slices(run, folds[0])
    phases = phases_of(run_config(run.folder).model, run.snapshot.slices.spec.phases)
    reference = trained if choice.patient_slices else phantom_slices(run.snapshot.slices.spec, len(phases))
    names = names_of(run.snapshot.folder, run.snapshot.cohort)
    with new_folder(out, "export") as part:
        logits = _save_network(run, folds, np.concatenate([reference, trained]), part / "model.onnx")
        outside = check_outside(run.snapshot)
        if outside.recognizes:
            save_embedding(run.snapshot, part / EMBEDDING)
        n = len(reference)
        np.savez_compressed(part / "reference.npz", hu=reference, logits=logits[:n])
        shown = OF_PATIENTS if choice.patient_slices else OF_PHANTOMS
        readme = (
            _readme(run, report, folds)
            + outside_words(outside)
            + (facts_words(model, is_fused) if model else "")
        )
        texts = {"README.md": readme, **({CARD: card} if card else {})}
        for name, text in texts.items():
            save_text(
                part / name, plain_markdown(names.removed_from(f"{text.rstrip()}\n\n{_REFERENCE[shown]}\n"))
            )
        logger.info(
            "export, step 2 of 2: what the model knows, from %d %ss", len(_known(folds)), _unit(report)
        )
        about = _without_names(_about(run, report, folds) | {"reference": shown}, names)
        about |= _sets(report, run, with_facts)
        about["facts"] = as_plain(model) if model else None
        about["training"]["slices_digests"] = sorted(_seen(run, _cases(run, folds)))
        about["outside"] = as_plain(outside)
        scorer = exported_scorer(run) if choice.fold is None else fold_scorer(run, folds[0])
        save_bundle_file(replace(scorer, point=FIXED) if with_facts else scorer, about, part)
        check_nothing_named(part, names)
    return out


def _one_fold(run: CompleteRun, fold: int) -> tuple[int, ...]:
    """The fold that was asked for, alone; refused where it has no usable network."""
    usable = exported_folds(run.folder)
    if fold not in usable:
        raise BundleError(
            where="--fold",
            expected=f"a fold whose network can be used: {', '.join(map(str, usable))}",
            found=str(fold),
            remedy="choose one of them, or leave out --fold for the mean of all",
        )
    return (fold,)


def _save_network(
    run: CompleteRun, folds: Sequence[Fold], reference: npt.NDArray[np.int16], path: Path
) -> npt.NDArray[np.float32]:
    """Write the folds' networks as one; gives its logits of the reference slices."""
    from nephroscope.learning.networks.onnx_file import export_onnx, mean_of
    from nephroscope.learning.networks.phases import network_of
    from nephroscope.learning.training.checkpoint import load_weights

    config, n_subtypes = run_config(run.folder), len(run.snapshot.cohort.subtypes)
    spec, networks = run.snapshot.slices.spec, []
    for fold in folds:
        network = network_of(config.model, n_subtypes, spec, config.recipe, width=config.width)
        load_weights(network, fold_file(run.folder, fold.index, WEIGHTS).path)
        networks.append(network)
    logits = export_onnx(mean_of(networks, n_subtypes), n_subtypes, reference, path)
    _refuse_too_large(path, len(folds))
    return logits


_REFERENCE = {
    OF_PHANTOMS: "reference.npz holds slices of SYNTHETIC phantoms, on which a computer checks that it computes what "
    "the one that exported the network did. No file of this bundle shows a patient.",
    OF_PATIENTS: f"**reference.npz holds up to {N_REFERENCE} CT slices of patients**, training cases, kept on "
    "purpose at export. Do not pass this bundle on without permission to pass on these images.",
}


def phantom_slices(spec: SliceSpec, n_phases: int = 0) -> npt.NDArray[np.int16]:
    """Reference slices of a phantom, cut as the network's are: HU (`N_REFERENCE`, size, size).

    With several phases (`N_REFERENCE`, phases, size, size): the same slice, brighter by 20 HU from phase to phase,
    and of every second one only the first phase.
    """
    phantom = make_phantom(PHANTOM_SEED, 0)
    volume = CTVolume(hu=phantom.hu, geometry=phantom.geometry, series_uid="phantom")
    roi = RoiMask(voxels=phantom.reader1, geometry=phantom.geometry, case_id="phantom")
    cut = cut_slices(volume, roi, replace(spec, min_area_mm2=0.0))
    rows = np.linspace(0, len(cut) - 1, N_REFERENCE).round().astype(int)
    hu = np.stack([cut[row].hu for row in rows])
    if not n_phases:
        return hu
    several = np.stack([hu + np.int16(20 * number) for number in range(n_phases)], axis=1)
    several[1::2, 1:] = AIR_HU
    return several


def _training_slices(run: CompleteRun, fold: Fold) -> npt.NDArray[np.int16]:
    """Slices of training cases, evenly over the fold: HU (at most `N_REFERENCE`, size, size)."""
    from nephroscope.learning.training.batches import labelled_slices

    phases = phases_of(run_config(run.folder).model, run.snapshot.slices.spec.phases)
    slices = labelled_slices(run.snapshot.slices, run.snapshot.cohort, fold.train, phases)
    step = max(len(slices) // N_REFERENCE, 1)
    return slices.shown(slices.rows[::step][:N_REFERENCE])


def _without_names(value: Any, names: StudyNames) -> Any:
    """A plain value with names taken out of its texts and keys; equal keys are numbered."""
    if isinstance(value, str):
        return names.removed_from(value)
    if isinstance(value, list | tuple):
        return [_without_names(part, names) for part in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, part in value.items():
        plain, n = names.removed_from(key), 2
        while plain in found:
            plain, n = f"{names.removed_from(key)} {n}", n + 1
        found[plain] = _without_names(part, names)
    return found


def check_nothing_named(folder: Path, names: StudyNames) -> None:
    """Search every file of a bundle, and its name, for what must not leave the study.

    Raises:
        BundleError: A file names a case, reader, site, series or path of the study.
    """
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if path.suffix == ".onnx":
            texts = strings_of(content)
        else:
            texts = [] if path.suffix == ".npz" else [content.decode("utf-8")]  # arrays of numbers
        found = names.found_in("\n".join(texts))
        if found:
            raise BundleError(
                where=f"bundle, {path.name}",
                expected="a file that names nothing of the study",
                found=f"the name of a {' and of a '.join(found)}",
                remedy="give run and subtypes names that no case, reader, site or file has; nothing was written",
            )


def _about(run: CompleteRun, report: Evaluation, folds: Sequence[Fold]) -> dict[str, Any]:
    config, learned = run_config(run.folder), frozenset[str]().union(*(fold.train for fold in folds))
    networks = [
        TrainedNetwork(
            fold=fold.index,
            weights_sha256=fold_file(run.folder, fold.index, WEIGHTS).digest,
            n_train=len(fold.train),
            n_validation=len(fold.validation),
        )
        for fold in folds
    ]
    return {
        "nephroscope": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": config.model,
        "recipe": config.recipe,
        "training": {
            "run": run.folder.name,
            "networks": [asdict(one) for one in networks],
            "cohort_digest": run.snapshot.cohort.digest,
            "protocol": report.protocol,
            "leaky": report.leaky,
            "synthetic": report.synthetic,
            "converged": report.converged,
            "n_train": len(learned),
            "n_validation": len(_known(folds) - learned),
            "n_unit": _unit(report),
            "phases": dict(
                Counter(run.snapshot.cohort.by_id[n].phase for n in sorted(_cases(run, folds))).most_common()
            ),
        },
        "needs": asdict(Needs()),
        "evaluation": {
            group.name: {name: asdict(estimate) for name, estimate in group.case.items()}
            for group in report.groups
        },
    }


def _sets(report: Evaluation, run: CompleteRun, with_facts: bool) -> dict[str, Any]:
    """Limits of the sets of possible subtypes, for answers of the image alone and for those with facts."""
    found = report.sets
    if found is None or report.leaky or not report.converged:
        return {"sets": None}
    answers = [p for p in report.predictions if p.group == OUT_OF_FOLD and p.truth is not None]
    kinds = {"sets": [replace(p, probabilities=p.of_image) for p in answers]}
    if with_facts:
        kinds["sets_with_facts"] = fused(answers, report.subtypes, run.snapshot.cohort.by_id)
    made = {name: limits_of(of, report.subtypes) for name, of in kinds.items()}
    return {name: None if isinstance(one, str) else as_plain(one) for name, one in made.items()}


def _unit(report: Evaluation) -> str:
    """What a fold's parts are made of."""
    return "image" if report.leaky else "case"


def _known(folds: Sequence[Fold]) -> frozenset[str]:
    """What a network learned from or stopped by: cases, or slices under the image protocol."""
    return frozenset[str]().union(*(fold.train | fold.validation for fold in folds))


def _cases(run: CompleteRun, folds: Sequence[Fold]) -> set[str]:
    """Cases of which a network has seen at least a slice."""
    known = run.snapshot.slices.rows_by_case
    return {name if name in known else name.rpartition("#")[0] for name in _known(folds)}


def _seen(run: CompleteRun, cases: set[str]) -> set[str]:
    """Digests of the slices of these cases; with several phases those of each phase, whichever is drawn on later."""
    store = run.snapshot.slices
    several = phases_of(run_config(run.folder).model, store.spec.phases)
    found = set()
    for case in cases:
        rows = store.rows_by_case[case]
        found.add(slices_digest(np.asarray(store.hu[rows])))
        slices, presence = store.by_phase(case, list(rows)) if several else ({}, {})
        found |= {slices_digest(hu) for phase, hu in slices.items() if presence[phase].all()}
    return found


def _readme(run: CompleteRun, report: Evaluation, folds: Sequence[Fold]) -> str:
    """The README of the bundle."""
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
        f"Made by nephroscope {__version__} from run `{report.run}`, {_whose(folds)}"
        f" ({counted_noun(n_folds, 'fold')}, split by {report.protocol}).",
        f"Probabilities are of {', '.join(report.subtypes)}; the threshold is on {report.positive}.",
        "",
        "Predict:",
        "",
        f"    nephroscope predict . IMAGE{'' if run.snapshot.slices.spec.roi_mode == 'full' else ' --roi ROI'}",
        "",
        "## By case",
    ]
    for group in report.groups:
        lines += ["", f"### {group.name} ({group.n_patients} patients)", ""]
        lines += [f"* {name}: {estimate}" for name, estimate in group.case.items()]
    if not report.converged:
        lines += ["", "The run **did not converge**: do not use this model."]
    lines += ["", *_what_figures_are(report, folds, len(exported_folds(run.folder))), ""]
    lines += ['Tumors of other subtypes get one of these names too, unless the answer is "not sure".', ""]
    return "\n".join(lines)


def _whose(folds: Sequence[Fold]) -> str:
    numbers = ", ".join(str(fold.index) for fold in folds)
    return f"fold {numbers}" if len(folds) == 1 else f"the mean of the networks of folds {numbers}"


def _what_figures_are(report: Evaluation, folds: Sequence[Fold], n_usable: int) -> list[str]:
    """To what the figures above belong, and to what they do not."""
    if len(folds) == 1:
        lines = ["The interval belongs to the training procedure, not to this very network."]
        if n_usable > 1 and any(group.name != OUT_OF_FOLD for group in report.groups):
            lines.append(
                f"Only the {OUT_OF_FOLD} figures are those of single networks; the others are those of the mean of"
            )
            lines.append(f"{n_usable} networks, of which this bundle holds one alone (--fold).")
        return lines
    lines = []
    if any(group.name == OUT_OF_FOLD for group in report.groups):
        lines = [
            f"The {OUT_OF_FOLD} figures are those of {len(folds)} networks, each alone on cases it never saw. This",
            "bundle answers with their mean, which no out-of-fold case can test: in simulations it is better than",
            "one network alone, and its probabilities lie nearer to the middle.",
        ]
    if any(group.name != OUT_OF_FOLD for group in report.groups):
        lines.append("The other figures are those of the mean, as this bundle answers.")
    return lines


def _refuse_too_large(path: Path, n_folds: int) -> None:
    size, most = path.stat().st_size, MOST_BYTES["model.onnx"]
    if size > most:
        raise BundleError(
            where=f"export, {n_folds} networks",
            expected=f"networks of at most {most / 1e6:.0f} MB together",
            found=f"{size / 1e6:.0f} MB",
            remedy="train a smaller network, or with fewer folds; nothing was written",
        )
