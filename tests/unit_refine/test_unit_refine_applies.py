"""Does the model apply here? Metrics that became constant, went missing or turned their sign."""

import numpy as np
import pandas as pd
import pytest

from unit_refine.score import applies


def units(n_recordings=3, n=400, seed=0):
    """Return metrics that go along with each other, one with most units at zero, and the recording of each unit."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n_recordings * n)
    table = pd.DataFrame({
        "snr": np.exp(size), "amplitude_median": np.exp(size + rng.normal(size=len(size)) / 3), "d_prime": size + rng.normal(size=len(size)) / 3,
        "nn_hit_rate": 1 / (1 + np.exp(-size)), "silhouette": size + rng.normal(size=len(size)) / 2, "velocity_above": size + rng.normal(size=len(size)) / 2,
        "velocity_below": -size + rng.normal(size=len(size)) / 2, "sync_spike_8": np.where(rng.random(len(size)) < 0.97, 0.0, rng.random(len(size))),
        "drift_ptp": np.where(rng.random(len(size)) < 0.95, np.nan, 5 + size),
    })  # fmt: skip
    return table.astype("float32"), np.repeat(np.arange(n_recordings), n)


KNOWN = applies.reference(*units())


def told(table):
    return {f.metric: f.why for f in applies.findings(table, KNOWN)}


def test_an_unchanged_recording_is_not_told():
    assert told(units(1, seed=5)[0]) == {}


@pytest.mark.parametrize("metric", ["snr", "sync_spike_8", "silhouette"])
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_is_told_although_most_units_have_that_value(metric, value):
    table = units(1, seed=5)[0]
    table[metric] = np.float32(value)
    assert "all units have the same value" in told(table)[metric]


@pytest.mark.parametrize("metric", ["snr", "drift_ptp"])
def test_a_metric_without_any_value_is_told_although_most_units_lack_it(metric):
    table = units(1, seed=5)[0]
    table[metric] = np.float32(np.nan)
    assert "missing in every unit" in told(table)[metric]


def test_what_a_training_recording_was_is_not_told():
    """Constant in one of the recordings learned from: another such recording is nothing odd."""
    table, groups = units()
    table.loc[groups == 1, "sync_spike_8"] = np.float32(0)
    known = applies.reference(table, groups)
    new = units(1, seed=5)[0]
    new["sync_spike_8"] = np.float32(0)
    assert applies.findings(new, known) == []


@pytest.mark.parametrize("metric", ["silhouette", "velocity_above", "velocity_below"])
def test_the_sign_of_a_metric_that_has_both_is_told_by_its_company(metric):
    table = units(1, seed=5)[0]
    table[metric] = -table[metric]
    assert "the other sign" in told(table)[metric]


def mostly_positive(n, rng):
    """Return a metric that goes along with no other and is negative in about a tenth of the units."""
    return (np.abs(rng.normal(size=n)) * np.where(rng.random(n) < 0.1, -1, 1)).astype("float32")


def test_the_sign_of_a_metric_without_company_is_told_by_its_share_of_negative_values():
    rng = np.random.default_rng(7)
    table, groups = units()
    table["velocity_above"] = mostly_positive(len(table), rng)
    known = applies.reference(table, groups)
    new = units(1, seed=5)[0]
    new["velocity_above"] = mostly_positive(len(new), rng)
    assert applies.findings(new, known) == []
    found = applies.findings(new.assign(velocity_above=-new["velocity_above"]), known)
    assert [f.metric for f in found] == ["velocity_above"]
    assert "of the values are negative, " in found[0].why


def test_a_few_values_all_of_an_unknown_sign_are_told():
    new = units(1, seed=5)[0]
    new["sync_spike_8"] = np.where(np.arange(len(new)) < 5, -0.5, 0.0).astype("float32")
    assert "no training unit has" in told(new)["sync_spike_8"]
