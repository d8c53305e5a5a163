"""What a pathologist wrote, in a subtype: by a table one can read, never by half a word, never by a guess."""

import json

import pytest

from nephroscope.base.errors import CohortError
from nephroscope.intake.labels.pathology import (
    default_table,
    load_pathology,
    match_subtype,
    read_pathology,
    unmapped_finding,
    write_pathology,
)
from nephroscope.intake.labels.rows import LabelRow, map_subtypes, read_label_table

STUDY = ("PRCC", "ChRCC")


@pytest.mark.parametrize(
    "text",
    [
        "papillary",
        "papillary type 1",
        "Papillary renal cell carcinoma, type 2 (WHO/ISUP grade 3), pT1a",
        "type II papillary",
        "RCC, papillary type",
        "pRCC1",
        "KIRP",
        "8260/3",
        "M-8260/3",
        "Papilläres Nierenzellkarzinom Typ 1, pT1a G2 R0",
        "Nierenzellkarzinom, papillärer Typ",
        "papilläres Nierenzellkarzinom mit Nekrosen",
        "carcinome rénal papillaire de type 2",
        "carcinome tubulo-papillaire",
        "carcinoma renal papilar",
        "carcinoma papillare tipo 1",
        "乳头状肾细胞癌",
        "papillary RCC with sarcomatoid differentiation",
        "papillary RCC, no sarcomatoid differentiation",
        "papillary RCC without necrosis or lymphovascular invasion, negative margins",
        "PAPILLARY_RCC",
        "Papillary_Type1",
        "Kidney renal papillary cell carcinoma",
        "Papillary adenocarcinoma, NOS",
        "Nierenzellkarzinom vom papillären Typ",
    ],
)
def test_papillary(text):
    assert default_table().meaning(text) == "papillary"
    assert match_subtype(text, STUDY) == "PRCC"


@pytest.mark.parametrize(
    "text",
    [
        "chromophobe_rcc",
        "Chromophobe RCC, eosinophilic variant",
        "chromophobes NZK",
        "Carcinome à cellules rénales chromophobe",
        "8317/3",
        "KICH",
        "嫌色细胞癌",
    ],
)
def test_chromophobe(text):
    assert match_subtype(text, STUDY) == "ChRCC"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("clear cell papillary renal cell tumor", "clear_cell_papillary"),
        ("Clear cell (tubulo)papillary RCC", "clear_cell_papillary"),
        ("ccpRCC", "clear_cell_papillary"),
        ("透明细胞乳头状肾细胞癌", "clear_cell_papillary"),
        ("hybrid oncocytic/chromophobe tumor (HOCT)", "hybrid_oncocytic"),
        ("papillary urothelial carcinoma", "urothelial"),
        ("papillary adenoma", "papillary_adenoma"),
        ("8260/0", "papillary_adenoma"),
        ("FH-deficient RCC", "fh_deficient"),
        ("Xp11.2 translocation RCC", "tfe3_rearranged"),
        ("RCC, unclassified", "rcc_unclassified"),
        ("RCC NOS", "rcc_not_specified"),
        ("collecting duct carcinoma", "collecting_duct"),
        ("mucinous tubular and spindle cell carcinoma", "mucinous_tubular_spindle"),
        ("Onkozytom", "oncocytoma"),
        ("AML", "angiomyolipoma"),
        ("clear cell RCC, G2", "clear_cell"),
        ("8310/3", "clear_cell"),
        ("low grade oncocytic tumor", "low_grade_oncocytic"),
        ("metastatic", "metastasis"),
        ("simple cyst", "cyst"),
    ],
)
def test_others_have_their_own_name(text, meaning):
    assert default_table().meaning(text) == meaning
    assert match_subtype(text, STUDY) is None


@pytest.mark.parametrize(
    "text",
    [
        "no papillary features",
        "papillary vs clear cell",
        "favor papillary RCC",
        "r/o papillary RCC",
        "DD papillary RCC",
        "V.a. papilläres NZK",
        "am ehesten papilläres NZK",
        "papillary RCC?",
        "non-papillary RCC",
        "consistent with chromophobe RCC",
        "mixed papillary and chromophobe",
        "Papillary RCC; chromophobe RCC",
        "chRCC / oncocytoma",
        "clear cell RCC with papillary features",
        "papillary thyroid carcinoma",
        "papillary necrosis",
        "papillary cystadenoma",
        "metastatic papillary RCC",
        "nonpapillary",
        "Renal cell carcinoma",
        "甲状腺乳头状癌",
        "透明细胞癌和乳头状肾细胞癌",
        "非透明细胞癌",
        "papillär oder chromophob",
        "pas de carcinome papillaire",
    ],
)
def test_doubt_and_negation_are_never_mapped(text):
    assert default_table().meaning(text) is None
    assert match_subtype(text, STUDY) is None


@pytest.mark.parametrize(
    "words",
    [
        *("c/w", "cw", "in keeping with", "query", "could be", "might be", "may be", "concerning for"),
        *("evidence against", "insufficient for", "father had", "family history of", "s/p", "Z.n."),
        *("Zustand nach", "status post", "rule out", "V.a.", "suspicious", "prior"),
    ],
)
@pytest.mark.parametrize("name", ["papillary RCC", "chromophobe RCC", "Papilläres Nierenzellkarzinom"])
def test_words_before_a_name_that_take_it_back(words, name):
    assert default_table().meaning(name)
    assert default_table().meaning(f"{words} {name}") is None
    assert " makes it uncertain" in default_table().obstacle(f"{words} {name}")


def test_the_obstacle_is_named():
    table = default_table()
    assert table.obstacle("could be papillary RCC") == " ('could' makes it uncertain or negates it)"
    assert (
        table.obstacle("papillary RCC and chromophobe RCC") == " (chromophobe and papillary are both named)"
    )
    assert table.obstacle("blue tumor") == ""


def test_a_study_name_that_is_more_than_a_synonym_takes_only_itself():
    """Type 2 must not become the study's type 1 because both are papillary."""
    study = ("papillary type 1", "chromophobe")
    assert match_subtype("papillary type 2", study) is None
    assert match_subtype("Papillary Type-1", study) == "papillary type 1"
    assert match_subtype("ChRCC", study) == "chromophobe"
    assert match_subtype("papillary carcinoma", ("papillary_rcc", "PRCC")) is None


def table(folder, *rows):
    path = folder / "pathology.csv"
    path.write_text("\n".join(["text,subtype,comment", *rows]) + "\n", encoding="utf-8")
    return path


def test_rows_are_tried_in_order_and_words_are_used_once(tmp_path):
    found = read_pathology(
        table(tmp_path, "clear cell papillary rcc,own,", "papillary rcc,papillary,", "rcc,any,")
    )
    assert found.meaning("Clear cell papillary RCC, G2") == "own"
    assert found.meaning("papillary RCC, G2") == "papillary"
    assert found.meaning("sarcomatoid RCC") == "any"


def test_what_a_person_writes_in_full_counts_even_with_a_doubt(tmp_path):
    found = read_pathology(
        table(tmp_path, "favor papillary rcc,PRCC,tumor board", "papillary rcc,,nobody can tell")
    )
    assert match_subtype("Favor papillary RCC", STUDY, found) == "PRCC"
    assert found.meaning("papillary RCC") is None
    assert found.meaning("big papillary RCC") is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([",papillary,"], "pathology.csv, row 2: expected a text, found nothing"),
        (
            ["Papillary-RCC,a,", "papillary rcc,b,"],
            "row 3: expected only one subtype for a text, found 'b', but 'a' in row 2",
        ),
    ],
)
def test_a_table_with_mistakes_is_refused(tmp_path, rows, message):
    with pytest.raises(CohortError, match=message):
        read_pathology(table(tmp_path, *rows))


def test_a_table_without_its_header_is_refused(tmp_path):
    (tmp_path / "pathology.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        CohortError, match="expected the columns text and subtype, found a, b; restore the header"
    ):
        load_pathology(tmp_path)


def test_the_table_of_a_study_can_be_edited(tmp_path):
    assert load_pathology(tmp_path) is default_table()
    write_pathology(tmp_path)
    assert load_pathology(tmp_path) == default_table()
    path = tmp_path / "pathology.csv"
    path.write_text(path.read_text(encoding="utf-8") + "our secret code 7,chromophobe,\n", encoding="utf-8")
    assert match_subtype("our secret code 7", STUDY, load_pathology(tmp_path)) == "ChRCC"


def test_every_row_of_the_default_table_means_what_it_says():
    for row in default_table().rows:
        assert default_table().meaning(row.text) == row.subtype, row


def test_rows_that_are_not_mapped_are_listed(tmp_path):
    rows = [
        LabelRow(row=2, case_id="a", subtype="pRCC", subtype_reader2="chromophobe RCC"),
        LabelRow(row=3, case_id="b", subtype="favor papillary"),
        LabelRow(row=4, case_id="b", subtype="favor papillary"),
        LabelRow(row=5, case_id="c", subtype="something " * 20),
        LabelRow(row=6, case_id="d", subtype="oncocytoma"),
    ]
    told = map_subtypes(rows, default_table(), STUDY)
    assert [row.mapped_subtype for row in told.rows] == ["PRCC", "", "", "", "oncocytoma"]
    assert told.rows[0].subtype_reader2 == "ChRCC"
    (finding,) = told.findings
    assert (finding.code, finding.severity) == ("subtype-unmapped", "warning")
    assert finding.message.startswith(
        "2 cases with a pathology text that pathology.csv does not list: 'favor papillary'"
    )
    assert len(finding.message) < 250
    assert unmapped_finding([]) == ()


def test_a_table_of_labels_is_told_by_the_table_of_texts(tmp_path):
    (tmp_path / "labels.csv").write_text("case,histology\na,K7\nb,K8\n")
    own = read_pathology(table(tmp_path, "K7,ChRCC,", "K8,papillary,"))
    read = read_label_table(tmp_path / "labels.csv", {}, own, STUDY)
    assert [(row.subtype, row.mapped_subtype) for row in read.rows] == [("K7", "ChRCC"), ("K8", "papillary")]


def test_the_real_histologies_of_kits23(test_data):
    cases = json.loads((test_data / "kits23" / "dataset" / "kits23.json").read_text())
    found = {}
    for case in cases:
        text = case["tumor_histologic_subtype"]
        name = match_subtype(text, STUDY) or default_table().meaning(text) if text else None
        found[name] = found.get(name, 0) + 1
    assert found == {
        "PRCC": 45,
        "ChRCC": 38,
        "clear_cell": 310,
        "oncocytoma": 26,
        "urothelial": 17,
        "clear_cell_papillary": 12,
        "other": 12,
        "angiomyolipoma": 8,
        "rcc_unclassified": 4,
        "mest": 3,
        "wilms_tumor": 3,
        "multilocular_cystic_rcc": 2,
        "spindle_cell_neoplasm": 2,
        "cyst": 1,
        None: 6,
    }


@pytest.mark.parametrize(
    "text",
    [
        "Papillary RCC with clear cells",
        "papilläres NZK, klarzellig",
        "carcinome papillaire, cellules claires",
    ],
)
def test_clear_cells_beside_papillary_are_not_papillary(text):
    assert match_subtype(text, STUDY) is None


@pytest.mark.parametrize(
    "text", ["carcinome urothélial papillaire", "carcinoma urotelial papilar", "膀胱尿路上皮乳头状癌"]
)
def test_papillary_urothelial_carcinoma_is_never_papillary(text):
    assert match_subtype(text, STUDY) is None
