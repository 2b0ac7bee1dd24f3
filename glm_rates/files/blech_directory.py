"""How does a recording look as blech_clust leaves it on disk? Write spike arrays, tables and ``.info`` as its scripts do."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

import hdf5io

SAMPLES_PER_MS = 30
COLUMNS = ("unit_number", "electrode_number", "single_unit", "regular_spiking", "fast_spiking", "waveform_count")


def write_directory(
    folder: Path,
    arrays: list[np.ndarray],
    order: np.ndarray,
    tastes: list[str],
    region: np.ndarray,
    before_ms: int,
    rng: np.random.Generator,
    truth: dict[str, np.ndarray],
    *,
    permuted: bool = False,
) -> Path:
    """Write a recording directory; returns the path of the ``.h5`` file.

    ``/sorted_units`` holds the spikes of the arrays as times, so that labels can be checked against it.

    Parameters
    ----------
    folder :
        Directory to make.
    arrays :
        One (trial, unit, ms) array of 0 and 1 for each taste.
    order : (trial,)
        Taste of each trial in the order of presentation, 10 s apart.
    tastes :
        Their names.
    region : (unit,)
        0 (``gc``) or 1 (``bla``).
    before_ms :
        Stimulus onset within a trial.
    rng :
        Places spikes within their millisecond.
    truth :
        Arrays of ``truth.npz``.
    permuted :
        Swap the arrays of the first two tastes, as an old fault of blech_clust did.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, n_tastes, n_units = "simulated", len(arrays), len(region)
    dig_ins = [f"board-DIN-{9 + k:02d}" for k in range(n_tastes)]
    start = {k: (10_000 * (1 + np.flatnonzero(order == k)) * SAMPLES_PER_MS).astype(int) for k in range(n_tastes)}
    path = folder / f"{name}.h5"
    with hdf5io.bare(path, overwrite=True, track_order=False) as h5:
        stored = [arrays[1], arrays[0], *arrays[2:]] if permuted else arrays
        for dig_in, array in zip(dig_ins, stored):
            chunks = (1, *array.shape[1:])
            h5.create_dataset(f"spike_trains/{dig_in}/spike_array", data=array, chunks=chunks, compression="gzip")
        h5["unit_descriptor"] = _unit_table(arrays, region * 32 + np.arange(n_units) % 32)
        for unit in range(n_units):
            h5[f"sorted_units/unit{unit:03d}/times"] = _spike_samples(arrays, start, unit, before_ms, rng)
    after_ms = arrays[0].shape[2] - before_ms
    _write_info(folder, name, dig_ins, tastes, [len(a) for a in arrays], [before_ms, after_ms])
    _write_trial_frame(folder / "trial_info_frame.csv", order, dig_ins, tastes)
    with hdf5io.atomic(folder / "truth.npz") as part:
        np.savez(part, allow_pickle=False, **truth)
    return path


def _write_info(
    folder: Path, name: str, dig_ins: list[str], tastes: list[str], trial_count: list[int], durations: list[int]
) -> None:
    """``.info`` and ``.params`` beside the recording."""
    info = {
        "name": name,
        "regions": ["bla", "gc"],
        "electrode_layout": {"gc": [list(range(32))], "bla": [list(range(32, 64))]},
        "taste_params": {"dig_in_names": dig_ins, "tastes": tastes, "trial_count": trial_count},
        "laser_params": {"dig_in_names": []},
    }
    (folder / f"{name}.info").write_text(json.dumps(info, indent=1), encoding="utf-8")
    params = {"spike_array_durations": durations, "sampling_rate": 1000 * SAMPLES_PER_MS}
    (folder / f"{name}.params").write_text(json.dumps(params, indent=1), encoding="utf-8")


def _unit_table(arrays: list[np.ndarray], electrodes: np.ndarray) -> np.ndarray:
    table = np.zeros(len(electrodes), dtype=[(c, "<i4") for c in COLUMNS] + [("hash", "S10"), ("snr", "<f4")])
    table["unit_number"], table["electrode_number"] = np.arange(len(electrodes)), electrodes
    table["single_unit"] = table["regular_spiking"] = 1
    table["waveform_count"] = sum(a.sum(axis=(0, 2)) for a in arrays)
    table["hash"], table["snr"] = [f"{i:010d}".encode() for i in range(len(electrodes))], 5.0
    return table


def _spike_samples(
    arrays: list[np.ndarray], start: dict[int, np.ndarray], unit: int, before_ms: int, rng
) -> np.ndarray:
    times = []
    for k, array in enumerate(arrays):
        trial, ms = np.nonzero(array[:, unit])
        times.append(start[k][trial] + (ms - before_ms) * SAMPLES_PER_MS + rng.integers(0, SAMPLES_PER_MS, len(ms)))
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
