"""What recall a threshold promises on new patients, given the patients that were held out: of one
network, or of the networks of all folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.special import betaln
from scipy.stats import beta, binom

# With so much confidence, over the choice of patients that were held out, the promised recall holds
# on new ones.
CONFIDENCE = 0.9
# Where a hierarchy of networks is integrated: the mean share they miss, and one over the root of
# how many patients' worth of evidence that mean is for each. The smallest is a hundredth of a
# patient in a thousand; beyond the widest spread, of three patients' worth, networks would have
# nothing to do with each other.
_LOWEST, _MEANS, _WIDEST, _SPREADS = 1e-5, 120, 0.6, 60


def rank(patients: int, target: float, confidence: float = CONFIDENCE) -> int:
    """Which of the lowest scores may be the threshold, of one network.

    If the threshold is the k-th lowest of n patients' scores, the share of all patients that lies
    below it has a beta distribution with k and n - k + 1, whatever the scores' own (Wilks 1941; the
    same as conformal prediction given its calibration set, Vovk 2012). So the recall on new
    patients is at least ``target`` with the probability that a binomial of n and 1 - ``target`` is
    k or more.

    Returns:
        The highest k for which that is at least ``confidence``; 0 where even the lowest score
        promises less.
    """
    return int(np.sum(binom.sf(np.arange(patients), patients, 1 - target) >= confidence))


def promise(patients: int, k: int, confidence: float = CONFIDENCE) -> float:
    """The recall on new patients that holds with ``confidence`` if the threshold is the k-th lowest
    score of ``patients``, of one network.
    """
    return float(beta.ppf(1 - confidence, patients - k + 1, k))


def confidence_in(recall: float, missed: Sequence[float], patients: Sequence[int]) -> float:
    """How probable it is that the first of several networks keeps ``recall`` on new patients, given
    what all of them missed of their own.

    The networks are of one recipe, each with other patients held out, and do not miss the same
    share at the same threshold. So their shares are drawn from a beta distribution whose mean and
    width are unknown and evenly likely beforehand (Gelman et al., Bayesian Data Analysis, 3rd ed.,
    section 5.3: uniform in the mean and in one over the root of the sum of both parameters). Where
    the networks miss alike, all patients speak for the first one; where they differ, its own count
    for most.

    Args:
        recall: 0 to 1.
        missed: patients that each network misses, the first one's first; shares of patients may be
            counted.
        patients: with pneumonia that each was asked about.
    """
    alpha, other, weights, means = _hierarchy()
    evidence = weights.copy()
    for out, of in zip(missed, patients, strict=True):
        evidence += betaln(alpha + out, other + of - out) - means
    probable = np.exp(evidence - evidence.max())
    return float(
        np.sum(probable * beta.cdf(1 - recall, alpha + missed[0], other + patients[0] - missed[0]))
        / probable.sum()
    )


def supported(
    missed: Sequence[float], patients: Sequence[int], confidence: float = CONFIDENCE
) -> float:
    """The highest recall, down to a thousandth, in which there is so much confidence; see
    :func:`confidence_in`.
    """
    low, high = 0, 1000
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high)
            if confidence_in(middle / 1000, missed, patients) >= confidence
            else (low, middle - 1)
        )
    return low / 1000


@cache
def _hierarchy() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both parameters of each beta distribution, its log weight beforehand, and the logarithm of
    its beta function.
    """
    mean, spread = np.meshgrid(
        np.geomspace(_LOWEST, 1 - 1e-3, _MEANS),
        (np.arange(_SPREADS) + 0.5) * _WIDEST / _SPREADS,
        indexing="ij",
    )
    alpha, other = mean / spread**2, (1 - mean) / spread**2
    # Evenly in the mean itself is by its size on a grid of logarithms.
    return alpha, other, np.log(mean), betaln(alpha, other)
