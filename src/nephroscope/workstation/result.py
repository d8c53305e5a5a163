"""Ask a model about a case: the same code as `nephroscope predict`, so the same digits; and the answer as DICOM."""

import io
import json
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import NephroscopeError
from nephroscope.records import Case
from nephroscope.workstation import looked
from nephroscope.workstation.answers import NotFoundError, body, ok
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.asked import (
    asked_author,
    authors,
    chosen,
    drawn,
    last_answer,
    with_one_roi,
)
from nephroscope.workstation.study.files import path_of
from nephroscope.workstation.study.pictures import case_of
from nephroscope.workstation.study.steps import BUNDLES

KIND, COHORT = "bundle", "cohort.csv"
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class ListedBundle:
    """A bundle that can be asked; ``facts`` it uses: age, sex, size; ``refused`` says why it cannot."""

    id: str
    name: str
    model: str = ""
    made: str = ""
    subtypes: tuple[str, ...] = ()
    positive: str = ""
    synthetic: bool = False
    needs_roi: bool = True
    facts: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class NewBundle:
    """The folder of a bundle, by its identifier from /api/folders."""

    folder: str


@dataclass(frozen=True, kw_only=True)
class ShownFacts:
    """Age in years, sex and largest diameter in mm; null where it is not known."""

    age: float | None = None
    sex: str | None = None
    size_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which bundle to ask; whose ROI and which facts, where the study shall not decide."""

    bundle: str
    author: str = ""
    facts: ShownFacts | None = None


def list_bundles(request: Request) -> Response:
    """``{"bundles": [...]}``: those that were exported here, that were added, or the one that is open."""
    place: Place = request.app.state.place
    return ok({"bundles": [_listed(place, folder) for folder in _folders(place)]})


def add_bundle(request: Request) -> Response:
    """Add a bundle that lies elsewhere on this computer; answers it."""
    from nephroscope.clinic.bundle_file import read_bundle_file

    place: Place = request.app.state.place
    folder = path_of(place, body(request, NewBundle).folder)
    read_bundle_file(folder)
    with place.changing() as db:
        db.execute("INSERT OR IGNORE INTO bundles (folder) VALUES (?)", (str(folder),))
    return ok(_listed(place, folder))


def predict(request: Request) -> Response:
    """The document that `nephroscope predict --json` prints, for a case and a bundle."""
    from nephroscope.clinic.bundle import open_bundle
    from nephroscope.clinic.facts import given_facts
    from nephroscope.facade.prediction import FilesToPredict, predict_files
    from nephroscope.study.phases import further_series

    place: Place = request.app.state.place
    asked = body(request, Question)
    folder = _folder_of(place, asked.bundle)
    bundle = open_bundle(folder)
    case = chosen(place, case_of(request), asked.author)
    Rois(place, request.scope["nephroscope.session"]).check_used(case)
    case = with_one_roi(case)
    roi = case.roi
    further, further_rois = further_series(case)
    known = _facts_of(case)
    told = asked.facts or (known if bundle.scorer.facts else ShownFacts())
    files = FilesToPredict(
        image=case.image,
        phase="" if case.phase == "unknown" else case.phase,
        further=further,
        series_rois=further_rois,
        roi=roi.path if roi else None,
        case_id=case.case_id,
        tumor_label=roi.label if roi else 1,
        tumor_name=roi.name if roi else "",
        facts=given_facts(told.age, told.sex, told.size_mm),
        facts_from={
            name: COHORT
            for name, one, other in (
                ("age", told.age, known.age),
                ("sex", told.sex, known.sex),
                ("size", told.size_mm, known.size_mm),
            )
            if one == other
        },
        origin=roi.origin if roi else None,
    )
    with _one_at_a_time:
        found = as_plain(predict_files(bundle, files))
    with place.changing() as db:
        db.execute(
            "INSERT OR REPLACE INTO answers (case_id, bundle, document, made, roi) VALUES (?, ?, ?, ?, ?)",
            (case.case_id, str(folder), json.dumps(found), time.time(), drawn(case)),
        )
    return ok(found)


def _facts_of(case: Case) -> ShownFacts:
    """What cohort.csv knows of a case."""
    facts = case.clinical
    size_mm = None if facts.size_cm is None else round(10 * facts.size_cm, 3)
    return ShownFacts(
        age=facts.age_years, sex=facts.sex if facts.sex in ("M", "F") else None, size_mm=size_mm
    )


def latest(request: Request) -> Response:
    """The last answer about a case, and what cohort.csv knows: ``{"case_id", "authors", "author", "facts", ...}``.

    ``author`` is whose ROI it is about, empty for the one that the study uses; ``current`` is false where the ROI was
    drawn again since; ``no_maps`` says why there are no maps of where the network looked.
    An answer about an ROI that this session may not see yet is as none.
    """
    place: Place = request.app.state.place
    case = case_of(request)
    row, about = last_answer(place, case)
    author = asked_author(place, case, row["roi"]) if row else ""
    if row is not None:
        known = about is not None or author or not row["roi"]  # else its author has no ROI any more
        rois = Rois(place, request.scope["nephroscope.session"])
        row = None if not known or rois.apart([chosen(place, case, author)]) else row
    return ok(
        {
            "case_id": case.case_id,
            "authors": authors(case),
            "author": author if row else "",
            "facts": _facts_of(case),
            "bundle": place.id_of(KIND, row["bundle"]) if row else None,
            "document": json.loads(row["document"]) if row else None,
            "current": row is not None and about is not None,
            "no_maps": looked.why_not(place, Path(row["bundle"])) if row else "",
        }
    )


def save_dicom(request: Request) -> Response:
    """The last answer about a case as a structured report, and the ROI it is about as SEG, in one zip file.

    The objects are those that `nephroscope predict --sr --seg` writes.
    """
    from nephroscope.facade.answer_files import (
        AnswerFiles,
        AskedRoi,
        UsedRoi,
        is_seg,
        prepare,
        write_answer_files,
    )
    from nephroscope.imaging.read import read_case
    from nephroscope.records.prediction import Prediction

    place: Place = request.app.state.place
    case = case_of(request)
    row, about = last_answer(place, case)
    if row is None or about is None:
        raise NotFoundError(
            where=f"case {case.case_id}",
            expected="an answer about the ROI as it is now",
            found="none",
            remedy="ask the model first",
        )
    Rois(place, request.scope["nephroscope.session"]).check_used(about)
    answer = from_plain(json.loads(row["document"]), Prediction, "answer")
    volume, mask = read_case(about)
    roi = about.roi
    asked = AskedRoi(path=roi.path, label=roi.label, name=roi.name) if roi else AskedRoi(path=None)
    kept = is_seg(asked)
    with tempfile.TemporaryDirectory() as name:
        sr, seg = Path(name) / "answer-sr.dcm", Path(name) / "tumor-seg.dcm"
        files = AnswerFiles(sr=sr, seg=seg if roi is not None and not kept else None)
        source = prepare(files, about.image, asked, volume)
        if source is not None:
            write_answer_files(
                files, answer, source, asked, UsedRoi(mask=mask if roi else None, origin=answer.roi)
            )
        written = {path.name: path for path in files.wanted} | ({seg.name: roi.path} if roi and kept else {})
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            for title, path in written.items():
                packed.write(path, title)
    headers = {"content-disposition": 'attachment; filename="answer.zip"'}
    return Response(buffer.getvalue(), media_type="application/zip", headers=headers)


def _folders(place: Place) -> list[Path]:
    if place.bundle is not None:
        return [place.bundle]
    made = sorted((place.state / BUNDLES).glob("*/bundle.json"), key=lambda path: path.stat().st_mtime)
    with place.database() as db:
        added = [Path(row["folder"]) for row in db.execute("SELECT folder FROM bundles")]
    return [*(path.parent for path in reversed(made)), *(path for path in added if path.is_dir())]


def _folder_of(place: Place, id_: str) -> Path:
    folder = Path(place.key_of(KIND, id_)[0])
    if folder not in _folders(place):
        raise NotFoundError(
            where="bundle", expected="a bundle of the list", found="one that is gone", remedy="choose another"
        )
    return folder


def _listed(place: Place, folder: Path) -> ListedBundle:
    from nephroscope.clinic.bundle_file import read_bundle_file
    from nephroscope.clinic.facts import WORDS

    id_ = place.id_of(KIND, str(folder))
    try:
        about, _ = read_bundle_file(folder)
    except NephroscopeError as error:
        return ListedBundle(id=id_, name=folder.name, refused=str(error))
    return ListedBundle(
        id=id_,
        name=folder.name,
        model=about.model,
        made=about.made,
        subtypes=about.subtypes,
        positive=about.positive,
        synthetic=about.training.synthetic,
        needs_roi=about.slices.roi_mode != "full",
        facts=tuple(WORDS[term.name] for term in about.facts.terms) if about.facts else (),
    )


ROUTES = [
    *looked.ROUTES,
    Route("/api/bundles", list_bundles, methods=["GET"]),
    Route("/api/bundles", add_bundle, methods=["POST"]),
    Route("/api/cases/{id}/predict", predict, methods=["POST"]),
    Route("/api/cases/{id}/result", latest, methods=["GET"]),
    Route("/api/cases/{id}/dicom", save_dicom, methods=["GET"]),
]
