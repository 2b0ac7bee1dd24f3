"""Are the scores what their definitions say?"""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.signal import lfilter

from meso_forecast.activity.windows import Panel
from meso_forecast.model import correction, networks, probability
from meso_forecast.model.forecaster import Forecast
from meso_forecast.score import scores, verdict


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


def judged(errors, n=600, seed=0, slow=0.0):
    """Return scores of models whose errors have the given sizes, on one noise truth; ``slow`` correlates errors over time."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, 2, 4)).astype(np.float32)
    out = {}
    for name, size in errors.items():
        e = rng.standard_normal(y.shape)
        if slow:
            e = lfilter([1 - slow], [1, -slow], e, axis=0) * np.sqrt((1 + slow) / (1 - slow))
        out[name] = scores.score(y, forecast_of((y - size * e).astype(np.float32)))
    return out


NO_DRIFT = verdict.Drift(0.02, 0.1)


def test_a_clear_gain_is_yes_a_clear_loss_is_no_and_the_rest_cannot_be_told():
    found = judged({"mean": 2.0, "ar": 1.0, "good": 0.8, "bad": 1.2, "same": 1.0})
    answers = {n: verdict.decide(n, found, "ar", 30, NO_DRIFT).answer for n in ("good", "bad", "same")}
    assert answers == {"good": "yes", "bad": "no", "same": "cannot tell"}
    v = verdict.decide("good", found, "ar", 30, NO_DRIFT)
    assert v.sentence.startswith("good beats the best baseline (ar, chosen on validation): yes, ")
    assert v.comparison.low < v.comparison.skill < v.comparison.high


def test_a_model_that_equals_the_baseline_does_not_beat_it():
    found = judged({"mean": 2.0, "ar": 1.0})
    assert verdict.decide("x", found | {"x": found["ar"]}, "ar", 30, NO_DRIFT).answer == "no"


def test_beating_a_baseline_where_nothing_can_be_forecast_is_no_victory():
    found = judged({"ar": 1.3, "mean": 1.0})
    v = verdict.decide("x", found | {"x": found["mean"]}, "ar", 30, NO_DRIFT)
    assert v.comparison.low > 0
    assert v.answer == "no"
    assert v.sentence.endswith("not shown to be better than the training mean")


def test_a_poor_opponent_that_validation_chose_does_not_make_a_victory():
    """On a walk validation may choose an autoregression; who beats it and not the last value has found nothing."""
    found = judged({"mean": 3.0, "ar": 1.2, "persistence": 1.0, "x": 1.0})
    v = verdict.decide("x", found | {"x": found["persistence"]}, "ar", 30, NO_DRIFT)
    assert v.comparison.low > 0
    assert v.answer == "no"
    assert v.sentence.endswith("not shown to be better than the last value")


def test_with_too_few_blocks_nobody_can_tell():
    found = judged({"mean": 2.0, "ar": 1.0, "x": 0.9}, n=80)
    v = verdict.decide("x", found, "ar", 40, NO_DRIFT)
    assert v.answer == "cannot tell"
    assert np.isinf(v.comparison.high)


def test_intervals_cover_zero_as_often_as_they_say_also_when_errors_are_slow():
    """Two models of equal size of error: the interval excludes zero in at most 5 % of 300 draws."""
    wrong = 0
    for seed in range(300):
        c = scores.compare(*judged({"a": 1.0, "b": 1.0}, 400, seed, slow=0.9).values(), 40)
        wrong += c.low > 0 or c.high < 0
    assert wrong <= 15


def test_the_interval_of_an_error_over_few_blocks_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    errors = 5 + np.repeat(rng.normal(size=(1000, 5)), 40, axis=1)  # five blocks of 40 windows
    found = [scores.interval(e[:, None], 40) for e in errors]
    assert np.mean([low[0] <= 5 <= high[0] for low, high in found]) == pytest.approx(0.95, abs=0.02)


def test_the_opponent_is_the_baseline_with_the_least_validation_error_whatever_the_test_part_says():
    info = {
        "ar": {"validation_mse": [0.5, 0.7]},
        "persistence": {"validation_mse": [0.4, 0.5]},
        "stack": {"validation_mse": [0.1]},
    }
    assert verdict.best_baseline(info, "stack") == "persistence"
    assert verdict.best_baseline(info, "persistence") == "ar"


def test_a_test_part_that_leaves_the_training_range_is_said():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 5)).astype(np.float32)
    label = np.where(np.arange(2000) < 1400, 0, 2).astype(np.int8)
    usable = np.ones(2000, bool)
    calm = verdict.drift_of(Panel(x, usable, label))
    assert calm.outside == pytest.approx(0.02, abs=0.01)
    assert not calm.drifted
    x[1400:] += 2
    drift = verdict.drift_of(Panel(x, usable, label))
    assert drift.drifted
    assert drift.shift == pytest.approx(2, abs=0.2)
    sentence = verdict.decide("x", judged({"mean": 2.0, "x": 1.0}), "mean", 30, drift).sentence
    assert "the test part drifted: " in sentence
    assert "(2% expected), its means by 2.0 sd" in sentence


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
    r = rng.standard_normal((7, 2, 40)).astype(np.float32)
    collected = correction.Projector(basis)
    for neurons in (slice(0, 15), slice(15, 40)):  # as the stack hands them out
        collected(neurons, r[:, :, neurons])

    def gap(seed):
        c = np.random.default_rng(seed).standard_normal((7, 2, 5))
        return ((r - c @ basis.T) ** 2).sum() - ((c - collected.total) ** 2).sum()

    assert gap(1) == pytest.approx(gap(2), rel=1e-5)


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


@pytest.mark.parametrize("spread", [0.15, 0.3])
def test_the_width_that_more_minutes_would_bring_is_the_one_they_bring(spread):
    """Predicted from a quarter of 60 simulated sessions against the whole, errors slow and shared; from few blocks nothing is predicted."""
    from scipy.signal import lfilter

    rng, ratios = np.random.default_rng(0), []
    blank = dict.fromkeys(scores.Scores._fields[:10])
    for _ in range(60):
        common, own = (
            np.exp(spread * lfilter([0.5], [1, -0.9], rng.standard_normal((9600, 4)), axis=0)) for _ in range(2)
        )
        pair = [common, common * (0.95 + 0.1 * (own - 1))]
        made = [
            [scores.Scores(**{**blank, "mse": e[:n].mean(0), "window_mse": e[:n]}) for e in pair] for n in (2400, 9600)
        ]
        few, many = (scores.compare(b, a, 60) for a, b in made)
        told = scores.further(few, 2.0, add=(3,))
        ratios.append(told[0]["then"] / ((many.high - many.low) / 2))
    assert 0.9 < np.exp(np.mean(np.log(ratios))) < 1.1
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.2) > 0.7
    assert scores.further(few._replace(n_blocks=9), 2.0) == []


def test_a_baseline_that_validation_cannot_tell_from_the_best_must_be_beaten_too():
    """On a passive mesoscope session validation puts two baselines within .2 % of each other, the test part ten percent apart."""
    found = judged({"mean": 3.0, "persistence": 2.0, "ar": 1.3, "var": 1.0, "x": 1.0})
    found["x"] = found["var"]
    info = {"ar": {"validation_mse": [0.999]}, "var": {"validation_mse": [1.0]}, "mean": {"validation_mse": [2.0]}}
    assert verdict.best_baseline(info, "x") == "ar"
    assert verdict.ties(info, "x") == ["ar", "var"]
    assert verdict.decide("x", found, "ar", 30, NO_DRIFT).answer == "yes"
    v = verdict.decide("x", found, "ar", 30, NO_DRIFT, verdict.ties(info, "x"))
    assert v.answer == "no"
    assert v.sentence.endswith("not shown to be better than var")


def test_the_sentence_names_the_baseline_that_is_best_on_the_test_part_where_validation_chose_another():
    found = judged({"mean": 3.0, "persistence": 2.0, "ar": 1.3, "var": 1.0, "x": 0.8, "y": 1.15})
    v = verdict.decide("x", found, "ar", 30, NO_DRIFT)
    assert (v.answer, v.best_on_test) == ("yes", "var")
    assert "; on the test part var is the best baseline: +3" in v.sentence
    assert "on the test part" not in verdict.decide("x", found, "var", 30, NO_DRIFT).sentence
    beaten = verdict.decide("y", found, "ar", 30, NO_DRIFT)
    assert beaten.comparison.low > 0
    assert beaten.answer == "cannot tell"  # another baseline does better
