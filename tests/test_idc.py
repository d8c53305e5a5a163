"""The Imaging Data Commons: what is chosen from its index; download, resumption and damage with a fake client."""

import csv
import inspect
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pydicom import dcmread
from pydicom.uid import generate_uid

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.cli.imports import ImportIdc
from nephroscope.facade.study import Study
from nephroscope.imaging.read import read_case
from nephroscope.intake.phase.series import ARTERIAL_FIRST
from nephroscope.intake.public import idc_fetch, idc_index
from nephroscope.intake.public.idc_fetch import fetch, is_complete, open_client, referenced_series
from nephroscope.intake.public.idc_index import COLUMNS, MASKS, IdcSeries, citations_of, read_index
from nephroscope.intake.public.idc_plan import (
    PHASE_OF_RCC_AID,
    IdcRequest,
    best_mask,
    is_axial_volume,
    plan_idc,
)
from one_series import flat, one_series
from phantoms import box_tumor, dicom_slices, write_seg, write_slices

SUBTYPES = ("PRCC", "ChRCC")
WANTED = IdcRequest(
    masks=("rcc-aid", "bamf", "collection"), subtypes=SUBTYPES, preference=ARTERIAL_FIRST, known={}
)


def ct(uid, description="Arterial", number="4", n=50, **more):
    fields = {
        "collection": "tcga_kirp",
        "patient_id": "TCGA-B9-0001",
        "study_uid": "1.1",
        "series_uid": uid,
        "modality": "CT",
        "study_date": "2000-01-01",
        "description": description,
        "number": number,
        "n_files": n,
        "size_mb": n * 0.5,
        "licence": "CC BY 3.0",
        "doi": "10.1/ct",
    }
    return IdcSeries(**(fields | more))


def rcc_aid(uid, phase, number, **more):
    said = f"RCC-AID kidney/mass/cyst seg, {phase}, CT series {number}"
    return ct(uid, said, f"{number}01", 1, modality="SEG", source="rcc-aid", doi="10.1/aid", **more)


def bamf(uid, corrected=False, **more):
    words = "radiologist 7 corrected" if corrected else "AI"
    said = f"AIMI kidney tumor cyst {words} segmentation"
    return ct(uid, said, "300", 1, modality="SEG", source="bamf", doi="10.1/bamf", **more)


def chosen(plan):
    return [planned.series.series_uid for planned in plan.series if planned.chosen]


def reasons(plan):
    return {planned.series.series_uid: planned.reason for planned in plan.series}


# What is chosen


def test_the_expert_s_phase_and_number_choose_the_ct():
    series = [
        ct("1.4", "Body 5.0", "000004"),
        ct("1.7", "Arterial", "7"),
        ct("1.9", "Arterial", "9"),
        rcc_aid("2.4", "arterial", 4),
        rcc_aid("2.7", "venous", 7),
    ]
    plan = plan_idc(series, WANTED)
    assert chosen(plan) == ["1.4", "2.4"]
    assert reasons(plan) == {
        "1.4": "corticomedullary, preferred to 1 other CT",
        "1.7": "corticomedullary is preferred",
        "1.9": "no mask is known to belong to it",
        "2.4": "of CT series 4, by its description",
        "2.7": "its CT is not the chosen one",
    }
    venous = replace(WANTED, preference=("nephrographic", "corticomedullary"))
    assert chosen(plan_idc(series, venous)) == ["1.7", "2.7"]


def test_the_earliest_study_with_a_mask_goes_before_the_phase():
    later = {"study_uid": "1.2", "study_date": "2004-01-01"}
    series = [
        ct("1.1", "Delay", "5"),
        ct("1.2", "Arterial", "4", **later),
        rcc_aid("2.1", "delayed", 5),
        rcc_aid("2.2", "arterial", 4, **later),
    ]
    plan = plan_idc(series, WANTED)
    assert chosen(plan) == ["1.1", "2.1"]
    assert reasons(plan)["1.2"] == "another study than the chosen one"


def test_sources_of_masks_are_taken_in_the_order_asked_for():
    series = [ct("1.4"), ct("1.5", "Non_Contrast", "5"), rcc_aid("2.4", "arterial", 4), bamf("3.1")]
    assert chosen(plan_idc(series, WANTED)) == ["1.4", "2.4"]
    plan = plan_idc(series, replace(WANTED, masks=("bamf", "rcc-aid")))
    assert chosen(plan) == ["1.4", "3.1"]
    assert reasons(plan)["3.1"] == "of this study; its own reference will decide"
    assert reasons(plan)["1.4"].endswith("preferred to 1 other CT; the reference in its mask will decide")
    only = plan_idc(series, replace(WANTED, masks=("bamf",)))
    assert reasons(only)["2.4"] == "rcc-aid was not requested"


def test_a_mask_by_study_is_not_put_on_scouts_and_reformats():
    series = [
        ct("1.1", "Topogram", "1", 2),
        ct("1.2", "Arterial  3.0  SPO  COR", "2", 90),
        ct("1.3", "cor thin mip", "3", 90),
        ct("1.4", "Body", "4", 30),
        bamf("3.1"),
    ]
    plan = plan_idc(series, WANTED)
    assert chosen(plan) == ["1.4", "3.1"]
    assert reasons(plan)["1.1"] == "2 images are not a volume"
    assert reasons(plan)["1.2"] == reasons(plan)["1.3"] == "a reformation or projection by its description"
    assert is_axial_volume(ct("1", "CORTICOMEDULLARY"))


def test_a_number_of_two_series_leaves_more_images_and_the_reference_to_decide():
    series = [ct("1.1", n=68), ct("1.2", n=90), rcc_aid("2.4", "delayed", 4)]
    plan = plan_idc(series, WANTED)
    assert chosen(plan) == ["1.2", "2.4"]
    assert reasons(plan)["1.1"] == "68 images, the chosen 90"


def test_a_corrected_mask_goes_before_the_machine_s():
    masks = [bamf("3.1"), bamf("3.2", corrected=True), rcc_aid("3.3", "venous", 1)]
    assert best_mask(masks[:2], ("rcc-aid", "bamf")).series_uid == "3.2"
    assert best_mask(masks, ("rcc-aid", "bamf")).series_uid == "3.3"


def test_who_is_left_out_and_why():
    known = one_series(
        case_id="KiTS-00012", patient_id="KiTS-00012", image="ct", format="nifti", site_id="KiTS23"
    )
    mine = replace(known, case_id="x", patient_id="TCGA-B9-0005", site_id="tcga_kirp")
    kits = {"collection": "c4kc_kits", "study_uid": "9"}
    series = [
        ct("1.1", patient_id="TCGA-B9-0002"),
        ct("1.2", patient_id="TCGA-CZ-0003", collection="tcga_kirc"),
        rcc_aid("2.2", "arterial", 4, patient_id="TCGA-CZ-0003", collection="tcga_kirc"),
        ct("1.3", patient_id="TCGA-B9-0005"),
        bamf("2.3", patient_id="TCGA-B9-0006"),
        ct("1.4", patient_id="KiTS-00012", **kits),
        ct("1.5", patient_id="KiTS-00013", **kits),
    ]
    request = replace(
        WANTED, known={"KiTS-00012": known, "TCGA-B9-0005": mine}, histology={"KiTS-00012": "papillary"}
    )
    plan = plan_idc(series, request)
    assert chosen(plan) == []
    assert {one.case_id: one.reason for one in plan.exclusions} == {
        "TCGA-B9-0002": "the patient has no mask of rcc-aid or bamf",
        "TCGA-CZ-0003": "subtype clear cell is not in the study",
        "KiTS-00012": "the same patient as KiTS-00012, already in the study from KiTS23",
        "KiTS-00013": "the KiTS table has no histology for it",
    }
    assert plan.n_known == 1


# The packaged index


def test_counts_of_the_packaged_index(tmp_path):
    """The figures that the issue expects: CT of 23 and 12 patients, RCC-AID of 16 and 10, BAMF of 11 and 5."""
    outcome = ImportIdc(study=tmp_path / "none", collections=("tcga_kirp", "tcga_kich"), dry_run=True).run()
    by = outcome.data["by_collection"]
    assert by["tcga_kirp"]["patients_with_ct"] == 23
    assert by["tcga_kich"]["patients_with_ct"] == 12
    assert by["tcga_kirp"]["patients_with_mask"] == {"rcc-aid": 16, "bamf": 11}
    assert by["tcga_kich"]["patients_with_mask"] == {"rcc-aid": 10, "bamf": 5}
    assert outcome.data["patients"] == 35
    taken = [one for one in outcome.data["series"] if one["chosen"] and one["kind"] == "ct"]
    assert len({one["patient_id"] for one in taken}) == len(taken) == outcome.data["patients_chosen"] == 28
    size = sum(one["size_GB"] for one in outcome.data["series"] if one["chosen"])
    assert outcome.data["size_GB"] == pytest.approx(size, abs=0.001)
    assert {one["licence"] for one in outcome.data["licences"]} == {"CC BY 3.0", "CC BY 4.0"}
    assert any("RCC-AID" in one["citation"] for one in outcome.data["citations"])
    codes = [finding["code"] for finding in outcome.data["findings"]]
    assert {"data-citation", "label-reviewed", "subtype-from-source"} == set(codes)
    assert not (tmp_path / "none").exists()


def test_rcc_aid_names_a_ct_of_its_study_each_time():
    series = read_index(["tcga_kirp", "tcga_kich", "tcga_kirc"])
    plan = plan_idc(series, replace(WANTED, subtypes=("PRCC", "ChRCC", "ccRCC"), masks=("rcc-aid",)))
    assert len(plan.choices) == 91  # as the description of RCC-AID says
    assert sum(one.source == "rcc-aid" for one in series) == 129


def test_the_ct_that_a_description_names_is_the_one_that_the_expert_labelled(test_data):
    """The SEG files' own references, as a table made from them tells, are the yardstick."""
    with (test_data / "contrast_phase" / "phase_labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rcc_aid"]
    series = read_index(["tcga_kirp", "tcga_kich", "tcga_kirc"])
    plan = plan_idc(series, replace(WANTED, subtypes=("PRCC", "ChRCC", "ccRCC"), masks=("rcc-aid",)))
    phases = {uid: phase for choice in plan.choices for uid, phase in choice.phases.items()}
    told = {row["SeriesInstanceUID"]: PHASE_OF_RCC_AID[row["phase"]] for row in rows}
    both = told.keys() & phases.keys()
    assert len(both) > 50
    assert {uid: phases[uid] for uid in both} == {uid: told[uid] for uid in both}


def test_collections_and_masks_that_are_not_known_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"expected one or more of tcga_kirp, .* found nlst; other collections"
    ):
        read_index(["tcga_kirp", "nlst"])
    with pytest.raises(
        ConfigError, match=r"expected one or more of rcc-aid, bamf, separated by commas, found foo"
    ):
        ImportIdc(study=tmp_path, collections=("tcga_kirp",), masks="bamf,foo", dry_run=True).run()
    with pytest.raises(ConfigError, match=r"found none"):
        ImportIdc(study=tmp_path, collections=("tcga_kirp",), masks=",", dry_run=True).run()


def test_without_the_extra_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(idc_index, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"expected the extra 'public' .* pip install 'nephroscope-[^ ]+whl\[public\]'"
    ):
        read_index(["tcga_kirp"])


# Download


class Commons:
    """Series on disk that stand for the Imaging Data Commons, an index of them, and a client that can fail."""

    def __init__(self, root):
        self.root, self.series, self.calls = root, [], []
        self.break_off = {}  # series UID: number of files after which the network goes
        self.spoil = {}  # series UID: what to do with the downloaded folder
        root.mkdir()

    def add(self, one, write):
        folder = self.root / "store" / one.series_uid
        folder.mkdir(parents=True)
        write(folder)
        sizes = [path.stat().st_size for path in folder.iterdir()]
        self.series.append(replace(one, n_files=len(sizes), size_mb=sum(sizes) / 1e6))

    def download_from_selection(self, downloadDir, *, seriesInstanceUID, **options):  # noqa: N803
        (uid,) = seriesInstanceUID
        assert options == {"dirTemplate": None, "show_progress_bar": False}
        self.calls.append(uid)
        folder = self.root / "store" / uid
        for n, path in enumerate(sorted(folder.iterdir())):
            if n >= self.break_off.get(uid, 10**9):
                raise ConnectionError("reset by peer")
            shutil.copy(path, downloadDir)
        if uid in self.spoil:
            self.spoil[uid](sorted(type(folder)(downloadDir).iterdir()))

    def write_index(self):
        """The three parquet files of the package, with our series only."""
        rows = []
        for one in self.series:
            known = asdict(one) | {"age_years": "063Y", "analysis_result_id": MASKS.get(one.source) or None}
            rows.append({theirs: known[ours] for theirs, ours in COLUMNS.items()})
        place = self.root / "index"
        place.mkdir()
        parquet.write_table(pa.Table.from_pylist(rows), place / "idc_index.parquet")
        results = [{"source_DOI": "10.1/AID", "citation": "Boer, S.\n &amp; <i>others</i>"}]
        parquet.write_table(pa.Table.from_pylist(results), place / "analysis_results_index.parquet")
        sources = [{"sources": [{"source_doi": "10.1/ct", "citation": "Linehan"}]}]
        parquet.write_table(pa.Table.from_pylist(sources), place / "collections_index.parquet")
        return place


def images(patient, study, uid, number):
    made = dicom_slices(patient, uid)
    for image in made:
        image.StudyInstanceUID, image.SeriesNumber = study, number
    return made


@pytest.fixture
def commons(tmp_path, monkeypatch):
    """P1: RCC-AID on series 4. P2: two BAMF masks, both of the unenhanced series. P3: no mask."""
    made = Commons(tmp_path / "commons")
    masks = {"Kidney": ~box_tumor(), "Mass": box_tumor()}
    p1 = {"patient_id": "TCGA-B9-0001", "study_uid": generate_uid()}
    p2 = {"patient_id": "TCGA-KM-0002", "study_uid": generate_uid(), "collection": "tcga_kich"}
    made.uids = {name: generate_uid() for name in ("p1-ct4", "p1-ct5", "p2-pre", "p2-art", "p3")}
    uid = made.uids
    one = images(p1["patient_id"], p1["study_uid"], uid["p1-ct4"], 4)
    two = images(p2["patient_id"], p2["study_uid"], uid["p2-pre"], 2)
    three = images(p2["patient_id"], p2["study_uid"], uid["p2-art"], 3)
    made.add(ct(uid["p1-ct4"], "Body", "4", **p1), lambda folder: write_slices(one, folder))
    made.add(ct(uid["p2-pre"], "Non_Contrast", "2", **p2), lambda folder: write_slices(two, folder))
    made.add(ct(uid["p2-art"], "Arterial", "3", **p2), lambda folder: write_slices(three, folder))
    made.add(ct(uid["p3"], patient_id="TCGA-B9-0003"), lambda folder: write_slices(one[:1], folder))

    def add_seg(record, source):
        made.add(record, lambda folder: write_seg(source, masks, folder / "seg.dcm"))
        path = made.root / "store" / record.series_uid / "seg.dcm"
        seg = dcmread(path)
        seg.SeriesInstanceUID = record.series_uid
        seg.save_as(path)
        size = path.stat().st_size / 1e6
        made.series[-1] = replace(made.series[-1], size_mb=size)

    for name, record, source in (
        ("p1-seg", rcc_aid("1.8.1", "arterial", 4, **p1), one),
        ("p2-ai", bamf("1.8.2", **p2), two),
        ("p2-hand", bamf("1.8.3", corrected=True, **p2), two),
    ):
        made.uids[name] = record.series_uid
        add_seg(record, source)
    place = made.write_index()
    monkeypatch.setattr(idc_index, "_packaged", lambda name: place / name)
    monkeypatch.setattr(idc_fetch, "open_client", lambda: made)
    return made


def command(tmp_path):
    if not (tmp_path / "study").exists():
        Study.create(tmp_path / "study", SUBTYPES)
    return ImportIdc(study=tmp_path / "study", collections=("tcga_kirp", "tcga_kich"))


def test_the_whole_way_and_the_mask_s_own_reference_decides(tmp_path, commons):
    outcome = command(tmp_path).run()
    assert outcome.exit_code == 0
    cases = Study(tmp_path / "study").cohort.by_id
    assert {name: case.subtype for name, case in cases.items()} == {
        "TCGA-B9-0001": "PRCC",
        "TCGA-KM-0002": "ChRCC",
    }
    uid = commons.uids
    second = flat(cases["TCGA-KM-0002"])
    root = tmp_path / "study" / "idc"
    assert second.image == root / "tcga_kich" / "TCGA-KM-0002" / uid["p2-pre"]
    assert second.roi.parent.name == uid["p2-hand"]
    assert (second.site_id, second.phase, second.sex, second.age_years) == (
        "tcga_kich",
        "unenhanced",
        "F",
        63,
    )
    assert cases["TCGA-B9-0001"].phase == "corticomedullary"
    assert set(commons.calls) == {uid[name] for name in ("p1-seg", "p2-ai", "p2-hand", "p1-ct4", "p2-pre")}
    assert not list(root.rglob("*.part"))
    for case in cases.values():
        assert np.array_equal(read_case(case)[1].voxels, box_tumor())
    assert [one["reason"] for one in outcome.data["exclusions"]] == [
        "the patient has no mask of rcc-aid or bamf"
    ]
    codes = [finding["code"] for finding in outcome.data["findings"]]
    assert "data-citation" in codes
    assert any("Boer, S. & others" in finding["message"] for finding in outcome.data["findings"])


def test_a_second_run_fetches_and_adds_nothing(tmp_path, commons):
    command(tmp_path).run()
    n_calls = len(commons.calls)
    again = command(tmp_path).run()
    assert len(commons.calls) == n_calls
    assert again.data["cases"] == 2
    assert again.data["plan"]["patients_known"] == 2
    assert len(again.data["exclusions"]) == 1
    messages = [finding["message"] for finding in again.data["findings"]]
    assert len(messages) == len(set(messages))


def test_a_broken_download_goes_on_where_it_stopped(tmp_path, commons):
    commons.break_off = {commons.uids[name]: 3 for name in ("p1-ct4", "p2-pre")}
    with pytest.raises(
        CohortError, match=r"expected 6 files of 0.0 MB, found 3 files of 0.0 MB \(Conn"
    ) as caught:
        command(tmp_path).run()
    assert "check the network and run the same command again: 0 of 2 series are complete" in str(caught.value)
    assert not (tmp_path / "study" / "cohort.csv").exists()
    assert len(list((tmp_path / "study").rglob("*.part"))) == 2
    commons.break_off, before = {}, len(commons.calls)
    assert command(tmp_path).run().data["cases"] == 2
    assert set(commons.calls[before:]) == {commons.uids["p1-ct4"], commons.uids["p2-pre"]}
    assert not list((tmp_path / "study").rglob("*.part"))


def test_one_that_breaks_off_alone_is_left_out_and_fetched_the_next_time(tmp_path, commons):
    commons.break_off = {commons.uids["p1-ct4"]: 5}
    outcome = command(tmp_path).run()
    assert outcome.exit_code == 3
    assert outcome.data["by_subtype"] == {"ChRCC": 1}
    assert "left out: TCGA-B9-0001: its CT did not arrive completely: 5 files of" in outcome.warning
    commons.break_off = {}
    assert command(tmp_path).run().data["by_subtype"] == {"ChRCC": 1, "PRCC": 1}


def test_a_mask_that_does_not_arrive_leaves_out_its_patient_or_gives_way_to_another(tmp_path, commons):
    commons.spoil = {commons.uids[name]: no_dicom for name in ("p1-seg", "p2-hand")}
    outcome = command(tmp_path).run()
    assert outcome.warning == (
        "left out: TCGA-B9-0001: its masks did not arrive, or refer to a CT that is not in the index"
    )
    (case,) = map(flat, Study(tmp_path / "study").cohort.cases)
    assert case.roi.parent.name == commons.uids["p2-ai"]


def cut(paths):
    paths[-1].write_bytes(paths[-1].read_bytes()[:-5000])


def no_dicom(paths):
    paths[0].write_bytes(b"x" * paths[0].stat().st_size)


def another_series(paths):
    image = dcmread(paths[0])
    uid = str(image.SeriesInstanceUID)
    image.SeriesInstanceUID = uid[:-1] + ("1" if uid[-1] != "1" else "2")
    image.save_as(paths[0])


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (cut, r"6 files of 0\.0 MB"),
        (no_dicom, r"IM000, which is not a DICOM file"),
        (another_series, r"IM000 of another series"),
    ],
)
def test_what_arrives_damaged_is_not_kept(tmp_path, commons, spoil, found):
    uid = commons.uids["p1-ct4"]
    commons.spoil = {uid: spoil}
    (one,) = [series for series in commons.series if series.series_uid == uid]
    folder = tmp_path / "there" / uid
    failed = fetch({one: folder}, commons)
    assert list(failed) == [uid]
    assert re.search(found, failed[uid])
    assert list(folder.parent.iterdir()) == []
    commons.spoil = {}
    assert fetch({one: folder}, commons) == {}
    assert is_complete(one, folder)
    (folder / "IM999").touch()
    assert not is_complete(one, folder)
    (folder / "IM999").unlink()
    (folder / "IM002").unlink()  # a file lost later is noticed and fetched again
    assert not is_complete(one, folder)
    assert fetch({one: folder}, commons) == {}
    assert is_complete(one, folder)


def test_our_options_are_those_of_idc_index():
    """The stand-in takes what the real client takes; nothing is downloaded here."""
    from idc_index.index import IDCClient

    known = inspect.signature(IDCClient.download_from_selection).parameters
    assert {"downloadDir", "seriesInstanceUID", "dirTemplate", "show_progress_bar"} <= known.keys()


def test_no_network_is_said_at_once(monkeypatch):
    def refuse(address, timeout):
        assert (address, timeout) == (("s3.amazonaws.com", 443), 10.0)
        raise TimeoutError

    monkeypatch.setattr(idc_fetch, "getproxies", dict)
    monkeypatch.setattr(idc_fetch.socket, "create_connection", refuse)
    message = r"expected a connection to s3.amazonaws.com, found none \(TimeoutError\); connect .* again"
    with pytest.raises(ConfigError, match=message):
        open_client()


def test_no_room_is_said_before_anything_is_fetched(tmp_path, commons):
    large = replace(commons.series[0], size_mb=1e12)
    with pytest.raises(CohortError, match=r"expected 1000000000\.0 GB of free space for 1 series, found"):
        fetch({large: tmp_path / "there"}, commons)
    assert commons.calls == []


def test_a_mask_without_reference_or_of_an_unknown_ct(tmp_path, commons):
    seg = commons.root / "store" / commons.uids["p1-seg"]
    assert referenced_series(seg) == commons.uids["p1-ct4"]
    path = seg / "seg.dcm"
    header = dcmread(path)
    header.ReferencedSeriesSequence[0].SeriesInstanceUID = generate_uid(entropy_srcs=["x"])
    header.save_as(path)
    commons.series = [
        replace(one, size_mb=path.stat().st_size / 1e6) if one.series_uid == seg.name else one
        for one in commons.series
    ]
    shutil.rmtree(commons.root / "index")
    commons.write_index()
    outcome = command(tmp_path).run()
    assert outcome.exit_code == 3
    assert "refer to a CT that is not in the index" in outcome.warning
    del header.ReferencedSeriesSequence
    header.save_as(path)
    assert referenced_series(seg) == ""


def test_c4kc_needs_the_kits_table(tmp_path, commons):
    commons.series = [
        replace(
            one, collection="c4kc_kits", patient_id="KiTS-00007", source="collection" if one.source else ""
        )
        for one in commons.series[:1] + commons.series[4:5]
    ]
    shutil.rmtree(commons.root / "index")
    commons.write_index()
    Study.create(tmp_path / "study", SUBTYPES)
    kits = ImportIdc(study=tmp_path / "study", collections=("c4kc_kits",))
    dry = replace(kits, dry_run=True).run()
    assert any("give the KiTS table with --kits-json" in f["message"] for f in dry.data["findings"])
    with pytest.raises(ConfigError, match=r"expected the histology of its patients, found none"):
        kits.run()
    table = tmp_path / "kits.json"
    table.write_text('[{"case_id": "case_00007", "tumor_histologic_subtype": "papillary"}]')
    plan = replace(kits, dry_run=True, kits_json=table).run().data
    assert plan["by_collection"]["c4kc_kits"]["patients_with_mask"]["collection"] == 1
    assert plan["patients_chosen"] == 1


def test_citations_fall_back_to_the_address(commons):
    assert citations_of(["10.1/aid", "10.1/none"]) == {
        "10.1/aid": "Boer, S. & others",
        "10.1/none": "https://doi.org/10.1/none",
    }
