"""In which encoding the text of a table may be: UTF-8, else what it can be without turning into nonsense."""

import re

WESTERN = "cp1252"
# Encodings in which spreadsheets and hospital systems of some countries save a CSV.
OTHERS = ("gb18030", "big5", "shift_jis", "cp949", "cp1251", "cp1250", "cp1253", "cp1254", "mac_roman")
_LETTERS = "äöüÄÖÜßéèêëÉÈÊËàâáÀÂÁçÇîïíÎÏÍôóòÔÓúùûÚÙÛñÑãõøæåØÆÅœŒ"
_PAIRS = re.compile("[äöü]ß|éé|éè|çã|çõ|üí|ÄÖ|ÖÜ")  # of such letters, which words do have
_ODD = (  # \u2019 is the apostrophe of a word processor
    r"[^\W\da-zA-Z_]{2}",  # two letters beyond ASCII in a row: Chinese, Cyrillic, Korean
    r"[a-zß-ÿ][À-Þ]",  # a capital after a small letter
    r"[a-zA-Z][ìò][a-zA-Z]|õ(?!e)|[aeiou]œ",  # letters that stand at the end of words, or in few of them
    r"[^\W\d_][^\w\s\u2019\x00-\x7f][^\W\d_]|[^\W\d_][¹²³][^\W\d_]|€[a-z]|[¨\xb8¬¦]",  # signs within words
    r"[a-zA-Z]{3}(?<!qu)\u2019(?!s\b|t\b|re\b|ll\b|ve\b)[a-zA-Z]",  # an apostrophe where no word has one
)
_WORD = re.compile(r"[^\s,;|]+")
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf]|\ufffd")


def decoded_texts(content: bytes, doubt_utf8: bool = True) -> dict[str, str]:
    """The text that bytes may be, by encoding: one where it is clear, several where it is not, none for no text.

    UTF-8 and UTF-16 with a byte order mark are believed. Other bytes are Windows-1252, the encoding of spreadsheets
    in western Europe and America, when the text then looks like words of these languages. With ``doubt_utf8``, text
    that was decoded wrongly before it was saved as UTF-8 (``Ã¼`` for ``ü``) is none.
    """
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = _decoded(content, "utf-16" if wide else "utf-8-sig")
    if text is not None and "\0" not in text:
        return {} if doubt_utf8 and _MOJIBAKE.search(text) else {"utf-8": text}
    if wide or b"\0" in content:
        return {}
    western = _decoded(content, WESTERN)
    if western is not None and _looks_western(western):
        return {WESTERN: western}
    return {name: other for name in OTHERS if (other := _decoded(content, name)) is not None}


def _decoded(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _looks_western(text: str) -> bool:
    """True when letters beyond ASCII are those of western languages, and stand as they do there.

    Bytes of Chinese, Cyrillic or Polish text come out as two such letters in a row, or as signs within words.
    """
    words = {word[0] for word in _WORD.finditer(text) if not word[0].isascii()}
    plain = _PAIRS.sub("aa", " ".join(words))
    letters = {c for c in set(plain) if not c.isascii() and c.isalpha() and c not in "ªºµ"}
    return letters <= set(_LETTERS) and not any(re.search(odd, plain) for odd in _ODD)
