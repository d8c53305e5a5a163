"""What the last check of the study found, doubtful cases first; and the pages that the study has written."""

from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.base.errors import NephroscopeError
from nephroscope.workstation.answers import ForbiddenError, NotFoundError, ok
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.asked import chosen
from nephroscope.workstation.study.checked import CheckedCase, ListedFinding, Measures, last_check

KIND = "page"
PAGES = {
    "report/index.html": "Report",
    "check/index.html": "Contact sheet of every case",
    "agreement/index.html": "Two annotators",
    "replicate/zuo2021/index.html": "Replication of Zuo et al. 2021",
}
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
    known, apart = _seen(place, request.scope["nephroscope.session"])
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


def _seen(place: Place, session: str) -> tuple[set[str], list[str]]:
    """Cases of which this session may see the ROI that the study uses, and those of which it may not yet."""
    seen, apart, rois = set(), [], Rois(place, session)
    for case in place.cases():
        try:
            rois.check_used(chosen(place, case))
            seen.add(case.case_id)
        except ForbiddenError:
            apart.append(case.case_id)
    return seen, apart


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
    """``{"pages": [{"id", "title", "address"}]}``: the pages that the study's commands have written."""
    place: Place = request.app.state.place
    found = []
    for name, title in PAGES.items():
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
