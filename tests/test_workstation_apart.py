"""Two annotators apart: what was made from one's signed ROI is not seen by the other before both have signed."""

from test_workstation_jobs import FINAL, begin, wait
from tiny_bundle import make_bundle
from workstation_study import undrawn_study

STROKE = {
    "number": 1,
    "tool": "brush",
    "slices": [{"index": 2, "runs": [[row, 5, 18] for row in range(8, 20)]}],
}


def drawing(client, author, case):
    """A client says who draws, and draws; gives the ROI."""
    client.post("/api/reader", {"author": author, "name": ""})
    series = client.get(f"/api/cases/{case}/series")[1]["series"][0]["id"]
    roi = client.post(f"/api/cases/{case}/rois", {"series": series})[1]["id"]
    assert client.post(f"/api/rois/{roi}/strokes", STROKE)[0] == 200
    return roi


def seen(client, case, job):
    """Whether a client gets what was made from the ROI of the case."""
    (listed,) = client.get("/api/cases")[1]["cases"]
    doubts = client.get("/api/doubts")[1]
    return {
        "prediction": listed["prediction"] is not None,
        "findings": len(listed["findings"]) > 0,
        "answer": client.get(f"/api/cases/{case}/result")[1]["document"] is not None,
        "doubts": [one["case_id"] for one in doubts["cases"]] == ["c0"] and doubts["apart"] == [],
        "pages": len(client.get("/api/pages")[1]["pages"]) == 2,
        "result": client.get(f"/api/jobs/{job}")[1]["result"] is not None,
    }


def test_nothing_made_from_the_others_roi_is_seen(tmp_path, workstation):
    root = undrawn_study(tmp_path / "study")
    bundle = make_bundle(tmp_path / "bundle")
    server = workstation(root)
    one, two, nobody = (server.client() for _ in range(3))
    case = one.get("/api/cases")[1]["cases"][0]["id"]
    first = drawing(one, "reader-1", case)
    assert one.post(f"/api/rois/{first}/sign", {"revision": 1})[1]["in_study"] is True
    folder = one.post("/api/folders", {"path": str(bundle)})[1]["folder"]["id"]
    asked = {"bundle": one.post("/api/bundles", {"folder": folder})[1]["id"]}
    assert one.post(f"/api/cases/{case}/predict", asked)[0] == 200
    job = begin(one, "check")
    assert wait(one, job, *FINAL)["state"] in ("done", "partly")
    for name in ("agreement", "replicate/zuo2021"):
        (root / name).mkdir(parents=True)
        (root / name / "index.html").write_text("<p>a page</p>", encoding="utf-8")
    pages = {page["title"]: page["address"] for page in one.get("/api/pages")[1]["pages"]}
    (root / "check" / "index.html").unlink(missing_ok=True)
    everything = dict.fromkeys(("prediction", "findings", "answer", "doubts", "pages", "result"), True)
    assert seen(one, case, job) == everything
    second = drawing(two, "reader-2", case)
    for client in (two, nobody):
        assert seen(client, case, job) == dict.fromkeys(everything, False)
        status, answer = client.get(pages["Two annotators"])
        assert (status, answer["error"]["code"]) == (403, "apart")
        assert client.get(pages["Replication of Zuo et al. 2021"])[0] == 200
        assert client.get(f"/api/jobs/{job}")[1]["log"] == ["Not shown until both annotators have signed."]
        assert client.post(f"/api/cases/{case}/predict", asked)[0] == 403
    assert seen(one, case, job) == everything
    assert two.post(f"/api/rois/{second}/sign", {"revision": 1})[1]["in_study"] is True
    assert seen(two, case, job) == everything
