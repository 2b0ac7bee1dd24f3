"""Is the estimated rate right? Held-out bits per spike, simple rivals, and time rescaling.

Scores are cross-validated over trials. The reference is a homogeneous Poisson rate, the training trials' mean of the taste;
the rivals are what a user would do instead: one rate for all tastes (better than the reference where tastes do not differ), a
smoothed PSTH, and a rolling window over the trial's own past. Each also with a slow gain over trials: a model whose history
foretells nothing but a drift is no better than these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import kolmogorov, stdtrit, xlogy

from ..model.design import Design, Trials, scored_counts
from ..model.effects import Fit, predict
from ..model.kernels import Window
from ..model.observation import log_likelihood
from ..model.population import Settings, fit_design, make_design, nested_terms
from ..model.refit import observed_as
from .drift import slow_gain

PSTH_SD_MS = 50
ROLLING_MS = 250
BASELINES = ("homogeneous", "one rate", "psth", "rolling window")
POISSON = np.array(np.inf)  # size of the scatter (`observation`)
SLOW = ("homogeneous", "one rate", "psth")  # these are scored with a slow gain too


class FoldScore(NamedTuple):
    """Held-out log-likelihoods of one fold; trials outside the fold are zero."""

    fold: int
    log_likelihood: dict[str, np.ndarray]  # model or baseline -> (unit, trial), nats
    rate: np.ndarray  # (trial, bin in window, unit) expected count under the full model; NaN outside the fold
    inclusion: np.ndarray  # (target, source) of the full model, empty without coupling
    slow: dict[
        str, np.ndarray
    ]  # as log_likelihood: SLOW and 'model' with a slow gain; 'drift' alone in place of 'model' where that has it


class Comparison(NamedTuple):
    """One row of the model table, in bits per spike."""

    pooled: float
    pooled_low: float
    pooled_high: float
    mean: float
    median: float
    n_units: int


def fold_of_trials(taste: np.ndarray, n_folds: int) -> np.ndarray:
    """Fold of each trial: its rank within its taste modulo ``n_folds``, so that drift falls on all folds alike.

    Examples
    --------
    >>> fold_of_trials(np.array([0, 0, 1, 0, 1]), 2)
    array([0, 1, 0, 0, 1])
    """
    rank = np.zeros(len(taste), int)
    for k in np.unique(taste):
        rank[taste == k] = np.arange((taste == k).sum())
    return rank % n_folds


def bits_per_spike(log_likelihood, reference, n_spikes) -> np.ndarray:
    """Information gained over the reference, bits per spike; NaN below two spikes.

    Examples
    --------
    >>> float(bits_per_spike(np.log(2.0) * 10, 0.0, 5))
    2.0
    """
    n_spikes = np.asarray(n_spikes, float)
    gain = (np.asarray(log_likelihood) - reference) / np.log(2)
    return np.where(n_spikes >= 2, gain / np.maximum(n_spikes, 1), np.nan)


def homogeneous(counts: np.ndarray, taste: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Training mean count per bin of each trial's taste: (trial, unit); half a spike where there was none.

    ``counts`` (trial, bin, unit) are NaN where nothing was observed.
    """
    out = np.zeros((len(counts), counts.shape[2]))
    every = _mean_count(counts[train], np.full(counts.shape[2], np.nan))
    for k in np.unique(taste):
        out[taste == k] = _mean_count(counts[train & (taste == k)], every)
    return out


def _mean_count(counts: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Mean over observed bins, half a spike where there was none, ``otherwise`` where nothing was observed: (unit,)."""
    n = np.isfinite(counts).sum(axis=(0, 1))
    mean = np.maximum(np.nansum(counts, axis=(0, 1)), 0.5) / np.maximum(n, 1)
    return np.where(n > 0, mean, otherwise)


def psth(counts: np.ndarray, taste: np.ndarray, train: np.ndarray, bin_ms: int) -> np.ndarray:
    """Smoothed training PSTH of each trial's taste, (trial, bin, unit), with one pseudo-trial at the mean rate."""
    flat = homogeneous(counts, taste, train)
    out = np.repeat(flat[:, None], counts.shape[1], axis=1)
    for k in np.unique(taste):
        chosen = counts[train & (taste == k)]
        if len(chosen):
            seen = np.isfinite(chosen)
            total = smoothed(np.nansum(chosen, axis=0), bin_ms)
            weight = len(chosen) if seen.all() else smoothed(seen.sum(axis=0).astype(float), bin_ms)
            out[taste == k] = (total + flat[taste == k][0]) / (weight + 1)
    return out


def smoothed(values: np.ndarray, bin_ms: int) -> np.ndarray:
    """Values (bin, unit) under a Gaussian of 50 ms."""
    return gaussian_filter1d(values, PSTH_SD_MS / bin_ms, axis=0, mode="nearest")


def rolling_window(trials: Trials, window: Window, flat: np.ndarray, bin_ms: int) -> np.ndarray:
    """Mean count over the trial's last 250 ms, this bin excluded, with one pseudo-bin at the mean: (trial, bin, unit)."""
    width = max(1, ROLLING_MS // bin_ms)
    counts = trials.counts.astype(float)
    bins = np.arange(window.start, window.stop)
    first = np.maximum(bins - width, 0)
    seen = (bins - first)[:, None]
    if trials.observed is not None:
        seen = _sum_between(trials.observed.astype(float), first, bins)
        counts = np.where(trials.observed, counts, 0)
    return (_sum_between(counts, first, bins) + flat[:, None]) / (seen + 1)


def _sum_between(values: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sums over ``[first, stop)`` of the bins of (trial, bin, unit)."""
    total = np.cumsum(np.pad(values, ((0, 0), (1, 0), (0, 0))), axis=1)
    return total[:, stop] - total[:, first]


def score_fold(
    trials: Trials, window: Window, settings: Settings, n_folds: int, fold: int, nested: bool = True
) -> FoldScore:
    """Fit on all other folds, prior included, and score the trials of ``fold``.

    Returns
    -------
    FoldScore
    """
    test = fold_of_trials(trials.taste, n_folds) == fold
    models, whole = nested_terms(settings), make_design(trials, window, settings)
    counts = scored_counts(trials, window, settings.history_window // settings.bin_size)
    flat = homogeneous(counts, trials.taste, ~test)
    rates = {
        "homogeneous": np.broadcast_to(flat[:, None], counts.shape),
        "one rate": np.broadcast_to(homogeneous(counts, 0 * trials.taste, ~test)[:, None], counts.shape),
        "psth": psth(counts, trials.taste, ~test, settings.bin_size),
        "rolling window": rolling_window(trials, window, flat, settings.bin_size),
    }
    if len(np.unique(trials.taste)) == 1:  # it is the reference
        del rates["one rate"]
    inclusion = np.zeros((0, 0))
    smaller: Fit | None = None
    train, held_out = whole.rows(~test), whole.rows(test)
    for name, terms in models.items() if nested else list(models.items())[-1:]:
        like = None if smaller is None else smaller.prior
        fit = fit_design(train.only(terms), settings, like, covariance=False, base=smaller)
        if fit.prior is not None and "history" in terms:
            smaller, inclusion = fit, fit.prior.inclusion
        rate = rates[name] = _laid_out(counts, test, at_least(predict(held_out.only(terms), fit), fit, whole))
    size: dict[str, np.ndarray] = {}
    if settings.observation != "poisson":  # the full model once more, its counts no longer Poisson
        fit = observed_as(train.only(terms), settings, fit, never_two(counts), covariance=False)
        name = f"{name} ({settings.observation})"
        assert fit.size is not None
        rate = rates[name] = _laid_out(counts, test, at_least(predict(held_out.only(terms), fit), fit, whole))
        size[name] = fit.size
    scores = {n: _scored(counts, r, test, size.get(n, POISSON)) for n, r in rates.items()}
    slow = {n: with_slow_gain(counts, rates[n], trials.time, test) for n in SLOW if n in rates}
    if "drift" in terms:  # the model has its own; the rival is that alone
        alone = fit_design(train.only(("drift",)), settings, covariance=False)
        drifting = _laid_out(counts, test, predict(held_out.only(("drift",)), alone))
        slow["drift"] = _scored(counts, drifting, test)
    else:
        fitted = _laid_out(counts, ~test, at_least(predict(train.only(terms), fit), fit, whole))
        everywhere = np.where(test[:, None, None], rate, fitted)
        slow["model"] = with_slow_gain(counts, everywhere, trials.time, test, size.get(name, POISSON))
    rate = np.where(np.isfinite(counts), rate, np.nan)
    return FoldScore(fold, scores, rate, inclusion if settings.include_coupling else np.zeros((0, 0)), slow)


def _scored(counts: np.ndarray, rate: np.ndarray, test: np.ndarray, size: np.ndarray = POISSON) -> np.ndarray:
    """Log-likelihood of the test trials, zero elsewhere: (unit, trial)."""
    table = np.zeros((counts.shape[2], len(counts)))
    table[:, test] = np.nansum(log_likelihood(counts[test], rate[test], size), axis=1).T
    return table


def _laid_out(counts: np.ndarray, chosen: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Rates (unit, row) of the chosen trials as (trial, bin, unit), NaN elsewhere."""
    out = np.full(counts.shape, np.nan)
    out[chosen] = rate.T.reshape(chosen.sum(), counts.shape[1], -1)
    return out


def with_slow_gain(
    counts: np.ndarray, rate: np.ndarray, time: np.ndarray | None, test: np.ndarray, size: np.ndarray = POISSON
) -> np.ndarray:
    """Log-likelihood of the test trials under ``rate`` (trial, bin, unit) times the slow gain that the others show: (unit, trial)."""
    time = np.arange(len(counts)) if time is None else time
    expected = np.where(np.isfinite(counts), rate, 0).sum(axis=1)
    gain = slow_gain(np.nansum(counts, axis=1), expected, time, ~test)
    return _scored(counts, rate * gain[:, None], test, size)


def at_least(rate: np.ndarray, fit: Fit, whole: Design) -> np.ndarray:
    """Rates (unit, row), those of units without a fit at least half a spike in the recording."""
    return np.maximum(rate, 0.5 / whole.counts.shape[1] * ~fit.fitted[:, None])


def never_two(counts: np.ndarray) -> np.ndarray:
    """Units that never have two spikes in a bin of (trial, bin, unit): (unit,)."""
    return np.nanmax(counts, axis=(0, 1), initial=0) <= 1


def compare(
    score: np.ndarray, reference: np.ndarray, n_spikes: np.ndarray, fold: np.ndarray, level: float = 0.95
) -> Comparison:
    """Bits per spike of one model over another, paired by fold.

    Parameters
    ----------
    score, reference, n_spikes : (unit, trial)
        Held-out log-likelihoods in nats, and spikes.
    fold : (trial,)
        Fold of each trial; the interval is a t interval over the folds' pooled differences.
    """
    use = n_spikes.sum(axis=1) >= 2
    if not use.any():
        return Comparison(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    gain, spikes = (score - reference)[use] / np.log(2), n_spikes[use]
    per_unit = gain.sum(axis=1) / spikes.sum(axis=1)
    pooled = gain.sum() / spikes.sum()
    folds = [k for k in np.unique(fold) if spikes[:, fold == k].sum() > 0]
    parts = np.array([gain[:, fold == k].sum() / spikes[:, fold == k].sum() for k in folds])
    half = np.nan
    if len(parts) > 1:
        half = stdtrit(len(parts) - 1, 0.5 + level / 2) * parts.std(ddof=1) / np.sqrt(len(parts))
    return Comparison(pooled, pooled - half, pooled + half, per_unit.mean(), float(np.median(per_unit)), int(use.sum()))


def fold_error(gain: np.ndarray, n_spikes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Standard error over folds of each unit's gain per spike, (unit,), NaN below two folds with spikes.

    Parameters
    ----------
    gain, n_spikes : (unit, trial)
        Held-out gain in bits, and spikes.
    fold : (trial,)
        Fold of each trial.
    """
    member = fold == np.unique(fold)[:, None]  # (fold, trial)
    spikes = n_spikes @ member.T
    parts = np.where(spikes > 0, (gain @ member.T) / np.maximum(spikes, 1), np.nan)
    n = np.isfinite(parts).sum(axis=1)
    mean = np.nansum(parts, axis=1, keepdims=True) / np.maximum(n, 1)[:, None]
    spread = np.nansum((parts - mean) ** 2, axis=1)
    return np.where(n > 1, np.sqrt(spread / np.maximum(n - 1, 1) / np.maximum(n, 1)), np.nan)


def rescaled_intervals(
    counts: np.ndarray, rate: np.ndarray, rng: np.random.Generator, corrected: bool = True
) -> np.ndarray:
    """Interspike intervals in units of expected spikes; standard exponential when the rate is right.

    The y spikes of a bin are placed uniformly at random within it, which is their distribution given y under a rate that is
    constant within the bin. This is the correction of Haslinger, Pipa & Brown (2010) for bins that hold several spikes.
    Without it (``corrected=False``) every spike sits at the end of its bin.

    Parameters
    ----------
    counts, rate : (row,)
        Consecutive bins; trials may follow one another.
    """
    counts = counts.astype(int)
    before = np.concatenate([[0.0], np.cumsum(rate)[:-1]])
    bins = np.repeat(np.arange(len(counts)), counts)
    place = rng.random(len(bins)) if corrected else np.ones(len(bins))
    return np.diff(np.sort(before[bins] + place * rate[bins]))


def time_rescaling(counts: np.ndarray, rate: np.ndarray, rng: np.random.Generator, corrected: bool = True):
    """Kolmogorov-Smirnov test of the rescaled intervals (Brown et al. 2002).

    Returns
    -------
    (quantiles, p)
        Sorted ``1 - exp(-interval)``, uniform under the model, and the p value; NaN below 10 intervals.
    """
    finite = np.isfinite(rate)
    z = np.sort(-np.expm1(-rescaled_intervals(counts[finite], rate[finite], rng, corrected)))
    return z, (kolmogorov_smirnov(z) if len(z) >= 10 else np.nan)


def kolmogorov_smirnov(z: np.ndarray) -> float:
    """p value of the two-sided test that sorted ``z`` is uniform, by Stephens' (1970) correction of the limit law.

    Written out because importing ``scipy.stats`` takes longer than the tests of a whole recording.
    """
    n = len(z)
    distance = max((np.arange(1, n + 1) / n - z).max(), (z - np.arange(n) / n).max())
    return float(kolmogorov((np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n)) * distance))


def rescaling_curves(
    counts: np.ndarray, rate: np.ndarray, seed: int, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Time rescaling of every unit: (cumulative fraction of quantiles at ``grid`` (unit, grid), p (unit,)).

    The random places of spikes within bins depend on the seed and the unit's index alone.
    """
    curves, p = np.full((counts.shape[2], len(grid)), np.nan), np.full(counts.shape[2], np.nan)
    for unit in range(counts.shape[2]):
        rng = np.random.default_rng([seed, unit])
        z, p[unit] = time_rescaling(counts[:, :, unit].ravel(), rate[:, :, unit].ravel(), rng)
        if len(z) >= 10:
            curves[unit] = np.searchsorted(z, grid, side="right") / len(z)
    return curves, p


def in_sample_gain(counts: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Log-likelihood of ``rate`` over the mean of the same trials, in nats: (unit,). Arrays are (trial, bin, unit)."""
    mean = np.nansum(counts, axis=(0, 1)) / np.maximum(np.isfinite(counts).sum(axis=(0, 1)), 1)
    mean = np.maximum(mean, 1e-300)
    return np.nansum(xlogy(counts, np.maximum(rate, 1e-300) / mean) - rate + mean, axis=(0, 1))


def nested_pairs(names: list[str]) -> list[tuple[str, str]]:
    """Pairs (smaller, larger) of models that differ by one effect.

    Examples
    --------
    >>> nested_pairs(["psth", "stimulus", "history", "history+stimulus"])
    [('stimulus', 'history+stimulus'), ('history', 'history+stimulus')]
    """
    effects = {name: set(name.split("+")) for name in names if name not in BASELINES and not name.endswith(")")}
    again = [(name.rpartition(" (")[0], name) for name in names if name.endswith(")")]  # under another observation
    pairs = [(a, b) for b in effects for a in effects if effects[a] < effects[b] and len(effects[b] - effects[a]) == 1]
    return pairs + [pair for pair in again if pair[0] in names]
