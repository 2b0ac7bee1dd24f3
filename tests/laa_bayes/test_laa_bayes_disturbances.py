"""Is what no membrane makes told, and a membrane left alone? Traces of a passive cell with noise and synaptic potentials, then disturbed."""

import numpy as np
import pytest
from scipy.signal import lfilter

from laa_bayes.files.disturbances import hum_of, jumps_of, quiet_stretches, warn_of_disturbances
from laa_bayes.neuron.recording import Recording

DT_MS, N = 0.05, 12_000


def trace(seed, *, membrane_mv=0.3, amplifier_mv=0.05, synapses=0, hum_mv=0.0, hz=50.0, jump_mv=0.0):
    """Return a step of -50 pA into a passive cell, and the time of a jump."""
    rng, t = np.random.default_rng(seed), DT_MS * np.arange(N)
    current, tau = np.where((t >= 200) & (t < 400), -50.0, 0.0), rng.uniform(5, 40)
    keep = np.exp(-DT_MS / tau)
    noise = membrane_mv * np.sqrt(1 - keep**2) * rng.normal(size=N)
    v = (
        -70
        + lfilter([1], [1, -keep], (1 - keep) * rng.uniform(0.05, 0.3) * current + noise)
        + amplifier_mv * rng.normal(size=N)
    )
    for onset in rng.uniform(0, 570, synapses):
        after = np.clip(t - onset, 0, None)
        v += rng.uniform(0.5, 5) * (np.exp(-after / 15) - np.exp(-after))
    at_ms = rng.uniform(230, 370)
    v += hum_mv * np.sin(2e-3 * np.pi * hz * t + rng.uniform(0, 6)) + jump_mv * (t >= at_ms)
    return Recording(v, current, "pA", DT_MS, 0.0, "a trace"), at_ms


def found(seed, **disturbance):
    recording, at_ms = trace(seed, **disturbance)
    quiet = quiet_stretches(recording)
    return hum_of(recording, quiet), jumps_of(recording, quiet), at_ms


@pytest.mark.parametrize(
    "cell",
    [{}, {"membrane_mv": 0.8}, {"membrane_mv": 0.8, "synapses": 10}, {"amplifier_mv": 0.3}, {"amplifier_mv": 0.0}],
)
def test_noise_steps_and_synaptic_potentials_are_not_told(cell):
    for seed in range(20):
        hum, jumps, _ = found(seed, **cell)
        assert hum is None, seed
        assert jumps == [], seed


@pytest.mark.parametrize(("size", "hz"), [(0.4, 50.0), (1.0, 50.2), (1.0, 60.0)])
def test_hum_is_told_with_its_frequency_and_size(size, hz):
    for seed in range(20):
        hum = found(seed, hum_mv=size, hz=hz)[0]
        assert hum[0] == round(hz, -1)
        assert hum[1] == pytest.approx(size, rel=0.35), seed


@pytest.mark.parametrize("size", [3.0, -4.0])
def test_a_jump_is_told_with_its_time_and_size(size):
    told = 0
    for seed in range(20):
        _, jumps, at_ms = found(seed, jump_mv=size, synapses=3)
        assert len(jumps) <= 1
        for at, by in jumps:
            told += 1
            assert at == pytest.approx(at_ms, abs=1)
            assert by == pytest.approx(size, abs=0.5)
    assert told >= 17  # synaptic potentials may hide one


def test_spikes_and_the_ends_of_a_step_are_no_jumps():
    recording, _ = trace(0)
    v = recording.v_mv.copy()
    v[4000:8000] -= 3.0  # an uncompensated electrode: the voltage jumps with the current
    v[10_000:10_020] = 20.0
    assert jumps_of(recording._replace(v_mv=v), quiet_stretches(recording._replace(v_mv=v))) == []


def test_the_warnings_name_place_size_and_what_to_do(caplog):
    warn_of_disturbances(trace(1, hum_mv=1.0)[0])
    warn_of_disturbances(trace(1, jump_mv=4.0)[0])
    hum, jump = (record.getMessage() for record in caplog.records)
    assert hum.startswith("a trace: hum of 50 Hz, 1")
    assert "jumps by 4" in jump
    assert "--window" in jump
