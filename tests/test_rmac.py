"""UCSF RMaC on a made folder of the same layout: the plan, phases, boxes and outlines, exclusions."""

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.errors import CohortError
from nephroscope.cli import run
from nephroscope.intake.public.rmac import counts, is_box, plan_rmac

SHAPE = (60, 50, 8)  # x, y, z
KEY = (
    "PID,noncon,arterial,portven,delay\n"
    "AAAAAAAAA1,2,2,2,0\nAAAAAAAAA2,2,2,1,0\nAAAAAAAAA3,2,0,2,2\nAAAAAAAAA4,2,2,2,2\n"
)


def disc():
    x, y, z = np.indices(SHAPE)
    return ((x - 40) ** 2 + (y - 20) ** 2 + 9 * (z - 4) ** 2) < 81


def box():
    mask = np.zeros(SHAPE, bool)
    mask[33:45, 14:28, 2:6] = True
    return mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    h5py = pytest.importorskip("h5py")
    root = tmp_path_factory.mktemp("rmac")
    (root / "phase_reg_key.csv").write_text(KEY)
    rows = (
        ("AAAAAAAAA1", "papillary", disc(), ("noncon", "arterial", "portven")),
        ("AAAAAAAAA2", "chromophobe", box(), ("noncon", "arterial", "portven")),
        ("AAAAAAAAA3", "oncocytoma", disc(), ("noncon", "portven")),
    )
    for pid, pathology, mask, phases in rows:
        with h5py.File(root / f"{pid}.hdf5", "w") as file:
            for number, name in enumerate(phases):
                file[name] = np.where(mask, 40.0 + 30 * number, -90.0)
                file.attrs[f"{name}_pixdim"] = np.array([1.5, 1.5, 5.0])
            file["mask"] = mask.astype(float)
            file.attrs["mask_pixdim"] = np.array([1.5, 1.5, 5.0])
            file.attrs["PID"], file.attrs["pathology"], file.attrs["tumor_type"] = pid, pathology, "malignant"
            file.attrs["Patient Age"], file.attrs["Patient Sex"] = "061Y", "F"
    return root


def test_the_plan_needs_the_table_alone(tmp_path):
    (tmp_path / "phase_reg_key.csv").write_text(KEY)
    plan = plan_rmac(tmp_path)
    assert [one.registered for one in plan][:2] == [("noncon", "arterial", "portven"), ("noncon", "arterial")]
    assert plan[1].unregistered == ("portven",)
    found = counts(plan)
    assert (found["patients"], found["files"], found["corticomedullary"], found["excretory"]) == (4, 0, 3, 2)
    (tmp_path / "phase_reg_key.csv").write_text(KEY.replace(",1,", ",7,"))
    with pytest.raises(CohortError, match="0, 1 or 2 in row 3"):
        plan_rmac(tmp_path)


def test_boxes_are_told_from_outlines():
    assert is_box(box())
    assert not is_box(disc())


def test_registered_phases_with_their_mask_become_cases(folder, tmp_path):
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    assert run(["import", "rmac", str(tmp_path / "s"), str(folder)]) == 0
    one, two = study.cohort.chosen
    assert (one.case_id, one.subtype, one.clinical.sex, one.clinical.age_years) == (
        "AAAAAAAAA1",
        "PRCC",
        "F",
        61,
    )
    assert {s.phase for s in one.series} == {"unenhanced", "corticomedullary", "nephrographic"}
    assert {s.phase for s in two.series} == {"unenhanced", "corticomedullary"}
    codes = {(f.code, f.case_id) for f in study.import_findings}
    assert {("roi-is-box", "AAAAAAAAA2"), ("rmac-not-registered", "AAAAAAAAA2")} <= codes
    assert ("roi-is-box", "AAAAAAAAA1") not in codes
    assert {e.case_id for e in study.cohort.exclusions} == {"AAAAAAAAA3", "AAAAAAAAA4"}
    volume, roi = study.snapshot.read_case(one)
    assert volume.geometry.spacing_mm == pytest.approx((5.0, 1.5, 1.5))
    assert volume.hu[roi.voxels].mean() == pytest.approx(70)
