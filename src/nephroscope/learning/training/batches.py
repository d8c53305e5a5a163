"""Which slices go into which batch, drawn from a seed, so that an epoch can be repeated exactly."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nephroscope.records import Cohort, Fold
from nephroscope.study.slices import SliceStore

ROTATION_DEG = 30.0
SHIFT_HU = 10.0
BLUR_SHARE = 0.25
BLUR_SIGMA_PX = (0.5, 1.5)


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledSlices:
    """Slices of one part of a fold: rows of the store with the number of their subtype and of their case."""

    hu: npt.NDArray[np.int16]  # the whole store, (N, size, size)
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    cases: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, chosen: npt.NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """HU (N, 1, size, size) and labels (N,) of these positions, on the device."""
        hu = torch.from_numpy(self.hu[self.rows[chosen]]).unsqueeze(1)
        return hu.to(device).float(), torch.from_numpy(self.labels[chosen]).to(device)


def labelled_slices(store: SliceStore, cohort: Cohort, names: frozenset[str]) -> LabelledSlices:
    """The slices of these names: case_ids, or ``case_id#slice_index`` under the image protocol."""
    rows: list[int] = []
    for name in sorted(names):
        case_id, _, slice_index = name.rpartition("#")
        if not case_id or case_id not in store.rows_by_case:
            rows += store.rows_by_case[name].tolist()
        else:
            of_case = store.rows_by_case[case_id]
            rows += of_case[store.slice_index[of_case] == int(slice_index)].tolist()
    case_ids = store.case_ids[rows]
    numbers = {case_id: number for number, case_id in enumerate(sorted(set(case_ids.tolist())))}
    subtypes = [str(cohort.by_id[case_id].subtype) for case_id in case_ids.tolist()]
    return LabelledSlices(
        hu=store.hu,
        rows=np.array(rows, dtype=np.int64),
        labels=np.array([cohort.subtypes.index(subtype) for subtype in subtypes], dtype=np.int64),
        cases=np.array([numbers[case_id] for case_id in case_ids.tolist()], dtype=np.int64),
    )


def fold_slices(store: SliceStore, cohort: Cohort, fold: Fold) -> tuple[LabelledSlices, LabelledSlices]:
    """Training and validation slices of a fold."""
    return labelled_slices(store, cohort, fold.train), labelled_slices(store, cohort, fold.validation)


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
