"""Counts that are not Poisson: the likelihoods against scipy and statsmodels, and what choosing one gains and loses."""

import json

import h5py
import numpy as np
import pytest
import scipy.stats

from glm_rates.model import observation, solver
from glm_rates.model.population import Settings
from glm_rates.score import evaluate
from hdf5io.errors import InputError

WINDOW = (60, 180)


@pytest.mark.parametrize("size", [0.3, 2.0, 50.0])
def test_the_likelihood_is_that_of_scipy(size):
    rng = np.random.default_rng(0)
    mu, counts = rng.gamma(2, 0.3, 200), rng.poisson(0.8, 200).astype(float)
    expected = scipy.stats.nbinom.logpmf(counts, size, size / (size + mu))
    np.testing.assert_allclose(observation.log_likelihood(counts, mu, np.array(size)), expected, rtol=1e-10)
    np.testing.assert_allclose(
        observation.log_likelihood(counts, mu, np.array(np.inf)), scipy.stats.poisson.logpmf(counts, mu), rtol=1e-10
    )
    few, p = np.minimum(counts, 1), np.minimum(mu, 0.9)
    np.testing.assert_allclose(observation.log_likelihood(few, p, np.array(-1.0)), scipy.stats.bernoulli.logpmf(few, p))


@pytest.mark.parametrize("size", [0.3, 2.0, np.inf, -1.0])
def test_slope_and_weight_are_the_derivatives_of_the_loss(size):
    rng = np.random.default_rng(1)
    eta = rng.uniform(-3, -0.1, (3, 40))
    counts = rng.integers(0, 2 if size < 0 else 5, (3, 40)).astype(float)
    each, h = np.full((3, 1), size), 1e-5
    slope, weight = observation.slope_and_weight(counts, np.exp(eta), each)
    up, down = (observation.loss(counts, eta + s * h, each) for s in (1, -1))
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)
    up, down = (observation.slope_and_weight(counts, np.exp(eta + s * h), each)[0] for s in (1, -1))
    np.testing.assert_allclose(weight, (up - down) / (2 * h), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("size", "method"), [(0.5, "newton"), (0.5, "pcg"), (3.0, "newton"), (-1.0, "newton"), (-1.0, "pcg")]
)
@pytest.mark.filterwarnings("ignore:The Log link")
def test_the_fit_is_that_of_statsmodels(size, method):
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(2)
    columns = np.column_stack([np.ones(4000), rng.normal(size=(4000, 3))])
    mu = np.exp(columns @ [-1.6, 0.3, -0.2, 0.1])
    counts = (rng.random(4000) < mu) * 1.0 if size < 0 else rng.poisson(mu * rng.gamma(size, 1 / size, 4000)) * 1.0
    problem = solver.Problem(columns, np.zeros((1, 4000, 0)), counts[None], np.zeros((1, 4)), size=np.array([size]))
    found = solver.solve(problem, method=method, tolerance=1e-10)
    if size < 0:
        family = sm.families.Binomial(sm.families.links.Log())
        expected = sm.GLM(counts, columns, family=family).fit(start_params=[-1.6, 0, 0, 0], tol=1e-12).params
    else:
        family = sm.families.NegativeBinomial(alpha=1 / size)
        expected = sm.GLM(counts, columns, family=family).fit(tol=1e-12).params
    assert found.converged.all()
    np.testing.assert_allclose(found.coef[0], expected, atol=1e-6)


def test_the_scatter_is_found_again():
    rng = np.random.default_rng(3)
    mu = rng.gamma(2, 0.3, 40_000)
    for size in (0.5, 2.0, 8.0):
        counts = rng.poisson(mu * rng.gamma(size, 1 / size, len(mu))).astype(float)
        assert observation.size_of(counts, mu) == pytest.approx(size, rel=0.2)
    assert observation.size_of(rng.poisson(mu).astype(float), mu) > 50


def gain(trials, settings):
    """Held-out bits per spike of the full model under another observation, over the same model of Poisson counts: (unit,)."""
    from glm_rates.model.kernels import Window

    parts = [evaluate.score_fold(trials, Window(*WINDOW), settings, 3, fold) for fold in range(3)]
    names = list(parts[0].log_likelihood)
    better, plain = (sum(part.log_likelihood[name] for part in parts) for name in (names[-1], names[-2]))
    assert names[-1] == f"{names[-2]} ({settings.observation})"
    spikes = trials.counts[:, slice(*WINDOW)].sum(axis=(0, 1))
    bits = (better - plain).sum(axis=1) / np.log(2)
    return bits.sum() / spikes.sum(), bits / spikes


@pytest.mark.parametrize("coupling", [False, True])
def test_nothing_is_lost_where_counts_are_poisson(make_trials, coupling):
    trials, _ = make_trials(n_trials=30)
    pooled, _ = gain(trials, Settings(observation="auto", include_coupling=coupling))
    assert pooled > -5e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_costs_nothing_under_a_forced_negative_binomial(make_trials, seed):
    """A size estimated from Poisson counts costs .0003 to .001 bits a spike on other trials."""
    trials, _ = make_trials(n_trials=10, seed=seed, history=False, stimulus=False, coupled=False)
    pooled, each = gain(trials, Settings(observation="negative-binomial"))
    assert pooled > -2e-4
    assert each.min() > -0.002


def test_scattered_counts_gain_and_single_spikes_too(make_trials):
    trials, session = make_trials(n_trials=30, seed=3)
    rng = np.random.default_rng(5)
    rate = session.rate.reshape(trials.counts.shape)
    counts = rng.poisson(rate * rng.gamma(0.5, 2.0, rate.shape))
    pooled, _ = gain(trials._replace(counts=counts), Settings(observation="auto"))
    forced, _ = gain(trials._replace(counts=counts), Settings(observation="negative-binomial"))
    assert pooled > 0.1
    assert pooled > forced - 0.005
    pooled, each = gain(trials._replace(counts=np.minimum(counts, 1)), Settings(observation="auto"))
    assert pooled > 0.05
    assert each.min() > -0.01


def test_bernoulli_is_refused_where_a_bin_has_two_spikes(make_trials):
    trials, _ = make_trials(n_trials=6)
    with pytest.raises(InputError, match=r"--observation bernoulli: unit\(s\) 0, .* have bins with several spikes"):
        gain(trials, Settings(observation="bernoulli"))


def test_the_command_stores_what_was_chosen(recording, tmp_path, run_command):
    target = tmp_path / "rates.h5"
    chosen = ["--cv-folds", 2, "--observation", "negative-binomial", "--no-plots", "--json", "--output", target]
    done = run_command("glm_rates", "infer", recording, *chosen)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["results"]
    assert "history+stimulus (negative-binomial)" in answer["models"]
    assert "history+stimulus (negative-binomial) over history+stimulus" in answer["steps"]
    with h5py.File(target) as h5:
        kinds, dispersion = h5["units/observation"].asstr()[:], h5["units/dispersion"][:]
        assert len(kinds) == 5
        assert ((dispersion > 0) == (kinds == "negative-binomial")).all()
        np.testing.assert_array_equal(h5["populations/all/dispersion"][:], dispersion)
