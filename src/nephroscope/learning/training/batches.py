"""Which slices go into which batch, drawn from a seed, so that an epoch can be repeated exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nephroscope.base.errors import StudyError
from nephroscope.imaging.grid import AIR_HU
from nephroscope.learning.networks.phases import NOTHING_HU
from nephroscope.records import Cohort, Fold
from nephroscope.study.slices import SliceStore

ROTATION_DEG = 30.0
SHIFT_HU = 10.0
BLUR_SHARE = 0.25
KEPT_SHARE = 0.5  # of the phases that are there, in training
BLUR_SIGMA_PX = (0.5, 1.5)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledSlices:
    """Slices of one part of a fold: rows of the store with the number of their subtype and of their case."""

    hu: npt.NDArray[np.int16]  # the whole store, (N, size, size)
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    cases: npt.NDArray[np.int64]
    phases: tuple[
        npt.NDArray[np.int16], ...
    ] = ()  # the same places in each phase, where a network sees several

    def shown(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
        """HU of some rows of the store as a network sees them: (n, size, size), or (n, phases, size, size)."""
        if self.phases:
            return np.stack([hu[rows] for hu in self.phases], axis=1)
        return np.asarray(self.hu[rows])

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, chosen: npt.NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """HU (N, 1 or number of phases, size, size) and labels (N,) of these positions, on the device."""
        hu = torch.from_numpy(self.shown(self.rows[chosen]))
        hu = hu if self.phases else hu.unsqueeze(1)
        return hu.to(device).float(), torch.from_numpy(self.labels[chosen]).to(device)


def labelled_slices(
    store: SliceStore, cohort: Cohort, names: frozenset[str], phases: Sequence[str] = ()
) -> LabelledSlices:
    """The slices of these names: case_ids, or ``case_id#slice_index`` under the image protocol.

    With phases, slices that none of them shows are left out.

    Raises:
        StudyError: A case has none of the phases.
    """
    there = np.any([store.presence[phase] for phase in phases], axis=0) if phases else None
    rows: list[int] = []
    for name in sorted(names):
        case_id, _, slice_index = name.rpartition("#")
        if not case_id or case_id not in store.rows_by_case:
            rows += store.rows_by_case[name].tolist()
        else:
            of_case = store.rows_by_case[case_id]
            rows += of_case[store.slice_index[of_case] == int(slice_index)].tolist()
    if there is not None:
        refuse_without_phase(store, sorted({str(name) for name in store.case_ids[rows]}), phases)
        rows = [row for row in rows if there[row]]
    case_ids = store.case_ids[rows]
    numbers = {case_id: number for number, case_id in enumerate(sorted(set(case_ids.tolist())))}
    subtypes = [str(cohort.by_id[case_id].subtype) for case_id in case_ids.tolist()]
    return LabelledSlices(
        hu=store.hu,
        phases=tuple(store.phases[phase] for phase in phases),
        rows=np.array(rows, dtype=np.int64),
        labels=np.array([cohort.subtypes.index(subtype) for subtype in subtypes], dtype=np.int64),
        cases=np.array([numbers[case_id] for case_id in case_ids.tolist()], dtype=np.int64),
    )


def refuse_without_phase(store: SliceStore, case_ids: Sequence[str], phases: Sequence[str]) -> None:
    """Refuse cases of which no slice shows one of the phases.

    Raises:
        StudyError: Names the first of them.
    """
    there = np.any([store.presence[phase] for phase in phases], axis=0)
    missing = [name for name in case_ids if not there[store.rows_by_case[name]].any()]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise StudyError(
            where=f"case {missing[0]}{others}",
            expected=f"a drawn series of one of the phases {', '.join(phases)}",
            found=f"the phase {store.phase_of(missing[0])} alone",
            remedy="name its phase in series.csv or under [slices] phases in study.toml, or leave the case out",
        )


def fold_slices(
    store: SliceStore, cohort: Cohort, fold: Fold, phases: Sequence[str] = ()
) -> tuple[LabelledSlices, LabelledSlices]:
    """Training and validation slices of a fold."""
    train, validation = (
        labelled_slices(store, cohort, part, phases) for part in (fold.train, fold.validation)
    )
    return train, validation


def drop_phases(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Take phases away at random, half of those that are there on average; of each slice at least one is kept.

    Args:
        hu: (N, P, size, size); air where a phase is missing.
        rng: Chance of the epoch.
    """
    there = (hu.amax(dim=(2, 3)) > NOTHING_HU).cpu().numpy()
    order = rng.random(there.shape) + ~there
    kept = there & ((rng.random(there.shape) < KEPT_SHARE) | (order == order.min(axis=1, keepdims=True)))
    return torch.where(torch.from_numpy(kept).to(hu.device)[:, :, None, None], hu, float(AIR_HU))


def draw_epoch(
    slices: LabelledSlices, slices_per_case: int, batch_size: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Positions in ``slices``, shuffled into batches; at most ``slices_per_case`` of a case (0: all).

    A last batch of one slice is left out: batch norm needs two.
    """
    order = rng.permutation(len(slices))
    if slices_per_case:
        seen: dict[int, int] = {}
        kept = []
        for position in order.tolist():
            case = int(slices.cases[position])
            seen[case] = seen.get(case, 0) + 1
            if seen[case] <= slices_per_case:
                kept.append(position)
        order = np.array(kept, dtype=np.int64)
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [batch for batch in batches if len(batch) > 1]
