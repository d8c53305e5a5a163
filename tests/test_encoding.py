"""Encodings of tables: the text as it was written, or a refusal that names the encoding; never other letters."""

import pytest

from nephroscope.base.encoding import decoded_texts
from nephroscope.base.errors import CohortError
from nephroscope.base.tables import read_table

WESTERN = [
    *(
        "männlich;Größe;Füße",
        "MÄNNLICH GRÖSSE",
        "carcinome à cellules rénales, créée",
        "dimensión niño lingüística",
    ),
    *(
        "São João, ções, órgão",
        "høyre, venstre, kjønn",
        "12 mm², ½, 3 °C, nº 5",
        "l\u2019examen \u2013 \u201epRCC\u201c",
    ),
    *("œuf, cœur, sœur", "Prof. Ä. Müller", "ÉTÉ", "è, più, città", "Ø 3,5 cm ±1", "Zürich, FRANÇOIS"),
]
FOREIGN = {
    "gb18030": ("病人编号,病理类型", "PRCC,男", "协和医院"),
    "big5": ("乳頭狀", "男"),
    "cp949": ("남", "유두상 신세포암"),
    "shift_jis": ("男性", "乳頭状"),
    "cp1251": ("мужской", "хромофобный"),
    "cp1253": ("άνδρας",),
    "cp1254": ("b\u00f6brek kad\u0131n", "\u0130stanbul"),
    "cp1250": ("mężczyzna", "kobieta ląd", "žena", "muž", "světlobuněčný", "nő", "jaśnokomórkowy"),
    "mac_roman": ("männlich", "Größe", "señor niño", "rénal", "histología", "Ärzte", "Épithélium"),
    "cp850": ("männlich", "señor"),
}


@pytest.mark.parametrize("text", WESTERN)
def test_western_text_is_read_from_either_encoding(text):
    assert decoded_texts(text.encode("cp1252")) == {"cp1252": text}
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert decoded_texts(text.encode(encoding)) == {"utf-8": text}


@pytest.mark.parametrize(("encoding", "text"), [(name, t) for name, texts in FOREIGN.items() for t in texts])
def test_other_encodings_never_become_western_letters(encoding, text):
    found = decoded_texts(text.encode(encoding))
    assert "cp1252" not in found
    assert "utf-8" not in found


@pytest.mark.parametrize(
    "content", ["mÃ¤nnlich".encode(), "m\ufffdnnlich".encode(), "a".encode("utf-32"), b"a\0b"]
)
def test_letters_that_were_lost_are_no_text(content):
    assert decoded_texts(content) == {}


def test_the_refusal_names_encodings(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("patient_id,subtype,sex\nP1,PRCC,男\n".encode("gb18030"))
    with pytest.raises(CohortError) as refusal:
        read_table(path)
    assert "gb18030" in refusal.value.found
    assert "UTF-8" in refusal.value.remedy


def test_a_long_word_costs_no_square(tmp_path):
    assert list(decoded_texts(("x" * 1_000_000 + "ä" * 1).encode("cp1252"))) == ["cp1252"]
