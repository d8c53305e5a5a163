"""The list of patients: every case with its phases, ROIs, findings and the last prediction."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import ok
from nephroscope.workstation.drawing.rois import Rois, roi_states
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.asked import answers_by_case
from nephroscope.workstation.study.checked import ListedFinding, last_check

if TYPE_CHECKING:
    from nephroscope.records import Case


@dataclass(frozen=True, kw_only=True)
class ListedRoi:
    """An ROI; ``state`` is ``imported``, ``draft``, ``signed``, or of a model's ``proposed`` or ``accepted``."""

    author: str
    state: str


@dataclass(frozen=True, kw_only=True)
class ListedCase:
    """A row of the list; ``subtype`` is empty unless it was asked for."""

    id: str
    case_id: str
    patient_id: str
    phases: tuple[str, ...]
    rois: tuple[ListedRoi, ...] = ()
    findings: tuple[ListedFinding, ...]
    prediction: dict[str, object] | None = None
    thumbnail: str
    synthetic: bool
    subtype: str = ""


def list_cases(request: Request) -> Response:
    """``{"cases": [...]}``; with ``?subtype=1`` each says its subtype.

    Findings and predictions are left out where they were made from an ROI that this session may not see yet.
    """
    place: Place = request.app.state.place
    shown = request.query_params.get("subtype") == "1"
    rois, drawn = Rois(place, request.scope["nephroscope.session"]), roi_states(place)
    asked, cases = list(answers_by_case(place)), place.cases()
    place.ids_of("case", [(case.case_id,) for case in cases])
    apart = rois.apart(about for about, _ in asked)
    answers = {about.case_id: answer for about, answer in asked if about.case_id not in apart}
    apart = rois.apart(map(place.used, cases))
    found = {name: those for name, those in _findings(place).items() if name not in apart}
    listed = [
        replace(
            _listed(place, case, found.get(case.case_id, ()), shown),
            rois=_rois(place, case, drawn.get(case.case_id, ())),
            prediction=answers.get(case.case_id),
        )
        for case in cases
    ]
    return ok({"cases": listed})


def _rois(place: Place, case: "Case", drawn: Sequence[tuple[str, str]]) -> tuple[ListedRoi, ...]:
    """Imported ROIs, and those that were drawn here."""
    here = place.state / "drawn"
    others = [roi for roi in case.rois if not roi.path.is_relative_to(here)]
    imported = [(roi.author, roi.state if roi.by_model else "imported") for roi in others]
    return tuple(
        ListedRoi(author=author, state=state) for author, state in dict.fromkeys((*imported, *drawn))
    )


def _findings(place: Place) -> dict[str, list[ListedFinding]]:
    """What the imports and the last check found, by case, each once."""
    from nephroscope.study.findings import load_findings

    found: dict[str, list[ListedFinding]] = defaultdict(list)
    if place.mode != "empty":
        for one in load_findings(place.root):
            found[one.case_id].append(
                ListedFinding(code=one.code, severity=one.severity, message=one.message)
            )
        _, checked = last_check(place)
        for case in checked.cases:
            found[case.case_id] += [one for one in case.findings if one.severity != "note"]
    return {name: list(dict.fromkeys(those)) for name, those in found.items()}


def _listed(place: Place, case: "Case", findings: Sequence[ListedFinding], with_subtype: bool) -> ListedCase:
    id_ = place.id_of("case", case.case_id)
    return ListedCase(
        id=id_,
        case_id=case.case_id,
        patient_id=case.patient_id,
        phases=tuple(one.phase for one in case.series),
        findings=tuple(findings),
        thumbnail=f"/api/cases/{id_}/thumbnail",
        synthetic=case.synthetic,
        subtype=(case.subtype or "") if with_subtype else "",
    )
