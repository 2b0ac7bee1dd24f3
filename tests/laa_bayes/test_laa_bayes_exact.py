"""Is the exact posterior exact? Against closed forms, slow oracles and the No-U-Turn sampler."""

import numpy as np
import pytest
from scipy import stats

from hdf5io.errors import WorkFailed
from laa_bayes import config
from laa_bayes.neuron import dynamics, priors, recipe, recording, simulator
from laa_bayes.posterior import exact, importance, likelihood, typicality
from laa_bayes.score import contraction, evaluate

DEFAULT = config.SimulateConfig(output="bank").resolved_priors()
CURRENT = simulator.protocol_current(config.SimulateConfig(output="bank"))
SPEC = likelihood.white_spec(DEFAULT, 1.0)


@pytest.fixture(scope="module")
def observed(noisy_trace):
    return likelihood.Observation(noisy_trace[1], noisy_trace[2], 2.0)


@pytest.fixture(scope="module")
def refined(observed):
    return exact.refine(SPEC, observed, "laplace", np.random.default_rng(0), 2000)


def test_the_log_posterior_is_gaussian_likelihood_times_standard_normal_prior(observed):
    z = np.array([[0.1, -0.2, 0.3, 0.1, -0.1]])
    v = simulator.simulate(priors.theta_from_z(DEFAULT, z), CURRENT, 1.0)[0]
    expected = stats.norm.logpdf(observed.v_mv, v, 2.0).sum() - 0.5 * np.sum(z**2)
    assert likelihood.log_posteriors(SPEC, z, observed)[0] == pytest.approx(expected, rel=1e-6)


def test_ar1_noise_has_the_likelihood_of_its_covariance_matrix():
    spec = likelihood.recording_spec(DEFAULT, 1.0, 0.1, False)
    n = 40
    observed = likelihood.Observation(np.linspace(-65, -60, n), np.full(n, 0.5), 1.0, np.zeros(n))
    w = np.array([0.1, 0.2, -0.1, 0.0, 0.3, 0.2, 0.4, 0.8])
    _, extra = likelihood.unpack(spec, w[None], np, __import__("scipy.special").special)
    residual = observed.v_mv - likelihood.predictions(spec, w[None], observed)[0]
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    covariance = extra["sigma"] ** 2 / (1 - extra["phi"] ** 2) * extra["phi"] ** lag
    expected = stats.multivariate_normal.logpdf(residual, np.zeros(n), covariance) - 0.5 * np.sum(w**2)
    assert likelihood.log_posteriors(spec, w[None], observed)[0] == pytest.approx(expected, rel=1e-8)


def test_the_optimum_beats_every_prior_draw_and_lies_near_the_truth(observed, refined, truth):
    random = np.random.default_rng(1).standard_normal((500, 5))
    best = likelihood.log_posteriors(SPEC, refined.optimum[None], observed)[0]
    assert best > likelihood.log_posteriors(SPEC, random, observed).max()
    theta = priors.theta_from_z(DEFAULT, refined.w)
    z_score = (theta.mean(axis=0) - truth)[:5] / theta.std(axis=0)[:5]
    assert np.abs(z_score).max() < 4


def test_the_best_optimum_of_a_recording_is_found_from_the_prior_alone():
    """A cell whose activation is half on at rest: from 12 starts, 30 steps each, the optimum found was 40 log units worse."""
    cell, current = np.array([[62.0, 20.0, -86.5, 6.45, -79.0, 463.0]]), np.where(np.arange(480) >= 80, -100.0, 0.0)
    rest = dynamics.fixed_points(tuple(cell[0]))[0].v_mv
    noise, rng = np.zeros(480), np.random.default_rng(0)
    for i in range(1, 480):
        noise[i] = 0.95 * noise[i - 1] + 0.035 * rng.standard_normal()
    v = simulator.simulate(cell, current, 0.25, rest)[0] + 0.010 * current + noise
    spec = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 2.0**-5, True)
    recorded = likelihood.Observation(v, current, 1.0, 1e-3 * current)
    z = priors.z_from_theta(config.PRIORS["lumped"], cell)[0]
    phi = priors.z_from_value(dict(spec.nuisance)["phi"], 0.95)
    truth = np.concatenate([z, [(rest - v[0]) / 3.0, 10.0 / 20.0, np.log(0.035 * 2**5) / 1.5, phi]])
    found = exact.find_modes(spec, recorded, np.random.default_rng(1))
    best, true = likelihood.log_posteriors(spec, np.stack([found.w[0], truth]), recorded)
    assert best > true


def test_laplace_importance_sampling_is_efficient_on_the_default_protocol(refined):
    assert refined.method == "laplace"
    assert refined.ess > 0.5
    assert refined.pareto_k < 0.5


def test_smc_and_laplace_agree(observed, refined):
    other = exact.refine(SPEC, observed, "smc", np.random.default_rng(5), 2000)
    assert other.method == "smc"
    assert np.abs(other.w.mean(axis=0) - refined.w.mean(axis=0)).max() < 0.15 * refined.w.std(axis=0).max()
    assert other.w.std(axis=0) == pytest.approx(refined.w.std(axis=0), rel=0.12)


def networks_draws(refined, shift, stretch):
    """Return draws as a network has them that is ``shift`` sd beside the exact posterior and ``stretch`` times as wide."""
    mean, sd = refined.w.mean(axis=0), refined.w.std(axis=0)
    return mean + shift * sd * [1, -1, 1, -1, 1] + stretch * (refined.w - mean)


@pytest.mark.parametrize(("shift", "stretch"), [(0.3, 1.1), (1.0, 2.0)])
def test_newton_steps_from_a_networks_draws_reach_the_exact_posterior(shift, stretch, observed, refined):
    draws = networks_draws(refined, shift, stretch)
    found, why = exact.newton(SPEC, observed, draws, np.random.default_rng(3), 2000)
    assert (found.method, why) == ("newton", "")
    assert np.abs(found.w.mean(axis=0) - refined.w.mean(axis=0)) / refined.w.std(axis=0) == pytest.approx(0.0, abs=0.2)
    assert found.w.std(axis=0) == pytest.approx(refined.w.std(axis=0), rel=0.1)
    assert evaluate.c2st(found.w[:1000], refined.w[:1000]) < 0.55 < evaluate.c2st(draws[:1000], refined.w[1000:])


def test_newton_gives_no_answer_where_the_network_is_lost_or_the_posterior_is_no_gaussian(observed, refined):
    lost = networks_draws(refined, 12.0, 1.0)
    assert exact.newton(SPEC, observed, lost, np.random.default_rng(3), 100) == (
        None,
        "the optimum lies beyond the network's draws",
    )
    still = observed._replace(v_mv=np.full(500, -65.0) + observed.v_mv * 0, current=0 * observed.current)
    wide = np.random.default_rng(0).standard_normal((500, 5))  # without a current the prior is all there is
    found, why = exact.newton(SPEC, still, wide, np.random.default_rng(3), 100)
    assert found is None
    assert "no Gaussian follows the posterior" in why


@pytest.mark.slow
def test_nuts_agrees_with_the_refined_posterior(observed, refined):
    pytest.importorskip("numpyro")
    nuts = exact.refine(SPEC, observed, "nuts", np.random.default_rng(2), 1500)
    error = np.abs(nuts.w.mean(axis=0) - refined.w.mean(axis=0)) / nuts.w.std(axis=0)
    assert error.max() < 0.15
    assert refined.w.std(axis=0) / nuts.w.std(axis=0) == pytest.approx(1.0, abs=0.1)
    assert evaluate.c2st(nuts.w[:1000], refined.w[:1000]) < 0.58


@pytest.mark.slow
def test_a_sub_threshold_trace_falls_back_to_smc_and_finds_the_prior_of_what_it_cannot_see(truth):
    current = simulator.protocol_current(config.SimulateConfig(output="bank", protocol="zero"))
    v = simulator.simulate(np.array([truth]), current, 1.0)[0] + 2 * np.random.default_rng(0).standard_normal(500)
    refined = exact.refine(SPEC, likelihood.Observation(v, current, 2.0), "laplace", np.random.default_rng(0), 2000)
    assert refined.method == "smc"
    assert refined.ess > exact.POOR_ESS
    assert refined.pareto_k < exact.GOOD_K
    assert refined.w[:, 0].std() > 0.5  # without current the capacitance is hardly seen


def test_pareto_shape_is_recovered_from_generalised_pareto_draws():
    x = np.sort(stats.genpareto.rvs(0.6, scale=2.0, size=4000, random_state=0))
    assert importance.fit_generalised_pareto(x)[0] == pytest.approx(0.6, abs=0.08)


def test_heavy_tailed_weights_have_a_large_pareto_k_and_light_ones_a_small_one():
    rng = np.random.default_rng(0)
    light = importance.pareto_smooth(0.3 * rng.standard_normal(4000))[1]
    heavy = importance.pareto_smooth(
        stats.genpareto.rvs(1.5, size=4000, random_state=1) ** 1.0 * 0
        + np.log(stats.genpareto.rvs(1.2, size=4000, random_state=1))
    )[1]
    assert light < 0.5 < 0.7 < heavy


def test_mixture_density_integrates_to_one():
    mixture = importance.Mixture(
        np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, -1.0]]), np.stack([np.eye(2), 0.5 * np.eye(2)]), 6.0
    )
    axis = np.linspace(-25, 25, 501)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(mixture.log_density(grid)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=0.01)


def test_a_trace_without_a_finite_likelihood_is_one_clear_error():
    broken = likelihood.Observation(np.full(500, np.nan), CURRENT, 2.0)
    with pytest.raises(WorkFailed, match="no start has a finite likelihood"):
        exact.find_modes(SPEC, broken, np.random.default_rng(0))


def test_systematic_resampling_keeps_the_weights():
    weight = np.array([0.5, 0.25, 0.25, 0.0])
    counts = np.bincount(importance.systematic(weight, 400, np.random.default_rng(0)), minlength=4)
    assert counts.tolist() == [200, 100, 100, 0]


def test_sbc_accepts_uniform_ranks_and_rejects_a_biased_posterior():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((600, 1))
    center = truth + rng.standard_normal((600, 1))  # posterior of a normal mean: N(y/2, 1/2)
    draws = center[:, None] / 2 + np.sqrt(0.5) * rng.standard_normal((600, 300, 1))
    good = evaluate.calibration(draws, truth, ["a"])["a"]
    bad = evaluate.calibration(draws + 0.25, truth, ["a"])["a"]
    assert good.log_gamma_05 > 0 > bad.log_gamma_01
    assert good.coverage_90 == pytest.approx(0.9, abs=0.04)
    assert good.contraction == pytest.approx(0.5, abs=0.05)


def test_a_verdict_is_the_same_whichever_traces_test_the_posterior():
    """A posterior 3 % too wide passes on six of six sets of traces, one 40 % too narrow fails on all, though both are significant."""
    for scale, expected in ((1.03, "pass"), (0.6, "fail")):
        verdicts = set()
        for seed in range(6):
            rng = np.random.default_rng(seed)
            truth = rng.standard_normal((3000, 1))
            center = (truth + 0.05 * rng.standard_normal((3000, 1))) / (1 + 0.05**2)
            draws = center[:, None] + scale * 0.05 * rng.standard_normal((3000, 200, 1))
            verdicts.add(evaluate.worst(evaluate.judge(evaluate.calibration(draws, truth, ["C_m"]), {})))
        assert verdicts == {expected}


def test_the_standard_error_of_a_coverage_is_binomial():
    assert evaluate.standard_error(0.5, 2500) == pytest.approx(0.01)
    assert evaluate.standard_error(1.0, 100) == pytest.approx(0.01)


def test_the_ratio_of_two_exact_posteriors_decides_nothing_and_that_of_thirty_two_does():
    rng = np.random.default_rng(5)
    truth = rng.standard_normal((200, 1))
    table = evaluate.calibration(truth[:, None] + 0.05 * rng.standard_normal((200, 50, 1)), truth, ["a"])
    ratios = 2.6 * np.exp(0.2 * rng.standard_normal(32))
    few, many = (evaluate.judge(table, {"a": evaluate.median_and_error(x)})[-1] for x in (np.array([1.1, 3.4]), ratios))
    assert (few.score, few.verdict, many.verdict) == ("sd / exact sd", "pass", "fail")


def test_calibration_cannot_see_a_posterior_that_ignores_the_data_but_sharpness_can():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((600, 1))
    prior_draws = rng.standard_normal((600, 300, 1))
    assert evaluate.calibration(prior_draws, truth, ["a"])["a"].log_gamma_01 > 0
    exact = truth[:, None] + 0.1 * rng.standard_normal((600, 300, 1))
    assert np.median(evaluate.sharpness(prior_draws, exact, with_c2st=False).sd_ratio) > 8


def test_what_more_data_teach_is_the_contraction_of_exact_posteriors(observed, refined, truth):
    w = priors.z_from_theta(DEFAULT, np.array([truth]))
    made = recipe.Recipe(DEFAULT, CURRENT, 1.0, "density", 0, 1, 1, 2.0, "width")
    found = contraction.curves(made, w, observed.v_mv[None])
    np.testing.assert_allclose(found.by_time[0, -1], np.var(refined.w, axis=0), rtol=0.2)
    early = exact.refine(
        SPEC, likelihood.Observation(observed.v_mv[:235], CURRENT[:235], 2.0), "laplace", np.random.default_rng(0), 2000
    )
    at = np.argmin(np.abs(found.time_ms - 235))
    np.testing.assert_allclose(found.by_time[0, at], np.var(early.w, axis=0), rtol=0.35)
    assert np.all(found.by_time[0, at] > 1.3 * found.by_time[0, -1])
    four = contraction.curves(made._replace(noise_mv=1.0), w, observed.v_mv[None])  # four sweeps: half the noise
    np.testing.assert_allclose(found.by_sweeps[0, 2], four.by_sweeps[0, 0], rtol=1e-6)


def test_c2st_is_one_half_for_equal_and_one_for_distant_samples():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 400, 2))
    assert evaluate.c2st(a, b) == pytest.approx(0.5, abs=0.07)
    assert evaluate.c2st(a, b + 6) > 0.98


def clean_and_broken():
    """Return named disturbances of a trace under the default protocol."""
    t = np.arange(500.0)
    rng = np.random.default_rng(9)
    sag = 6 * ((t > 60) & (t < 120)) * (1 - np.exp(-(t - 60) / 20))
    return {
        "noise x3": lambda v, clean: clean + 3 * (v - clean),
        "noise x.5": lambda v, clean: clean + 0.5 * (v - clean),
        "+40 mV offset": lambda v, clean: v + 40,
        "time reversal": lambda v, clean: v[::-1],
        "6 mV sag": lambda v, clean: v + sag,
        "60 Hz hum of 2 mV": lambda v, clean: v + 2 * np.sin(2 * np.pi * 60 * t / 1000),
        "Student-t noise": lambda v, clean: clean + 2 * rng.standard_t(2, 500),
    }


def verdict_of(v):
    spec, observed = SPEC, likelihood.Observation(np.ascontiguousarray(v), CURRENT, 2.0)
    optimum = exact.find_modes(spec, observed, np.random.default_rng(0)).w[0]
    e, jacobian = typicality.residuals_and_jacobian(spec, optimum, observed)
    return typicality.judge(
        [*typicality.residual_tests(e, jacobian, 1.0), typicality.prior_surprise(optimum)],
        typicality.hard_facts(spec, observed, 2.0),
    )


@pytest.mark.parametrize("name", list(clean_and_broken()))
def test_a_disturbed_trace_is_flagged(name, noisy_trace, truth):
    clean = simulator.simulate(np.array([truth]), CURRENT, 1.0)[0]
    assert verdict_of(clean_and_broken()[name](noisy_trace[1], clean)).verdict == "misspecified"


def test_a_clean_trace_is_typical(noisy_trace):
    assert verdict_of(noisy_trace[1]).verdict == "typical"


def test_a_current_of_turned_sign_is_a_hard_fact_and_a_true_one_is_none():
    rng = np.random.default_rng(2)
    _, v = simulator.draw(DEFAULT, CURRENT, 1.0, 100, rng)
    noisy = v + 2 * rng.standard_normal(v.shape)

    def facts(v_mv, current, t0_ms=0.0):
        return recording.against_the_current(recording.Recording(v_mv, current, "uA/cm2", 1.0, t0_ms, "test"))

    assert not any(facts(x, CURRENT) for x in noisy)
    turned = [facts(x, -CURRENT) for x in noisy]
    assert sum(map(bool, turned)) > 85
    assert "moves against the current at its step (40 ms): is the sign of one turned?" in max(turned)[0]
    spiking = np.where(np.arange(500) % 10, v[0], 20.0)  # spikes tell no sign
    assert facts(spiking, -CURRENT) == []
    assert "(2040 ms)" in facts(noisy[0], -CURRENT, 2000.0)[0]  # the clock of the file, as in --window


def test_repeated_firing_under_constant_current_is_a_hard_fact():
    v = np.full(500, -65.0)
    v[220:480:40] = 20.0
    observed = likelihood.Observation(v, np.where(np.arange(500) > 200, 1.0, 0.0), 2.0)
    facts = typicality.hard_facts(SPEC, observed, 2.0)
    assert any("upward crossings under constant current" in fact for fact in facts)
