"""Is it found where and how far a forecast is better, with intervals that hold?"""

import json

import numpy as np
import pytest
from scipy.signal import lfilter

from meso_forecast.activity.split import chronological_split
from meso_forecast.activity.windows import Panel, gather, window_origins
from meso_forecast.model.closed_form import fit_closed_form
from meso_forecast.model.forecaster import with_spread
from meso_forecast.score import sweep, where
from meso_forecast.score.scores import score

CONTEXT, HORIZON, BLOCK = 16, 8, 48
#: share of each cell's variance that a population signal with a memory of ten frames makes, hidden behind noise in every single cell
PLANTED = {"VISp": 0.7, "VISam": 0.4, "RSPd": 0.0}


def planted(seed, n_time=3000, each=15):
    """Return a panel of three regions, which cell lies where, and what knowing the shared signal and its memory would forecast."""
    rng = np.random.default_rng(seed)
    signal = lfilter([1], [1, -0.9], rng.standard_normal(n_time)) * np.sqrt(1 - 0.9**2)
    region = np.repeat(list(PLANTED), each)
    share = np.array([PLANTED[r] for r in region])
    x = np.sqrt(share) * signal[:, None] + np.sqrt(1 - share) * rng.standard_normal((n_time, len(region)))
    label = chronological_split(n_time)
    mean, sd = x[label == 0].mean(0), x[label == 0].std(0)
    panel = Panel(((x - mean) / sd).astype(np.float32), np.ones(n_time, bool), label)
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    fades = 0.9 ** np.arange(1, HORIZON + 1)
    oracle = (np.sqrt(share) * signal[origins][:, None, None] * fades[:, None] - mean) / sd
    return panel, region, ((gather(panel.x, origins, 1, HORIZON) - oracle) ** 2).mean((0, 1))


def scored(panel, name):
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    fitted = with_spread(fit_closed_form(name, panel, CONTEXT, HORIZON), panel, CONTEXT, HORIZON)
    return score(gather(panel.x, origins, 1, HORIZON), fitted.forecast(panel, origins), None, BLOCK)


def test_planted_predictability_by_region_is_recovered():
    """Skill over the training mean comes near that of an oracle which knows the signal, region by region, and never above it by chance."""
    panel, region, oracle = planted(0)
    mean, stack = scored(panel, "mean"), scored(panel, "stack")
    rows = {row["region"]: row for row in where.where(stack, mean, region, 0.2)["by_region"]}
    assert list(rows) == ["VISp", "VISam", "RSPd"]
    for name in PLANTED:
        base = mean.neuron_mse[:, region == name].mean()
        wanted = 1 - oracle[region == name].mean() / base
        assert rows[name]["skill"] == pytest.approx(wanted, abs=0.04)
        assert rows[name]["low"] < wanted
    assert min(rows["VISp"]["low"], rows["VISam"]["low"]) > 0
    assert rows["RSPd"]["low"] <= 0.002


def test_cells_of_a_region_without_skill_are_not_called_better():
    panel, region, _ = planted(1)
    found = where.where(scored(panel, "stack"), scored(panel, "ar"), region, 0.2)
    low = found["by_cell"][:, 1]
    assert (low[region == "VISp"] > 0).mean() > 0.9
    assert (low[region == "RSPd"] > 0).mean() < 0.1
    assert found["cells"]["n"] == 45


def test_intervals_of_a_region_hold_the_truth_as_often_as_they_say():
    """Errors share their time: blocks are correlated between cells; 95 % intervals hold the true skill of .1 in at least nine of ten."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(200):
        common = rng.gamma(4, 0.25, (12, 1))
        own = rng.uniform(0.02, 0.18, 30)
        theirs = common * rng.gamma(20, 0.05, (12, 30))
        ours = theirs * (1 - own) + 0.1 * common * rng.standard_normal((12, 30))
        found = where.crossed(ours, theirs)
        inside.append(found.low <= 0.1 <= found.high)
    assert 0.9 < np.mean(inside) <= 1


def test_the_longest_horizon_with_skill_is_where_the_memory_ends():
    """A moving sum of four frames that the cell's own past hides: nothing is known beyond four frames."""
    rng = np.random.default_rng(3)
    e = rng.standard_normal((4000, 1))
    memory = sum(np.roll(e, lag, 0) for lag in range(4))
    x = memory + 0.8 * rng.standard_normal((4000, 20))
    label = chronological_split(4000)
    panel = Panel(((x - x.mean(0)) / x.std(0)).astype(np.float32), np.ones(4000, bool), label)
    found = where.where(scored(panel, "stack"), scored(panel, "mean"), np.full(20, "A"), 0.2)
    assert found["longest_horizon_frames"] == 3
    assert found["longest_horizon_s"] == pytest.approx(0.6)
    assert not found["reaches_the_end"]
    nothing = where.where(scored(panel, "mean"), scored(panel, "mean"), np.full(20, "A"), 0.2)
    assert nothing["longest_horizon_frames"] == 0
    assert "at no horizon" in where.sentence(nothing, "mean")


def test_the_absolute_error_counts_every_condition_the_same_in_units_of_the_activity():
    error = np.zeros((6, 2, 2))
    error[:4], error[4:] = 1, -4
    tested = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1], bool)
    conditions = sweep.condition_of(tested, np.array([0, 1, 2, 3, 8, 9]))
    assert conditions.tolist() == [0, 0, 0, 0, 1, 1]
    assert sweep.mae_by_step(error, np.array([1.0, 3]), conditions) == pytest.approx([5, 5])


def test_published_errors_are_averaged_over_conditions_and_seeds():
    table = {
        "method": ["unet"] * 6, "context": [4] * 6, "condition": ["dots", "dots", "dark", "dots", "dots", "dark"],
        "steps_ahead": [1, 1, 1, 2, 2, 2], "MAE": [1.0, 3.0, 4.0, 2.0, 2.0, 6.0],
    }  # fmt: skip
    assert sweep.published_rows(table) == [
        {"context": 4, "horizon": 2, "model": "unet (published)", "mae_by_step": [3.0, 4.0]}
    ]


def test_compare_sweeps_contexts_and_keeps_the_benchmarks_protocol(meso, tmp_path):
    rng = np.random.default_rng(0)
    x = lfilter([1], [1, -0.9], rng.standard_normal((2400, 5)), axis=0)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    made = meso("preprocess", tmp_path / "x.npy", "--fs-hz", 1, "--time-axis", "rows", "--output", tmp_path / "s.h5")
    assert made.returncode == 0, made.stderr
    steps = {"method": ["mean"] * 32, "context": [4] * 32, "condition": ["dark"] * 32, "MAE": [0.5] * 32}
    (tmp_path / "p.json").write_text(json.dumps(steps | {"steps_ahead": list(range(1, 33))}))
    told = meso(
        "compare", tmp_path / "s.h5", "--models", "stack", "--preset", "zapbench", "--published", tmp_path / "p.json",
        "--output", tmp_path / "run", "--json",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    results = json.loads(told.stdout)["results"]
    assert (results["context"], results["horizon"]) == (256, 32)
    rows = results["sweep"]["rows"]
    assert {(r["context"], r["horizon"]) for r in rows} == {(4, 32), (256, 32)}
    last = next(r for r in rows if r["model"] == "persistence" and r["context"] == 4)
    assert (
        last["mae_by_step"]
        == next(r for r in rows if r["model"] == "persistence" and r["context"] == 256)["mae_by_step"]
    )
    panel_scale = x[: int(0.7 * 2400)].std(0).mean()
    assert last["mae_by_step"][0] == pytest.approx(np.abs(np.diff(x, axis=0)).mean(), rel=0.15)
    assert last["mae_by_step"][0] / panel_scale < 0.6
    page = (tmp_path / "run" / "report.html").read_text()
    assert "ZAPBench" in page
    assert "mean (published)" in page
