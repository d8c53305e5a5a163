"""A network that draws as something to be fitted: Dice and cross-entropy on patches, Dice by patient on planes."""

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from nephroscope.base.errors import StudyError
from nephroscope.base.files import digest_of
from nephroscope.learning.networks.networks import SubtypeNetwork
from nephroscope.learning.networks.table import DRAWING_NETWORKS
from nephroscope.learning.planes import VALUES, DrawnCT, PlaneStore, open_planes
from nephroscope.learning.run_files import Compute
from nephroscope.learning.training.augment import augment, draw_augmentation, turn
from nephroscope.learning.training.device import training_device
from nephroscope.learning.training.fit import FitState, FoldTask
from nephroscope.learning.training.patches import DrawnPlanes, Patches
from nephroscope.records import Fold, SliceSpec, TrainConfig
from nephroscope.segmenters.planes import MULTIPLE, padded, with_neighbors
from nephroscope.study.snapshot import Snapshot

SMOOTH = 20.0  # pixels; with so many, a few wrong ones on a patch without a tumor are no whole failure
SAMPLING = 2  # how patches are drawn; what was begun otherwise is not gone on with
FOUND = 0.05  # mean Dice of the validation patients above which something was learned
PLANES_AT_ONCE = 8
SMALLEST_PX = 32  # of a patch: as large as the largest plane, between these
LARGEST_PX = {"kidney": 128, "tumor": 64}  # by the last label; a tumor is mostly found by what lies around it


@dataclass(frozen=True, kw_only=True)
class DrawingTask(FoldTask):
    """What a fold of a study is to learn to draw.

    ``train`` and ``validation`` are the planes of its CTs; ``n_subtypes`` counts the labels with the background. The
    best epoch has the lowest validation loss: 1 - Dice, as the mean over labels of the mean over patients, where a
    patient of whom nothing was found counts 0.

    Attributes:
        made_of: Digest of the planes.
    """

    train: Patches  # type: ignore[assignment]
    validation: Patches  # type: ignore[assignment]
    made_of: str

    @cached_property
    def digest(self) -> str:
        """Digest of what is learned from and how; a fit may be given more epochs."""
        how = {name: value for name, value in asdict(self.config).items() if name != "epochs"}
        sampling = [SAMPLING, self.train.size_px]
        return digest_of(
            [self.fold, self.made_of, self.n_subtypes, self.train.labels.tolist(), sampling, how]
        )

    def batches(self, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        """Places of the patches of an epoch, (n, 4) each; a last batch of one is left out."""
        places, size = self.train.draw(self.config.slices_per_case, rng), self.config.batch_size
        batches = [places[i : i + size] for i in range(0, len(places), size)]
        return [batch for batch in batches if len(batch) > 1]

    def vary(self, hu: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Patches turned, mirrored left to right, blurred, brighter or darker; labels turned with them."""
        if not self.config.augmentation:
            return hu, labels
        draw = replace(
            draw_augmentation(len(hu), rng), flip_rows=torch.ones(len(hu))
        )  # the spine stays behind
        turned = turn(labels.unsqueeze(1).float(), draw, "nearest").squeeze(1)
        return augment(hu, draw), turned.round().long()

    def loss_weights(self) -> Tensor | None:
        """None: its Dice already weighs what it draws alike."""
        return None

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Cross-entropy, and 1 - soft Dice of each patch, as the mean over patches and what is drawn.

        Over the whole batch, large tumors would decide alone.
        """
        del weights
        logits = logits.float()
        shares = logits.softmax(dim=1)[:, 1:]
        drawn = functional.one_hot(labels, self.n_subtypes).movedim(-1, 1)[:, 1:].to(shares.dtype)
        common, both = (shares * drawn).sum(dim=(2, 3)), (shares + drawn).sum(dim=(2, 3))
        dice = (2 * common + SMOOTH) / (both + SMOOTH)
        return functional.cross_entropy(logits, labels) + 1 - dice.mean()

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Twice the common pixels and those of both, by label, (2, labels); nothing of the background."""
        found = logits.argmax(dim=1)
        counts = torch.zeros(2, self.n_subtypes)
        for label in range(1, self.n_subtypes):
            one, two = found == label, labels == label
            counts[0, label] = 2 * (one & two).sum()
            counts[1, label] = one.sum() + two.sum()
        return counts

    @torch.inference_mode()
    def validate(self, network: SubtypeNetwork) -> tuple[float, Tensor]:
        """1 - Dice, and by label the sum of the patients' Dice with their number, (2, labels)."""
        network.eval()
        counts: dict[int, Tensor] = {}
        for ct in self.validation.cts:
            seen, (n, height, width) = padded(ct.hu), ct.hu.shape
            for start in range(0, n, PLANES_AT_ONCE):
                stop = min(start + PLANES_AT_ONCE, n)
                hu = torch.from_numpy(with_neighbors(seen, np.arange(start, stop))).to(self.device).float()
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    logits = network(hu)[..., :height, :width]
                labels = torch.from_numpy(np.asarray(ct.labels[start:stop])).to(self.device)
                counts[ct.patient] = counts.get(ct.patient, 0) + self.hits(logits, labels)
        totals = torch.zeros(2, self.n_subtypes)
        for one in counts.values():
            known = one[1] > 0
            totals[0, known] += one[0, known] / one[1, known]
            totals[1, known] += 1
        drawn = totals[1, 1:] > 0
        mean = (totals[0, 1:][drawn] / totals[1, 1:][drawn]).mean() if bool(drawn.any()) else torch.zeros(())
        return 1 - float(mean), totals

    def is_finished(self, state: FitState) -> bool:
        """As of any network; but patience is not used up while nothing was found at all."""
        if not super().is_finished(state):
            return False
        last = state.history[-1:]
        waited = bool(last) and last[0].epoch < self.config.epochs and math.isfinite(last[0].train_loss)
        return not (waited and not self.has_converged(state))

    def has_converged(self, state: FitState) -> bool:
        """True when the validation patients' mean Dice was above 0.05 in some epoch."""
        return state.best is not None and state.best.validation_loss < 1 - FOUND


def drawing_spec(snapshot: Snapshot, config: TrainConfig) -> SliceSpec:
    """Window and size of the patches of a study."""
    store, labels = open_planes(snapshot), DRAWING_NETWORKS[config.model]
    cts = store.of_cases(frozenset(snapshot.cohort.by_id), labels)
    largest = max((max(ct.shape[1:]) for ct in cts), default=SMALLEST_PX)
    whole = -(-largest // MULTIPLE) * MULTIPLE
    return store.spec.seen_through(min(max(whole, SMALLEST_PX), LARGEST_PX[labels[-1]]))


def drawing_task(snapshot: Snapshot, config: TrainConfig, fold: Fold, compute: Compute) -> DrawingTask:
    """What a fold of a study is to learn to draw.

    Raises:
        StudyError: It has no CT to learn from, or none to choose the best epoch by.
    """
    store, labels = open_planes(snapshot), DRAWING_NETWORKS[config.model]
    size = drawing_spec(snapshot, config).size_px
    parts = {}
    for what, names in (("training", fold.train), ("validation", fold.validation)):
        planes = _planes(store, store.of_cases(names, labels), labels)
        if not planes:
            raise StudyError(
                where=f"fold {fold.index}",
                expected=f"a CT with {' and '.join(labels)} drawn in its {what} part",
                found="none",
                remedy="import more cases or use fewer folds",
            )
        parts[what] = Patches(cts=planes, n_labels=len(labels) + 1, size_px=size)
    return DrawingTask(
        fold=fold.index,
        train=parts["training"],
        validation=parts["validation"],
        n_subtypes=len(labels) + 1,
        config=config,
        device=training_device(),
        dtype=getattr(torch, compute.precision),
        layout=compute.layout,
        keeps_prior=False,
        made_of=store.digest,
    )


def _planes(store: PlaneStore, cts: tuple[DrawnCT, ...], labels: tuple[str, ...]) -> tuple[DrawnPlanes, ...]:
    patients = {name: number for number, name in enumerate(sorted({ct.patient_id for ct in cts}))}
    found = []
    for ct in cts:
        hu, stored = store.read(ct)
        drawn = np.zeros(stored.shape, np.uint8)
        for number, name in enumerate(labels, start=1):
            drawn[stored == VALUES[name]] = number
        if drawn.any():
            found.append(DrawnPlanes(hu=hu, labels=drawn, patient=patients[ct.patient_id]))
    return tuple(found)
