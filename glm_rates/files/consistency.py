"""Is a blech_clust directory consistent with itself? Counts, units, regions, silent units, and permuted taste labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .blech import H5, Recording, read_recording

log = logging.getLogger(__name__)


class Check(NamedTuple):
    """What was found; ``problems`` is empty for a consistent recording."""

    tastes: list[dict]
    units: list[dict]
    problems: list[str]
    notes: list[str]


def check_recording(folder: Path) -> Check:
    """Read a directory and compare everything in it that is written twice.

    Raises
    ------
    InputError
        The directory cannot be read at all.
    """
    recording = read_recording(folder)
    problems: list[str] = []
    notes: list[str] = []
    with H5(recording.h5) as h5:
        arrays = {t.dig_in: h5.node(f"spike_trains/{t.dig_in}/spike_array") for t in recording.tastes}
        spikes = {
            name: np.stack([array[i].sum(axis=1) for i in range(array.shape[0])]) for name, array in arrays.items()
        }
        order = _label_problems(recording, h5, arrays, notes)
    problems += order
    tastes = []
    for taste in recording.tastes:
        shape = recording.shapes[taste.dig_in]
        rows = sum(row.get("dig_in_name_taste") == taste.dig_in for row in recording.trials)
        lasers = sum(
            r.get("dig_in_name_taste") == taste.dig_in and r.get("laser", "").lower() == "true"
            for r in recording.trials
        )
        tastes.append({"dig_in": taste.dig_in, "taste": taste.label, "trials": shape[0], "promised": taste.promised, "in_frame": rows,
                       "laser_trials": lasers, "units": shape[1], "ms": shape[2], "spikes": int(spikes[taste.dig_in].sum())})  # fmt: skip
        if taste.promised not in (None, shape[0]):
            problems.append(f"{taste.dig_in}: {shape[0]} trials in the spike array, {taste.promised} in .info")
        if recording.trials and rows != shape[0]:
            problems.append(f"{taste.dig_in}: {shape[0]} trials in the spike array, {rows} in trial_info_frame.csv")
    if len({t["ms"] for t in tastes}) > 1:
        problems.append(f"spike arrays differ in length: {sorted({t['ms'] for t in tastes})} ms")
    if any(t["ms"] <= recording.before_ms for t in tastes):
        problems.append(f"the stimulus at {recording.before_ms} ms lies outside the trials")
    total = sum(s.sum(axis=0) for s in spikes.values())
    seconds = sum(s.shape[0] * t["ms"] / 1000 for s, t in zip(spikes.values(), tastes))
    numbers = recording.units.get("electrode_number", [None] * len(total))
    units = [
        {
            "unit": i,
            "electrode": None if e is None else int(e),
            "region": r,
            "spikes": int(n),
            "rate_hz": float(n / seconds),
        }
        for i, (e, r, n) in enumerate(zip(numbers, recording.unit_region, total))
    ]
    silent = [u["unit"] for u in units if u["spikes"] < 2]
    lost = [u["unit"] for u in units if u["region"] == "unassigned"]
    if silent:
        problems.append(f"silent units (fewer than 2 spikes): {', '.join(map(str, silent))}")
    if lost:
        problems.append(f"units on an unlisted electrode: {', '.join(map(str, lost))}")
    if not recording.units:
        problems.append("no /unit_descriptor: units have no electrode and no region")
    empty = [r for r in recording.regions if r not in recording.unit_region]
    notes += [f"region {name} has no units" for name in empty]
    notes += [f"{name} has spike trains but no taste role" for name in recording.skipped]
    return Check(tastes, units, problems, notes)


def _label_problems(recording: Recording, h5: H5, arrays: dict, notes: list[str]) -> list[str]:
    """Compare trial 0 of each taste with the spikes of ``/sorted_units`` at its first presentation.

    Spike arrays made in order of first presentation but labelled in sorted order carry the wrong taste.
    """
    if "sorted_units" not in h5 or not recording.trials:
        notes.append("taste labels not checked: no /sorted_units or no trial_info_frame.csv")
        return []
    names = sorted(h5.names("sorted_units"))
    if any(f"sorted_units/{n}/times" not in h5 for n in names) or len(names) != next(iter(arrays.values())).shape[1]:
        notes.append("taste labels not checked: /sorted_units does not list the units of the spike arrays")
        return []
    times = [np.asarray(h5.node(f"sorted_units/{n}/times")[:], float) for n in names]
    first = {name: np.asarray(array[0]) for name, array in arrays.items()}
    problems = []
    for taste in recording.tastes:
        starts = [float(r["start_taste"]) for r in recording.trials if r.get("dig_in_name_taste") == taste.dig_in]
        if not starts:
            continue
        n_ms = first[taste.dig_in].shape[1]
        begin = min(starts) / 30 - recording.before_ms
        expected = np.zeros_like(first[taste.dig_in])
        for unit, t in enumerate(times):
            ms = np.floor(t / 30 - begin).astype(int)
            expected[unit, ms[(ms >= 0) & (ms < n_ms)]] = 1
        agreement = {name: _overlap(expected, array) for name, array in first.items() if array.shape == expected.shape}
        best = max(agreement, key=agreement.get)
        if best != taste.dig_in and agreement[best] > agreement[taste.dig_in] + 0.2:
            problems.append(
                f"taste labels permuted: the spikes of {taste.dig_in} ({taste.label}) at its first presentation are stored under {best} "
                f"({agreement[best]:.0%} against {agreement[taste.dig_in]:.0%} of spikes agree). Run blech_make_arrays.py again."
            )
    return problems


def _overlap(expected: np.ndarray, found: np.ndarray) -> float:
    """Fraction of spikes that agree to 1 ms, of the larger of the two counts."""
    near = expected.copy()
    near[:, 1:] += expected[:, :-1]
    near[:, :-1] += expected[:, 1:]
    return float(((near > 0) & (found > 0)).sum() / max(expected.sum(), (found > 0).sum(), 1))
