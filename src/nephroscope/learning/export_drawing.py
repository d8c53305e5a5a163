"""Export the networks of a run that draws as a bundle. This needs torch: ONNX must compute what torch computes."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError
from nephroscope.base.files import save_text
from nephroscope.base.lock import new_folder
from nephroscope.base.text import counted_noun, plain_markdown
from nephroscope.base.version import __version__
from nephroscope.clinic.network_file import check_network
from nephroscope.imaging.grid import AIR_HU
from nephroscope.learning.drawn_run import DrawingRun
from nephroscope.learning.export import check_nothing_named
from nephroscope.learning.networks.table import outputs_of
from nephroscope.learning.run_files import WEIGHTS, fold_file, run_config
from nephroscope.learning.score_run import exported_folds
from nephroscope.records import CTVolume, Estimate
from nephroscope.segmenters.bundle import (
    MORE_OPERATORS,
    middle_of,
    save_drawing_bundle_file,
    save_reference,
    volume_of,
)
from nephroscope.segmenters.planes import make_planes, with_neighbors
from nephroscope.study.names import names_of

REFERENCE_SLICES, SIZE = 5, 160
N_COMPARED = 8


def export_drawing_bundle(
    run: DrawingRun, figures: dict[str, dict[str, Estimate]], out: Path, texts: tuple[str, ...] = ()
) -> Path:
    """Write the networks of a run's folds beside a temporary name, and rename it.

    Args:
        run: Complete.
        figures: By label, of its out-of-fold drawings.
        out: Folder that does not exist yet.
        texts: Further lines of the README.

    Raises:
        BundleError: ``out`` exists, ONNX and torch differ by more than 1e-4 on planes of training cases or of the
            stored phantom, or a file would name a case, reader, site or path.
        StudyError: Another process is making ``out``; or no fold can be used.
    """
    if out.exists():
        raise BundleError(
            where=f"bundle {out.name}",
            expected="a folder that does not exist yet",
            found="an existing one",
            remedy="choose another --out, or remove it; nothing was changed",
        )
    snapshot, names = run.snapshot, names_of(run.snapshot.folder, run.snapshot.cohort)
    volume = _phantom()
    planes = make_planes(volume, run.store.spec)
    with new_folder(out, "export") as part:
        networks, logits = [], []
        for index in exported_folds(run.folder):
            file = f"network-{index}.onnx"
            logits.append(_save_network(run, index, middle_of(planes), part / file))
            check_network(file, (part / file).read_bytes(), MORE_OPERATORS)
            known = sorted({ct.digest for ct in run.cts_of(index)})
            networks.append({"fold": index, "file": file, "known": known})
        save_reference(volume, run.store.spec, np.stack(logits), part / "reference.npz")
        cts = run.store.of_cases(frozenset(snapshot.cohort.by_id), run.labels)
        readme = names.removed_from("\n".join(_readme(run, figures, len(networks), texts)))
        save_text(part / "README.md", plain_markdown(readme))
        about = {
            "name": run_config(run.folder).model,
            "labels": list(run.labels),
            "planes": asdict(run.store.spec),
            "planes_digest": run.store.spec.digest,
            "networks": networks,
            "synthetic": snapshot.cohort.synthetic,
            "n_patients": len({ct.patient_id for ct in cts}),
            "n_cts": len(cts),
            "evaluation": {
                label: {name: asdict(estimate) for name, estimate in of_label.items()}
                for label, of_label in figures.items()
            },
            "nephroscope": __version__,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        save_drawing_bundle_file(about, part)
        check_nothing_named(part, names)
    return out


def _save_network(
    run: DrawingRun, index: int, reference: npt.NDArray[np.int16], path: Path
) -> npt.NDArray[np.float32]:
    """Write a fold's network, compared with torch; gives its logits of the reference, (labels, H, W)."""
    from nephroscope.learning.networks.onnx_file import export_onnx
    from nephroscope.learning.networks.phases import network_of
    from nephroscope.learning.training.checkpoint import load_weights

    config = run_config(run.folder)
    n_labels = outputs_of(config.model, 0)
    network = network_of(config.model, n_labels, run.store.spec.seen_through(32), width=config.width)
    load_weights(network, fold_file(run.folder, index, WEIGHTS).path)
    height, width = reference.shape[2:]
    learned = [_cut(run.store.read(ct)[0], height, width) for ct in run.cts_of(index)[:N_COMPARED]]
    shown = np.concatenate([reference, *learned])
    logits: npt.NDArray[np.float32] = export_onnx(network, n_labels, shown, path)[0]
    return logits


def _cut(planes: npt.NDArray[np.int16], height: int, width: int) -> npt.NDArray[np.int16]:
    """The middle plane of a CT with its neighbors, (1, 3, height, width): its middle, with air around it."""
    found = np.full((1, 3, height, width), planes.min(), np.int16)
    seen = with_neighbors(planes, [len(planes) // 2])
    rows, cols = (
        max((n - wanted) // 2, 0) for n, wanted in zip(seen.shape[2:], (height, width), strict=True)
    )
    seen = seen[:, :, rows : rows + height, cols : cols + width]
    found[:, :, : seen.shape[2], : seen.shape[3]] = seen
    return found


def _phantom() -> CTVolume:
    """A SYNTHETIC CT of a few slices: an ellipse of a body with two kidneys, a tumor and noise."""
    rows, columns = np.ogrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    plane = np.full((SIZE, SIZE), AIR_HU, np.float64)
    for row, column, high, wide, hu in (
        (0.0, 0.0, 0.6, 0.85, 40.0),
        (0.1, -0.4, 0.25, 0.2, 180.0),
        (0.1, 0.4, 0.25, 0.2, 180.0),
        (0.0, 0.5, 0.15, 0.15, 90.0),
    ):
        plane[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 <= 1] = hu
    noise = np.random.default_rng(0).normal(0, 10, (REFERENCE_SLICES, SIZE, SIZE))
    return volume_of(np.rint(plane + noise).astype(np.int16), (3.0, 1.6, 1.6))


def _readme(
    run: DrawingRun, figures: dict[str, dict[str, Estimate]], n_networks: int, texts: tuple[str, ...]
) -> list[str]:
    synthetic = " **SYNTHETIC phantoms.**" if run.snapshot.cohort.synthetic else ""
    lines = [
        f"# {run_config(run.folder).model}: draws {' and '.join(run.labels)}",
        "",
        f"Research use only; not a medical device.{synthetic}",
        "",
        f"Made by nephroscope {__version__} from run `{run.folder.name}`:",
        f"{counted_noun(n_networks, 'network')}, whose probabilities are averaged. What is drawn is",
        "a proposal, until a person accepts or corrects it.",
        "",
        "Draw:",
        "",
        "    nephroscope segment STUDY --with .",
        "",
        "A CT that a network learned from is drawn by the others.",
    ]
    for label, of_label in figures.items():
        lines += ["", f"## {label}", ""]
        lines += [f"* {name}: {estimate}" for name, estimate in of_label.items()]
    return [
        *lines,
        "",
        *texts,
        "",
        "reference.npz holds a SYNTHETIC phantom. No file of this bundle shows a patient.",
    ]
