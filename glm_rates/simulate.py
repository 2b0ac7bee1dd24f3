"""What would a recording look like if the model were true? A population with known filters, as a blech_clust directory.

Counts in 25 ms bins follow a Poisson GLM with history, taste-specific stimulus and sparse coupling within a region; the spikes
of a bin are then placed on distinct milliseconds. The truth is written beside the recording as ``truth.npz``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .config import SimulateConfig
from .files.blech_directory import write_directory

BIN_MS, BEFORE_MS, AFTER_MS = 25, 2000, 5000
MAX_COUNT = 3.0  # expected count per bin is held below this, so that feedback cannot run away
TASTES = ("water", "sucrose", "NaCl", "citric acid", "quinine", "saccharin")


class Truth(NamedTuple):
    """Filters in log rate per spike (history, coupling) and log rate (stimulus), 25 ms bins."""

    log_base: np.ndarray  # (unit,) log expected count per bin
    history: np.ndarray  # (unit, lag)
    coupling: np.ndarray  # (target, source, lag)
    stimulus: np.ndarray  # (taste, unit, bin)


class Simulated(NamedTuple):
    """A simulated session in bins."""

    counts: np.ndarray  # (taste, trial, bin, unit)
    rate: np.ndarray  # expected count given the past, same shape
    truth: Truth
    region: np.ndarray  # (unit,) 0 or 1


def draw_truth(config: SimulateConfig, rng: np.random.Generator) -> tuple[Truth, np.ndarray]:
    """Draw filters: refractory dip and slow rebound, phasic and tonic taste responses, 15 % of pairs coupled."""
    n, n_bins = config.n_units, (BEFORE_MS + AFTER_MS) // BIN_MS
    region = (np.arange(n) >= (n + 1) // 2).astype(int)
    log_base = np.log(rng.gamma(2.0, 4.0, n).clip(2, 40) * BIN_MS / 1000)
    lag = np.arange(1, 11)
    dip, rebound = rng.uniform(0.3, 0.9, (n, 1)), rng.uniform(0, 0.12, (n, 1))
    history = rebound * np.exp(-lag / 4) - dip * np.exp(-lag / 1.2)
    edge = (rng.random((n, n)) < 0.15) & (region[:, None] == region) & ~np.eye(n, dtype=bool)
    coupling = (rng.normal(0, 0.2, (n, n)) * edge)[:, :, None] * np.exp(-np.arange(5) / 1.5)
    t = np.arange(n_bins) - BEFORE_MS // BIN_MS
    early, late = rng.normal(0, 0.5, (2, config.n_tastes, n, 1)) * np.array([1.0, 1.2])[:, None, None, None]
    fast, slow = rng.uniform(2, 6, (config.n_tastes, n, 1)), rng.uniform(15, 40, (config.n_tastes, n, 1))
    after = np.maximum(t, 0)
    stimulus = (t >= 0) * (early * np.exp(-after / fast) + late * (after / slow) * np.exp(1 - after / slow))
    truth = Truth(log_base, history * config.history, coupling * config.coupled, stimulus * config.stimulus)
    return truth, region


def simulate(config: SimulateConfig, rng: np.random.Generator) -> Simulated:
    """Run the population forward, all trials at once."""
    truth, region = draw_truth(config, rng)
    n_bins = truth.stimulus.shape[2]
    counts = np.zeros((config.n_tastes, config.n_trials, n_bins, config.n_units))
    rate = np.zeros_like(counts)
    for b in range(n_bins):
        eta = truth.log_base + truth.stimulus[:, None, :, b]
        eta = np.broadcast_to(eta, counts[:, :, b].shape).copy()
        for lag in range(1, min(truth.history.shape[1], b) + 1):
            eta += counts[:, :, b - lag] * truth.history[:, lag - 1]
        for lag in range(1, min(truth.coupling.shape[2], b) + 1):
            eta += counts[:, :, b - lag] @ truth.coupling[:, :, lag - 1].T
        rate[:, :, b] = np.exp(np.minimum(eta, np.log(MAX_COUNT)))
        counts[:, :, b] = rng.poisson(rate[:, :, b])
    return Simulated(counts, rate, truth, region)


def spike_arrays(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place the spikes of each bin on distinct milliseconds: (trial, bin, unit) -> (trial, unit, ms) of 0 and 1."""
    order = rng.random((*counts.transpose(0, 2, 1).shape, BIN_MS)).argsort(axis=-1)
    spikes = order < counts.transpose(0, 2, 1)[..., None]
    return spikes.reshape(*spikes.shape[:2], -1).astype(float)


def write_blech_directory(folder: Path, config: SimulateConfig, session: Simulated, rng: np.random.Generator) -> Path:
    """Write the session and its truth as blech_clust lays it out; returns the path of the ``.h5`` file.

    Trials of the tastes are interleaved at random on a common clock.
    """
    tastes = [TASTES[k] if k < len(TASTES) else f"taste {k}" for k in range(config.n_tastes)]
    order = rng.permutation(np.repeat(np.arange(config.n_tastes), config.n_trials))
    arrays = [spike_arrays(taste, rng) for taste in session.counts]
    truth = {"rate": session.rate, **session.truth._asdict()}
    permuted = config.permute_labels and len(arrays) > 1
    return write_directory(folder, arrays, order, tastes, session.region, BEFORE_MS, rng, truth, permuted=permuted)
