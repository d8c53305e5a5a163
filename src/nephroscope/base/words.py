"""Numbers in; the words that every room uses for them out: a p-value, a number with its noun."""

import unicodedata


def plain_words(text: str) -> str:
    """Small letters without accents, single spaces."""
    flat = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in flat if not unicodedata.combining(c)).split())


NOT_SURE = frozenset(
    (
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
    )
)


def is_not_sure(text: str) -> bool:
    """True for the usual ways to write it."""
    return plain_words(text).replace("_", " ").replace("-", " ").strip() in NOT_SURE


LEVEL = 0.05  # on whose side a p lies must be seen


def p_words(p: float, decimals: int | None = None) -> str:
    """As papers write it: ``0.034``, ``0.21``, ``< 0.001``; with ``decimals`` always so many of them.

    Args:
        p: From 0 to 1.
        decimals: None: three below 0.1, four where three would hide the side of 0.05, else two.
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
