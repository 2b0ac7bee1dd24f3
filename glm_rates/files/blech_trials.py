"""What does the table of trials of blech_clust say of each trial: its taste, its place among them, its time?

Runs in the blech_clust environment too: numpy, standard library, Python 3.8 syntax.
"""

from __future__ import annotations

import csv
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hdf5io.errors import InputError

from .hdf5 import parsing

if TYPE_CHECKING:
    from .blech import Recording, Taste

log = logging.getLogger("glm_rates.files.blech")
NAME = "trial_info_frame.csv"


def read_trials(folder: Path) -> list[dict[str, str]]:
    """Rows of ``trial_info_frame.csv``, names of columns in lower case; none where there is no such file.

    It lies in the directory, or in ``metadata`` below it, as some versions write it; columns are parted by commas, semicolons or tabs.
    """
    path = next((p for p in (folder / NAME, folder / "metadata" / NAME) if p.is_file()), None)
    if path is None:
        return []
    with parsing(path, "a CSV table"):
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        mark = max(",;\t", key=(lines or [""])[0].count)
        table = csv.DictReader(lines, delimiter=mark)
        return [{k.strip().lower(): v or "" for k, v in row.items() if k is not None} for row in table]


def number_of(dig_in: str) -> str:
    """Number of a digital input, as text: 9 of ``board-DIN-09``, ``dig_in_9``, 9.0; the name itself where it ends in none."""
    found = re.search(r"(\d+)(\.0*)?$", dig_in.strip())
    return str(int(found[1])) if found else dig_in


def cell(row: dict[str, str], name: str) -> float | None:
    """A number of the table of trials, or None where the cell is empty or holds none."""
    try:
        value = float((row.get(name) or "nan").replace(",", "."))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def rows_of(recording: Recording, taste: Taste) -> list[dict[str, str]]:
    """Rows of the table that belong to a taste: by the name or the number of its dig-in, or by its label.

    Raises
    ------
    InputError
        None of them names the tastes of ``.info``.
    """
    names = {t.dig_in: t.dig_in for t in recording.tastes}
    numbers = {number_of(t.dig_in): t.dig_in for t in recording.tastes}
    labels = {t.label: t.dig_in for t in recording.tastes}
    for column, owner, key in (
        ("dig_in_name_taste", names, str),
        ("dig_in_name_taste", numbers, number_of),
        ("dig_in_num_taste", numbers, number_of),
        ("taste", labels, str),
    ):
        mine = [key(row.get(column, "")) for row in recording.trials]
        known = set(mine) & set(owner)
        if len(owner) == len(names) and known and (owner is not numbers or known == set(owner)):
            return [row for row, name in zip(recording.trials, mine) if owner.get(name) == taste.dig_in]
    there = ", ".join(sorted({row.get("dig_in_name_taste", "") for row in recording.trials})[:8])
    raise InputError(f"{recording.h5.parent}/{NAME}: dig-ins are called {there}; .info calls them {', '.join(names)}.")


def taste_rows(recording: Recording, taste: Taste) -> list[tuple[int, dict[str, str]]]:
    """Rows of one taste, each with its place among the taste's trials, from 0; a trial with two laser pulses has two rows.

    Raises
    ------
    InputError
        The table names other tastes, or its numbers do not count the trials of this one.
    """
    mine = rows_of(recording, taste)
    if mine and not any(row.get("taste_rel_trial_num", "").strip() for row in mine):
        return in_order_of_time(recording, taste, mine)
    numbered = [(number, row) for row in mine if (number := cell(row, "taste_rel_trial_num")) is not None]
    places = [int(number) for number, _ in numbered]
    n_trials, last = recording.shapes[taste.dig_in][0], max(places, default=0)
    first = int(bool(places) and min(places) == 1 and last in (n_trials, len(set(places))))
    if first:
        log.warning("%s: trials of %s are counted from 1", NAME, taste.dig_in)
    if last - first >= max(n_trials, len(set(places))):
        raise InputError(
            f"{recording.h5.parent}/{NAME}: taste_rel_trial_num of {taste.dig_in} reaches {last}; expected the place of each trial "
            f"among the {n_trials} of its taste, from 0."
        )
    return [(place - first, row) for place, (_, row) in zip(places, numbered)]


def in_order_of_time(
    recording: Recording, taste: Taste, mine: list[dict[str, str]]
) -> list[tuple[int, dict[str, str]]]:
    """Rows of one taste with their places in the order in which the taste was given, where the table does not number them.

    Raises
    ------
    InputError
        A row without ``start_taste``, or other times than the spike array has trials.
    """
    starts, n_trials = [cell(row, "start_taste") for row in mine], recording.shapes[taste.dig_in][0]
    places = {start: place for place, start in enumerate(sorted({start for start in starts if start is not None}))}
    if None in starts or len(places) != n_trials:
        raise InputError(
            f"{recording.h5.parent}/{NAME}: no taste_rel_trial_num, and start_taste of {taste.dig_in} has {len(places)} times for {n_trials} trials."
        )
    return [(places[start], row) for start, row in zip(starts, mine) if start is not None]


def stimulus_times(recording: Recording, taste: Taste) -> np.ndarray:
    """When the stimulus of each trial of a taste was given, in s of the recording: (trial,).

    Raises
    ------
    InputError
        ``trial_info_frame.csv`` does not say for some trial.
    """
    out = np.full(recording.shapes[taste.dig_in][0], np.nan)
    for trial, row in taste_rows(recording, taste) if recording.trials else []:
        start = cell(row, "start_taste")
        if 0 <= trial < len(out) and start is not None:
            out[trial] = start / recording.sampling_rate
    lost = int(np.isnan(out).sum())
    if lost:
        raise InputError(
            f"{recording.h5.parent}: covariates and --observed need the time of every trial; {NAME} lacks {lost} of {taste.dig_in}."
        )
    return out
