"""Which command did an ABF file's output play from a stimulus file? The samples of the one column that is meant, or why none can be had.

Clampex multiplies the samples by the output's scale and adds its offset. The file is followed where nothing is left open: it lies
beside the recording, holds the output's unit, is as long as a sweep and sampled as it was, and its sweeps are those of the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .abf_header import Output
from .abf_waveform import NoWaveform
from .tables import columns_of, parse_table
from .units import CURRENT, TIME, name_and_unit, unit_key


class Column(NamedTuple):
    """One sweep of a stimulus file."""

    values: np.ndarray  #: (n_samples,)
    unit: str
    dt_ms: float


def beside(recording: Path, output: Output) -> Path | None:
    """Return the stimulus file that an output names, where it lies in the recording's folder (in any case of letters)."""
    name = output.path.replace("\\", "/").rpartition("/")[2].lower()
    found = [path for path in recording.parent.iterdir() if path.name.lower() == name] if name else []
    return found[0] if len(found) == 1 and found[0].is_file() else None


def text_columns(path: Path) -> list[Column]:
    """Return the currents of an Axon text file."""
    table = parse_table(path)
    times, currents = columns_of(table, "time"), columns_of(table, "current")
    if not times or not currents:
        raise NoWaveform(f"stimulus file {path} has no column of time and of a current ({', '.join(table.header)})")
    unit = unit_key(name_and_unit(table.header[times[0]])[1])
    dt_ms = float(np.median(np.diff(table.values[:, times[0]]))) * TIME.get(unit, np.nan)
    return [Column(table.values[:, i], name_and_unit(table.header[i])[1], dt_ms) for i in currents]


def played(
    path: Path, columns: Sequence[Column], output: Output, sweep: int, n_sweeps: int, n: int, dt_ms: float
) -> np.ndarray:
    """Return the command (n,) of a sweep in the output's unit.

    Raises
    ------
    NoWaveform
        Another unit, length or rate than the recording's, or sweeps that cannot be told apart.
    """
    what = f"stimulus file {path}"
    if output.file_sweep < 0 or (output.file_sweep == 0 and len(columns) not in (1, n_sweeps)):
        raise NoWaveform(f"{what} has {len(columns)} sweeps, the recording {n_sweeps}: which was played is not told")
    place = output.file_sweep - 1 if output.file_sweep else min(sweep, len(columns) - 1)
    if place >= len(columns):
        raise NoWaveform(f"{what} has {len(columns)} sweeps, number {output.file_sweep} was played")
    column = columns[place]
    if unit_key(column.unit) not in CURRENT or unit_key(column.unit) != unit_key(output.unit):
        raise NoWaveform(f"{what} is in '{column.unit}', output '{output.name}' in {output.unit}")
    if len(column.values) != n or abs(column.dt_ms - dt_ms) > 1e-3 * dt_ms:
        raise NoWaveform(
            f"{what} has {len(column.values)} samples of {column.dt_ms:g} ms, the sweep {n} of {dt_ms:g} ms"
        )
    return output.file_scale * column.values + output.file_offset
