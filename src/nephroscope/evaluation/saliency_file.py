"""Maps of a run to one file, and back: runs/NAME/saliency/maps.npz, whole or not at all."""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.evaluation.saliency import Map, Place
from nephroscope.evaluation.saliency_fold import Agreement
from nephroscope.files import replacing


@dataclass(frozen=True, eq=False, kw_only=True)
class KeptMaps:
    """What took time to compute; ``key`` is a digest of everything that it was made from."""

    key: str
    signed: Mapping[Place, Map]
    rois: Mapping[Place, npt.NDArray[np.bool_]]
    agreement: Agreement


def save_maps(path: Path, kept: KeptMaps) -> None:
    """Write them."""
    about = {
        "key": kept.key,
        "maps": [*kept.signed],
        "rois": [*kept.rois],
        "agreement": {
            name: [[*place, None if math.isnan(v) else v] for place, v in values.items()]
            for name, values in kept.agreement.items()
        },
    }
    arrays: dict[str, Any] = {"about": np.frombuffer(json.dumps(about, allow_nan=False).encode(), np.uint8)}
    arrays |= {"signed": np.stack([*kept.signed.values()])} if kept.signed else {}
    arrays |= {"roi": np.stack([*kept.rois.values()])} if kept.rois else {}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    with replacing(path) as temporary:
        temporary.write_bytes(file.getvalue())


def load_maps(path: Path, key: str) -> KeptMaps | None:
    """What an earlier report kept; None where there is none, or it was made from something else, or is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["key"] != key:
                return None
            maps, rois = ([(case_id, int(i)) for case_id, i in about[name]] for name in ("maps", "rois"))
            return KeptMaps(
                key=key,
                signed=dict(zip(maps, file["signed"], strict=True)),
                rois=dict(zip(rois, file["roi"], strict=True)) if rois else {},
                agreement={
                    name: {(case_id, int(i)): math.nan if v is None else v for case_id, i, v in values}
                    for name, values in about["agreement"].items()
                },
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
