"""Label tables: columns by their usual names, subtypes by their synonyms, never by half a word."""

import re
import tomllib
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.intake.labels.columns import LABELS
from nephroscope.intake.labels.join import settle_labels
from nephroscope.intake.labels.pathology import match_subtype
from nephroscope.intake.labels.rows import LabelRow, read_label_table, read_labels
from nephroscope.intake.labels.titles import COLUMN_NAMES
from nephroscope.intake.labels.values import (
    date_order,
    parse_age,
    parse_date,
    parse_exclude,
    parse_side,
    parse_size_cm,
    parse_size_mm,
    parse_spacing,
    parse_tumor_label,
    parse_whole,
    parse_yes,
    years_between,
)
from nephroscope.records.settings import LABEL_COLUMNS, Settings, check_columns
from nephroscope.study.folder import create_study, open_study

SUBTYPES = ("papillary", "chromophobe", "clear_cell")


def table(folder, text):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_usual_names_are_found(tmp_path):
    (row,) = read_labels(
        table(
            tmp_path,
            "Case ID;PID;Image;Tumor-Histologic_Subtype;Gender;Age at nephrectomy;radiographic_size;Slice;"
            "Pixel Spacing;site;phase;cohort;synthetic;extra\n"
            "t1;p1;a.png;pRCC;female;>89;3,3;7;0.7\\0.8;north;venous;internal-test;yes;x\n",
        )
    )
    assert row == LabelRow(
        row=2,
        case_id="t1",
        patient_id="p1",
        file="a.png",
        subtype="pRCC",
        sex="F",
        age_years=90.0,
        size_cm=3.3,
        slice_index=7,
        row_mm=0.7,
        col_mm=0.8,
        site_id="north",
        phase="nephrographic",
        cohort="internal-test",
        synthetic=True,
    )


def test_little_is_needed_and_the_rest_is_unknown(tmp_path):
    (row,) = read_labels(table(tmp_path, "patient,diagnosis,sex,age\np1,ChRCC,unknown,0\n"))
    assert row == LabelRow(row=2, case_id="p1", patient_id="p1", subtype="ChRCC")


def test_row_and_column_spacing_stand_before_one_for_both(tmp_path):
    (row,) = read_labels(table(tmp_path, "case,label,spacing_xy,row_mm\na,x,0.7,0.9\n"))
    assert (row.row_mm, row.col_mm) == (0.9, 0.7)
    (row,) = read_labels(table(tmp_path, 'case,label,spacing\na,x,"[0.7, 0.8]"\n'))
    assert (row.row_mm, row.col_mm) == (0.7, 0.8)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("", None),
        ("0", None),
        ("63", 63),
        ("63.5", 63.5),
        (">89", 90),
        ("90+", 90),
        ("063Y", 63),
        ("006M", 0.5),
        ("63,5", 63.5),
        ("63 y", 63),
        ("63 years", 63),
        ("63 y/o", 63),
        ("63J", 63),
        ("63 Jahre", 63),
        ("63 ans", 63),
        ("63 años", 63),
        ("63 anni", 63),
        ("63岁", 63),
        ("18 months", 1.5),
        ("≥90", 90),
        ("> 89 years", 90),
        ("unknown", None),
    ],
)
def test_ages(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["sixty", "-3", "130", ">50", "63 cm", "60-70", "y", "inf"])
def test_no_ages(text):
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_age(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,label,age\na,x,old\n", "labels.csv, row 2, column age: expected years up to 120, found 'old'"),
        ("case,label,gender\na,x,z\n", "column gender: expected male, female, other or nothing, found 'z'"),
        ("case,label,slice\na,x,1.5\n", "column slice: expected a whole number, found '1.5'"),
        ("case,label,spacing\na,x,1 2 3\n", "column spacing: expected one or two numbers in mm"),
        ("case,label,spacing\na,x,-1\n", "column spacing: "),
        ("case,label\na,\n", "column label: expected a subtype, found nothing"),
        ("case,label\n,x\n", "row 2, column case_id: expected a name, found nothing"),
        ("case,label,cohort\na,x,test\n", "column cohort: expected development, internal-test or external"),
        ("case,label,synthetic\na,x,hm\n", "column synthetic: expected yes or no, found 'hm'"),
        ("case,label,age\na,x,old\nb,,7\n", "found 2: row 2, column age: .* row 3, column label: "),
        (
            "name,label\na,x\n",
            r"expected columns named case_id \(or patient_id\) and subtype .*found name, label",
        ),
        ("case,age\na,1\n", "expected columns named case_id .*found case, age"),
        ("case,Case,label\na,b,x\n", "expected one column 'case', found case, Case"),
        ("case,label\n", "expected at least one row below the header, found none"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(CohortError, match=message):
        read_labels(table(tmp_path, text))


def test_a_missing_table_is_refused_without_its_folder(tmp_path):
    with pytest.raises(CohortError, match=r"gone.csv: .*found no readable file") as caught:
        read_labels(tmp_path / "gone.csv")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("text", ["papillary_rcc", "Papillary RCC", "PRCC", "pRCC", "papillary"])
@pytest.mark.parametrize("name", ["papillary", "PRCC", "papillary_rcc"])
def test_synonyms(text, name):
    assert match_subtype(text, ("ChRCC", name)) == name


@pytest.mark.parametrize(
    "text", ["clear_cell_papillary", "clear cell papillary RCC", "ccpRCC", "oncocytoma", "rcc"]
)
def test_other_subtypes_match_nothing(text):
    assert match_subtype(text, SUBTYPES) is None


def test_an_exact_name_stands_before_a_synonym():
    assert match_subtype("pRCC", ("papillary", "PRCC")) == "PRCC"
    assert match_subtype("Grade-4", ("grade 4", "low")) == "grade 4"


def row(case_id, subtype="pRCC", **more):
    return LabelRow(row=2, case_id=case_id, subtype=subtype, **more)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row("a"), row("a", "ccRCC")], "two subtypes: clear_cell and papillary"),
        ([row("a", sex="M"), row("a", sex="F")], "its rows contradict each other: sex F and M"),
        (
            [row("a", age_years=50.0), row("a", age_years=51.0)],
            "contradict each other: age_years 50.0 and 51.0",
        ),
        (
            [row("a", patient_id="p", sex="M"), row("b", patient_id="p", sex="F")],
            "its patient has two sexes: F and M",
        ),
        ([row("a", "clear_cell_papillary")], "subtype clear_cell_papillary is not in the study"),
    ],
)
def test_contradictions_are_left_out_with_the_reason(rows, reason):
    settled, excluded = settle_labels(rows, SUBTYPES)
    assert not settled
    assert reason in excluded["a"].reason


def test_rows_of_a_case_complete_each_other():
    settled, _ = settle_labels([row("a", sex="M"), row("a", "papillary", age_years=50.0)], SUBTYPES)
    assert (settled["a"].subtype, settled["a"].sex, settled["a"].age_years) == ("papillary", "M", 50.0)


def test_the_real_table(test_data):
    rows = read_labels(test_data / "kits19_slices" / "labels.csv")
    assert len(rows) == 61
    assert rows[0].file == "case_00025_0060.png"
    assert (rows[0].slice_index, rows[0].row_mm, rows[0].sex, rows[0].size_cm) == (60, 0.7363, "F", 10.4)
    settled, excluded = settle_labels(rows, SUBTYPES)
    assert (len(settled), len(excluded)) == (19, 4)


@pytest.mark.parametrize(
    "text",
    [
        "1958-03-12",
        "1958-03-12 00:00:00",
        "1958-03-12T09:30",
        "19580312",
        "1958/3/12",
        "12.03.1958",
        "12. 3. 1958",
        "12/03/1958",
        "12-03-1958",
        "12 Mar 1958",
        "12-MAR-1958",
        "March 12, 1958",
        "12th March 1958",
        "12. März 1958",
        "12 mars 1958",
        "12 de marzo de 1958",
        "1958年3月12日",
        "21256",
        "21256.4",
    ],
)
def test_dates_as_people_type_them(text):
    assert parse_date(text, "day-first") == date(1958, 3, 12)


@pytest.mark.parametrize(
    "text", ["12/03/58", "1958", "03/1958", "30.02.1958", "1958-13-01", "12 Foo 1958", "soon", "9"]
)
def test_no_dates(text):
    with pytest.raises(ValueError, match=r"not a readable date|no such day") as caught:
        parse_date(text, "day-first")
    assert text not in str(caught.value)


def test_day_and_month_are_told_by_the_column():
    assert date_order(["01/02/1950", "13/02/1950"]) == "day-first"
    assert date_order(["01/02/1950", "02/13/1950", ""]) == "month-first"
    assert date_order(["13/02/1950", "02/13/1950"]) == "contradictory"
    assert date_order(["01/02/1950", "03/03/1950", "1950-01-20"]) == "unsaid"
    assert parse_date("01/02/1950", "month-first") == date(1950, 1, 2)
    assert parse_date("03/03/1950", "unsaid") == date(1950, 3, 3)
    assert parse_date("", "unsaid") is None


def test_completed_years():
    birth = date(1958, 3, 12)
    assert [years_between(birth, date(2021, 3, day)) for day in (11, 12)] == [62, 63]
    assert years_between(date(1925, 1, 1), date(2021, 1, 1)) == 90
    with pytest.raises(ValueError, match="not give an age"):
        years_between(birth, date(1958, 3, 11))


def test_an_age_stands_before_dates_and_dates_are_not_looked_at(tmp_path):
    text = (
        "case,label,age,dob,ct date\na,x,63,garbage,garbage\nb,x,,12.03.1958,2021-03-12\nc,x,,,2021-03-12\n"
    )
    table_ = read_label_table(table(tmp_path, text))
    assert [row.age_years for row in table_.rows] == [63, 63, None]
    assert [f.code for f in table_.findings] == ["age-from-dates"]


@pytest.mark.parametrize(
    ("birth", "scan", "message"),
    [
        (
            "03/04/1958",
            "2021-01-01",
            "row 2, column dob: .*a day and a month that can be swapped, written as 99/99/9999",
        ),
        (
            "3.4.58",
            "2021-01-01",
            "column dob: expected a date such as .*not a readable date, written as 9.9.99",
        ),
        (
            "1958-04-03",
            "1950-04-03",
            "column ct date: expected a day after birth, found dates that do not give an age",
        ),
        ("Smith", "2021-01-01", "written as aaaaa"),
    ],
)
def test_a_date_of_birth_is_never_printed(tmp_path, birth, scan, message):
    with pytest.raises(CohortError, match=message) as caught:
        read_labels(table(tmp_path, f"case,label,dob,ct date\na,x,{birth},{scan}\n"))
    assert birth not in str(caught.value)


def test_headers_in_other_languages(tmp_path):
    text = "Patienten-ID;Histologie;Geschlecht;Alter (Jahre);Größe (mm);Seite;Ausschlussgrund\np;pNZK;w;63 J;45;li;\n"
    (row,) = read_labels(table(tmp_path, text))
    assert (row.case_id, row.subtype, row.sex, row.age_years, row.size_cm, row.side) == (
        "p",
        "pNZK",
        "F",
        63,
        4.5,
        "left",
    )
    for header in (
        ["ID patient", "Anatomie pathologique"],
        ["Paciente", "Histología"],
        ["ID paziente", "Diagnosi"],
        ["病例号", "病理类型"],
    ):
        assert LABELS.fits(header)
    assert not LABELS.fits(["Paciente", "Edad"])


def test_a_second_reading_and_which_roi(tmp_path):
    text = "case,label,pathology reader 2,tumor label,segment,roi,organs\na,x,y,2,Tumor left,gone/a.dcm,\n"
    (row,) = read_labels(table(tmp_path, text))
    assert (row.subtype_reader2, row.tumor_label, row.tumor_name, row.roi.as_posix(), row.organs) == (
        "y",
        2,
        "Tumor left",
        "gone/a.dcm",
        None,
    )


@pytest.mark.parametrize(
    ("cells", "excluded"),
    [
        (",", ""),
        ("no,", ""),
        ("yes,motion", "motion"),
        ("ja,", "excluded in the label table, without a reason"),
        (",no consent", "no consent"),
        ("only a biopsy,", "only a biopsy"),
    ],
)
def test_a_person_leaves_a_case_out(tmp_path, cells, excluded):
    (row,) = read_labels(table(tmp_path, f"case,label,exclude,exclusion reason\na,x,{cells}\n"))
    assert row.excluded == excluded


@pytest.mark.parametrize("empty", ["-", "n/a", "none", "None", "?"])
def test_what_stands_for_nothing_excludes_nobody(tmp_path, empty):
    rows = read_labels(
        table(
            tmp_path, f"case_id,subtype,exclude,exclusion_reason\na,PRCC,{empty},{empty}\nb,PRCC,no,{empty}\n"
        )
    )
    assert [row.excluded for row in rows] == ["", ""]


@pytest.mark.parametrize(
    ("typed", "phase"),
    [
        ("Nephrographic", "nephrographic"),
        ("portalvenös", "nephrographic"),
        ("arteriell 30 s", "corticomedullary"),
        ("nativ", "unenhanced"),
        ("-", "unknown"),
        ("unknown", "unknown"),
    ],
)
def test_phases_as_people_type_them(tmp_path, typed, phase):
    (row,) = read_labels(table(tmp_path, f"case_id,subtype,phase\na,PRCC,{typed}\n"))
    assert row.phase == phase


def test_a_phase_that_is_none_is_a_mistake(tmp_path):
    with pytest.raises(
        CohortError, match=r"row 2, column Phase: expected unenhanced, .*, found 'arterial and venous'"
    ):
        read_labels(table(tmp_path, "case_id,subtype,Phase\na,PRCC,arterial and venous\n"))


def test_sides_and_exclusions_as_typed():
    assert [parse_side(text) for text in ("L", "rechts", "left kidney", "both", "left and right", "")] == [
        "left",
        "right",
        "left",
        None,
        None,
        None,
    ]
    assert [parse_exclude(text) for text in ("", "Nein", "x", "stent")] == [
        None,
        (False, ""),
        (True, ""),
        (True, "stent"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "case,label,tumor label\na,x,0\n",
            "column tumor label: expected a whole number from 1 to 65535, found '0'",
        ),
        ("case,label,size (cm)\na,x,99\n", r"column size \(cm\): expected a size in cm up to 50, found '99'"),
        ("case,label,size mm\na,x,999\n", "column size mm: expected a size in mm up to 500, found '999'"),
        (
            "case,label,exclude,exclusion_reason\na,x,no,stent\n",
            "expected no exclusion reason for a case that is not excluded",
        ),
    ],
)
def test_mistakes_in_further_columns(tmp_path, text, message):
    with pytest.raises(CohortError, match=message):
        read_labels(table(tmp_path, text))


def test_columns_are_mapped(tmp_path):
    path = table(tmp_path, "case,Typ A,Typ B,histology\na,pRCC,ChRCC,other\n")
    (row,) = read_labels(path, {"subtype": "typ a", "subtype_reader2": "Typ B"})
    assert (row.subtype, row.subtype_reader2) == ("pRCC", "ChRCC")
    assert read_labels(path)[0].subtype == "other"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "case,x",
            "labels.csv: expected a column 'Typ', found case, x; correct study.toml",
        ),
        ("case,Typ,typ", "expected one column 'Typ', found case, Typ, typ; correct study.toml"),
    ],
)
def test_a_mapped_header_must_be_there_once(tmp_path, header, message):
    with pytest.raises(CohortError, match=message):
        read_labels(
            table(tmp_path, f"{header}\n{','.join('abc'[: header.count(',') + 1])}\n"), {"subtype": "Typ"}
        )


def test_a_decimal_comma_that_shifts_the_cells_is_refused(tmp_path):
    """Cut in silence, the 5 of 12,5 would be read as the subtype of the next column."""
    with pytest.raises(CohortError, match=r"labels.csv, row 2: expected 3 cells, as in the header, found 4"):
        read_labels(table(tmp_path, "case,size_cm,histology\na,12,5,pRCC\n"))


def test_a_line_that_is_no_header_is_not_printed(tmp_path):
    with pytest.raises(
        CohortError, match=r"found 3 cells without a known title \(no header line\?\)"
    ) as caught:
        read_labels(table(tmp_path, "Smith,12.03.1958,pRCC\nJones,13.03.1958,pRCC\n"))
    assert "Smith" not in str(caught.value)


def test_every_column_has_a_usual_name_and_can_be_mapped():
    assert set(COLUMN_NAMES) == set(LABEL_COLUMNS)
    spellings = [word for words in COLUMN_NAMES.values() for word in words.split()]
    assert len(spellings) == len(set(spellings))


def test_columns_are_a_table_of_the_settings(tmp_path):
    made = Settings(subtypes=("a", "b"), positive="a")
    folder = create_study(tmp_path / "s", made)
    assert "[columns] # headers of your label table" in folder.toml.read_text()
    folder.toml.write_text(folder.toml.read_text().replace("[cohort]", 'subtype = "Histo"\n[cohort]', 1))
    assert open_study(tmp_path / "s")[1].columns == {"subtype": "Histo"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"histology": "x"},
            "study.toml, columns.histology: expected one of case_id, .*found 'histology'; write our name",
        ),
        ({"subtype": 3}, "columns.subtype: expected the header of a column of your label table, found 3"),
        ({"subtype": " "}, "found ' '"),
        (
            {"case_id": "X", "patient_id": "x"},
            "expected a different header for each name, found 'x', which is also given for case_id",
        ),
        ("x", r"study.toml, columns: expected a table such as \[columns\]"),
    ],
)
def test_a_wrong_mapping_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        check_columns(values)


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_in_a_cell_is_read_or_refused(text):
    """No cell, whatever it holds, ends in anything but a value or a ValueError."""
    parsers = (parse_age, parse_side, parse_exclude, parse_size_cm, parse_size_mm, parse_spacing, parse_whole)
    for parse in (*parsers, parse_yes, parse_tumor_label, lambda cell: parse_date(cell, date_order([cell]))):
        with suppress(ValueError):
            parse(text)
    assert match_subtype(text, SUBTYPES) in (None, *SUBTYPES)


def test_a_quote_left_open_swallows_no_rows(tmp_path):
    for cells in ('a,"PRCC\nb,ChRCC\nc,PRCC\n', 'a,"PRCC\nb,"ChRCC\nc,PRCC\n'):
        with pytest.raises(CohortError, match="line 2: expected a closing quote for each opening quote"):
            read_labels(table(tmp_path, f"case_id,subtype\n{cells}"))
    rows = read_labels(table(tmp_path, 'case_id,subtype,note\na,"PRCC,\ntype 1",6" big\nb,"x" y,\n'))
    assert [(row.case_id, row.subtype) for row in rows] == [("a", "PRCC,\ntype 1"), ("b", "x y")]


def test_zero_bytes_are_no_text(tmp_path):
    with pytest.raises(CohortError, match="found zero bytes, so it is not text"):
        read_labels(table(tmp_path, "case_id,subtype\na,PR\0CC\n"))


def test_h_is_male_only_where_m_cannot_be_mujer(tmp_path):
    rows = read_labels(table(tmp_path, "case_id,subtype,sexe\na,PRCC,H\nb,PRCC,F\nc,PRCC,h\n"))
    assert [row.sex for row in rows] == ["M", "F", "M"]
    with pytest.raises(CohortError, match="column sexe: expected male, female, other or nothing, found 'H'"):
        read_labels(table(tmp_path, "case_id,subtype,sexe\na,PRCC,H\nb,PRCC,M\n"))
    short = read_labels(table(tmp_path, "case_id,subtype,sexe\na,PRCC,männl.\nb,PRCC,weibl.\n"))
    assert [row.sex for row in short] == ["M", "F"]


def test_headers_that_take_two_rows_are_refused(tmp_path):
    text = "Patient,Histology,Tumor,Tumor\nID,final,size_cm,side\nP1,PRCC,3,left\n"
    with pytest.raises(
        CohortError, match=r"row 2: expected one header row .*, found 3 more column titles below"
    ):
        read_labels(table(tmp_path, text))


def test_french_headers(tmp_path):
    (row,) = read_labels(table(tmp_path, "N° patient;Âge (ans);Anatomo-pathologie\nP1;63 ans;PRCC\n"))
    assert (row.case_id, row.age_years, row.subtype) == ("P1", 63, "PRCC")


def test_columns_that_were_not_read_are_listed(tmp_path):
    path = table(
        tmp_path,
        "Pat.-Nr.;Diagnose;Geschl.;Alter bei OP;Tumordurchmesser (cm);Alter am CT;Rauchen\nP1;PRCC;w;63;4,5;62;\n",
    )
    (row,), (finding,) = (found := read_label_table(path)).rows, found.findings
    assert (row.case_id, row.sex, row.age_years, row.size_cm) == ("P1", "F", 63, 4.5)
    assert (finding.code, finding.severity) == ("label-columns", "note")
    assert finding.message.endswith(
        "labels.csv that were not used: Alter am CT, Rauchen; map them under [columns] in study.toml if needed"
    )


def test_a_column_that_looks_like_the_number_of_a_tumor_is_pointed_out(tmp_path):
    path = table(tmp_path, "patient_id,Tumor-Nr,subtype\nP1,1,PRCC\n")
    (finding,) = read_label_table(path).findings
    assert "Tumor-Nr may be the number of a tumor: map it as tumor_label" in finding.message


def test_the_separator_line_of_excel_and_pipes_are_understood(tmp_path):
    rows = read_labels(table(tmp_path, "sep=;\npatient_id;subtype\nP1;PRCC, type 1\n"))
    assert [(row.row, row.case_id, row.subtype) for row in rows] == [(3, "P1", "PRCC, type 1")]
    (row,) = read_labels(table(tmp_path, "patient_id|subtype\nP1|PRCC\n"))
    assert (row.case_id, row.subtype) == ("P1", "PRCC")


HEADERS = [
    "Patientennummer;Histologietyp;Geschlecht (m/w);Alter (J.);Durchmesser (mm);Seite",
    "Pat.-Nr.;Pathologischer Befund;Geschl.;Alter bei OP;Größe [mm];Seitenangabe",
    "N° de dossier;Résultat anatomo-pathologique;Sexe (H/F);Âge (ans);Taille (mm);Côté",
    "Identifiant patient;Type histologique;Sexe;Âge à la chirurgie;Diamètre (mm);Latéralité",
    "Nº de historia;Diagnóstico anatomopatológico;Sexo;Edad (años);Tamaño (mm);Lado",
    "Código del paciente;Tipo histológico;Género;Edad;Diámetro (mm);Lateralidad",
    "住院号;病理结果;性别;年龄\uff08岁\uff09;最大径\uff08mm\uff09;患侧",
    "患者ID;病理分型;性别;年龄;肿瘤直径mm;侧别",
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("above", ["", "Nierentumoren 2015-2021\n\nStand: 3.4.2022;Dr. A\n"])
def test_headers_of_hospitals_are_found_below_titles(tmp_path, header, above):
    (row,) = read_labels(table(tmp_path, f"{above}{header}\nP1;PRCC;F;63;45;L\n"))
    assert (row.row, row.case_id, row.subtype, row.sex, row.age_years, row.size_cm, row.side) == (
        *(2 + above.count("\n"), "P1", "PRCC", "F", 63, 4.5, "left"),
    )


def test_the_best_row_is_shown_with_lines_for_the_settings(tmp_path):
    text = "Our cohort\n\nPatienten-Kürzel;Geschlecht;Alter;Histo (final, Prof. A);Bemerkung\nP1;w;63;PRCC;\n"
    with pytest.raises(CohortError) as refusal:
        read_labels(table(tmp_path, text.replace("Histo (final", "Gewebe (final")))
    assert refusal.value.where == "labels.csv, row 3"
    assert refusal.value.found.endswith("recognized: sex (Geschlecht), age_years (Alter)")
    block = refusal.value.remedy.split("\n", 1)[1]
    assert tomllib.loads(block) == {
        "columns": {"patient_id": "Patienten-Kürzel", "subtype": "title of your column"}
    }
    (row,) = read_labels(table(tmp_path, text), {"patient_id": "Patienten-Kürzel"})
    assert (row.case_id, row.subtype) == ("P1", "PRCC")


@pytest.mark.parametrize("name", ["NA", "nan", "None", "-", "?", "", "#N/A", "\u200b"])
def test_rows_of_nobody_are_refused_by_row(tmp_path, name):
    text = f"patient_id,subtype\nP1,PRCC\n{name},PRCC\n{name},ChRCC\n"
    with pytest.raises(CohortError) as refusal:
        read_labels(table(tmp_path, text))
    assert re.findall(r"row (\d), column (\w+): expected a name", refusal.value.found) == [
        ("3", "patient_id"),
        ("4", "patient_id"),
    ]


def test_twelve_patients_that_are_not_known_are_not_one(tmp_path):
    rows = "".join(f"C{i},{'NA' if i % 2 else '?'},PRCC\n" for i in range(12))
    found = read_label_table(table(tmp_path, "case_id,patient_id,subtype\n" + rows))
    assert {row.patient_id for row in found.rows} == {None}
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("patient-unknown", "warning")
    assert finding.message.startswith("12 rows")


def test_names_meet_without_what_nobody_sees(tmp_path):
    names = ["P4\u200b", "\ufeffP4", "P\u00ad4", "P4\u00a0"]
    rows = read_labels(table(tmp_path, "case_id,subtype\n" + "".join(f"{name},PRCC\n" for name in names)))
    assert {row.case_id for row in rows} == {"P4"}


def test_a_chinese_csv_is_read_by_its_titles_and_said(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes("病人编号,病理类型,性别,年龄\nP1,PRCC,男,63\n".encode("gb18030"))
    found = read_label_table(path)
    assert [(r.case_id, r.subtype, r.sex, r.age_years) for r in found.rows] == [("P1", "PRCC", "M", 63)]
    assert [(f.code, f.severity) for f in found.findings] == [("label-encoding", "warning")]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("patient_id,subtype,sex\nP1,PRCC,男\n", "gb18030"),
        ("patient_id,subtype,site\nP1,PRCC,协和医院\n", "gb18030"),
        ("patient_id,subtype,site\nP1,PRCC,Kraków Śródmieście\n", "cp1250"),
        ("patient_id,subtype,sex\nP1,PRCC,männlich\n", "mac_roman"),
        ("patient_id,subtype,site\nP1,PRCC,서울대병원\n", "cp949"),
    ],
)
def test_an_encoding_that_cannot_be_known_is_refused(tmp_path, text, encoding):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(CohortError, match="text in another encoding, which may be"):
        read_labels(path)


def test_western_text_of_excel_is_a_note(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes("Patient;Histologie;Geschlecht\nP1;PRCC;männlich\n".encode("cp1252"))
    found = read_label_table(path)
    assert (found.rows[0].sex, [(f.code, f.severity) for f in found.findings]) == (
        "M",
        [("label-encoding", "note")],
    )


def test_two_sizes_of_a_tumor_are_refused(tmp_path):
    text = "case,size_cm,size_mm,histology\na,4.2,42,pRCC\nb,9,42,pRCC\n"
    with pytest.raises(CohortError, match="column size_mm: expected the size of the other column, 90 mm"):
        read_labels(table(tmp_path, text))
