"""Drawing by the JSON addresses alone, as the reference says: two sessions, masks apart, SEG and NIfTI fetched."""

import io

import highdicom
import numpy as np

from nephroscope import read_ct
from workstation_study import undrawn_study


def test_two_sessions_draw_by_json_and_neither_sees_the_others_mask(tmp_path, workstation):
    root = undrawn_study(tmp_path / "study")
    server = workstation(root)
    one, two = server.client(), server.client()
    case = one.get("/api/cases")[1]["cases"][0]["id"]
    listed = one.get(f"/api/cases/{case}/series")[1]
    (series,) = listed["series"]
    assert listed["first"] == series["name"] == "nephrographic"
    assert_slices_are_those_of_the_reader(one, series["address"], root)
    assert one.get(f"/api/cases/{case}/thumbnail")[1][:3] == b"\xff\xd8\xff"
    assert one.post(f"/api/cases/{case}/rois", {"series": series["id"]})[1]["error"]["code"] == "nobody"
    ids = []
    for client, author in ((one, "reader-1"), (two, "reader-2")):
        assert client.post("/api/reader", {"author": author, "name": "A. Smith"})[0] == 200
        ids.append(client.post(f"/api/cases/{case}/rois", {"series": series["id"]})[1]["id"])
    stroke = {"number": 1, "tool": "brush", "slices": [{"index": 2, "runs": [[10, 5, 7], [11, 5, 8]]}]}
    for client, roi in zip((one, two), ids, strict=True):
        assert client.post(f"/api/rois/{roi}/strokes", stroke)[1]["revision"] == 1
    for client, other in ((one, ids[1]), (two, ids[0])):
        for what in ("", "/slices", "/seg", "/nifti"):
            status, answer = client.get(f"/api/rois/{other}{what}")
            assert (status, answer["error"]["code"]) == (403, "apart")
        assert client.post(f"/api/rois/{other}/strokes", {**stroke, "number": 2})[0] == 403
        assert client.post(f"/api/rois/{other}/sign", {"revision": 1})[0] == 403
    assert one.post(f"/api/rois/{ids[0]}/strokes", {**stroke, "number": 9})[0] == 409
    assert (
        one.post(
            f"/api/rois/{ids[0]}/strokes", {**stroke, "slices": [{"index": 2, "runs": [[10**30, 1, 1]]}]}
        )[0]
        == 422
    )
    assert (
        one.post(f"/api/rois/{ids[0]}/operations", {"number": 2, "operation": "grow", "slice": "2"})[0] == 400
    )
    for client, roi in zip((one, two), ids, strict=True):
        assert client.post(f"/api/rois/{roi}/sign", {"revision": 1})[1]["in_study"] is True
    assert one.get(f"/api/rois/{ids[1]}/slices")[1]["slices"][0]["runs"] == [[10, 5, 7], [11, 5, 8]]
    seg = highdicom.seg.segread(io.BytesIO(one.get(f"/api/rois/{ids[1]}/seg")[1]))
    assert seg.pixel_array.sum() == 7
    assert one.get(f"/api/rois/{ids[0]}/comparison/{ids[1]}")[1]["agreement"]["dice"] == 1.0
    assert one.post(f"/api/rois/{ids[0]}/strokes", {**stroke, "number": 2})[1]["error"]["code"] == "locked"


def assert_slices_are_those_of_the_reader(client, address, root):
    volume = read_ct(root / "ct" / "c0" / "nephrographic")
    shape = tuple(client.get(address)[1]["shape"])
    assert shape == volume.hu.shape
    content = client.get(f"{address}/slices/axial/0-{shape[0] - 1}")[1]
    assert np.array_equal(np.frombuffer(content, "<i2").reshape(shape), volume.hu)
    one = client.get(f"{address}/slice/coronal/20")[1]
    assert np.array_equal(np.frombuffer(one, "<i2").reshape(shape[0], shape[2]), volume.hu[::-1, 20])
    assert client.get(f"{address}/slices/axial/0-{shape[0]}")[0] == 422
    assert client.get(f"{address}/slice/slanted/2")[0] == 404
