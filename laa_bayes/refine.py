"""What is the exact posterior? Importance sampling around the optimum, tempered SMC where that fails, NUTS as the referee.

Each method returns equally weighted draws and two honest numbers: the effective sample size as a share of the draws, and the Pareto
shape k of the importance weights (below .7 they can be trusted; Vehtari et al. 2024).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.cluster import vq
from scipy.spatial import distance

from .likelihood import Observation, Optimum, Spec, fit, log_posterior, log_posteriors

N_IMPORTANCE = 4000
GOOD_ESS, GOOD_K = 0.30, 0.7  #: below/above these the Laplace proposal is replaced by SMC
POOR_ESS = 0.10  #: below this SMC is repeated with more particles


class NoOptimum(RuntimeError):
    """No start led to a finite likelihood (exit code 1)."""

    exit_code = 1


class NoSampler(RuntimeError):
    """The No-U-Turn sampler is not installed (exit code 5)."""

    exit_code = 5


class Refined(NamedTuple):
    """Draws from the exact posterior and how far to trust them."""

    w: np.ndarray  #: (n_draws, n_w) equally weighted draws
    ess: float  #: effective sample size / number of importance draws (NUTS: / number of states)
    pareto_k: float
    method: str  #: is, laplace, smc or nuts
    optimum: np.ndarray  #: (n_w,) best coordinates
    modes: np.ndarray  #: (n_modes, n_w) distinct optima within 10 log units of the best
    log_evidence: float


class Mixture(NamedTuple):
    """A mixture of multivariate t distributions."""

    weight: np.ndarray  #: (n_component,)
    mean: np.ndarray  #: (n_component, n_w)
    root: np.ndarray  #: (n_component, n_w, n_w) lower Cholesky factor of the scale matrix
    df: float

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return (n, n_w) draws."""
        which = rng.choice(len(self.weight), n, p=self.weight)
        normal = rng.standard_normal((n, self.mean.shape[1]))
        stretch = np.sqrt(self.df / rng.chisquare(self.df, n))[:, None]
        return self.mean[which] + stretch * np.einsum("nij,nj->ni", self.root[which], normal)

    def log_density(self, w: np.ndarray) -> np.ndarray:
        """Return (n,) log densities."""
        d, parts = w.shape[1], []
        for weight, mean, root in zip(self.weight, self.mean, self.root, strict=True):
            squared = np.sum(np.linalg.solve(root, (w - mean).T) ** 2, axis=0)
            norm = special.gammaln((self.df + d) / 2) - special.gammaln(self.df / 2) - 0.5 * d * np.log(self.df * np.pi)
            parts.append(
                np.log(weight) + norm - np.log(np.diag(root)).sum() - 0.5 * (self.df + d) * np.log1p(squared / self.df)
            )
        return special.logsumexp(parts, axis=0)


def refine(
    spec: Spec, observed: Observation, method: str, rng: np.random.Generator, n_draws: int, starts=None, flow=None
) -> Refined:
    """Return draws from the exact posterior by the named method; ``laplace`` and ``is`` fall back to SMC when they fail.

    Parameters
    ----------
    starts : (n_start, n_w) coordinates to start from; prior draws when None
    flow : (draws (n, n_w), log densities (n,)) of the network's posterior, for ``is``
    """
    optimum = find_modes(spec, observed, rng, starts)
    if method == "nuts":
        return nuts(spec, observed, optimum, rng, n_draws)
    if method == "is" and flow is not None:
        result = weigh(spec, observed, flow[0], flow[1], rng, n_draws, optimum)._replace(method="is")
    elif method in ("laplace", "is"):
        proposal = laplace_mixture(optimum)
        draws = proposal.sample(N_IMPORTANCE, rng)
        result = weigh(spec, observed, draws, proposal.log_density(draws), rng, n_draws, optimum)
    else:
        return smc(spec, observed, optimum, rng, n_draws)
    if result.ess < GOOD_ESS or result.pareto_k > GOOD_K:
        return smc(spec, observed, optimum, rng, n_draws)
    return result


def find_modes(spec: Spec, observed: Observation, rng: np.random.Generator, starts=None, n_prior: int = 4) -> Optimum:
    """Return the distinct optima within 10 log units of the best, best first; prior draws are always among the starts."""
    n_w = len(spec.names)
    random = rng.standard_normal((n_prior if starts is not None else 12, n_w)) * 0.7
    starts = random if starts is None else np.concatenate([starts, random])
    found = fit(spec, starts, observed)
    order = np.argsort(found.cost)
    kept: list[int] = []
    for i in order:
        if not np.isfinite(found.cost[i]) or found.cost[i] > found.cost[order[0]] + 10:
            continue
        far = (((found.w[i] - found.w[j]) @ found.precision[j] @ (found.w[i] - found.w[j])) > 4 for j in kept)
        if all(far):
            kept.append(int(i))
    if not kept:
        raise NoOptimum("no start has a finite likelihood: are units, area and window right?")
    return Optimum(*(x[kept] for x in found))


def laplace_mixture(optimum: Optimum, df: float = 8.0, inflate: float = 1.1) -> Mixture:
    """Return the t mixture about the modes, weighted by their Laplace evidence."""
    covariance = np.linalg.inv(optimum.precision)
    covariance = (covariance + covariance.transpose(0, 2, 1)) / 2
    _, log_det = np.linalg.slogdet(covariance)
    weight = special.softmax(-optimum.cost + 0.5 * log_det)
    return Mixture(
        np.maximum(weight, 0.02) / np.maximum(weight, 0.02).sum(),
        optimum.w,
        np.linalg.cholesky(inflate * covariance),
        df,
    )


def weigh(spec, observed, draws, log_q, rng, n_draws: int, optimum: Optimum) -> Refined:
    """Return importance-resampled draws (systematic resampling of Pareto-smoothed weights)."""
    log_ratio = log_posteriors(spec, draws, observed) - 0.5 * draws.shape[1] * np.log(2 * np.pi) - log_q
    log_weight, k = pareto_smooth(log_ratio)
    weight = special.softmax(log_weight)
    chosen = systematic(weight, n_draws, rng)
    evidence = float(special.logsumexp(log_ratio) - np.log(len(draws)))
    return Refined(
        draws[chosen], float(1 / np.sum(weight**2) / len(draws)), k, "laplace", optimum.w[0], optimum.w, evidence
    )


def systematic(weight: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` indices drawn by systematic resampling, in random order."""
    positions = (rng.random() + np.arange(n)) / n
    chosen = np.searchsorted(np.cumsum(weight), positions * (1 - 1e-12)).clip(max=len(weight) - 1)
    return rng.permutation(chosen)


def pareto_smooth(log_ratio: np.ndarray) -> tuple[np.ndarray, float]:
    """Return log weights whose tail is replaced by expected order statistics of a fitted generalised Pareto, and its shape k.

    Source: Vehtari, Simpson, Gelman, Yao, Gabry 2024 (tail of min(n/5, 3 sqrt(n)) weights).
    """
    log_w = np.where(np.isfinite(log_ratio), log_ratio, -np.inf)
    log_w = log_w - log_w.max()
    n = len(log_w)
    n_tail = int(min(n / 5, 3 * np.sqrt(n)))
    order = np.argsort(log_w)
    tail, cut = order[-n_tail:], log_w[order[-n_tail - 1]]
    excess = np.exp(log_w[tail]) - np.exp(cut)
    if n_tail < 5 or excess[-1] <= 0 or not np.isfinite(cut):
        return log_w, float("inf") if n_tail < 5 or not np.isfinite(cut) else -float("inf")
    k, sigma = fit_generalised_pareto(excess[excess > 0])
    probability = (np.arange(n_tail) + 0.5) / n_tail
    quantile = sigma * np.expm1(-k * np.log1p(-probability)) / k if abs(k) > 1e-8 else -sigma * np.log1p(-probability)
    smoothed = log_w.copy()
    smoothed[tail] = np.minimum(np.log(quantile + np.exp(cut)), 0.0)
    return smoothed, k


def fit_generalised_pareto(x: np.ndarray) -> tuple[float, float]:
    """Return shape k and scale of a generalised Pareto distribution for sorted positive ``x`` (Zhang & Stephens 2009)."""
    n = len(x)
    m = 30 + int(np.sqrt(n))
    b = 1 - np.sqrt(m / (np.arange(m) + 0.5))
    b = b / (3 * x[int(n / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1)
    weight = special.softmax(profile)
    b_mean = float(np.sum(b * weight))
    k_mean = float(np.log1p(-b_mean * x).mean())
    sigma = -k_mean / b_mean
    return (n * k_mean + 5) / (n + 10), sigma  # weakly pulled towards .5, as the paper does


def smc(
    spec: Spec, observed: Observation, optimum: Optimum, rng: np.random.Generator, n_draws: int, n_particles: int = 1000
) -> Refined:
    """Return draws by tempered sequential Monte Carlo from a wide t about the modes, then a mixture proposal fitted to the particles.

    Moves are differential evolution (ter Braak 2006); each temperature keeps an ESS of half the particles (Chopin 2002).
    """
    particles = temper(spec, observed, optimum, rng, n_particles, n_moves=4)
    result = population_monte_carlo(spec, observed, particles, optimum, rng, n_draws)
    if result.ess < POOR_ESS or result.pareto_k > GOOD_K:  # more particles, and the particles themselves as the answer
        particles = temper(spec, observed, optimum, rng, 3 * n_particles, n_moves=8)
        result = population_monte_carlo(spec, observed, particles, optimum, rng, n_draws)
        if result.ess < POOR_ESS or result.pareto_k > GOOD_K:
            chosen = rng.choice(len(particles), n_draws, replace=n_draws > len(particles))
            result = result._replace(w=particles[chosen])
    return result._replace(method="smc")


def temper(spec, observed, optimum: Optimum, rng, n_particles: int, n_moves: int) -> np.ndarray:
    """Return particles (n_particles, n_w) moved along a geometric bridge from a wide t to the posterior."""
    wide = optimum._replace(precision=optimum.precision / 9 + np.eye(optimum.w.shape[1]) * 8 / 9)
    bridge = laplace_mixture(wide, df=5.0, inflate=1.0)
    w = bridge.sample(n_particles, rng)
    target, base = log_posteriors(spec, w, observed), bridge.log_density(w)
    beta = 0.0
    while beta < 1:
        step = next_temperature(target - base, beta)
        weight = special.softmax(step * (target - base))
        beta = min(1.0, beta + step)
        chosen = systematic(weight, n_particles, rng)
        w, target, base = w[chosen], target[chosen], base[chosen]
        for move in range(n_moves if beta < 1 else 2 * n_moves):
            w, target, base = differential_evolution(
                spec, observed, bridge, beta, (w, target, base), rng, swap=move % 4 == 3
            )
    return w


def population_monte_carlo(spec, observed, w: np.ndarray, optimum: Optimum, rng, n_draws: int) -> Refined:
    """Return importance draws from a mixture fitted to particles, then to its own draws (Cappe et al. 2004): the best of three."""
    rounds: list[Refined] = []
    while len(rounds) < 3 and (not rounds or rounds[-1].ess <= 0.6):
        proposal = fit_mixture(rounds[-1].w if rounds else w, rng)
        draws = proposal.sample(N_IMPORTANCE, rng)
        rounds.append(weigh(spec, observed, draws, proposal.log_density(draws), rng, max(n_draws, 1000), optimum))
    best = max(rounds, key=lambda found: found.ess)
    return best._replace(w=best.w[:n_draws])


def next_temperature(log_ratio: np.ndarray, beta: float, share: float = 0.5) -> float:
    """Return the largest step of the temperature that keeps an effective sample size of ``share``, found by bisection."""

    def ess(step: float) -> float:
        weight = special.softmax(step * np.where(np.isfinite(log_ratio), log_ratio, -np.inf))
        return float(1 / np.sum(weight**2) / len(weight))

    low, high = 0.0, 1.0 - beta
    if ess(high) >= share:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if ess(middle) >= share else (low, middle)
    return max(low, 1e-8)


def differential_evolution(spec, observed, bridge: Mixture, beta: float, state, rng, swap: bool):
    """Return particles after one Metropolis move along the difference of two other particles (``swap``: full-length jumps)."""
    w, target, base = state
    n, d = w.shape
    a, b = (np.arange(n) + rng.integers(1, n, (2, n))) % n
    scale = 1.0 if swap else 2.38 / np.sqrt(2 * d) * rng.uniform(0.4, 1.1, (n, 1))
    proposal = w + scale * (w[a] - w[b]) + 1e-4 * rng.standard_normal((n, d))
    new_target, new_base = log_posteriors(spec, proposal, observed), bridge.log_density(proposal)
    gain = beta * (new_target - target) + (1 - beta) * (new_base - base)
    accept = np.log(rng.random(n)) < np.where(np.isfinite(gain), gain, -np.inf)
    pick = np.where(accept[:, None], proposal, w)
    return pick, np.where(accept, new_target, target), np.where(accept, new_base, base)


def fit_mixture(
    w: np.ndarray, rng: np.random.Generator, n_components: int = 8, df: float = 6.0, inflate: float = 1.25
) -> Mixture:
    """Return a t mixture fitted to particles: k-means on whitened coordinates, one shrunken covariance a cluster."""
    covariance = np.cov(w.T) + 1e-12 * np.eye(w.shape[1])
    white = np.linalg.solve(np.linalg.cholesky(covariance), (w - w.mean(axis=0)).T).T
    _, label = vq.kmeans2(white, n_components, minit="++", rng=rng)
    weight, mean, root = [], [], []
    for component in range(n_components):
        members = w[label == component]
        if len(members) <= 2 * w.shape[1]:
            continue
        own = np.cov(members.T)
        shrink = 5 * w.shape[1] / (len(members) + 5 * w.shape[1])
        weight.append(len(members))
        mean.append(members.mean(axis=0))
        root.append(np.linalg.cholesky(inflate * ((1 - shrink) * own + shrink * covariance / 3)))
    return Mixture(np.array(weight) / np.sum(weight), np.array(mean), np.array(root), df)


def nuts(
    spec: Spec, observed: Observation, optimum: Optimum, rng: np.random.Generator, n_draws: int, n_warmup: int = 500
) -> Refined:
    """Return draws by the No-U-Turn sampler (numpyro), whitened by the Laplace covariance of the best mode.

    Raises
    ------
    NoSampler
        numpyro is not installed.
    """
    import jax
    import jax.numpy as jnp

    try:
        from numpyro.infer import MCMC, NUTS
    except ModuleNotFoundError:
        raise NoSampler("--refine nuts needs numpyro: pip install numpyro. The default, laplace, does not.") from None

    with jax.enable_x64(True):
        data = Observation(*(jnp.asarray(x, float) for x in observed))
        root = jnp.linalg.cholesky(jnp.linalg.inv(optimum.precision[0]))
        center = jnp.asarray(optimum.w[0])
        potential = functools.partial(_potential, spec, center, root, data)
        kernel = NUTS(
            potential_fn=potential, forward_mode_differentiation=True, dense_mass=True, target_accept_prob=0.85
        )
        mcmc = MCMC(kernel, num_warmup=n_warmup, num_samples=n_draws, progress_bar=False)
        mcmc.run(jax.random.key(int(rng.integers(2**31))), init_params=jnp.zeros(len(center)))
        u = np.asarray(mcmc.get_samples())
    w = np.asarray(center) + u @ np.asarray(root).T
    return Refined(
        w,
        float(min(effective_size(x) for x in w.T) / n_draws),
        float("nan"),
        "nuts",
        optimum.w[0],
        optimum.w,
        float("nan"),
    )


def _potential(spec, center, root, data, u):
    return -log_posterior(spec, center + root @ u, data)


def effective_size(chain: np.ndarray) -> float:
    """Return the effective sample size of one chain (initial positive sequence; Geyer 1992)."""
    x = chain - chain.mean()
    n = len(x)
    spectrum = np.abs(np.fft.rfft(x, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[:n] / max(spectrum.mean(), 1e-300)
    correlation = correlation / correlation[0]
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    positive = np.flatnonzero(pairs < 0)
    stop = positive[0] if len(positive) else len(pairs)
    return float(n / max(2 * pairs[:stop].sum() - 1, 1 / n))


def separation(modes: np.ndarray) -> float:
    """Return the largest distance between modes in prior standard deviations (0 for one mode)."""
    return float(distance.pdist(modes).max()) if len(modes) > 1 else 0.0
