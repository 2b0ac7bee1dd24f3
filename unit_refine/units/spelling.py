"""Which metric does a column mean whose name is spelled otherwise: in capitals, behind the name of its table, with its unit?

Only spellings that leave nothing open are read: letters, what parts the words, a prefix that names a table of metrics, a unit. Any
other prefix (``log_snr``, ``bombcell_snr``) may change the number and is named where the metric is missed, never taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from hdf5io.errors import InputError

from .metric_names import PRODUCERS
from .metrics import KNOWN, RENAMED, squeezed, to_new_names

WANTED = frozenset({*KNOWN, *RENAMED})
#: Names of other programs, which keep their spelling: ``metric_names`` knows what they define.
FOREIGN = frozenset(name for p in PRODUCERS for name in (*p.marks, *p.same, *p.other))
PREFIX = re.compile(r"(spikeinterface_|si_)?((quality|template|qm|tm)_)?(metrics?_)?")
SECONDS = ("peak_to_trough_duration", "trough_half_width", "peak_half_width", "peak_to_valley", "half_width")
#: Unit at the end of a name -> (metrics that have it, factor to SpikeInterface's unit).
UNITS = {
    **{unit: (SECONDS, factor) for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))},
    **{unit: (("amplitude_median",), factor) for unit, factor in (("uv", 1.0), ("mv", 1e3), ("v", 1e6))},
    "hz": (("firing_rate",), 1.0),
    "um": (("drift_ptp", "drift_std", "drift_mad", "spread"), 1.0),
}


def words(name: str) -> str:
    """Return a name in small letters, its words parted by underscores.

    >>> words("('quality', 'SNR')"), words("half width (ms)"), words("amplitude_median_µV")
    ('quality_snr', 'half_width_ms', 'amplitude_median_uv')
    """
    return re.sub("[^a-z0-9]+", "_", name.lower().replace("µ", "u").replace("μ", "u")).strip("_")


def metric_of(name: str) -> tuple[str, float] | None:
    """Return the metric that a name means, as it is named in any release, and the factor to its unit; None where that is open.

    >>> metric_of("quality_metrics.SNR"), metric_of("half_width_ms"), metric_of("log_snr"), metric_of("presenceRatio")
    (('snr', 1.0), ('half_width', 0.001), None, None)
    """
    whole = words(name)
    prefix = PREFIX.match(whole)
    for text in dict.fromkeys((whole, whole[prefix.end() :] if prefix else whole)):
        if text in WANTED:
            return text, 1.0
        metric, _, unit = text.rpartition("_")
        if unit in UNITS and metric in UNITS[unit][0]:
            return metric, UNITS[unit][1]
    return None


def without_prefix(name: str) -> str:
    """Return another program's name for a metric without the name of its table before it; any other name as it is.

    >>> without_prefix("metrics_PT_ratio"), without_prefix("quality_label")
    ('PT_ratio', 'quality_label')
    """
    prefix = PREFIX.match(name.lower().replace(".", "_"))
    rest = name[prefix.end() :] if prefix else name
    return rest if name not in FOREIGN and rest in FOREIGN and rest not in WANTED else name


def read_spellings(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Return a table whose metrics have SpikeInterface's names and units, and what was read as what.

    Names that are exact win over any other spelling.

    Raises
    ------
    InputError : two columns that differ could be one metric.
    """
    exact = {c for c in map(str, table.columns) if c in WANTED}
    exact |= {RENAMED[c][0] for c in exact if c in RENAMED}
    taken: dict[str, str] = {}
    columns: dict[str, pd.Series] = {}
    for name in map(str, table.columns):
        plain = without_prefix(name)
        found = None if name in WANTED or plain in FOREIGN else metric_of(name)
        new, factor = found or (plain, 1.0)
        if new == name or new in exact or RENAMED.get(new, ("",))[0] in exact:
            continue
        numbers = pd.to_numeric(table[name], errors="coerce") * factor if factor != 1.0 else table[name]
        if new in taken and not numbers.equals(columns[taken[new]]):
            raise InputError(
                f"{where}: '{taken[new]}' and '{name}' could both be the metric {new}, and differ. Take one of them out."
            )
        taken.setdefault(new, name)
        columns[name] = numbers
    if not taken:
        return table, []
    shown = ", ".join(f"{old} as {new}" for new, old in taken.items())
    renamed = table.drop(columns=[c for c in columns if c not in taken.values()])
    renamed = renamed.assign(**{old: columns[old] for old in taken.values()})
    return renamed.rename(columns={old: new for new, old in taken.items()}), [f"metrics read: {shown}"]


def as_read(names: Sequence[str], tables: Sequence[Iterable[str]]) -> list[str]:
    """Return metrics that a person names, as tables hold them after `read_spellings`.

    >>> as_read(["SNR", "mine"], [["snr", "mine"]])
    ['snr', 'mine']
    """
    there = {str(column) for columns in tables for column in columns}
    return [n if n in there or (found := metric_of(n)) is None else found[0] for n in names]


def under_names(table: pd.DataFrame, expected: Iterable[str]) -> pd.DataFrame:
    """Return a table with today's names and, beside them, the metrics that a model knows under another spelling, in its own unit."""
    more = {}
    for name in expected:
        found = None if name in WANTED or name in table.columns else metric_of(name)
        if found is not None:
            one = to_new_names(pd.DataFrame({found[0]: [1.0]}))
            metric, sign = str(one.columns[0]), float(one.iloc[0, 0])
            if metric in table.columns:
                more[name] = pd.to_numeric(table[metric], errors="coerce") * sign / found[1]
    return table.assign(**more) if more else table


def look_alikes(columns: Sequence[str], expected: Iterable[str]) -> str:
    """Return in words which columns look like metrics that are missed; empty where none does.

    >>> look_alikes(["log_snr", "depth"], ["snr"])
    "Its column 'log_snr' looks like snr: rename it where it is that."
    """
    missed = sorted({n for n in expected if n not in columns}, key=len, reverse=True)
    for column in columns:
        near = next((n for n in missed if len(n) > 2 and squeezed(n) in squeezed(column)), None)
        if near is not None and column not in KNOWN:
            return f"Its column '{column}' looks like {near}: rename it where it is that."
    return ""
