"""What would a recording look like if the model were true? A population with known filters, as a blech_clust directory.

Counts in 25 ms bins follow a Poisson GLM with history, taste-specific stimulus and sparse coupling within a region; the spikes
of a bin are then placed on distinct milliseconds. The truth is written beside the recording as ``truth.npz``.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .config import SimulateConfig

BIN_MS, BEFORE_MS, AFTER_MS, SAMPLES_PER_MS = 25, 2000, 5000, 30
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
    """Write the session as blech_clust lays it out; returns the path of the ``.h5`` file.

    Trials of the tastes are interleaved at random on a common clock, 10 s apart, and ``/sorted_units`` holds the same spikes as
    times, so that labels can be checked against it.
    """
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    name = "simulated"
    dig_ins = [f"board-DIN-{9 + k:02d}" for k in range(config.n_tastes)]
    tastes = [TASTES[k] if k < len(TASTES) else f"taste {k}" for k in range(config.n_tastes)]
    order = rng.permutation(np.repeat(np.arange(config.n_tastes), config.n_trials))
    arrays = [spike_arrays(taste, rng) for taste in session.counts]
    start = {
        k: (10_000 * (1 + np.flatnonzero(order == k)) * SAMPLES_PER_MS).astype(int) for k in range(config.n_tastes)
    }
    electrodes = session.region * 32 + np.arange(config.n_units) % 32
    path = folder / f"{name}.h5"
    with h5py.File(path, "w") as h5:
        stored = [arrays[1], arrays[0], *arrays[2:]] if config.permute_labels and len(arrays) > 1 else arrays
        for dig_in, array in zip(dig_ins, stored):
            chunks = (1, *array.shape[1:])
            h5.create_dataset(f"spike_trains/{dig_in}/spike_array", data=array, chunks=chunks, compression="gzip")
        h5["unit_descriptor"] = _unit_table(session, electrodes)
        for unit in range(config.n_units):
            h5[f"sorted_units/unit{unit:03d}/times"] = _spike_samples(arrays, start, unit, rng)
    info = {
        "name": name,
        "regions": ["bla", "gc"],
        "electrode_layout": {"gc": [list(range(32))], "bla": [list(range(32, 64))]},
        "taste_params": {"dig_in_names": dig_ins, "tastes": tastes, "trial_count": [config.n_trials] * config.n_tastes},
        "laser_params": {"dig_in_names": []},
    }
    (folder / f"{name}.info").write_text(json.dumps(info, indent=1), encoding="utf-8")
    params = {"spike_array_durations": [BEFORE_MS, AFTER_MS], "sampling_rate": 1000 * SAMPLES_PER_MS}
    (folder / f"{name}.params").write_text(json.dumps(params, indent=1), encoding="utf-8")
    _write_trial_frame(folder / "trial_info_frame.csv", order, dig_ins, tastes)
    np.savez(folder / "truth.npz", rate=session.rate, **session.truth._asdict())
    return path


def _unit_table(session: Simulated, electrodes: np.ndarray) -> np.ndarray:
    columns = ("unit_number", "electrode_number", "single_unit", "regular_spiking", "fast_spiking", "waveform_count")
    table = np.zeros(len(electrodes), dtype=[(c, "<i4") for c in columns] + [("hash", "S10"), ("snr", "<f4")])
    table["unit_number"], table["electrode_number"] = np.arange(len(electrodes)), electrodes
    table["single_unit"] = table["regular_spiking"] = 1
    table["waveform_count"] = session.counts.sum(axis=(0, 1, 2))
    table["hash"], table["snr"] = [f"{i:010d}".encode() for i in range(len(electrodes))], 5.0
    return table


def _spike_samples(
    arrays: list[np.ndarray], start: dict[int, np.ndarray], unit: int, rng: np.random.Generator
) -> np.ndarray:
    times = []
    for k, array in enumerate(arrays):
        trial, ms = np.nonzero(array[:, unit])
        times.append(start[k][trial] + (ms - BEFORE_MS) * SAMPLES_PER_MS + rng.integers(0, SAMPLES_PER_MS, len(ms)))
    return np.sort(np.concatenate(times)).astype(np.int32)


def _write_trial_frame(path: Path, order: np.ndarray, dig_ins: list[str], tastes: list[str]) -> None:
    fields = ["", "dig_in_name_taste", "taste", "start_taste", "end_taste", "abs_trial_num", "taste_rel_trial_num"]
    fields += ["dig_in_name_laser", "laser", "start_laser", "end_laser", "laser_duration", "laser_lag"]
    seen = dict.fromkeys(range(len(dig_ins)), 0)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(fields)
        for trial, k in enumerate(order.tolist()):
            begin = 10_000 * (1 + trial) * SAMPLES_PER_MS
            row = [trial, dig_ins[k], tastes[k], begin, begin + 3000, trial, seen[k], "", False, "", "", 0, 0]
            writer.writerow(row)
            seen[k] += 1
