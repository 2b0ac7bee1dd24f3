"""Is behaviour seen by forecasters only up to the origin, by its own clock, and is what it adds found, and not found where it is nothing?"""

import json

import numpy as np
import pytest

from meso_forecast import config
from meso_forecast.activity import covariates
from meso_forecast.activity.covariates import Behaviour, Signal, Trials, Wheel
from meso_forecast.activity.split import chronological_split
from meso_forecast.activity.windows import Panel, gather, window_origins
from meso_forecast.files.behaviour import alf_behaviour
from meso_forecast.fit.registry import fit_named
from meso_forecast.score.compare import Outcome, behaviour_adds
from meso_forecast.score.scores import score

CONTEXT, HORIZON = 16, 4


def driven(seed, n_time=2500, n=10, gain=0.8):
    """Return a panel whose neurons follow an unpredictable input two frames later, and that input."""
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((n_time, 2)).astype(np.float32)
    x, e = np.zeros((n_time, n)), rng.standard_normal((n_time, n))
    w = rng.standard_normal((2, n)) * gain
    for t in range(2, n_time):
        x[t] = 0.7 * x[t - 1] + e[t] + b[t - 2] @ w
    label = chronological_split(n_time)
    x = (x - x[label == 0].mean(0)) / x[label == 0].std(0)
    return Panel(x.astype(np.float32), np.ones(n_time, bool), label), b


def settings(**more):
    return config.TrainConfig(
        recordings=["x"], output="x", context=CONTEXT, horizon=HORIZON, epochs=4, batches_per_epoch=10, **more
    )


class Stand:
    """What `behaviour_adds` reads of a recording."""

    def __init__(self, panel):
        self.panel, self.input_names = panel, ["a", "b"]


def adds(panel, name="stack", use="past"):
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    y = gather(panel.x, origins, 1, HORIZON)
    seeing, blind = (fit_named(name, [p], settings())[0] for p in (panel, panel.without_behaviour()))
    outcome = Outcome({name: score(y, seeing.forecast(panel, origins))}, {}, {}, {}, None, y, origins, name)
    return behaviour_adds(outcome, {name: blind}, Stand(panel), use, CONTEXT)


@pytest.mark.parametrize("name", ["stack", "informer"])
def test_a_planted_effect_of_behaviour_is_found_where_it_can_be(name):
    """The input arrives two frames before the activity: it helps at horizons 1 and 2 most, and little beyond."""
    panel, b = driven(0)
    found = adds(panel._replace(inputs=b), name)["models"][0]
    assert found["low"] > 0.05
    assert found["by_horizon"][0] > 0.15
    assert found["by_horizon"][0] > found["by_horizon"][3] + 0.05


def test_shuffled_behaviour_adds_nothing():
    lows, highs, gains = [], [], []
    for seed in range(4):
        panel, b = driven(seed)
        shuffled = np.random.default_rng(seed).permutation(b)
        found = adds(panel._replace(inputs=shuffled))["models"][0]
        lows.append(found["low"])
        highs.append(found["high"])
        gains.append(found["adds"])
    assert np.abs(gains).max() < 0.01
    assert sum(low <= 0 <= high for low, high in zip(lows, highs)) >= 3


def test_a_stimulus_that_is_known_in_advance_helps_at_every_horizon_and_is_said():
    panel, b = driven(3)
    panel = panel._replace(inputs=b)
    past, known = adds(panel), adds(panel._replace(known=b), use="known")
    assert known["models"][0]["by_horizon"][3] > past["models"][0]["by_horizon"][3] + 0.1
    assert "known in advance" in known["sentence"]
    assert "known in advance" not in past["sentence"]


@pytest.mark.parametrize("name", ["stack", "informer"])
def test_behaviour_after_an_origin_leaves_its_forecast_bit_identical(name):
    panel, b = driven(1)
    fitted = fit_named(name, [panel._replace(inputs=b)], settings())[0]
    later = b.copy()
    later[2301:] = 7
    origins = np.array([2200, 2290, 2300])
    before, after = (fitted.forecast(panel._replace(inputs=v), origins) for v in (b, later))
    assert np.array_equal(before.mean, after.mean)
    assert np.array_equal(before.scale, after.scale)
    assert not np.array_equal(before.mean, fitted.forecast(panel._replace(inputs=b * 2), origins).mean)


def test_forecasters_of_activity_alone_do_not_change_with_behaviour():
    panel, b = driven(2)
    for name in ("ar", "var", "ar-drift"):
        a, c = (fit_named(name, [p], settings())[0].point.map.own for p in (panel, panel._replace(inputs=b)))
        assert np.array_equal(a, c)


def test_each_value_of_a_frame_comes_from_times_at_or_before_it():
    clock = np.arange(10) * 0.2
    times = np.array([0.05, 0.1, 0.2, 0.30001, 0.95])
    licks = covariates.since_frame(Signal("licks", times, None), clock)
    assert licks[:6] == pytest.approx([0, 3 / 0.2, 1 / 0.2, 0, 0, 1 / 0.2])
    pupil = covariates.since_frame(Signal("pupil", times, np.array([1.0, np.nan, 3, 5, 9])), clock)
    assert np.isnan(pupil[0])
    assert pupil[1] == pytest.approx(2)
    assert pupil[2:5] == pytest.approx([5, 5, 5])
    assert pupil[5] == 9
    for cut in (0.25, 0.5):
        some = times < cut
        short = covariates.since_frame(Signal("pupil", times[some], np.arange(5.0)[some]), clock)
        whole = covariates.since_frame(Signal("pupil", times, np.arange(5.0)), clock)
        assert np.array_equal(short[clock < cut], whole[clock < cut], equal_nan=True)


def test_a_camera_that_stopped_is_not_known_any_more():
    clock = np.arange(40) * 0.2
    values = covariates.since_frame(Signal("pupil", np.arange(0, 3, 0.02), np.ones(150)), clock)
    assert np.isfinite(values[clock < 3]).all()
    assert np.isnan(values[clock > 4.1]).all()


def test_inputs_are_named_and_constant_ones_are_left_out():
    clock = np.arange(400) * 0.2
    trials = Trials(*(np.array([10.0, 30, 50]) + d for d in (0, 5, 1, 2)), ["left 1.0", "right 1.0", "left 1.0"])
    wheel = Wheel(np.arange(0, 80, 0.05), np.sin(np.arange(0, 80, 0.05)))
    b = Behaviour((trials,), (wheel,), (Signal("licks", np.array([3.0, 4, 5]), None), Signal("dead", clock, clock * 0)))
    inputs, names = covariates.inputs_of(covariates.covariates(b, clock))
    assert "dead" not in names
    assert names[:3] == ["wheel velocity", "wheel speed", "licks"]
    assert names[-2:] == ["stimulus left 1.0", "stimulus right 1.0"]
    assert inputs.shape == (400, len(names))
    assert inputs[:, -2].sum() == 2 * inputs[:, -1].sum()


def camera_session(folder):
    alf = folder / "alf"
    (alf / "#2025-05-29#").mkdir(parents=True)
    rng = np.random.default_rng(0)
    times = np.arange(0, 240, 1 / 60)
    np.save(alf / "_ibl_leftCamera.times.npy", np.r_[times[:5] - 1, times])  # five frames were not kept
    np.save(alf / "#2025-05-29#" / "leftCamera.ROIMotionEnergy.npy", times.astype(np.float32))
    np.save(alf / "licks.times.npy", np.sort(rng.uniform(0, 240, 300)))
    np.save(alf / "_ibl_rightCamera.times.npy", times[:-3])
    np.save(alf / "rightCamera.ROIMotionEnergy.npy", times)
    return folder


def test_cameras_and_licks_are_read_from_alf_by_their_own_clocks(tmp_path, caplog):
    """Motion energy in a revision, more times than frames (the first go), a camera with too few times (left out and said)."""
    pd = pytest.importorskip("pandas")
    folder = camera_session(tmp_path)
    frame = pd.DataFrame({"pupilDiameter_raw": np.arange(14400.0), "pupilDiameter_smooth": np.zeros(14400)})
    frame.to_parquet(folder / "alf" / "_ibl_leftCamera.features.pqt")
    found = {s.name: s for s in alf_behaviour(folder).signals}
    assert set(found) == {"licks", "motion energy, left camera", "pupil diameter, left camera"}
    energy = found["motion energy, left camera"]
    assert energy.times == pytest.approx(energy.values, abs=1e-4)
    assert found["pupil diameter, left camera"].values[7] == 7
    assert "rightCamera.times" in caplog.text


def test_compare_says_what_behaviour_adds(meso, small_session, tmp_path):
    fast = ["--context", 24, "--horizon", 4]
    told = meso("compare", small_session[1], "--models", "stack", "--behaviour", "known", *fast, "--output", tmp_path / "run", "--json")  # fmt: skip
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)["results"]["behaviour"]
    assert found["inputs"][0] == "wheel velocity"
    assert found["sentence"].startswith("behaviour adds ")
    assert found["models"][0]["low"] <= found["models"][0]["adds"] <= found["models"][0]["high"]
    assert "What behaviour adds" in (tmp_path / "run" / "report.html").read_text()
    refused = meso(
        "compare", small_session[1], "--models", "nlinear", "--behaviour", "past", *fast, "--output", tmp_path / "no"
    )
    assert refused.returncode == 2
    assert "sees behaviour" in refused.stderr


def test_a_model_that_saw_behaviour_asks_for_it(meso, small_session, tmp_path):
    fast = ["--context", 24, "--horizon", 4]
    made = meso(
        "train", small_session[1], "--model", "stack", "--behaviour", "known", *fast, "--output", tmp_path / "m"
    )
    assert made.returncode == 0, made.stderr
    scored = meso("evaluate", tmp_path / "m", small_session[1])
    assert scored.returncode == 0, scored.stderr
    done = meso("forecast", tmp_path / "m", small_session[1], "--every", 9, "--output", tmp_path / "f.h5")
    assert done.returncode == 0, done.stderr
    last = meso("forecast", tmp_path / "m", small_session[1], "--part", "last", "--output", tmp_path / "l.h5")
    assert last.returncode == 2
    assert "in advance" in last.stderr
