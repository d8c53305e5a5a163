"""A reader's word in; whether it says "not sure", which is an answer but no call, out.

One rule for `readers` and `statistics kappa`: such an answer is left out of every figure of calls, and counted.
"""

from nephroscope.cohort.labels.values import plain_words

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
