"""Where a network looked: Grad-CAM of the run that a bundle was exported from, over the slices that it saw.

It needs the extra `train` and the run in this study. The networks are those of the bundle, weight by weight, and must
give the probability that was answered; else there is no map.
"""

import io
import json
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.base.errors import NephroscopeError
from nephroscope.workstation.answers import NotFoundError
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.asked import last_answer
from nephroscope.workstation.study.pictures import case_of, read

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nephroscope.clinic.bundle_file import BundleFile
    from nephroscope.records import ChosenCase

SIDE_PX = 512
MAP_COLOR, DENSEST = (230, 159, 0), 0.6  # as in the report; opacity at the peak
MOST_DIFFERENCE = 1e-3  # between torch and ONNX Runtime, in probability
_lock = threading.Lock()
_last: "tuple[object, _Maps] | None" = None


@dataclass(frozen=True, eq=False)
class _Maps:
    """By slice_index: gray (H, W) in [0, 1] as the network saw it, and the signed map (h, w)."""

    gray: "dict[int, npt.NDArray[np.float32]]"
    signed: "dict[int, npt.NDArray[np.float32]]"


def why_not(place: Place, bundle: Path) -> str:
    """Why there are no maps for a bundle here; empty where there are."""
    if find_spec("torch") is None:
        return "the extra train is not installed"
    try:
        _weights(place, _about(bundle))
    except NephroscopeError as error:
        return f"{error.found}"
    return ""


def looked(request: Request) -> Response:
    """A slice of the last answer under its map, as PNG; ``?slice=INDEX``."""
    global _last
    place: Place = request.app.state.place
    case = case_of(request)
    row, about = last_answer(place, case)
    if row is None or about is None:
        raise _none(case.case_id, "an answer about the ROI as it is now", "none")
    Rois(place, request.scope["nephroscope.session"]).check_used(about)
    key = (row["case_id"], row["bundle"], row["made"])
    with _lock:
        if _last is None or _last[0] != key:
            _last = (key, _explain(place, about, Path(row["bundle"]), json.loads(row["document"])))
        maps = _last[1]
    text = request.query_params.get("slice", "")
    index = int(text) if text.isdecimal() and len(text) < 6 else -1
    if index not in maps.gray:
        raise _none(case.case_id, "a slice of the answer", "another one")
    return Response(_drawn(maps, index), media_type="image/png")


def _about(bundle: Path) -> "BundleFile":
    from nephroscope.clinic.bundle_file import read_bundle_file

    return read_bundle_file(bundle)[0]


def _weights(place: Place, about: "BundleFile") -> list[Path]:
    """Files of the networks of a bundle, in the run that it was exported from.

    Raises:
        NotFoundError: The run is not in this study, or has other weights.
    """
    from nephroscope.base.files import file_digest
    from nephroscope.learning.run_files import WEIGHTS

    training, found = about.training, []
    for network in training.networks:
        path = place.root / "runs" / Path(training.run).name / f"fold-{network.fold}" / WEIGHTS
        if not path.is_file():
            raise _none("bundle", "the run that the bundle was exported from", "the run is not in this study")
        if file_digest(path) != network.weights_sha256:
            raise _none("bundle", "the weights of the bundle", "the run was trained again since the export")
        found.append(path)
    if not found:
        raise _none("bundle", "a bundle of a run", "the bundle does not say from which run it is")
    return found


def _explain(place: Place, case: "ChosenCase", bundle: Path, document: dict[str, object]) -> _Maps:
    """The maps of every slice of an answer, for the subtype that was called or would have been."""
    import numpy as np

    from nephroscope.clinic.cut import apply_window, cut_slices
    from nephroscope.learning.networks.networks import build_network
    from nephroscope.learning.networks.saliency import grad_cam
    from nephroscope.learning.run_files import run_config
    from nephroscope.learning.training.checkpoint import load_weights

    about = _about(bundle)
    paths, n = _weights(place, about), len(about.subtypes)
    config = run_config(paths[0].parent.parent)
    volume, roi = read(case)
    cut = cut_slices(volume, roi, about.slices)
    hu = np.stack([part.hu for part in cut])
    subtype = np.full(len(cut), about.subtypes.index(str(document["forced_call"])), np.intp)
    maps, probabilities = [], []
    for path in paths:
        network = build_network(config.model, n, about.slices, config.recipe, width=config.width)
        load_weights(network, path)
        signed, p = grad_cam(network, hu, subtype, n)
        largest = np.abs(signed).max(axis=(1, 2), keepdims=True)
        maps.append(np.divide(signed, largest, out=np.zeros_like(signed), where=largest > 0))
        probabilities.append(p)
    of_image = document.get("image_probabilities") or document["probabilities"]
    answered = np.array(list(of_image.values()))  # type: ignore[attr-defined]
    if np.abs(np.mean(probabilities, axis=0).mean(axis=0) - answered).max() > MOST_DIFFERENCE:
        raise _none(case.case_id, "the probability that was answered", "networks that give another one")
    mean = np.mean(maps, axis=0).astype(np.float32)
    return _Maps(
        gray={one.slice_index: apply_window(one.hu, about.slices) for one in cut},
        signed={one.slice_index: mean[i] for i, one in enumerate(cut)},
    )


def _drawn(maps: _Maps, index: int) -> bytes:
    """A slice under its map: orange where something raised the log odds of the subtype."""
    import numpy as np
    from PIL import Image

    from nephroscope.questions.saliency.checks import shown_map

    gray = Image.fromarray((maps.gray[index] * 255).round().astype(np.uint8))
    pixels = np.asarray(gray.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS), np.float32)[..., None]
    opacity = DENSEST * shown_map(maps.signed[index], SIDE_PX)[..., None]
    pixels = pixels * (1 - opacity) + np.array(MAP_COLOR, np.float32) * opacity
    buffer = io.BytesIO()
    Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _none(where: str, expected: str, found: str) -> NotFoundError:
    return NotFoundError(
        where=where, expected=expected, found=found, remedy="look at the slice without a map"
    )


ROUTES = [Route("/api/cases/{id}/looked", looked, methods=["GET"])]
