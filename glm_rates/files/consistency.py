"""Is a blech_clust directory consistent with itself? Counts, units, regions, silent units, and permuted taste labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .blech import Recording, Taste, read_recording
from .blech_trials import cell, rows_of, taste_rows
from .hdf5 import H5, parsing
from .lasers import lasers

log = logging.getLogger("glm_rates.files.consistency")
MOST_A_MS = 10  # spikes of a unit in one millisecond; more are no counts


class Check(NamedTuple):
    """What was found; ``problems`` is empty for a consistent recording."""

    tastes: list[dict]
    units: list[dict]
    problems: list[str]
    notes: list[str]


def check_recording(folder: Path, h5_name: str | None = None) -> Check:
    """Read a directory and compare everything in it that is written twice.

    Raises
    ------
    InputError
        The directory cannot be read at all.
    """
    recording = read_recording(folder, h5_name)
    problems: list[str] = []
    notes: list[str] = []
    with H5(recording.h5) as h5:
        spikes = {t.dig_in: spikes_of(h5, t.dig_in, problems) for t in recording.tastes}
        problems += label_problems(recording, h5, notes)
        told = {t.dig_in: trials_told(recording, t, h5, problems) for t in recording.tastes}
    tastes = [taste_row(recording, t, int(spikes[t.dig_in].sum()), *told[t.dig_in]) for t in recording.tastes]
    problems += count_problems(recording, tastes)
    total = sum(s.sum(axis=0) for s in spikes.values())
    seconds = sum(s.shape[0] * t["ms"] / 1000 for s, t in zip(spikes.values(), tastes))
    units = unit_rows(recording, total, seconds)
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


def spikes_of(h5: H5, dig_in: str, problems: list[str]) -> np.ndarray:
    """Spikes of each trial and unit; notes trials that are NaN, without spikes, or hold other than 0 and 1."""
    array = h5.array(f"spike_trains/{dig_in}/spike_array", 3)
    out, padded, odd = np.zeros(array.shape[:2]), [], []
    for trial in range(array.shape[0]):
        with parsing(h5.path, "a recording whose spikes can be read"):
            values = np.asarray(array[trial])
        if values.dtype.kind == "f" and np.isnan(values).any():
            padded.append(trial)
            values = np.nan_to_num(values)
        if (values < 0).any() or values.max(initial=0) > MOST_A_MS:
            odd.append(trial)
            values = np.clip(np.nan_to_num(np.asarray(values, float), posinf=0, neginf=0), 0, None)
        out[trial] = values.sum(axis=1)
    empty = (
        [t for t in np.flatnonzero(out.sum(axis=1) == 0).tolist() if t not in padded]
        if out.sum() > 20 * len(out)
        else []
    )
    for trials, what in ((padded, "hold NaN (padded, not recorded?)"), (odd, "hold negative values or more spikes in a millisecond than can be"),
                         (empty, "have no spike of any unit (not recorded?)")):  # fmt: skip
        if trials:
            shown = ", ".join(map(str, trials[:12])) + (" ..." if len(trials) > 12 else "")
            problems.append(f"{dig_in}: {len(trials)} of {len(out)} trials {what}: {shown}")
    return out


def trials_told(recording: Recording, taste: Taste, h5: H5, problems: list[str]) -> tuple[int, int | None]:
    """Laser trials of a taste, and its trials in the table of trials (None, and a problem, where the table cannot be used)."""
    try:
        lit = int(lasers(recording, taste, recording.shapes[taste.dig_in][0], h5).on.sum())
        return lit, len({place for place, _ in taste_rows(recording, taste)} if recording.trials else ())
    except InputError as error:
        problems += [str(error)] if str(error) not in problems else []
        return 0, None


def taste_row(recording: Recording, taste: Taste, n_spikes: int, lit: int, in_frame: int | None) -> dict:
    """What is known of one taste, from the array, ``.info`` and the table of trials."""
    shape = recording.shapes[taste.dig_in]
    return {"dig_in": taste.dig_in, "taste": taste.label, "trials": shape[0], "promised": taste.promised, "in_frame": in_frame,
            "laser_trials": lit, "units": shape[1], "ms": shape[2], "spikes": n_spikes}  # fmt: skip


def count_problems(recording: Recording, tastes: list[dict]) -> list[str]:
    """Where numbers of trials or lengths do not agree."""
    problems = []
    for row in tastes:
        if row["promised"] not in (None, row["trials"]):
            problems.append(f"{row['dig_in']}: {row['trials']} trials in the spike array, {row['promised']} in .info")
        if recording.trials and row["in_frame"] not in (None, row["trials"]):
            problems.append(
                f"{row['dig_in']}: {row['trials']} trials in the spike array, {row['in_frame']} in trial_info_frame.csv"
            )
    lengths = sorted({t["ms"] for t in tastes})
    if len(lengths) > 1:
        problems.append(f"spike arrays differ in length: {lengths} ms")
    if any(ms <= recording.before_ms for ms in lengths):
        problems.append(f"the stimulus at {recording.before_ms} ms lies outside the trials")
    return problems


def unit_rows(recording: Recording, total: np.ndarray, seconds: float) -> list[dict]:
    """One row a unit: electrode, region, spikes, rate."""
    numbers = recording.units.get("electrode_number", [None] * len(total))
    return [
        {"unit": i, "electrode": None if e is None else int(e), "region": r, "spikes": int(n), "rate_hz": float(n / max(seconds, 1e-9))}
        for i, (e, r, n) in enumerate(zip(numbers, recording.unit_region, total))
    ]  # fmt: skip


def label_problems(recording: Recording, h5: H5, notes: list[str] | None = None) -> list[str]:
    """Compare trial 0 of each taste with the spikes of ``/sorted_units`` at its first presentation.

    Spike arrays made in order of first presentation but labelled in sorted order carry the wrong taste. Where the comparison cannot
    be made, ``notes`` says why.
    """
    notes = [] if notes is None else notes
    try:
        return names_of_tastes(recording) + _label_problems(recording, h5, notes)
    except InputError as error:
        notes.append(f"taste labels not checked: {error}")
        return []


def warn_of_disagreement(recording: Recording, h5: H5) -> list[str]:
    """Warn of labels and trials that stand in the recording twice and differently; return what is said of labels.

    That labels could not be compared is a warning only where there is something to compare them with.
    """
    notes: list[str] = []
    labels, other = label_problems(recording, h5, notes), list[str]()
    told = [taste_row(recording, t, 0, *trials_told(recording, t, h5, other)) for t in recording.tastes]
    found = notes if recording.trials and "sorted_units" in h5 else []
    found += [text for text in other if not any(text in said for said in found)]
    for text in [*labels, *found, *count_problems(recording, told)]:
        log.warning("%s", text)
    return labels


def names_of_tastes(recording: Recording) -> list[str]:
    """Where the table of trials calls all trials of a digital input by the name that ``.info`` gives to another one."""
    plain = {taste.dig_in: taste.label.strip().casefold() for taste in recording.tastes}
    problems = []
    for taste in recording.tastes if recording.trials else []:
        there = {row.get("taste", "").strip().casefold() for row in rows_of(recording, taste)}
        if len(there) == 1 and there != {plain[taste.dig_in]} and there <= set(plain.values()):
            problems.append(
                f"taste labels disagree: .info calls {taste.dig_in} '{taste.label}', trial_info_frame.csv calls its trials '{there.pop()}'."
            )
    return problems


def _label_problems(recording: Recording, h5: H5, notes: list[str]) -> list[str]:
    if "sorted_units" not in h5 or not recording.trials:
        notes.append("taste labels not checked: no /sorted_units or no trial_info_frame.csv")
        return []
    names = sorted(h5.names("sorted_units"))
    n_units = recording.shapes[recording.tastes[0].dig_in][1]
    if any(f"sorted_units/{n}/times" not in h5 for n in names) or len(names) != n_units:
        notes.append("taste labels not checked: /sorted_units does not list the units of the spike arrays")
        return []
    per_ms = recording.sampling_rate / 1000
    times = [h5.read(f"sorted_units/{n}/times").astype(float).ravel() for n in names]
    first = {}
    for t in recording.tastes:
        array = h5.array(f"spike_trains/{t.dig_in}/spike_array", 3)
        with parsing(h5.path, f"a recording whose first trial of {t.dig_in} can be read"):
            first[t.dig_in] = np.nan_to_num(np.asarray(array[0], float))
    problems, odd, checked = [], [], 0
    for taste in recording.tastes:
        begin = _first_presentation(recording, taste)
        if begin is None:
            continue
        n_ms = first[taste.dig_in].shape[1]
        expected = np.zeros_like(first[taste.dig_in])
        for unit, t in enumerate(times):
            ms = np.floor(t / per_ms - (begin / per_ms - recording.before_ms)).astype(int)
            expected[unit, ms[(ms >= 0) & (ms < n_ms)]] = 1
        agreement = {name: _overlap(expected, array) for name, array in first.items() if array.shape == expected.shape}
        best = max(agreement, key=lambda name: agreement[name])
        checked += agreement[best] > 0.5
        if agreement[best] <= 0.5 and min(expected.sum(), first[taste.dig_in].sum()) >= 10:
            odd.append(taste.dig_in)
        if best != taste.dig_in and agreement[best] > agreement[taste.dig_in] + 0.2:
            problems.append(
                f"taste labels permuted: the spikes of {taste.dig_in} ({taste.label}) at its first presentation are stored under {best} "
                f"({agreement[best]:.0%} against {agreement[taste.dig_in]:.0%} of spikes agree). Run blech_make_arrays.py again."
            )
    if checked and odd:
        problems.append(
            f"the spikes of {', '.join(odd)} at the first presentation agree with no array, those of other tastes do: units in another order?"
        )
    if not checked:
        notes.append(
            f"taste labels not checked: no spike array agrees with /sorted_units at {recording.sampling_rate:g} samples a second "
            "(other sampling rate, or arrays of another sorting?)"
        )
    return problems


def _first_presentation(recording: Recording, taste: Taste) -> float | None:
    """Sample at which a taste was first given, or None where the table does not say."""
    starts = [start for row in rows_of(recording, taste) if (start := cell(row, "start_taste")) is not None]
    return min(starts, default=None)


def _overlap(expected: np.ndarray, found: np.ndarray) -> float:
    """Fraction of spikes that agree to 1 ms, of the larger of the two counts."""
    near = expected.copy()
    near[:, 1:] += expected[:, :-1]
    near[:, :-1] += expected[:, 1:]
    return float(((near > 0) & (found > 0)).sum() / max(expected.sum(), (found > 0).sum(), 1))
