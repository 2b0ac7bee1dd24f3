"""Is it found where and how far a forecast is better, with intervals that hold?"""

import numpy as np
import pytest
from scipy.signal import lfilter

from meso_forecast.activity.split import chronological_split
from meso_forecast.activity.windows import Panel, gather, window_origins
from meso_forecast.model.closed_form import fit_closed_form
from meso_forecast.model.forecaster import with_spread
from meso_forecast.score import where
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
