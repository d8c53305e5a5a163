"""What the last check of the study found, doubtful cases first; and the pages that the study has written."""

from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.base.errors import NephroscopeError
from nephroscope.workstation.answers import NotFoundError, ok
from nephroscope.workstation.drawing.people import ApartError
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.checked import CheckedCase, ListedFinding, Measures, last_check

KIND = "page"
PAGES = {
    "report/index.html": "Report",
    "check/index.html": "Contact sheet of every case",
    "agreement/index.html": "Two annotators",
    "replicate/zuo2021/index.html": "Replication of Zuo et al. 2021",
}
OF_CASES = ("report/index.html", "check/index.html", "agreement/index.html")  # these show single cases
# A page of the study is shown without scripts, forms and links out, whatever its file holds.
PAGE_CSP = (
    "sandbox allow-popups; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
RANK = ("refusal", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class DoubtfulCase:
    """A case with what is doubtful about it; ``worst`` is refusal, warning, note or empty."""

    id: str
    case_id: str
    worst: str
    findings: tuple[ListedFinding, ...]
    measures: Measures | None
    phase: str
    roi: str
    picture: str


def doubts(request: Request) -> Response:
    """What the last check in the browser found: ``{"checked", "cases", "of_the_study", "apart"}``."""
    place: Place = request.app.state.place
    when, found = last_check(place)
    apart = apart_cases(request)
    known = {case.case_id for case in place.cases()}.difference(apart)
    cases = [_doubtful(place, case) for case in found.cases if case.case_id in known]
    cases.sort(key=lambda case: (RANK.index(case.worst) if case.worst else len(RANK), case.case_id))
    return ok(
        {
            "checked": when,
            "cases": cases,
            "of_the_study": [*found.of_the_import, *found.of_the_study],
            "apart": apart,
        }
    )


def apart_cases(request: Request) -> list[str]:
    """Cases of which this session may not see the ROI that the study uses, until both annotators have signed."""
    place: Place = request.app.state.place
    rois = Rois(place, request.scope["nephroscope.session"])
    return sorted(rois.apart(map(place.used, place.cases())))


def _doubtful(place: Place, case: CheckedCase) -> DoubtfulCase:
    found = sorted(case.findings, key=lambda finding: RANK.index(finding.severity))
    id_ = place.id_of("case", case.case_id)
    return DoubtfulCase(
        id=id_,
        case_id=case.case_id,
        worst=found[0].severity if found else "",
        findings=tuple(found),
        measures=case.measures,
        phase=case.phase,
        roi=case.roi,
        picture=f"/api/cases/{id_}/picture",
    )


def list_pages(request: Request) -> Response:
    """``{"pages": [{"id", "title", "address"}]}``: the pages that the study's commands have written.

    Those that show single cases are left out while this session may not see the ROI of every case.
    """
    place: Place = request.app.state.place
    found, apart = [], apart_cases(request)
    for name, title in PAGES.items():
        if apart and name in OF_CASES:
            continue
        try:
            _inside(place, name)
        except NephroscopeError:
            continue
        id_ = place.id_of(KIND, name)
        found.append({"id": id_, "title": title, "address": f"/pages/{id_}"})
    return ok({"pages": found})


def show_page(request: Request) -> Response:
    """A page of the study."""
    place: Place = request.app.state.place
    (name,) = place.key_of(KIND, request.path_params["id"])
    content = _inside(place, name).read_bytes()
    if name in OF_CASES and (apart := apart_cases(request)):
        raise ApartError(
            where="page",
            expected="that both annotators of every case have signed",
            found=f"{len(apart)} of which at least one has not",
            remedy="draw and sign your own first",
        )
    headers = {"content-security-policy": PAGE_CSP, "x-frame-options": "SAMEORIGIN"}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


def _inside(place: Place, name: str) -> Path:
    """The file of a page, which lies in the study itself and not behind a link.

    Raises:
        NotFoundError: It does not.
    """
    path = place.root / name
    if name not in PAGES or not path.is_file() or path.resolve() != place.root.resolve() / name:
        raise NotFoundError(
            where="page", expected="a page of the study", found="none", remedy="run the step that writes it"
        )
    return path
