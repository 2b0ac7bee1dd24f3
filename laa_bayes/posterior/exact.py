"""What is the exact posterior? Importance sampling around the optimum, tempered SMC where that fails, NUTS as the referee.

Each method returns equally weighted draws with their effective sample size and Pareto k (see ``importance``).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from hdf5io.errors import EnvironmentMissing, WorkFailed

from .importance import N_IMPORTANCE, Mixture, Refined, fit_mixture, laplace_mixture, roots, systematic, weigh
from .likelihood import Joint, Observation, Optimum, Spec, fit, log_posterior, log_posteriors, on_device

GOOD_ESS, GOOD_K = 0.30, 0.7  #: below/above these the Laplace proposal is replaced by SMC
N_NEWTON = 4  #: evaluations from the network's mean on; the first takes no step
N_CHECK = 400  #: importance draws that check where they end
NEWTON_ESS, BEYOND = 0.6, 1e-4  #: below/beyond these a Gaussian at the network's optimum is no answer
POOR_ESS = 0.10  #: below this SMC is repeated with more particles


class Climb(NamedTuple):
    """How much is spent on the search for optima and on a posterior that no proposal follows."""

    n_starts: int  #: from the prior
    n_steps: int
    again: bool = True  #: larger populations of SMC where the first do not do


SHORT_CLIMB, LONG_CLIMB = Climb(12, 30), Climb(96, 100)  #: long where the noise is inferred
IDLE_CLIMB = Climb(12, 30, again=False)  #: for a trace that no model explains: its posterior says nothing


def refine(
    spec: Spec | Joint,
    observed: Observation,
    method: str,
    rng: np.random.Generator,
    n_draws: int,
    starts=None,
    flow=None,
    climb: Climb | None = None,
) -> Refined:
    """Return draws from the exact posterior by the named method; ``laplace`` and ``is`` fall back to SMC when they fail.

    Parameters
    ----------
    starts : (n_start, n_w) coordinates to start from; prior draws when None
    flow : (draws (n, n_w), log densities (n,)) of the network's posterior, for ``is``
    climb : what is spent; by default as `find_modes` chooses

    Raises
    ------
    EnvironmentMissing
        ``nuts`` without numpyro.
    WorkFailed
        No start has a finite likelihood.
    """
    if method == "nuts":
        require_numpyro()
    optimum, again = find_modes(spec, observed, rng, starts, climb), climb is None or climb.again
    if method == "nuts":
        return nuts(spec, observed, optimum, rng, n_draws)
    if method == "is" and flow is not None:
        result = weigh(spec, observed, flow[0], flow[1], rng, n_draws, optimum)._replace(method="is")
    elif method in ("laplace", "is"):
        proposal = laplace_mixture(optimum)
        draws = proposal.sample(N_IMPORTANCE, rng)
        result = weigh(spec, observed, draws, proposal.log_density(draws), rng, n_draws, optimum)
    else:
        return smc(spec, observed, optimum, rng, n_draws, again=again)
    if result.ess < GOOD_ESS or result.pareto_k > GOOD_K:
        return smc(spec, observed, optimum, rng, n_draws, again=again)
    return result


def newton(
    spec: Spec, observed: Observation, draws: np.ndarray, rng: np.random.Generator, n_draws: int
) -> tuple[Refined | None, str]:
    """Return a Gaussian at the optimum that a few Gauss-Newton steps reach from the network's draws (n, n_w), or why it is no answer.

    A network's mean lies some tenths of a standard deviation beside the posterior's: there the likelihood is nearly Gaussian, and the
    steps take a millisecond. Importance weights of a few hundred draws tell where it is not.
    """
    start, spread = draws.mean(axis=0), np.cov(draws.T)
    optimum = fit(spec, start[None], observed, N_NEWTON)
    if not np.isfinite(optimum.cost[0]):
        return None, "the likelihood is not finite at the network's mean"
    step = optimum.w[0] - start
    if step @ np.linalg.solve(spread, step) > stats.chi2.isf(BEYOND, len(step)):
        return None, "the optimum lies beyond the network's draws"
    proposal = laplace_mixture(optimum)
    checks = proposal.sample(N_CHECK, rng)
    checked = weigh(spec, observed, checks, proposal.log_density(checks), rng, N_CHECK, optimum)
    if checked.ess < NEWTON_ESS or checked.pareto_k > GOOD_K:
        return None, f"no Gaussian follows the posterior (effective sample size {100 * checked.ess:.0f} %)"
    return checked._replace(w=gaussian(optimum, rng, n_draws)[0], method="newton"), ""


def gaussian(optimum: Optimum, rng: np.random.Generator, n_draws: int) -> np.ndarray:
    """Return draws (n, n_draws, n_w) from the Gaussian at each of n optima."""
    n, d = optimum.w.shape
    return optimum.w[:, None] + rng.standard_normal((n, n_draws, d)) @ roots(optimum.precision).transpose(0, 2, 1)


def find_modes(
    spec: Spec | Joint,
    observed: Observation,
    rng: np.random.Generator,
    starts=None,
    climb: Climb | None = None,
) -> Optimum:
    """Return the distinct optima within 10 log units of the best, best first; prior draws are always among the starts.

    Where the noise is known every start ends at the best optimum. On recordings, where it is inferred, one in thirty does, and
    the others can be 80 log units worse: many more starts are then followed, and further.
    """
    n_start, n_steps, _ = climb or (LONG_CLIMB if spec.nuisance else SHORT_CLIMB)
    random = rng.standard_normal((n_start if starts is None else 4, len(spec.names)))
    starts = random if starts is None else np.concatenate([starts, random])
    found = fit(spec, starts, observed, n_steps)
    order = np.argsort(found.cost)
    kept: list[int] = []
    for i in order:
        if not np.isfinite(found.cost[i]) or found.cost[i] > found.cost[order[0]] + 10:
            continue
        far = (((found.w[i] - found.w[j]) @ found.precision[j] @ (found.w[i] - found.w[j])) > 4 for j in kept)
        if all(far):
            kept.append(int(i))
    if not kept:
        raise WorkFailed("no start has a finite likelihood: are units, area and window right?")
    return Optimum(*(x[kept] for x in found))


def smc(
    spec: Spec | Joint,
    observed: Observation,
    optimum: Optimum,
    rng: np.random.Generator,
    n_draws: int,
    n_particles: int = 1000,
    again: bool = True,
) -> Refined:
    """Return draws by tempered sequential Monte Carlo from a wide t about the modes, then a mixture proposal fitted to the particles.

    Moves are differential evolution (ter Braak 2006); each temperature keeps an ESS of half the particles (Chopin 2002). Where no
    mixture follows the posterior (a thin curved sheet: sub-threshold recordings, whose k, V_thr and G_act are hardly seen), two larger
    populations are tempered independently (unless not ``again``); the particles are the answer and ``disagreement`` says how far the two differ.
    """
    particles = temper(spec, observed, optimum, rng, n_particles, n_moves=4)
    result = population_monte_carlo(spec, observed, particles, optimum, rng, n_draws)
    if again and (result.ess < POOR_ESS or result.pareto_k > GOOD_K):
        pair = [temper(spec, observed, optimum, rng, 2 * n_particles, n_moves=20) for _ in range(2)]
        particles = np.concatenate(pair)
        result = population_monte_carlo(spec, observed, particles, optimum, rng, n_draws)
        apart = np.abs(pair[0].mean(axis=0) - pair[1].mean(axis=0)) / particles.std(axis=0)
        if result.ess < POOR_ESS or result.pareto_k > GOOD_K:
            chosen = rng.choice(len(particles), n_draws, replace=n_draws > len(particles))
            result = result._replace(w=particles[chosen], disagreement=apart)
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


def require_numpyro() -> None:
    """Raise EnvironmentMissing where numpyro is not installed."""
    try:
        import numpyro.infer  # noqa: F401
    except ModuleNotFoundError:
        raise EnvironmentMissing(
            "--refine nuts needs numpyro: pip install numpyro. The default, laplace, does not."
        ) from None


def nuts(
    spec: Spec | Joint,
    observed: Observation,
    optimum: Optimum,
    rng: np.random.Generator,
    n_draws: int,
    n_warmup: int = 500,
) -> Refined:
    """Return draws by the No-U-Turn sampler (numpyro), whitened by the Laplace covariance of the best mode."""
    import jax
    import jax.numpy as jnp
    from numpyro.infer import MCMC, NUTS

    with jax.enable_x64(True):
        data = on_device(observed)
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
