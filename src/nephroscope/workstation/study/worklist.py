"""The list of patients: every case with its phases, ROIs, findings and the last prediction."""

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import ok
from nephroscope.workstation.place import Place

if TYPE_CHECKING:
    from nephroscope.records import Case, Finding


@dataclass(frozen=True, kw_only=True)
class ListedRoi:
    """An ROI; ``state`` is ``imported``, ``draft`` or ``signed``."""

    author: str
    state: str


@dataclass(frozen=True, kw_only=True)
class ListedFinding:
    """A finding without its case."""

    code: str
    severity: str
    message: str


@dataclass(frozen=True, kw_only=True)
class ListedCase:
    """A row of the list; ``subtype`` is empty unless it was asked for."""

    id: str
    case_id: str
    patient_id: str
    phases: tuple[str, ...]
    rois: tuple[ListedRoi, ...]
    findings: tuple[ListedFinding, ...]
    prediction: None = None
    thumbnail: str
    synthetic: bool
    subtype: str = ""


def list_cases(request: Request) -> Response:
    """``{"cases": [...]}``; with ``?subtype=1`` each says its subtype."""
    place: Place = request.app.state.place
    shown = request.query_params.get("subtype") == "1"
    found = _findings(place)
    return ok({"cases": [_listed(place, case, found[case.case_id], shown) for case in place.cases()]})


def _findings(place: Place) -> dict[str, list["Finding"]]:
    from nephroscope.study.findings import load_findings

    found: dict[str, list[Finding]] = defaultdict(list)
    if place.mode == "study":
        for finding in load_findings(place.root):
            found[finding.case_id].append(finding)
    return found


def _listed(place: Place, case: "Case", findings: "list[Finding]", with_subtype: bool) -> ListedCase:
    id_ = place.id_of("case", case.case_id)
    return ListedCase(
        id=id_,
        case_id=case.case_id,
        patient_id=case.patient_id,
        phases=tuple(one.phase for one in case.series),
        rois=tuple(ListedRoi(author=roi.author, state="imported") for roi in case.rois),
        findings=tuple(
            ListedFinding(code=one.code, severity=one.severity, message=one.message) for one in findings
        ),
        thumbnail=f"/api/cases/{id_}/thumbnail",
        synthetic=case.synthetic,
        subtype=(case.subtype or "") if with_subtype else "",
    )
