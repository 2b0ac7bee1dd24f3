"""Which release of SpikeInterface computed these metrics, and did one change their definition in between?

Found in its source, and on one recording of 20 units whose metrics releases 0.101.2 to 0.105.3 computed: from 0.101 to 0.103 and within
0.104 nothing changed; with 0.104.0 positive peaks were counted otherwise in 13 units, velocities found in twice as many; with 0.105.0
``sliding_rp_violation`` changed in 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .metrics import RENAMED


class Release(NamedTuple):
    """The oldest and the newest release that can have computed metrics; 0.104.x is 104."""

    low: int = 0
    high: int = 999_999


ANY = Release()
#: Release -> metrics that it defines otherwise than the one before, under the same name.
CHANGED = {
    104: ("num_positive_peaks", "num_negative_peaks", "velocity_above", "velocity_below", "amplitude_cutoff", "snr"),
    105: ("sliding_rp_violation",),
}
#: Metrics that no release before 0.104 has. The renamed ones tell nothing: tables are translated.
SINCE_104 = frozenset({
    "peak_half_width", "main_to_next_extremum_duration", "peak_before_to_trough_ratio", "peak_before_to_peak_after_ratio",
    "main_peak_to_trough_ratio", "trough_width", "peak_before_width", "peak_after_width", "waveform_baseline_flatness",
})  # fmt: skip


def of_version(info: Any) -> Release:
    """Return what SpikeInterface's provenance (``version``, ``dev_mode``) says; a development version may be like the one before.

    >>> of_version({"version": "0.104.2", "dev_mode": False}), of_version({"version": "0.104.0", "dev_mode": True}).low
    (Release(low=104, high=104), 103)
    """
    text = str(info.get("version", "")) if isinstance(info, dict) else ""
    found = re.match(r"(\d{1,2})\.(\d{1,4})(?!\d)", text)
    if found is None:
        return ANY
    n = 1000 * int(found[1]) + int(found[2])
    return Release(n - bool(info.get("dev_mode") or "dev" in text), n)


def of_names(names: Iterable[str]) -> Release:
    """Return what the names of metrics say.

    >>> of_names(["snr", "half_width"]), of_names(["snr"]) == ANY, of_names(["trough_width"]).low
    (Release(low=0, high=103), True, 104)
    """
    given = set(names)
    old, new = given & set(RENAMED), given & SINCE_104
    return ANY if bool(old) == bool(new) else Release(high=103) if old else Release(low=104)


def together(releases: Sequence[Release]) -> Release:
    """Return which releases can have computed metrics that several sets hold; any where there are none."""
    return Release(min(r.low for r in releases), max(r.high for r in releases)) if releases else ANY


def difference(ours: Release, theirs: Release, names: Iterable[str]) -> tuple[int, list[str]] | None:
    """Return the last release that surely lies between two sets of metrics and changed some, and all metrics so changed; else None.

    >>> difference(Release(103, 103), Release(104, 105), ["snr", "d_prime"])
    (104, ['snr'])
    """
    between = [n for n in CHANGED if ours.high < n <= theirs.low or theirs.high < n <= ours.low]
    changed = sorted({m for n in between for m in CHANGED[n]} & set(names))
    return (max(n for n in between if set(CHANGED[n]) & set(changed)), changed) if changed else None


def told(ours: Release, theirs: Release, names: Iterable[str]) -> list[str]:
    """Return a notice where new units' metrics are defined otherwise than the training units'."""
    found = difference(ours, theirs, names)
    if found is None:
        return []
    n, changed = found
    when = "before" if ours.high < n else "since"
    return [
        f"{', '.join(changed)}: SpikeInterface computed them {when} {n // 1000}.{n % 1000}, whose definition is another than the training"
        " units'. Compute the metrics with the release of the training units, or train anew"
    ]
