"""Do the weights of the mixture follow the errors that are known, and nothing else?"""

import copy

import numpy as np
import pytest
import torch

from meso_forecast.activity.split import chronological_split
from meso_forecast.activity.windows import Panel
from meso_forecast.fit import fit_correction, fit_shared
from meso_forecast.fit.options import Options
from meso_forecast.model import mixture
from meso_forecast.model.shared import SharedMLP, forecast_shared

CONTEXT, HORIZON = 16, 3


def panel_of(x):
    label = chronological_split(len(x))
    return Panel(((x - x[label == 0].mean(0)) / x[label == 0].std(0)).astype(np.float32), np.ones(len(x), bool), label)


def test_weights_are_those_of_a_loop_over_what_is_known_at_each_origin():
    rng = np.random.default_rng(0)
    errors = rng.standard_normal((3, 40, HORIZON, 5))
    origins = np.arange(100, 140)
    products, prior = mixture.error_products(errors), np.stack([np.eye(3)] * HORIZON)
    whole = mixture.Known(prior)
    whole.add(origins, products)
    keep = 1 - 1 / mixture.MEMORY_FRAMES
    for t in (99, 107, 121, 139):
        held = t - t % mixture.HELD_FRAMES
        for h in range(HORIZON):
            level = prior[h]
            for origin, product in zip(origins, products[:, h]):
                if origin + h + 1 <= held:
                    level = keep * level + (1 - keep) * product
            assert whole.weights(np.array([t]))[0, h] == pytest.approx(mixture.even_weights(level), abs=1e-6)


def test_chunks_of_windows_give_what_one_pass_gives():
    rng = np.random.default_rng(1)
    products = mixture.error_products(rng.standard_normal((3, 60, HORIZON, 5)))
    origins, prior = np.r_[50:90, 100:120], np.stack([np.eye(3)] * HORIZON)
    one, parts = mixture.Known(prior), mixture.Known(prior)
    one.add(origins, products)
    for rows in (slice(0, 25), slice(25, 60)):
        parts.add(origins[rows], products[rows])
    assert np.array_equal(one.weights(origins), parts.weights(origins))


def test_a_member_that_stops_helping_fades():
    rng = np.random.default_rng(0)
    good, bad = 0.3 * rng.standard_normal((2000, 1, 8)), rng.standard_normal((2000, 1, 8))
    errors = np.stack([np.concatenate([good[:1000], bad[1000:]]), np.concatenate([bad[:1000], good[1000:]])])
    known = mixture.Known(np.eye(2)[None])
    known.add(np.arange(2000), mixture.error_products(errors))
    weights = known.weights(np.arange(2000))[:, 0, 0]
    assert weights[990] > 0.8
    assert weights[1990] < 0.3


def test_a_network_that_neurons_share_knows_neurons_it_never_saw():
    torch.manual_seed(0)
    net = SharedMLP("tide", CONTEXT, HORIZON, 4).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(0, 0.1)
        net.embedding.weight.fill_(0.5)
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    x[:, 2] = x[:, 1]
    f = forecast_shared([net], x, np.array([0, 1, -1]), None, np.array([50, 60]), rows=4)
    assert f.shape == (2, HORIZON, 3)
    assert f == pytest.approx(forecast_shared([net], x, np.array([0, 1, -1]), None, np.array([50, 60])), abs=1e-5)
    assert not np.array_equal(f[:, :, 1], f[:, :, 2])  # the same trace, without its embedding


@pytest.fixture(scope="module")
def walks():
    """Return the mixture fitted on independent random walks, and its panel."""
    panel = panel_of(np.cumsum(np.random.default_rng(3).standard_normal((1500, 8)), 0))
    return fit_correction.fit_informer([panel], CONTEXT, HORIZON, "mlp", Options(epochs=8, batches_per_epoch=20))[
        0
    ], panel


def test_on_random_walks_the_last_value_is_the_forecast(walks):
    fitted, panel = walks
    origins = np.arange(1250, 1490)
    assert np.array_equal(fitted.forecast(panel, origins), np.repeat(panel.x[origins][:, None], HORIZON, 1))
    assert fitted.info["weights"]["persistence"] == 1
    assert not fitted.gate.is_open


def products(of_other, of_last, n=400):
    """Return products of errors of two members, slow ones that they share and noise of their own."""
    rng = np.random.default_rng(0)
    common = 2 * np.repeat(rng.standard_normal((n // 10, 3, 6)), 10, axis=0)
    own = rng.standard_normal((2, n, 3, 6)) * np.array([of_other, of_last])[:, None, None, None]
    return mixture.error_products(common + own)


@pytest.mark.parametrize(("of_other", "of_last", "wanted"), [(0, 1, True), (1, 1, True), (1, 0, False)])
def test_the_last_value_stands_alone_unless_it_is_beaten_beyond_chance(of_other, of_last, wanted):
    assert mixture.beats_last(products(of_other, of_last)) is wanted


def test_where_there_is_too_little_to_tell_the_mixture_stands():
    assert mixture.beats_last(products(1, 0)[:6])


def test_forecasts_do_not_depend_on_which_others_are_asked_for(walks):
    fitted, panel = walks
    fitted = copy.copy(fitted)
    fitted.prior = fitted.prior._replace(only_last=False)
    origins = np.arange(1300, 1400)
    whole = fitted.forecast(panel, origins)
    assert fitted.forecast(panel, origins[::7]) == pytest.approx(whole[::7], abs=1e-5)


def test_shared_networks_see_a_bounded_number_of_neurons():
    panel = panel_of(np.random.default_rng(0).standard_normal((400, 600)))
    (traces,) = fit_shared.traces_of([panel], [np.zeros((400, 2))], CONTEXT, HORIZON, seed=0)
    assert traces.x.shape == (400, fit_shared.MOST_NEURONS)
    assert np.array_equal(traces.x[:, 5], panel.x[:, traces.neurons[5]])
