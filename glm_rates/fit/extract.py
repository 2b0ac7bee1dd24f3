"""Stage 1: which counts, in which bins, with which labels? Recording -> exchange folder.

Runs in any interpreter with numpy and h5py or PyTables (see `stages`): FOLDER holds ``request.json`` (source and options) and
receives ``extract.json`` and the arrays. Python 3.8 syntax.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from ..files.blech import H5, laser_intervals, read_recording
from ..files.exchange import save

log = logging.getLogger("glm_rates.fit.extract")


def bin_plan(options, trial_ms, onset_ms):
    """First millisecond to read and the analysis window in bins: (start_ms, stop_ms, (first, last + 1), onset bin).

    The window begins at a bin edge; as many whole bins before it are read as the longest filter looks back.
    """
    width = options["bin_size"]
    lims = options.get("time_lims_from_stimulus")
    low, high = (onset_ms + lims[0], onset_ms + lims[1]) if lims else options["time_lims"]
    if low < 0 or high > trial_ms or high - low < width:
        text = "the window %g-%g ms does not fit a trial of %g ms (stimulus at %g ms)"
        raise InputError(text % (low, high, trial_ms, onset_ms) + "; set --time-lims or --time-lims-from-stimulus.")
    before = min(int(low // width), -(-options["reach_ms"] // width))
    if before * width < options["reach_ms"]:
        log.warning("only %d ms before the window: the filters see no spikes beyond it", before * width)
    n_bins = int((high - low) // width)
    start = int(low) - before * width
    return start, start + (before + n_bins) * width, (before, before + n_bins), int((onset_ms - start) // width)


def extract_blech(source, options):
    """Counts and labels of a blech_clust directory: (params, arrays)."""
    recording = read_recording(source)
    width = options["bin_size"]
    shape = recording.shapes[recording.tastes[0].dig_in]
    trial_ms = min(recording.shapes[t.dig_in][2] for t in recording.tastes)
    start, stop, window, onset = bin_plan(options, trial_ms, recording.before_ms)
    if recording.before_ms != 2000 and not options.get("time_lims_from_stimulus"):
        low, high = (window[0] * width + start, window[1] * width + start)
        text = "the stimulus is at %d ms, not 2000: --time-lims %d %d is %d to %d ms from the stimulus"
        log.info(text, recording.before_ms, low, high, low - recording.before_ms, high - recording.before_ms)
    counts, taste, trial, laser = [], [], [], []
    with H5(recording.h5) as h5:
        for k, t in enumerate(recording.tastes):
            node, n = h5.node(f"spike_trains/{t.dig_in}/spike_array"), recording.shapes[t.dig_in][0]
            spikes = np.asarray(node[:, :, start:stop])
            if not np.isfinite(spikes).all() or (spikes < 0).any():
                raise InputError(f"{source}: /spike_trains/{t.dig_in}/spike_array has NaN or negative values.")
            binned = spikes.reshape(n, shape[1], -1, width).sum(axis=3)
            counts.append(binned.transpose(0, 2, 1).astype(np.int16))
            taste += [k] * n
            trial += list(range(n))
            laser.append(laser_on(laser_intervals(recording, t, n, h5) + recording.before_ms, start, stop, width))
    units = {name: [_plain(v) for v in column] for name, column in recording.units.items()}
    params = {
        "tastes": [t.label for t in recording.tastes],
        "dig_ins": [t.dig_in for t in recording.tastes],
        "regions": recording.unit_region,
        "units": units,
        "h5": str(recording.h5),
    }
    arrays = {"counts": np.concatenate(counts), "taste": taste, "trial": trial, "laser": np.concatenate(laser)}
    return _finish(params, arrays, options, start, window, np.full(len(taste), onset))


def laser_on(intervals, start, stop, width):
    """Fraction of each bin during which the laser is on: (trial, bin); ``intervals`` (trial, 2) ms from trial start."""
    edges = np.arange(start, stop, width)
    low = np.maximum(intervals[:, :1], edges)
    high = np.minimum(intervals[:, 1:], edges + width)
    return np.maximum(high - low, 0) / width


def _plain(value):
    value = value.item() if hasattr(value, "item") else value
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _finish(params, arrays, options, start_ms, window, onset):
    """Laser trials out where asked for, last checks, and the parameters that all inputs share."""
    arrays = {**{name: np.asarray(a) for name, a in arrays.items()}, "onset": np.asarray(onset)}
    lit = arrays["laser"].any(axis=1)
    if lit.any():
        log.info("%d of %d trials have the laser on: %s", lit.sum(), len(lit), options["laser"])
    elif options["laser"] == "regressor":
        log.warning("no trial has the laser on: no laser regressor")
    if options["laser"] == "exclude":
        arrays = {name: a[~lit] for name, a in arrays.items()}
        if not len(arrays["taste"]):
            raise InputError("every trial has the laser on: --laser exclude leaves none.")
    kept = sorted(set(arrays["taste"].tolist()))
    if len(kept) < len(params["tastes"]):
        gone = [t for k, t in enumerate(params["tastes"]) if k not in kept]
        log.warning("no trials left of %s", ", ".join(gone))
        arrays["taste"] = np.searchsorted(kept, arrays["taste"])
        params = {
            **params,
            "tastes": [params["tastes"][k] for k in kept],
            "dig_ins": [params["dig_ins"][k] for k in kept],
        }
    spikes = arrays["counts"][:, window[0] : window[1]].sum(axis=(0, 1))
    quiet = [int(i) for i in np.flatnonzero(spikes < 2)]
    if quiet:
        log.warning(
            "unit(s) %s with fewer than 2 spikes in the window: mean rate, no score", ", ".join(map(str, quiet))
        )
    params = {
        **params,
        "bin_size": options["bin_size"],
        "history_window": options["history_window"],
        "coupling_window": options["coupling_window"],
        "start_ms": int(start_ms),
        "window": [int(w) for w in window],
        "onset_bin": int(arrays["onset"][0]),
        "laser": bool(options["laser"] == "regressor" and lit.any()),
    }
    return params, arrays


def run(folder):
    """Read ``request.json`` in ``folder``, extract, and write the exchange files."""
    request = json.loads((Path(folder) / "request.json").read_text(encoding="utf-8"))
    source, options = Path(request["source"]), request["options"]
    options["reach_ms"] = max(options["history_window"], options["coupling_window"])
    if not source.exists():
        raise InputError(f"{source}: no such file or directory.")
    if source.is_dir():
        params, arrays = extract_blech(source, options)
    else:
        from ..files.spike_table import extract_times

        params, arrays = extract_times(source, options, bin_plan, _finish)
    n_trials, n_bins, n_units = arrays["counts"].shape
    log.info(
        "%d units, %d trials of %d taste(s), %d bins of %d ms",
        n_units,
        n_trials,
        len(params["tastes"]),
        n_bins,
        params["bin_size"],
    )
    save(folder, "extract", {**params, "source": str(source)}, arrays)
