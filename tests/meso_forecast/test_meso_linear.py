"""Are the linear forecasters exact, causal and honest about noise?"""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from meso_forecast.activity import windows
from meso_forecast.activity.split import chronological_split
from meso_forecast.activity.windows import Panel, gather, window_origins
from meso_forecast.model import closed_form, linear, stack

CONTEXT, HORIZON = 24, 4


def panel_of(x, usable=None):
    label = chronological_split(len(x))
    x = (x - x[label == 0].mean(0)) / x[label == 0].std(0)
    return Panel(x.astype(np.float32), np.ones(len(x), bool) if usable is None else usable, label)


def coupled(n_time=1500, n_neurons=6, seed=0):
    """Two slow latents seen by all neurons, with private noise."""
    rng = np.random.default_rng(seed)
    z = np.zeros((n_time, 2))
    for t in range(1, n_time):
        z[t] = [0.97 * z[t - 1, 0] - 0.2 * z[t - 1, 1], 0.2 * z[t - 1, 0] + 0.97 * z[t - 1, 1]] + rng.standard_normal(2)
    z /= z.std(0)
    return panel_of(z @ rng.standard_normal((2, n_neurons)) + rng.standard_normal((n_time, n_neurons)))


@pytest.fixture(scope="module")
def panel():
    return coupled()


def test_an_autoregression_equals_sklearn_ridge_within_1e_8(panel):
    origins, block = stack.training_windows(panel, CONTEXT, HORIZON)
    origins = origins[block >= 0]
    fitted = closed_form.fit_autoregression(panel, CONTEXT, HORIZON, (8,), (1e-2,)).map
    x = np.asarray(panel.x, float)
    for neuron in (0, 5):
        features = np.c_[gather(x, origins, -7, 0)[:, ::-1, neuron], np.ones(len(origins))]
        targets = gather(x, origins, 1, HORIZON)[:, :, neuron]
        ridge = Ridge(alpha=1e-2 * len(origins), fit_intercept=False, solver="cholesky").fit(features, targets)
        ours = np.r_[fitted.own[neuron, :8], fitted.own[neuron, -1:]]
        assert np.abs(ours - ridge.coef_.T).max() < 1e-8


@pytest.mark.parametrize("reference", linear.REFERENCES)
def test_a_joint_var_equals_one_ridge_with_two_penalties_within_1e_8(panel, reference):
    """The oracle stacks all columns of one neuron and scales them by the square root of their penalty."""
    c = linear.Columns(CONTEXT, HORIZON, 6, 3, 4)
    origins, block = stack.training_windows(panel, CONTEXT, HORIZON)
    frames = np.flatnonzero(panel.label <= 1)
    latents = linear.series_of(linear.project(panel.x, linear.principal_basis(panel.x, frames, 3)), panel.usable)
    d = linear.design(c, reference, 6, 3, 4)
    r = linear.take_blocks(linear.reduce(linear.moments(panel, origins, block, c, latents), d), np.arange(5))
    a, b = linear.ridge(r, 1e-3, 1e-2, joint=True)
    keep = block >= 0
    v = linear.own_columns(linear.series_of(panel.x, panel.usable), origins, c, targets=True)[2][keep]
    z = d.of_shared(linear.shared_columns(latents, origins, c)[keep])
    features = np.c_[v[:, : c.n_own] @ d.own / np.sqrt(1e-3), z / np.sqrt(1e-2)]
    oracle = Ridge(alpha=keep.sum(), fit_intercept=False, solver="cholesky").fit(features, v @ d.target).coef_.T
    n = d.own.shape[1]
    assert np.abs(a[2] - oracle[:n] / np.sqrt(1e-3)).max() < 1e-8
    assert np.abs(b[2] - oracle[n:] / np.sqrt(1e-2)).max() < 1e-8
    error = linear.squared_error(r, a, b)[2]
    direct = ((v @ d.target - v[:, : c.n_own] @ d.own @ a[2] - z @ b[2]) ** 2).sum(0)
    assert error == pytest.approx(direct, rel=1e-9)


def test_persistence_repeats_the_last_frame(panel):
    origins = np.array([100, 400])
    f = closed_form.fit_closed_form("persistence", panel, CONTEXT, HORIZON).forecast(panel, origins)
    assert np.array_equal(f, np.repeat(panel.x[origins][:, None], HORIZON, 1))


@pytest.mark.parametrize("name", [name for name in closed_form.CLOSED_FORM if name != "stimulus-mean"])
def test_frames_after_an_origin_leave_its_forecast_bit_identical(panel, name):
    fitted = closed_form.fit_closed_form(name, panel, CONTEXT, HORIZON)
    origins = np.array([1200, 1290, 1300])
    later = panel.x.copy()
    later[1301:] = 1e3
    later[1350] = np.nan
    assert np.array_equal(fitted.forecast(panel, origins), fitted.forecast(panel._replace(x=later), origins))


@pytest.mark.parametrize("name", ["ar", "ar-drift", "ar-mixture", "var", "stack"])
def test_the_test_part_changes_no_fitted_statistic(panel, name):
    other = panel.x.copy()
    other[panel.label == windows.TEST] = 7.0
    a, b = (closed_form.fit_closed_form(name, p, CONTEXT, HORIZON).map for p in (panel, panel._replace(x=other)))
    assert np.array_equal(a.own, b.own)
    assert np.array_equal(a.shared, b.shared)


def test_white_noise_is_forecast_as_noise():
    """|skill over the training mean| stays below 0.01 at every horizon."""
    panel = panel_of(np.random.default_rng(1).standard_normal((4000, 8)))
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    y = gather(panel.x, origins, 1, HORIZON)
    f = closed_form.fit_closed_form("stack", panel, CONTEXT, HORIZON).forecast(panel, origins)
    skill = 1 - ((y - f) ** 2).mean((0, 2)) / (y**2).mean((0, 2))
    assert np.abs(skill).max() < 0.01


def test_the_stack_uses_the_population_where_it_helps(panel):
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    y = gather(panel.x, origins, 1, HORIZON)
    ar, ours = (
        ((y - closed_form.fit_closed_form(n, panel, CONTEXT, HORIZON).forecast(panel, origins)) ** 2).mean()
        for n in ("ar", "stack")
    )
    assert ours < 0.95 * ar


def test_mixture_weights_are_convex_and_optimal():
    rng = np.random.default_rng(0)
    e = rng.standard_normal((500, 4)) + np.arange(4)
    products = e.T @ e / 500
    w = stack.convex_weights(products)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1)
    others = rng.dirichlet(np.ones(4), 2000)
    assert w @ products @ w <= np.einsum("ki,ij,kj->k", others, products, others).min() + 1e-6


def test_held_out_residuals_come_from_folds_that_did_not_see_them(panel):
    """Oracle: refit without one block and forecast it."""
    plan = stack.plan_stack(panel, CONTEXT, HORIZON)
    _, _, _, residual = next(stack.fit_chunks(plan, panel))
    origins, block = stack.training_windows(panel, CONTEXT, HORIZON)
    rest, c = block != 2, plan.columns
    latents = linear.shared_series(panel, c, plan.basis)
    m = linear.moments(panel, origins, np.where(rest & (block >= 0), 0, -1), c, latents)
    reduced = [(d := member.design(c), linear.reduce(m, d)) for member in plan.members]
    own, shared = stack.mixed_weights(plan, reduced, None)
    fitted = linear.LinearMap(c, own, shared, plan.basis)
    rows = np.flatnonzero(block == 2)
    direct = gather(panel.x, origins[rows], 1, HORIZON) - fitted.forecast(panel, origins[rows])
    assert residual[rows] == pytest.approx(direct, abs=1e-4)
    assert np.isnan(residual[block < 0]).all()


def test_the_slow_mean_restarts_after_a_gap():
    x = np.r_[np.full(30, 5.0), np.nan, np.full(30, 1.0)][:, None]
    usable = np.isfinite(x[:, 0])
    mean = linear.slow_mean(np.where(usable[:, None], x, 0), usable)
    assert mean[:30] == pytest.approx(5)
    assert mean[31:] == pytest.approx(1)


def test_the_stacks_error_is_that_of_blocks_that_were_not_fitted():
    """On noise, weights fitted to other blocks do worse than no weights at all; in-sample ones would do better."""
    panel = panel_of(np.random.default_rng(3).standard_normal((700, 4)))
    c = linear.Columns(CONTEXT, HORIZON, 16)
    origins, block = stack.training_windows(panel, CONTEXT, HORIZON)
    member = stack.Member("mean", order=16, own_penalty=1e-6)
    reduced = linear.reduce(linear.moments(panel, origins, block, c), member.design(c))
    total = linear.take_blocks(reduced, np.arange(len(reduced.n)))
    in_sample = linear.squared_error(total, *member.solve(total, c.n_own, c.horizon)).sum(0)
    held_out = stack.held_out_error(member, reduced, c)
    nothing = total.yy.sum(0)
    assert (held_out > nothing).all()
    assert (in_sample < nothing).all()


def drifting(seed: int, n_time: int = 1400, n: int = 8) -> np.ndarray:
    """Return independent autoregressions on linear drifts of up to several standard deviations, half of the neurons; the rest are noise."""
    rng = np.random.default_rng(seed)
    e = rng.standard_normal((n_time, n))
    x, phi = e.copy(), np.where(np.arange(n) % 2, rng.uniform(0.3, 0.98, n), 0)
    for t in range(1, n_time):
        x[t] = phi * x[t - 1] + e[t]
    return x + np.linspace(0, 1, n_time)[:, None] * rng.normal(0, 4, n) * (phi > 0) * x.std(0) / 2


def test_no_baseline_but_the_one_around_running_levels_follows_a_drift():
    """Each neuron gets its level, and on independent drifting neurons nothing that sees the population does better."""
    gains = []
    for seed in range(3):
        panel = panel_of(drifting(seed))
        origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
        y = gather(panel.x, origins, 1, HORIZON)
        fits = {k: closed_form.fit_closed_form(k, panel, CONTEXT, HORIZON) for k in ("ar", "ar-drift", "stack")}
        mse = {k: ((y - f.forecast(panel, origins)) ** 2).mean() for k, f in fits.items()}
        gains.append([1 - mse["ar-drift"] / mse[k] for k in ("ar", "stack")])
        assert fits["ar-drift"].info["levels"]["mean"] < 8
    over_ar, over_stack = np.mean(gains, axis=0)
    assert over_ar > 0.02
    assert over_stack > -0.002


def test_levels_that_bleach_are_followed_by_the_mixture_of_own_pasts_as_well_as_by_the_stack():
    """White noise on levels that decay: nothing is left for a forecaster that sees other neurons, though it beats each single level."""
    rng, t = np.random.default_rng(5), np.arange(3000)[:, None]
    panel = panel_of(rng.standard_normal((3000, 8)) + 4 * np.exp(-t / rng.uniform(300, 3000, 8)))
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    y = gather(panel.x, origins, 1, HORIZON)
    names = ("ar-mixture", "stack", "ar", "ar-drift", "context-mean")
    mse = {
        k: ((y - closed_form.fit_closed_form(k, panel, CONTEXT, HORIZON).forecast(panel, origins)) ** 2).mean()
        for k in names
    }
    assert mse["stack"] > 0.998 * mse["ar-mixture"]
    assert mse["ar-mixture"] < min(mse[k] for k in names[2:])
    assert not closed_form.fit_closed_form("ar-mixture", panel, CONTEXT, HORIZON).map.shared.any()


def test_walks_are_forecast_around_their_last_value_and_noise_around_its_mean():
    e = np.random.default_rng(4).standard_normal((2000, 8))
    panel = panel_of(np.c_[e[:, :4].cumsum(0), e[:, 4:]])
    found = closed_form.fit_closed_form("ar-drift", panel, CONTEXT, HORIZON)
    last = found.forecast(panel, np.array([1500, 1700]))[:, 0, :4]
    assert np.abs(last - panel.x[[1500, 1700], :4]).max() < 0.2
    assert np.abs(found.forecast(panel, np.array([1500, 1700]))[:, :, 4:]).max() < 0.3
    assert sum(found.info["levels"].values()) == 8
    assert found.spread.scale.shape == found.spread.df.shape == (HORIZON, 8)
    assert found.spread.power.shape == found.spread.one_step.shape == (8,)


def test_on_random_walks_the_stack_is_the_last_value_and_elsewhere_not(panel):
    """Held out in the middle a walk looks drawn to its mean; what was fitted before the last block shows that it is not."""
    walk = panel_of(np.cumsum(np.random.default_rng(3).standard_normal((1500, 8)), 0))
    plan = stack.plan_stack(walk, CONTEXT, HORIZON)
    assert plan.members == [stack.LAST]
    assert stack.plan_stack(panel, CONTEXT, HORIZON).members != [stack.LAST]


def test_few_windows_cannot_tell_chance():
    assert stack.beyond_chance(np.array([-1.0, -2, -1, -2, -1, -2]))
    assert not stack.beyond_chance(np.random.default_rng(0).standard_normal(400))
