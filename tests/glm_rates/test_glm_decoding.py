"""Decoding: what is there is found at its time, what is not there is not, and rates that know the label are not used."""

import csv
import json

import numpy as np
import pytest

from glm_rates.commands import decode
from glm_rates.score import decoding
from hdf5io import InputError


@pytest.fixture(scope="module")
def features():
    """60 trials of 3 stimuli, 8 windows, 5 units: the stimulus is in windows 4 to 7."""
    rng = np.random.default_rng(0)
    label = np.tile([0, 1, 2], 20)
    x = rng.normal(size=(60, 8, 5))
    x[:, 4:] += np.array([[-1, 0, 1, 0, 0], [0, 1, 0, -1, 0], [1, -1, -1, 1, 0]])[label][:, None]
    return x, label


def test_identity_is_found_when_it_is_there_and_only_then(features):
    x, label = features
    found = decoding.identity(x, label, 5, 40, seed=0)
    assert (found.value[4:] > 0.6).all()
    assert (found.p_largest[4:] < 0.05).all()
    assert (found.p_largest[:4] > 0.05).all()
    assert abs(found.null_mean - 1 / 3).max() < 0.05


def test_palatability_follows_its_order_not_any_difference(features):
    _, label = features
    rng = np.random.default_rng(1)
    rank = np.array([1.0, 2.0, 3.0])[label]
    x = rng.normal(size=(60, 4, 6))
    x[:, 2] += 0.8 * rank[:, None]
    found = decoding.palatability(x, rank, 200, seed=0)
    assert found.p_largest[2] < 0.05
    assert (found.p_largest[[0, 1, 3]] > 0.05).all()


def test_windows_hold_the_mean_rate():
    rate = np.arange(12.0).reshape(1, 12, 1) + 1
    found, first = decoding.in_windows(rate, 4, 4)
    np.testing.assert_allclose(np.exp(found[0, :, 0]), [2.5, 6.5, 10.5])
    assert first.tolist() == [0, 4, 8]


@pytest.mark.parametrize("stimulus", [True, False])
def test_decode_from_end_to_end_is_blind_to_labels(tmp_path, run_command, stimulus):
    """Without a stimulus effect there is nothing to decode, although rates fitted with labels would tell them."""
    more = [] if stimulus else ["--no-stimulus"]
    made = ["--n-units", 8, "--n-tastes", 2, "--n-trials", 16, "--seed", 5, *more]
    assert run_command("glm_rates", "simulate", "--output", tmp_path / "r", *made).returncode == 0
    assert run_command("glm_rates", "extract", tmp_path / "r", "--output", tmp_path / "x").returncode == 0
    chosen = [
        "--output",
        tmp_path / "d",
        "--n-shuffles",
        30,
        "--step",
        250,
        "--json",
        "--palatability",
        "water=1,sucrose=2",
    ]
    done = run_command("glm_rates", "decode", tmp_path / "x", *chosen)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"]
    if stimulus:
        assert found["identity"]["best"] > 0.8
        assert found["identity"]["best_ms"] > 0
        assert found["identity"]["p_corrected"] < 0.05
    else:
        assert found["identity"]["best"] < 0.8
    assert (tmp_path / "d" / "decoding.png").is_file()
    with open(tmp_path / "d" / "decoding.csv", newline="") as handle:
        assert "palatability p_largest" in next(csv.DictReader(handle))
    wrong = ["--palatability", "water=1", "--n-shuffles", 10_000]  # refused before the work, which takes minutes
    refused = run_command("glm_rates", "decode", tmp_path / "x", "--output", tmp_path / "e", *wrong, timeout=100)
    assert refused.returncode == 2
    assert "--palatability says nothing of sucrose" in refused.stderr


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["water"], "--palatability water: expected NAME=NUMBER"),
        (["water=1", "sucrose=high"], "--palatability sucrose=high: expected NAME=NUMBER"),
        (["water=1", "sucrose=nan"], "--palatability sucrose=nan: expected NAME=NUMBER"),
        (["water=1", "sugar=2"], "--palatability sugar=2: .* the stimuli are water, sucrose"),
        (["water=1", "water=2"], "--palatability water=2: a second value for it"),
        (["water=1"], "--palatability says nothing of sucrose"),
        (["water=3", "sucrose=3"], "every stimulus the value 3"),
    ],
)
def test_a_palatability_that_cannot_be_is_named(items, message):
    with pytest.raises(InputError, match=message):
        decode.palatability_of(items, ["water", "sucrose"])


def test_the_name_of_a_stimulus_may_hold_an_equals_sign():
    np.testing.assert_array_equal(decode.palatability_of(["odour=1=2", "odour=2=5"], ["odour=1", "odour=2"]), [2, 5])
