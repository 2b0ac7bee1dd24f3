"""Are the scores what their definitions say?"""

import numpy as np
import pytest
import torch
from scipy import stats

from meso_forecast.model import correction, networks, probability
from meso_forecast.model.forecaster import Forecast
from meso_forecast.score import scores


def test_the_crps_equals_its_integral():
    """Oracle: the integral of (F(x) - 1[x >= y])^2."""
    x = np.linspace(-60, 60, 400001)
    for y, mean, scale, df in ((0.3, 0.0, 1.0, 5.0), (-2.0, 0.5, 0.7, 8.0)):
        cdf = stats.t.cdf((x - mean) / scale, df)
        integral = np.trapezoid((cdf - (x >= y)) ** 2, x)
        assert probability.crps_student_t(y, mean, scale, df) == pytest.approx(integral, rel=1e-3)


def test_the_crps_of_many_degrees_of_freedom_is_the_gaussian_one():
    z = 0.8
    gaussian = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert probability.crps_student_t(z, 0.0, 1.0, 1e7) == pytest.approx(gaussian, abs=1e-6)


def test_the_spread_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    residual = (rng.standard_t(6, (4000, 3, 5)) * [1.0, 2.0, 0.5, 3.0, 1.0]).astype(np.float32)
    t = probability.fit_student_t(residual[:3000], np.arange(3000))
    inside = np.abs(residual[3000:]) <= t.scale * stats.t.ppf(0.95, t.df)
    assert 0.87 < inside.mean() < 0.93


def test_the_scale_at_an_origin_ignores_later_errors():
    rng = np.random.default_rng(0)
    t = probability.fit_student_t(rng.standard_normal((500, 2, 3)).astype(np.float32), np.arange(500))
    t = t._replace(power=np.ones(3))
    known = rng.standard_normal((600, 3)).astype(np.float32)
    later = known.copy()
    later[301:] *= 50
    origins = np.array([100, 300])
    assert np.array_equal(probability.window_scale(t, known, origins), probability.window_scale(t, later, origins))
    assert not np.array_equal(
        probability.window_scale(t, known, origins + 50), probability.window_scale(t, later, origins + 50)
    )


def forecast_of(mean):
    return Forecast(mean, np.ones_like(mean), np.full(mean.shape[1:], 10.0))


def test_a_perfect_forecast_and_a_constant_one_score_as_they_should():
    y = np.random.default_rng(0).standard_normal((400, 2, 3)).astype(np.float32)
    perfect, constant = scores.score(y, forecast_of(y)), scores.score(y, forecast_of(np.zeros_like(y)))
    assert perfect.mse == pytest.approx(0)
    assert perfect.r2 == pytest.approx(1)
    assert perfect.event_auc == pytest.approx(1)
    assert constant.correlation == pytest.approx(0)
    assert constant.event_auc == pytest.approx(0.5)
    assert constant.mse == pytest.approx((y**2).mean((0, 2)), rel=1e-5)


def test_a_difference_within_noise_is_no_victory_and_a_large_one_is():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((600, 2, 4)).astype(np.float32)
    a, b, bad = (
        scores.score(y, forecast_of((s * rng.standard_normal(y.shape)).astype(np.float32))) for s in (0.5, 0.5, 1.0)
    )
    assert scores.verdict("x", scores.compare(a, b, 30))[0] is False
    won, line = scores.verdict("x", scores.compare(a, bad, 30))
    assert won is True
    assert line.startswith("x beats AR: yes")


def test_beating_ar_where_nothing_can_be_forecast_is_no_victory():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((600, 2, 4)).astype(np.float32)
    nothing, ar = (
        scores.score(y, forecast_of((s * rng.standard_normal(y.shape)).astype(np.float32))) for s in (0.0, 0.3)
    )
    against_ar, against_mean = scores.compare(nothing, ar, 30), scores.compare(nothing, nothing, 30)
    assert against_ar.low > 0
    won, line = scores.verdict("x", against_ar, against_mean)
    assert won is False
    assert line.endswith("no better than the training mean")


def test_spike_weights_have_mean_one_and_raise_only_the_neurons_that_are_active():
    target = torch.zeros(10, 2, 4)
    target[0, 0, 1] = 5.0
    w = networks.spike_weights(target, 20.0)
    assert float(w.mean()) == pytest.approx(1)
    assert float(w[0, 0, 1] / w[0, 0, 0]) == pytest.approx(20)
    assert float(networks.spike_weights(target, 1.0).std()) == 0


def test_each_part_of_the_loss_has_an_effect_and_the_scale_penalty_a_gradient():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(50, 2, 3, generator=generator) * 2
    log_scale = torch.full((50, 2, 3), 1.0, requires_grad=True)

    def loss(weight, penalty):
        return networks.student_t_loss(
            torch.tensor(5.0), torch.zeros(50, 2, 3), log_scale.exp(), target, weight, penalty
        )

    plain, spiky, penalised = loss(1.0, 0.0), loss(10.0, 0.0), loss(1.0, 1.0)
    assert spiky.item() != pytest.approx(plain.item(), rel=1e-3)
    assert penalised.item() == pytest.approx(plain.item() + 1.0, rel=1e-5)
    extra = torch.autograd.grad(penalised - plain, log_scale)[0]
    assert float(extra.mean()) > 0


def test_the_projected_loss_differs_from_the_full_one_by_a_constant():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((40, 5)))[0]
    r = rng.standard_normal((7, 2, 40))

    def gap(seed):
        c = np.random.default_rng(seed).standard_normal((7, 2, 5))
        return ((r - c @ basis.T) ** 2).sum() - ((c - r @ basis) ** 2).sum()

    assert gap(1) == pytest.approx(gap(2), rel=1e-9)


def test_the_gate_opens_for_a_correction_that_helps_and_not_for_noise():
    rng = np.random.default_rng(0)
    q = rng.standard_normal((500, 3, 4))
    assert correction.fit_gate(q, 0.5 * q + 0.3 * rng.standard_normal(q.shape), 10).is_open
    assert not correction.fit_gate(q, rng.standard_normal(q.shape), 10).is_open


def test_the_online_coefficient_fades_after_the_regime_changes_and_never_looks_ahead():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((3000, 2, 4))
    q = g.copy()
    q[1000:] = -g[1000:]
    a = correction.online_coefficient(q, g, np.arange(3000), 3000, np.full(2, 4.0))
    assert a[900:1000].min() > 0.9
    assert a[2500:].max() < 0.1
    assert np.array_equal(a[:1001], correction.online_coefficient(g, g, np.arange(3000), 3000, np.full(2, 4.0))[:1001])
