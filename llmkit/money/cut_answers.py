"""How long answers cut off at ``max_tokens`` would have been: their lengths are censored, not short."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NORMAL = NormalDist()
_cdf = np.vectorize(_NORMAL.cdf, otypes=[float])
_AROUND = 0.7
"""Prior standard deviation of log length around the usual one. An assumption, like the next two."""
_SIGMA, _SIGMA_SPREAD = 0.9, 0.25
_SIGMAS = np.linspace(0.4, 1.8, 15)


def uncut(output: Floats, is_cut: npt.NDArray[np.bool_], usual: float) -> tuple[Floats, float, float]:
    """The lengths had no answer been cut, the share of tokens that was never observed, and the standard deviation of
    the logarithm of the mean. Cut answers become longer ones, drawn from a log-normal distribution fitted to all.

    Location and spread are posterior means: complete answers contribute their density, cut ones the probability of
    being at least that long, and the prior is centred on ``usual`` tokens.
    """
    logs = np.log(np.maximum(output, 1))
    centre = np.log(usual) - _SIGMA**2 / 2
    mu, sigma = np.meshgrid(np.linspace(centre - 4, centre + 4, 81), _SIGMAS, indexing="ij")
    weight = -(((mu - centre) / _AROUND) ** 2 + ((sigma - _SIGMA) / _SIGMA_SPREAD) ** 2) / 2
    if len(whole := logs[~is_cut]):
        squares = len(whole) * (mu - whole.mean()) ** 2 + ((whole - whole.mean()) ** 2).sum()
        weight = weight - squares / sigma**2 / 2 - len(whole) * np.log(sigma)
    limits, counts = np.unique(logs[is_cut], return_counts=True)
    for limit, count in zip(limits, counts, strict=True):
        weight = weight + count * np.log(np.maximum(_cdf((mu - limit) / sigma), 1e-300))
    chance = np.exp(weight - weight.max())
    chance /= chance.sum()
    means = mu + sigma**2 / 2
    centre = (chance * means).sum()
    doubt = np.sqrt((chance * (means - centre) ** 2).sum())
    # the mean over the whole posterior, which exceeds the mean of the most probable distribution
    raised = (chance * np.exp(means - centre)).sum()
    longer = output.copy()
    for limit in limits:
        at = is_cut & (logs == limit)
        longer[at] = raised * _longer(
            float(limit), int(at.sum()), float((chance * mu).sum()), float((chance * sigma).sum())
        )
    guessed = float(longer[is_cut].sum() / longer.sum())
    return longer, guessed, float(doubt * guessed)


def _longer(limit: float, count: int, mu: float, sigma: float) -> Floats:
    """Return ``count`` lengths beyond a limit (a logarithm): evenly spaced quantiles of the truncated distribution."""
    below = min(_NORMAL.cdf((limit - mu) / sigma), 1 - 1e-9)
    shuffled = np.random.default_rng(0).permutation(count)  # else the first scenarios would get the shortest
    ranks = (below + (1 - below) * (rank + 0.5) / count for rank in shuffled)
    return np.exp([max(limit, mu + sigma * _NORMAL.inv_cdf(rank)) for rank in ranks])
