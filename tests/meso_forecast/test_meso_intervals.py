"""Do 90 % intervals hold nine of ten truths, also after the regime changed, and is it said where they do not?"""

import json

import h5py
import numpy as np
import pytest
from scipy.signal import lfilter

from meso_forecast.activity.split import chronological_split
from meso_forecast.activity.windows import Panel, gather, window_origins
from meso_forecast.model import conformal
from meso_forecast.model.closed_form import fit_closed_form
from meso_forecast.model.forecaster import with_spread
from meso_forecast.score.scores import score

CONTEXT, HORIZON = 24, 8


def moved(seed, how, n_time=3000, n=20):
    """Return autoregressions that move by two standard deviations in the test part, at once, on a ramp, or not at all."""
    rng = np.random.default_rng(seed)
    x = lfilter([1], [1, -0.8], rng.standard_normal((n_time, n)), axis=0)
    x, first, shift = x / x.std(0), int(0.8 * n_time), np.zeros(n_time)
    if how == "jump":
        shift[first + 100 :] = 2
    elif how == "ramp":
        shift[first:] = np.linspace(0, 2, n_time - first)
    x += shift[:, None] * rng.choice([-1, 1], n)
    label = chronological_split(n_time)
    x = (x - x[label == 0].mean(0)) / x[label == 0].std(0)
    return Panel(x.astype(np.float32), np.ones(n_time, bool), label)


@pytest.mark.parametrize("how", ["none", "jump", "ramp"])
def test_adaptive_intervals_cover_as_promised_after_a_drift_of_two_standard_deviations(how):
    panel = moved(0, how)
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    fitted = with_spread(fit_closed_form("ar", panel, CONTEXT, HORIZON), panel, CONTEXT, HORIZON)
    found = score(gather(panel.x, origins, 1, HORIZON), fitted.forecast(panel, origins), origins)
    assert (found.adaptive_90 > 0.87).all()
    assert (found.adaptive_90 < 0.93).all()
    t, adaptive = found.interval_score
    if how == "none":
        assert 0.87 < found.coverage_90.mean() < 0.93
        assert adaptive < 1.05 * t
    else:
        assert found.coverage_90.mean() < 0.85
        assert adaptive < t


def test_the_share_of_misses_is_bounded_by_the_change_of_the_radius():
    """The identity behind it: the logarithm of the radius adds up the misses."""
    rng = np.random.default_rng(1)
    ratio = np.abs(rng.standard_t(3, (400, 1, 1))) * np.linspace(1, 5, 400)[:, None, None]
    r = conformal.radius(ratio, np.arange(400), np.full((1, 1), 8.0))
    miss = (ratio[:-1] > r[:-1]).mean() - 0.1
    assert miss * 399 * conformal.STEP_COMMON == pytest.approx(float(np.log(r[-1] / r[0]).item()), abs=1e-4)


def test_a_target_teaches_only_when_it_is_known():
    rng = np.random.default_rng(2)
    ratio = np.abs(rng.standard_normal((100, 5, 3)))
    origins = np.r_[np.arange(50), np.arange(60, 110)]
    later = ratio.copy()
    at = 70
    for h in range(5):
        later[origins + h + 1 > origins[at], h] = 9
    a, b = (conformal.radius(v, origins, np.full((5, 3), 8.0)) for v in (ratio, later))
    assert np.array_equal(a[: at + 1], b[: at + 1])
    assert not np.array_equal(a[at + 1], b[at + 1])


def test_what_is_not_as_promised_is_no_answer():
    assert conformal.answered(0.9, 100)
    assert not conformal.answered(0.86, 100)
    assert not conformal.answered(0.94, 100)
    assert not conformal.answered(0.9, 10)
    assert not conformal.answered(float("nan"), 0)


def test_a_forecast_holds_intervals_that_learned_from_test_frames_only(meso, small_session, tmp_path):
    fast = ["--context", 24, "--horizon", 4]
    assert meso("train", small_session[1], "--model", "ar", *fast, "--output", tmp_path / "m").returncode == 0
    found = {}
    for part in ("test", "train"):
        told = meso(
            "forecast", tmp_path / "m", small_session[1], "--part", part, "--output", tmp_path / f"{part}.h5", "--json"
        )
        assert told.returncode == 0, told.stderr
        found[part] = json.loads(told.stdout)["results"]["intervals"]
    assert found["test"]["n_known"] > 50
    assert (found["test"]["answer"] == "yes") == (0.87 <= found["test"]["covers"] <= 0.93)
    assert found["train"]["answer"] == "no answer"
    with h5py.File(tmp_path / "test.h5") as file:
        assert np.isfinite(file["adaptive_half_width"][:]).all() == (found["test"]["answer"] == "yes")
    with h5py.File(tmp_path / "train.h5") as file:
        assert np.isnan(file["adaptive_half_width"][:]).all()
