"""Is the posterior calibrated, sharp and right? Simulation-based calibration, coverage, contraction, and the exact posterior as referee.

Calibration cannot see lost information: a network that ignores half of the trace passes it. Therefore the sds are compared with the
exact posterior's, and a classifier tries to tell the draws apart (C2ST: .5 = cannot).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVELS = np.arange(1, 20) / 20
N_ERRORS = 2.0  #: standard errors that a score may lie beyond its limit
ECDF_LIMITS = (0.04, 0.06)  #: largest distance of the ranks' distribution from the uniform one: above them warn, fail
CALIBRATION_LIMITS = {"coverage_50": 0.05, "coverage_90": 0.03, "calibration_error": 0.03, "median_z": 0.15}
LEAST_CONTRACTION = {"C_m": 0.99, "g_L": 0.99, "E_L": 0.99, "k": 0.98, "V_thr": 0.95}
SD_RATIO = (0.95, 2.2)


class Calibration(NamedTuple):
    """Scores of one parameter over many test simulations."""

    log_gamma_01: float  #: below 0: the ranks leave the 99 % band of uniformity
    log_gamma_05: float  #: the same for the 95 % band
    ecdf_distance: float  #: largest |ECDF of the ranks - uniform|
    ecdf_distance_se: float  #: standard error of the same, for uniform ranks
    coverage_50: float
    coverage_50_se: float
    coverage_90: float
    coverage_90_se: float
    calibration_error: float  #: mean |coverage - level| over 19 levels
    contraction: float  #: median of 1 - posterior variance / prior variance
    median_z: float  #: median of (posterior mean - truth) / posterior sd
    bias: float  #: mean error of the posterior mean in prior sd
    recovery_r: float  #: correlation of posterior mean and truth


class Sharpness(NamedTuple):
    """One posterior against the exact one, over traces."""

    sd_ratio: np.ndarray  #: (n_trace, n_parameter) sd / exact sd
    mean_error: np.ndarray  #: (n_trace, n_parameter) |mean - exact mean| / exact sd
    c2st: np.ndarray  #: (n_trace,)


class Finding(NamedTuple):
    """One line of the verdict."""

    parameter: str
    score: str
    value: float
    demand: str
    verdict: str  #: pass, warn or fail


def sbc_ranks(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how many draws lie below the truth: (n_trace, n_draws, d), (n_trace, d) -> integers (n_trace, d) in 0..n_draws."""
    return (draws < truth[:, None]).sum(axis=1)


def gamma_statistic(ranks: np.ndarray, n_draws: int) -> np.ndarray:
    """Return the smallest two-sided binomial tail of the ranks' distribution function (Saeilynoja et al. 2022, eq. 7).

    Parameters
    ----------
    ranks : integers (n_repeat, n_trace)
    """
    n = ranks.shape[1]
    level = np.arange(1, n_draws + 1) / (n_draws + 1)
    counts = np.stack([np.bincount(row, minlength=n_draws + 1)[:-1].cumsum() for row in ranks])
    tail = np.minimum(stats.binom.cdf(counts, n, level), stats.binom.sf(counts - 1, n, level))
    return 2 * tail.min(axis=1)


def log_gamma(ranks: np.ndarray, n_draws: int, quantile: float, seed: int = 0, n_null: int = 1000) -> float:
    """Return log(gamma / the null's quantile); below 0 the ranks are not uniform at that level."""
    null = gamma_statistic(np.random.default_rng(seed).integers(0, n_draws + 1, (n_null, len(ranks))), n_draws)
    return float(np.log(max(gamma_statistic(ranks[None], n_draws)[0], 1e-300) / np.quantile(null, quantile)))


def ecdf_band(n: int, n_draws: int, seed: int = 0, n_null: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return levels and the simultaneous 95 % band of (ECDF - level) of uniform ranks."""
    null = np.random.default_rng(seed).integers(0, n_draws + 1, (n_null, n))
    gamma = np.quantile(gamma_statistic(null, n_draws), 0.05)
    level = np.arange(1, n_draws + 1) / (n_draws + 1)
    return level, stats.binom.ppf(gamma / 2, n, level) / n - level, stats.binom.ppf(1 - gamma / 2, n, level) / n - level


def calibration(draws: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> dict[str, Calibration]:
    """Return the scores of each parameter.

    Parameters
    ----------
    draws : (n_trace, n_draws, n_parameter) in coordinates (prior sd 1)
    truth : (n_trace, n_parameter)
    """
    ranks, n_draws = sbc_ranks(draws, truth), draws.shape[1]
    mean, sd = draws.mean(axis=1), draws.std(axis=1)
    table = {}
    for i, name in enumerate(names):
        pit = (ranks[:, i] + 0.5) / (n_draws + 1)
        covered = np.array([np.mean(np.abs(pit - 0.5) <= level / 2) for level in LEVELS])
        table[name] = Calibration(
            log_gamma(ranks[:, i], n_draws, 0.01),
            log_gamma(ranks[:, i], n_draws, 0.05),
            float(np.max(np.abs(np.sort(pit) - (np.arange(len(pit)) + 0.5) / len(pit)))),
            float(0.26 / np.sqrt(len(pit))),  # the sd of Kolmogorov's distribution
            float(covered[9]),
            standard_error(covered[9], len(pit)),
            float(covered[17]),
            standard_error(covered[17], len(pit)),
            float(np.mean(np.abs(covered - LEVELS))),
            float(np.median(1 - sd[:, i] ** 2)),
            float(np.median((mean[:, i] - truth[:, i]) / sd[:, i])),
            float(np.mean(mean[:, i] - truth[:, i])),
            float(np.corrcoef(mean[:, i], truth[:, i])[0, 1]),
        )
    return table


def coverage_curve(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the coverage of central intervals at ``LEVELS``, (n_level, n_parameter)."""
    pit = (sbc_ranks(draws, truth) + 0.5) / (draws.shape[1] + 1)
    return np.stack([np.mean(np.abs(pit - 0.5) <= level / 2, axis=0) for level in LEVELS])


def c2st(a: np.ndarray, b: np.ndarray, seed: int = 0, n_folds: int = 5) -> float:
    """Return the cross-validated accuracy of a classifier between two sets of draws (n, d); .5 = indistinguishable.

    A network of two layers of 10 d units on jointly whitened draws (Lopez-Paz & Oquab 2017; sbi's settings).
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    n = min(len(a), len(b))
    x, y = np.concatenate([a[:n], b[:n]]), np.repeat([0, 1], n)
    root = np.linalg.cholesky(np.cov(x.T) + 1e-12 * np.eye(x.shape[1]))
    x = np.linalg.solve(root, (x - x.mean(axis=0)).T).T
    width = 10 * x.shape[1]
    classifier = MLPClassifier(
        (width, width),
        max_iter=60,
        batch_size=100,
        learning_rate_init=3e-3,
        random_state=seed,
        tol=1e-3,
        n_iter_no_change=8,
    )
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopping early is intended
        return float(cross_val_score(classifier, x, y, cv=folds).mean())


def sharpness(draws: np.ndarray, exact: np.ndarray, with_c2st: bool = True) -> Sharpness:
    """Return how draws (n_trace, n_draws, d) differ from exact draws of the same shape."""
    exact_sd = exact.std(axis=1)
    error = np.abs(draws.mean(axis=1) - exact.mean(axis=1)) / exact_sd
    accuracy = [c2st(a, b) for a, b in zip(draws, exact, strict=True)] if with_c2st else []
    return Sharpness(draws.std(axis=1) / exact_sd, error, np.array(accuracy))


def median_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the median of values (n,) and its standard error, that of the median of a normal sample (infinite of one value)."""
    spread = values.std(ddof=1) if len(values) > 1 else np.inf
    return float(np.median(values)), float(1.25 * spread / np.sqrt(len(values)))


def standard_error(share: float, n: int) -> float:
    """Return the standard error of a share of ``n`` independent traces (no less than that of one trace)."""
    return float(np.sqrt(max(share * (1 - share), 1 / n) / n))


def judge(table: dict[str, Calibration], sd_ratio: dict[str, tuple[float, float]]) -> list[Finding]:
    """Return pass / warn / fail of every demand (``CALIBRATION_LIMITS``); ``sd_ratio``: median and its standard error.

    The size of a deviation is judged, not whether it is significant: with enough traces every network deviates significantly. A
    limit is widened by two standard errors of its score, so that a verdict says something about the network and not about the
    draw of its test traces; the log-gammas of the ranks are told beside it.
    """
    findings = []
    for name, c in table.items():
        allowed = [limit + N_ERRORS * c.ecdf_distance_se for limit in ECDF_LIMITS]
        verdict = "fail" if c.ecdf_distance > allowed[1] else "warn" if c.ecdf_distance > allowed[0] else "pass"
        demand = f"<= {allowed[0]:.3f} (warn), {allowed[1]:.3f} (fail)"
        findings.append(Finding(name, "ranks, distance from uniform", c.ecdf_distance, demand, verdict))
        for score, nominal in (("coverage_50", 0.5), ("coverage_90", 0.9)):
            room = CALIBRATION_LIMITS[score] + N_ERRORS * getattr(c, f"{score}_se")
            findings.append(within(name, score, getattr(c, score), nominal - room, nominal + room))
        room = CALIBRATION_LIMITS["calibration_error"] + c.coverage_50_se
        findings.append(within(name, "calibration_error", c.calibration_error, 0.0, room))
        if name in LEAST_CONTRACTION:
            findings.append(within(name, "contraction", c.contraction, LEAST_CONTRACTION[name], 1.0))
        room = (
            CALIBRATION_LIMITS["median_z"] + N_ERRORS * 2.5 * c.coverage_50_se
        )  # the se of a median is 1.25 / sqrt(n)
        findings.append(within(name, "median_z", c.median_z, -room, room))
        if name in sd_ratio:
            ratio, se = sd_ratio[name]
            low, high = SD_RATIO
            findings.append(within(name, "sd / exact sd", ratio, low - N_ERRORS * se, high + N_ERRORS * se))
    return findings


def within(parameter: str, score: str, value: float, low: float, high: float) -> Finding:
    """Return the finding that a score lies in [low, high]."""
    return Finding(
        parameter, score, float(value), f"{low:.3g} to {high:.3g}", "pass" if low <= value <= high else "fail"
    )


def worst(findings: Sequence[Finding]) -> str:
    """Return the worst verdict of all: fail, warn or pass."""
    verdicts = {f.verdict for f in findings}
    return "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass"
