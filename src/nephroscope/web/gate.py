"""The gate of a page: a browser must give for every golden case what `predict` gives, or no page is written."""

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError, NephroscopeError
from nephroscope.base.progress import track
from nephroscope.clinic.bundle import Bundle
from nephroscope.clinic.score import Network
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.web.browser import Tab
from nephroscope.web.golden_draft import GoldenCase

TOLERANCE = 1e-5  # of a probability
DISTANCE_TOLERANCE = 1e-4  # of a distance from the training cases, which has two decimals in words
SAME = (
    "case_id",
    "call",
    "forced_call",
    "reason",
    "positive",
    "threshold",
    "not_sure_margin",
    "side",
    "series",
    "findings",
    "possible",
)
FOLDER = "series"


@dataclass
class _Recorder:
    """A network that keeps the slices it saw."""

    network: Network
    seen: list[npt.NDArray[np.int16]] = field(default_factory=list)

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        self.seen.append(hu)
        return self.network.probabilities(hu)


def expected_answer(bundle: Bundle, case: GoldenCase) -> dict[str, Any]:
    """What the program says: ``answer`` with the SHA-256 of its slices, or ``refusal``."""
    recorder = _Recorder(bundle.scorer.network)
    recorded = replace(bundle, scorer=replace(bundle.scorer, network=recorder))
    with tempfile.TemporaryDirectory() as folder:
        asked = _stored(case, Path(folder))
        try:
            made = predict_files(recorded, asked)
        except NephroscopeError as error:
            return {"refusal": error.as_dict()}
    answer = json.loads(json.dumps(asdict(made)))
    slices = np.ascontiguousarray(recorder.seen[0]).astype("<i2").tobytes()
    return {"answer": answer | {"slices_sha256": hashlib.sha256(slices).hexdigest()}}


def _stored(case: GoldenCase, folder: Path) -> FilesToPredict:
    place = folder / FOLDER
    place.mkdir()
    for name, content in case.files.items():
        (place / name).write_bytes(content)
    roi = None
    if case.roi is not None:
        roi = folder / case.roi[0]
        roi.write_bytes(case.roi[1])
    return FilesToPredict(
        image=place if case.folder else place / next(iter(case.files)),
        roi=roi,
        case_id=case.case_id,
        tumor_label=case.label,
        tumor_name=case.tumor_name,
        side=case.side,
    )


def page_answer(tab: Tab, case: GoldenCase) -> dict[str, Any]:
    """What the page says, in the same form."""

    def packed(name: str, content: bytes) -> dict[str, str]:
        return {"name": name, "base64": base64.b64encode(content).decode()}

    asked = {
        "files": [packed(name, content) for name, content in case.files.items()],
        "folder": FOLDER if case.folder else None,
        "roi": packed(*case.roi) if case.roi else None,
        "side": case.side,
        "label": case.label,
        "name": case.tumor_name,
        "caseId": case.case_id,
    }
    found: dict[str, Any] = tab.evaluate(f"nephroscope.golden({json.dumps(asked)})")
    return found


def difference(expected: dict[str, Any], found: dict[str, Any]) -> tuple[str, float]:
    """What differs, in words (empty when nothing does), and the largest difference of a probability."""
    if "answer" not in expected or "answer" not in found:
        same = expected == found
        return ("" if same else f"expected {_short(expected)}, found {_short(found)}"), 0.0
    one, two = expected["answer"], found["answer"]
    if one["slices_sha256"] != two["slices_sha256"]:
        return "other slices", 1.0
    pairs = list(_probabilities(one, two))
    apart = max(abs(a - b) for a, b in pairs)
    if apart > TOLERANCE:
        return f"probabilities {apart:.2g} apart", apart
    near = _distance(one), _distance(two)
    if abs(near[0] - near[1]) > DISTANCE_TOLERANCE * (1 + near[0]):
        return f"distances {near[0]} and {near[1]} from the training cases", apart
    for name in SAME:
        if one[name] != two[name]:
            return f"{name}: expected {_short(one[name])}, found {_short(two[name])}", apart
    return "", apart


def _distance(answer: dict[str, Any]) -> float:
    return float((answer.get("outside") or {}).get("distance") or 0.0)


def _probabilities(one: dict[str, Any], two: dict[str, Any]) -> Iterable[tuple[float, float]]:
    yield from ((one["probabilities"][name], two["probabilities"][name]) for name in one["probabilities"])
    for a, b in zip(one["slices"], two["slices"], strict=True):
        yield from ((p, b["probabilities"][name]) for name, p in a["probabilities"].items())


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 600 else f"{text[:600]} ..."


def check_page(tab: Tab, bundle: Bundle, cases: Iterable[GoldenCase], n: int) -> float:
    """Ask the page every case; gives the largest difference of a probability.

    Raises:
        BundleError: It says something else than the program.
    """
    largest = 0.0
    for case in track(cases, "golden cases", "case", n):
        words, apart = difference(expected_answer(bundle, case), page_answer(tab, case))
        if words:
            raise BundleError(
                where=f"export --web, golden case {case.name}",
                expected="the browser to say what `nephroscope predict` says",
                found=words,
                remedy="report this with `nephroscope info`; no page was written",
            )
        largest = max(largest, apart)
    return largest
