"""The mean of the sites' tensors: sums in float64, in the order of the sites' names, rounded once at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import ArchiveError
from nephroscope.learning.training.rounds import MEAN, NETWORK, VARIANCE, Arrays

Array = npt.NDArray[Any]


def mean_of(arrays: Mapping[str, Arrays], weights: Mapping[str, int]) -> Arrays:
    """FedAvg: each tensor's mean over sites, weighted by their patients.

    The variance of batch norm is that of all sites together: the mean of theirs, and the spread of their means.

    For one site it is that site's tensors to the bit: a product of a float32 with a number of patients is exact in
    float64, and so is its division by the same number. The order in which sites came changes nothing.

    Args:
        arrays: Tensors by site, all with the same names, shapes and types.
        weights: Training patients by site.

    Raises:
        ArchiveError: A site's tensors are others than those of the first.

    Source:
        McMahan et al. 2017, Communication-efficient learning of deep networks from decentralized data.
    """
    sites = sorted(arrays)
    first = arrays[sites[0]]
    for site in sites:
        check_alike(arrays[site], first, site)
    shares = [weights[site] for site in sites]
    total = sum(shares)
    found: Arrays = {}
    for name, like in first.items():
        summed = np.zeros(like.shape, np.float64)
        for site in sites:
            summed += arrays[site][name].astype(np.float64) * weights[site]
        if name.endswith(VARIANCE):
            summed += spread_of_means([arrays[s][name.removesuffix(VARIANCE) + MEAN] for s in sites], shares)
        mean = summed / total
        found[name] = np.asarray(np.rint(mean) if like.dtype.kind in "iu" else mean, like.dtype)
    return found


def spread_of_means(means: Sequence[Array], shares: Sequence[int]) -> Array:
    """Sum of the squared distances of the sites' means from their mean, times patients; exactly 0 for one site."""
    wide = [mean.astype(np.float64) for mean in means]
    middle = sum(mean * n for mean, n in zip(wide, shares, strict=True)) / sum(shares)
    return np.asarray(sum(np.square(mean - middle) * n for mean, n in zip(wide, shares, strict=True)))


def check_alike(arrays: Arrays, like: Arrays, site: str) -> None:
    """Refuse tensors of other names, shapes or types than these.

    Raises:
        ArchiveError: They are.
    """
    shapes = [
        {name: (value.shape, value.dtype.str) for name, value in some.items()} for some in (arrays, like)
    ]
    if shapes[0] != shapes[1]:
        odd = sorted(name for name in {**arrays, **like} if shapes[0].get(name) != shapes[1].get(name))
        raise ArchiveError(
            where=f"site {site}, tensor {odd[0]}",
            expected="the names, shapes and types that every site has",
            found=f"{len(odd)} that differ",
            remedy="look which version of nephroscope this site has",
        )


def norm(arrays: Arrays) -> float:
    """Length of all weights as one vector, without moments and counters."""
    parts = [
        float(np.square(value.astype(np.float64)).sum())
        for name, value in arrays.items()
        if name.startswith(NETWORK) and value.dtype.kind == "f"
    ]
    return float(np.sqrt(sum(parts)))


def difference(one: Arrays, other: Arrays) -> Arrays:
    """The tensors of one minus those of another with the same names, in float64."""
    return {name: value.astype(np.float64) - other[name] for name, value in one.items() if name in other}


def drift(arrays: Mapping[str, Arrays], mean: Arrays, before: Arrays) -> dict[str, float | None]:
    """How far each site's weights are from the mean, as a share of how far that went; None where it did not move."""
    went = norm(difference(mean, before))
    return {
        site: norm(difference(arrays[site], mean)) / went if went > 0 else None for site in sorted(arrays)
    }


def sums_of(counts: Sequence[tuple[int, ...] | None]) -> tuple[int, ...] | None:
    """Sums of counts by subtype over the sites that told them; None where none did."""
    told = [one for one in counts if one is not None]
    return tuple(int(n) for n in np.sum(told, axis=0)) if told else None
