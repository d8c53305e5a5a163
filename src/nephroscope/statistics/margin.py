"""Is one AUC at most so much below another, or at most so much away from it: non-inferiority and equivalence."""

from dataclasses import dataclass, replace

from scipy.stats import norm
from scipy.stats import t as student

from nephroscope.records import Estimate
from nephroscope.records.settings import check_within
from nephroscope.statistics.auc import PairedTest


@dataclass(frozen=True, kw_only=True)
class MarginTest:
    """The difference of two AUCs, first minus second, against a margin stated beforehand.

    Attributes:
        margin: What may be lost, above 0.
        p_noninferior: One-sided, of the first being worse than the second by the margin or more.
        p_equivalent: The larger of both one-sided p: of a difference as large as the margin either way.
        noninferior: The interval of the difference lies above minus the margin.
        equivalent: It lies within the margin on both sides.
        words: The same as a sentence.
    """

    margin: float
    p_noninferior: float | None
    p_equivalent: float | None
    noninferior: bool
    equivalent: bool
    words: str


def against_margin(test: PairedTest, margin: float, names: tuple[str, str]) -> MarginTest:
    """Whether the first AUC is shown to be at most ``margin`` below the second, and at most so far from it.

    The interval of the difference decides, so at 95 % each one-sided test is at 2.5 %. Without a standard error
    nothing is shown.

    Raises:
        ConfigError: The margin is not above 0 and below 0.5.

    Source:
        Schuirmann 1987, J Pharmacokinet Biopharm 15:657 (two one-sided tests); for AUCs: Obuchowski 1997, Acad Radiol
        4:526.
    """
    d = test.difference
    if d.value is None or d.low is None or d.high is None or not test.se:
        return interval_against_margin(replace(d, low=None, high=None, method=test.method), margin, names)
    below, above = ((margin + side * d.value) / test.se for side in (1, -1))
    p_below, p_above = (
        float(norm.sf(z) if test.df is None else student.sf(z, test.df)) for z in (below, above)
    )
    return interval_against_margin(d, margin, names, (p_below, p_above))


def interval_against_margin(
    d: Estimate, margin: float, names: tuple[str, str], p: tuple[float, float] | None = None
) -> MarginTest:
    """The same from the interval of a difference alone, such as that of a mean of readers from a model.

    ``p`` are one-sided, of being worse by the margin and of being better by it, where they are known.
    """
    check_within("--margin", margin, 0.0001, 0.5)
    first, second = names
    if d.value is None or d.low is None or d.high is None:
        words = f"whether {first} is not inferior to {second} cannot be tested: {d.method}"
        return MarginTest(
            margin=margin,
            p_noninferior=None,
            p_equivalent=None,
            noninferior=False,
            equivalent=False,
            words=words,
        )
    noninferior = d.low > -margin
    equivalent = noninferior and d.high < margin
    does = "is" if noninferior else "is not"
    words = f"{first} {does} shown to be at most {margin:g} worse than {second}"
    if equivalent:
        words = f"{first} and {second} are shown to differ by less than {margin:g}"
    size = f"difference {d.value:.3f}, {d.low:.3f} to {d.high:.3f}"
    tested = f"; one-sided p {p[0]:.4f}, both sides {max(p):.4f}" if p else ""
    return MarginTest(
        margin=margin,
        p_noninferior=p[0] if p else None,
        p_equivalent=max(p) if p else None,
        noninferior=noninferior,
        equivalent=equivalent,
        words=f"{words} ({size}{tested})",
    )


def turned(d: Estimate) -> Estimate:
    """The same difference, second minus first."""
    low, high = (None if end is None else -end for end in (d.high, d.low))
    return replace(d, value=None if d.value is None else -d.value, low=low, high=high)
