"""Which value has a covariate in each bin, and through which basis does it enter?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from ..files.covariates import Signal, read_covariates
from ..model.bases import BASES, NEMOS_NAMES, Covariate

log = logging.getLogger("glm_rates.fit.covariates")
TURN = 2 * np.pi
SLOW_S, MANY = 0.5, 20.0  # samples further apart than this, over this many times the span of the trials, are no seconds
CHOICES = [name for name in BASES if name != "onset"]  # that one is made from the trials themselves


def parse_bases(items: list[str]) -> dict[str, str]:
    """``running=spline`` -> {"running": "spline"}; ``x*y=plane`` names two signals.

    Raises
    ------
    InputError
        Not of this form, or no such basis.
    """
    out = {}
    for item in items:
        name, equals, basis = item.partition("=")
        if not equals or not name or basis not in CHOICES:
            raise InputError(
                f"--bases {item}: expected NAME=BASIS with one of {', '.join(CHOICES)}; X*Y=plane for two signals."
            )
        if ("*" in name) != (basis == "plane") or name.count("*") > 1:
            raise InputError(f"--bases {item}: a plane is of two signals (X*Y=plane), other bases of one.")
        out[name] = basis
    return out


def binned(signal: Signal, edges: np.ndarray) -> np.ndarray:
    """Mean of a signal in each bin, between its samples where a bin has none, NaN outside of them; counts of events.

    Parameters
    ----------
    signal :
        Samples or events.
    edges : (trial, bin + 1)
        Seconds.
    """
    at = np.searchsorted(signal.time_s, edges)
    if signal.value is None:
        return np.diff(at, axis=1).astype(np.float32)
    good = np.isfinite(signal.value)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, signal.value, 0))])
    number = np.concatenate([[0], np.cumsum(good)])
    n = np.diff(number[at], axis=1)
    centre = (edges[:, :-1] + edges[:, 1:]) / 2
    gap = 3 * _interval(signal)
    between = (
        np.interp(centre, signal.time_s[good], signal.value[good], left=np.nan, right=np.nan)
        if good.any()
        else np.nan * centre
    )
    following = np.clip(np.searchsorted(signal.time_s[good], centre), 1, max(good.sum() - 1, 1))
    if good.sum() > 1:
        wide = np.diff(signal.time_s[good])[following - 1] > max(gap, edges[0, 1] - edges[0, 0])
        between = np.where(wide, np.nan, between)
    return np.where(n > 0, np.diff(total[at], axis=1) / np.maximum(n, 1), between).astype(np.float32)


def _interval(signal: Signal) -> float:
    """Median time between samples at different times, in s."""
    steps = np.diff(signal.time_s)
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def same_clock(signal: Signal, edges: np.ndarray) -> None:
    """Refuse samples that are seconds apart over a time much longer than all trials: they are no seconds.

    Raises
    ------
    InputError
        Both ranges are told.
    """
    span, whole = float(np.ptp(signal.time_s)), float(edges.max() - edges.min())
    if signal.value is not None and _interval(signal) > SLOW_S and span > MANY * whole:
        raise InputError(
            f"covariate '{signal.name}' has a sample every {_interval(signal):g} s between {signal.time_s[0]:g} and {signal.time_s[-1]:g} s, "
            f"the trials lie between {edges.min():g} and {edges.max():g} s: is it in seconds? (time_ms, time_us, time_samples; or cut the table)"
        )


def signals_of(paths: list[Path], names: list[str], sampling_rate: float | None) -> list[Signal]:
    """The named signals of all files, or every signal of theirs.

    Raises
    ------
    InputError
        A name that no file has, or that two have.
    """
    found = [signal for path in paths for signal in read_covariates(path, names, sampling_rate)]
    have = [signal.name for signal in found]
    for name in names:
        if name not in have:
            there = [s.name for path in paths for s in read_covariates(path, [], sampling_rate)]
            where = ", ".join(map(str, paths))
            raise InputError(f"{where}: no covariate '{name}'; there are {', '.join(there) or 'none'}.")
    for name in have:
        if have.count(name) > 1:
            raise InputError(f"{', '.join(map(str, paths))}: the covariate '{name}' stands there twice.")
    return found


def covariates_of(
    options: dict[str, Any], first_s: np.ndarray, n_bins: int, window: tuple[int, int]
) -> tuple[list, dict]:
    """Covariates and their binned signals around trials that begin at ``first_s``: (descriptions, arrays).

    Returns
    -------
    (list of dict, dict)
        ``covariates`` (trial, lead + bin, signal), and ``known`` (trial, bin) where a bin has all of its values.
    """
    wanted = parse_bases(options.get("bases") or [])
    names = list(dict.fromkeys(part for name in wanted for part in name.split("*")))
    paths = [Path(path) for path in options.get("covariates") or []]
    if names and not paths:
        raise InputError(f"--bases {names[0]}=...: --covariates FILE is missing.")
    signals = signals_of(paths, names, options.get("sampling_rate"))
    width = options["bin_size"]
    lead = options["covariate_window"] // width
    edges = first_s[:, None] + (np.arange(-lead, n_bins + 1)) * width / 1000
    for signal in signals:
        same_clock(signal, edges)
    tables = [binned(signal, edges) for signal in signals]
    place = {signal.name: i for i, signal in enumerate(signals)}
    chosen: dict[str, str] = dict(wanted) or {
        s.name: "lagged" if s.value is None or set(np.unique(s.value[np.isfinite(s.value)])) <= {0.0, 1.0} else "linear"
        for s in signals
    }
    if options.get("drift"):  # the time of the trial, the same in all of its bins
        if "drift" in place:
            raise InputError("a covariate cannot be called 'drift' together with --drift; rename the column.")
        place["drift"] = len(signals)
        signals = [*signals, Signal("drift", first_s, first_s)]
        tables.append(np.repeat(first_s[:, None], edges.shape[1] - 1, axis=1).astype(np.float32))
        chosen["drift"] = "spline"
    table = np.stack(tables, axis=2)
    described, known = [], np.ones((len(first_s), n_bins), bool)
    for name, basis in chosen.items():
        at = tuple(place[part] for part in name.split("*"))
        described.append(describe(name, basis, at, [signals[i] for i in at], table, lead + window[0]))
        finite = np.isfinite(table[:, :, list(at)]).all(axis=2)
        if basis == "lagged":
            lost = np.cumsum(np.pad(~finite, ((0, 0), (1, 0))), axis=1)
            known &= lost[:, lead + 1 :] == lost[:, :n_bins]
        else:
            known &= finite[:, lead:]
    part = 1 - known[:, window[0] : window[1]].mean()
    if part > 0:
        log.warning("%.1f %% of the bins have no value of some covariate: they do not count", 100 * part)
    return [c._asdict() for c in described], {"covariates": np.nan_to_num(table), "known": known}


def describe(
    name: str, basis: str, at: tuple[int, ...], signals: list[Signal], table: np.ndarray, first: int
) -> Covariate:
    """Range of each signal in the window, and a word on the basis.

    Raises
    ------
    InputError
        A signal without values or without variation there, or no angle.
    """
    low, high = [], []
    for i, signal in zip(at, signals):
        inside = table[:, first:, i]
        inside = inside[np.isfinite(inside)]
        if not len(inside) or inside.min() == inside.max():
            raise InputError(f"covariate '{signal.name}' has no values, or only one, in the windows of the trials.")
        bounds = np.quantile(inside, (0.005, 0.995)) if basis in ("spline", "plane") else (inside.min(), inside.max())
        if basis == "cyclic":
            most = float(np.abs(inside).max())
            if most > 360.001:
                raise InputError(f"covariate '{signal.name}' reaches {most:g}: no angle in radians or degrees.")
            bounds = (0.0, TURN if most <= TURN + 1e-3 else 360.0)
            if np.ptp(inside) < bounds[1] / 2:
                text = "covariate %s runs from %g to %g, less than half a turn of %g: is it an angle in radians or degrees?"
                log.warning(text, signal.name, inside.min(), inside.max(), bounds[1])
        if bounds[0] == bounds[1]:
            bounds = (inside.min(), inside.max())
        low.append(float(bounds[0]))
        high.append(float(bounds[1]))
    log.info("covariate %s: %s (nemos: %s)", name, basis, NEMOS_NAMES[basis])
    return Covariate(
        name.replace("*", " x "), basis, at, tuple(low), tuple(high), "event" if signals[0].value is None else ""
    )
