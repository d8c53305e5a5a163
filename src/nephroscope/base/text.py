"""Small text helpers that every room uses: folded text for comparing, short lists, p-values, numbers with a noun."""

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable


def without_accents(text: str) -> str:
    """Lower case without accents, so that ``Portalvenös`` and ``portalvenos`` compare as equal."""
    split = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in split if not unicodedata.combining(c))


def plain_words(text: str) -> str:
    """Lower case without accents, with single spaces."""
    return " ".join(without_accents(text).split())


def first_few(items: Iterable[object], most: int = 8) -> str:
    """The first items and the number of the others: ``a, b, c and 4 more``."""
    everything = [str(item) for item in items]
    more = len(everything) - most
    return ", ".join(everything[:most]) + (f" and {more} more" if more > 0 else "")


NOT_SURE = {
    "not sure",
    "unsure",
    "uncertain",
    "indeterminate",
    "unknown",
    "unklar",
    "unsicher",
    "incertain",
    "dubbio",
    "?",
}


def is_not_sure(text: str) -> bool:
    """True for the usual ways to write that one is not sure."""
    return plain_words(text).replace("_", " ").replace("-", " ").strip() in NOT_SURE


LEVEL = 0.05  # the printed p must show on which side of it the value lies


def p_words(p: float, decimals: int | None = None) -> str:
    """A p-value as papers print it: ``0.034``, ``0.21``, ``< 0.001``.

    Args:
        p: From 0 to 1.
        decimals: Number of decimals. None: two; three below 0.1; four where three would round to 0.050.
    """
    least = 3 if decimals is None else decimals
    if decimals is None and round(p, 3) == LEVEL and p != LEVEL:
        least = 4
    if p < 10**-least:
        return f"< {10**-least:.{least}f}"
    return f"{p:.{2 if decimals is None and round(p, least) >= 0.1 else least}f}"


def p_is(p: float, decimals: int | None = None) -> str:
    """A p-value in a sentence: ``p = 0.034``, ``p < 0.001``."""
    words = p_words(p, decimals)
    return f"p {words}" if words.startswith("<") else f"p = {words}"


def counted_noun(n: int, noun: str) -> str:
    """A number with its noun: ``1 fold``, ``5 folds``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\](?=[(\[])")
_TARGET = re.compile(r"^( {0,3}\[[^\]\n]*)\](?=:)", re.MULTILINE)


def plain_markdown(text: str) -> str:
    """Markdown in which names cannot become HTML, links or pictures: ``<`` before a tag and ``](`` are escaped."""
    return _TARGET.sub(r"\1&#93;", _LINK.sub("&#93;", _TAG.sub("&lt;", text)))


_FOR_CMD = set(" \t&|<>^()%!;,='`$@{}[]")  # of cmd and PowerShell


def shell_line(*words: object) -> str:
    """A command line to paste into the shell at hand: words with spaces or special characters are quoted."""
    texts = [str(word) for word in words]
    if os.name != "nt":
        return shlex.join(texts)
    return " ".join(f'"{text}"' if not text or set(text) & _FOR_CMD else text for text in texts)
