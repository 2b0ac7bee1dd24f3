"""What can be said without a network? A Gaussian posterior about a regression on the trace, the baseline that a network has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from ..answer import Answer, answer
from ..network.trained import TrainedModel
from ..neuron.priors import inferred
from ..neuron.simulator import add_noise, draw

N_FIT = 6000  #: simulations of each baseline: the first three quarters are regressed on, the rest gives the spread and chooses
N_COMPONENTS, N_SQUARED = 64, 20  #: principal components of the trace, and how many of them also enter as products
Features = Callable[[np.ndarray], np.ndarray]


def linear(x: np.ndarray) -> np.ndarray:
    """Return components (n, d) with a constant."""
    return np.column_stack([np.ones(len(x)), x])


def quadratic(x: np.ndarray) -> np.ndarray:
    """Return the same with all products of the first components."""
    i, j = np.triu_indices(min(N_SQUARED, x.shape[1]))
    return np.column_stack([linear(x), x[:, i] * x[:, j]])


BASELINES: dict[str, Features] = {"a linear regression": linear, "a quadratic regression": quadratic}


def log_scores(model: TrainedModel, z: np.ndarray, v_mv: np.ndarray, seed: int) -> tuple[str, np.ndarray]:
    """Return the best baseline's name and its log posterior density (n,) at the truth of test traces (chosen on other simulations).

    Parameters
    ----------
    z : (n, d) true coordinates of the test traces ``v_mv`` (n, n_time)
    """
    recipe, d = model.recipe, len(inferred(model.recipe.priors))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 515_029]))
    known, v = draw(recipe.priors, recipe.current, recipe.dt_ms, N_FIT, rng, recipe.method)
    v, known = add_noise(v, recipe.noise_mv, rng).astype(float), known.astype(float)
    mean = v.mean(axis=0)
    _, size, direction = np.linalg.svd(v[:2000] - mean, full_matrices=False)
    n = min(N_COMPONENTS, len(direction))
    to_unit = direction[:n].T / (size[:n] / np.sqrt(2000))
    cut = 3 * N_FIT // 4
    found = {
        "the prior": (gaussian(known[cut:], np.zeros((N_FIT - cut, d)), np.eye(d)).mean(), np.zeros_like(z), np.eye(d))
    }
    for name, features in BASELINES.items():
        x = features((v - mean) @ to_unit)
        gram = x[:cut].T @ x[:cut] + 1e-6 * cut * np.eye(x.shape[1])
        weight = np.linalg.solve(gram, x[:cut].T @ known[:cut])
        left = known[cut:] - x[cut:] @ weight
        covariance = np.cov(left.T) + 1e-12 * np.eye(d)
        at = features((v_mv.astype(float) - mean) @ to_unit) @ weight
        found[name] = (gaussian(left, np.zeros_like(left), covariance).mean(), at, covariance)
    best = max(found, key=lambda name: found[name][0])
    return best, gaussian(z, *found[best][1:])


def gaussian(z: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the log density (n,) of points (n, d) under normal distributions of one covariance."""
    apart, d = z - mean, z.shape[1]
    _, log_det = np.linalg.slogdet(covariance)
    return -0.5 * (np.sum(apart * np.linalg.solve(covariance, apart.T).T, axis=1) + log_det + d * np.log(2 * np.pi))


def answer_of(model: TrainedModel, z: np.ndarray, v_mv: np.ndarray, seed: int, first: str = "") -> Answer:
    """Return by how much the network's log posterior density at the truth beats the best baseline's, over test traces."""
    baseline, other = log_scores(model, z, v_mv, seed)
    gains = model.log_densities(z, v_mv) - other
    half = float(stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1)) / np.sqrt(len(gains))
    mean = float(gains.mean())
    unit = "natural log units of posterior density at the truth a trace"
    return answer("the network", baseline, mean, mean - half, mean + half, unit, first=first)
