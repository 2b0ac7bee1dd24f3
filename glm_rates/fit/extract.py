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

from ..files.blech import read_recording
from ..files.blech_trials import stimulus_times
from ..files.consistency import MOST_A_MS, warn_of_disagreement
from ..files.exchange import save
from ..files.hdf5 import H5, parsing
from ..files.lasers import lasers
from ..files.session import kind_of
from .laser import add_laser_effects, laser_of_events, laser_on, warn_of_lasers

log = logging.getLogger("glm_rates.fit.extract")
MIN_SPIKES = 2  # a unit with fewer in the window has no filters and no score


def used_windows(options):
    """History and coupling window as whole bins, in ms; says where that is less than was asked for."""
    width, used = options["bin_size"], {}
    for name in ("history_window", "coupling_window"):
        used[name] = options[name] // width * width
        if used[name] != options[name]:
            log.warning(
                "%s of %d ms is no multiple of %d ms bins: %d ms are used", name, options[name], width, used[name]
            )
    return used


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
    reach = max(options["history_window"], options["coupling_window"])
    before = min(int(low // width), -(-reach // width))
    if before * width < reach:
        log.warning("only %d ms before the window: the filters see no spikes beyond it", before * width)
    n_bins = int((high - low) // width)
    if n_bins * width != high - low:
        log.warning(
            "the window %g-%g ms is no multiple of %d ms bins: it ends at %g ms", low, high, width, low + n_bins * width
        )
    start = int(low) - before * width
    return start, start + (before + n_bins) * width, (before, before + n_bins), int((onset_ms - start) // width)


def extract_blech(source, options):
    """Counts and labels of a blech_clust directory: (params, arrays)."""
    recording = read_recording(source, options.get("h5"))
    chosen = select_units(recording, options)
    width = options["bin_size"]
    trial_ms = min(recording.shapes[t.dig_in][2] for t in recording.tastes)
    start, stop, window, onset = bin_plan(options, trial_ms, recording.before_ms)
    if recording.before_ms != 2000 and not options.get("time_lims_from_stimulus"):
        low, high = (window[0] * width + start, window[1] * width + start)
        text = "the stimulus is at %d ms, not 2000: --time-lims %d %d is %d to %d ms from the stimulus"
        log.info(text, recording.before_ms, low, high, low - recording.before_ms, high - recording.before_ms)
    counts, observed, taste, trial, on, flagged = [], [], [], [], [], []
    with H5(recording.h5) as h5:
        for k, t in enumerate(recording.tastes):
            n = recording.shapes[t.dig_in][0]
            binned, seen = read_spikes(h5, t.dig_in, chosen, start, stop, width)
            counts.append(binned)
            observed.append(seen)
            taste += [k] * n
            trial += list(range(n))
            laser = lasers(recording, t, n, h5)
            flagged.append(laser.on)
            on.append(laser.intervals + recording.before_ms - start)
            warn_of_lasers(laser, t.dig_in, recording.before_ms, trial_ms)
        problems = warn_of_disagreement(recording, h5)
    units = {name: [_plain(column[i]) for i in chosen] for name, column in recording.units.items()}
    params = {
        "tastes": [t.label for t in recording.tastes],
        "dig_ins": [t.dig_in for t in recording.tastes],
        "regions": [recording.unit_region[i] for i in chosen],
        "units": units,
        "h5": str(recording.h5),
        "label_problems": problems,
        "kind": "odour" if kind_of(*(t.label for t in recording.tastes)) == "odour" else "taste",
    }
    lit, flagged = np.concatenate(on), np.concatenate(flagged)
    arrays = {
        "counts": np.concatenate(counts),
        "taste": taste,
        "trial": trial,
        "laser": laser_on(lit, 0, stop - start, width),
    }
    arrays["observed"] = np.concatenate(observed)
    if options.get("covariates") or options.get("drift") or options.get("observed"):
        onsets = np.concatenate([stimulus_times(recording, t) for t in recording.tastes])
        first_s = onsets + (start - recording.before_ms) / 1000
        with_covariates(params, arrays, options, first_s, window)
        with_observed(arrays, options, recording, chosen, first_s)
    add_laser_effects(params, arrays, options, lit, flagged, window, np.full(len(taste), onset))
    return finish(params, arrays, options, start, window, np.full(len(taste), onset), flagged, str(source))


def with_observed(arrays, options, recording, chosen, first_s):
    """Mask what ``--observed`` says was not recorded; units are named by their ``unit_number``.

    Parameters
    ----------
    first_s : (trial,)
        When the first bin of each trial begins, in s of the recording.

    Raises
    ------
    InputError
        It names other units, or no trial lies in the time that it says was recorded.
    """
    if not options.get("observed"):
        return
    from ..files.spike_table import read_observed
    from .trials import observed_bins

    path, numbers = Path(options["observed"]), [_plain(v) for v in recording.units.get("unit_number", [])]
    n = recording.shapes[recording.tastes[0].dig_in][1]
    ids = [str(v) for v in numbers] if len(set(numbers)) == n else [str(i) for i in range(n)]
    told = read_observed(path, ids, options.get("sampling_rate") or recording.sampling_rate)
    counts, width = arrays["counts"], options["bin_size"]
    seen = observed_bins([told[i] for i in chosen], first_s, counts.shape[1], width, str(path))
    stray = int(counts[~seen].sum())
    if stray:
        log.warning(
            "%s: %d spike(s) lie outside the time in which their unit was observed; they are not used", path, stray
        )
    arrays["counts"], arrays["observed"] = np.where(seen, counts, 0).astype(counts.dtype), arrays["observed"] & seen


def select_units(recording, options):
    """Indices of the units that ``--units`` selects."""
    n = recording.shapes[recording.tastes[0].dig_in][1]
    if not options.get("units"):
        return np.arange(n)
    from ..files.recordings import chosen_units

    columns = {name: [_plain(v) for v in column] for name, column in recording.units.items()}
    spikes, seconds = np.zeros(n), 0.0
    with H5(recording.h5) as h5:
        for taste in recording.tastes:
            array = h5.array(f"spike_trains/{taste.dig_in}/spike_array", 3)
            with parsing(h5.path, "a recording whose spikes can be read"):
                spikes += sum(np.nansum(np.asarray(array[i], float), axis=1) for i in range(array.shape[0]))
            seconds += array.shape[0] * array.shape[2] / 1000
    computed = {
        "region": recording.unit_region,
        "n_spikes": spikes.tolist(),
        "firing_rate": (spikes / seconds).tolist(),
    }
    return chosen_units(options["units"], {**computed, **columns}, n)


def read_spikes(h5, dig_in, chosen, start, stop, width):
    """Counts and observed bins of one taste: two arrays (trial, bin, unit). NaN is a bin that was not recorded."""
    node = h5.array(f"spike_trains/{dig_in}/spike_array", 3)
    with parsing(h5.path, "a recording whose spikes can be read"):
        spikes = np.asarray(node[:, :, start:stop])[:, chosen]
    if (spikes < 0).any() or np.isinf(spikes).any():
        raise InputError(f"{h5.path}: /spike_trains/{dig_in}/spike_array has negative or infinite values.")
    missing = np.isnan(spikes) if spikes.dtype.kind == "f" else np.zeros((1, 1, 1), bool)
    if missing.any():
        trials = np.flatnonzero(missing.any(axis=(1, 2)))
        whole = np.flatnonzero(missing.all(axis=(1, 2)))
        text = "%s: NaN in trial(s) %s (all of it in %d): taken as not recorded"
        log.warning(text, dig_in, ", ".join(map(str, trials[:12])) + (" ..." if len(trials) > 12 else ""), len(whole))
        spikes = np.where(missing, 0, spikes)
    if spikes.max(initial=0) > MOST_A_MS or (spikes.dtype.kind == "f" and (spikes % 1).any()):
        raise InputError(
            f"{h5.path}: /spike_trains/{dig_in}/spike_array has values up to {spikes.max():g} in a millisecond; expected 0 and 1."
        )
    shape = (spikes.shape[0], spikes.shape[1], -1, width)
    binned = spikes.reshape(shape).sum(axis=3).transpose(0, 2, 1).astype(np.int16)
    lost = np.broadcast_to(missing, spikes.shape).reshape(shape).any(axis=3).transpose(0, 2, 1)
    return np.where(lost, 0, binned), ~lost


def _plain(value):
    value = value.item() if hasattr(value, "item") else value
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def extract_times(source, options):
    """Counts and labels of spike times: (params, arrays)."""
    from ..files.recordings import read_times
    from . import trials

    data, where = read_times(source, options), source.name
    low, high = options["trial_window"]
    if not len(data.event_s):
        trials.check_scale(data, 0, 0, str(source))
        return segments(data, options, str(source))
    trials.check_scale(data, low / 1000, high / 1000, str(source))
    trials.check_resolution(data, options["bin_size"], where)
    start, stop, window, onset = bin_plan(options, high - low, -low)
    tastes = list(dict.fromkeys(data.label))
    taste = np.array([tastes.index(label) for label in data.label])
    order = np.argsort(taste, kind="stable")
    first_s, width = data.event_s[order] + (low + start) / 1000, options["bin_size"]
    data = data._replace(stop_s=None if data.stop_s is None else data.stop_s[order])
    binned = trials.bin_spikes(data, first_s, (stop - start) // width, width, where)
    own = trials.own_bins(data, first_s, data.event_s[order], window, width, options.get("to_trial_end", False), where)
    ids = [data.trial_id[i] for i in order]
    lit, flagged = laser_of_events(data.laser, order, start + low, options["laser"], where)
    arrays = {"counts": binned.counts, "taste": taste[order], "trial": np.array(ids),
              "laser": laser_on(lit, 0, stop - start, width)}  # fmt: skip
    masks = {"observed": binned.observed, "counted": own}
    arrays.update({name: mask for name, mask in masks.items() if mask is not None})
    params = {"tastes": tastes, "dig_ins": tastes, "regions": data.region, "units": unit_table(data), "stimulus": True,
              "kind": data.kind}  # fmt: skip
    with_covariates(params, arrays, options, first_s, window)
    arrays["start_s"] = first_s + window[0] * width / 1000
    if flagged is not None:
        add_laser_effects(params, arrays, options, lit, flagged, window, np.full(len(taste), onset))
    return finish(params, arrays, options, start, window, np.full(len(taste), onset), flagged, where)


def with_covariates(params, arrays, options, first_s, window):
    """Add what else was measured to the parameters and arrays; bins without it do not count."""
    if not options.get("covariates") and not options.get("drift"):
        return
    from .covariates import covariates_of

    params["covariates"], found = covariates_of(options, np.asarray(first_s), arrays["counts"].shape[1], window)
    params["covariate_lead"] = options["covariate_window"] // options["bin_size"]
    arrays["covariates"] = found["covariates"]
    if not found["known"].all():
        arrays["counted"] = found["known"] & arrays.get("counted", True)


def unit_table(data):
    """Columns of the units that go into the results: their ids, and what the file says of them in one number or text each."""
    plain = {
        name: column
        for name, column in data.columns.items()
        if name not in ("unit", "region", "unit_id") and all(isinstance(v, (int, float, str, bool)) for v in column)
    }
    return {"unit_id": data.unit_id, **plain}


def segments(data, options, where):
    """Equal segments of a recording without events: (params, arrays)."""
    from . import trials

    trials.check_resolution(data, options["bin_size"], where)
    width, reach = options["bin_size"], max(options["history_window"], options["coupling_window"])
    reach_bins, n_bins = -(-reach // width), int(options["segment_s"] * 1000 // width)
    every = np.concatenate([*data.times_s, np.zeros(0)])
    n_segments = int((every.max() - every.min()) * 1000 // (n_bins * width)) if len(every) and n_bins else 0
    if n_segments < 2 or n_bins <= reach_bins:
        raise InputError(
            f"{where}: no events, and the spikes do not fill two segments of {options['segment_s']:g} s; set --segment-s."
        )
    text = "no events: %d segments of %g s, no stimulus effect, --time-lims does not apply"
    log.info(text, n_segments, n_bins * width / 1000)
    first_s = every.min() + np.arange(n_segments) * n_bins * width / 1000
    binned = trials.bin_spikes(data, first_s, n_bins, width, where)
    arrays = {"counts": binned.counts, "taste": np.zeros(n_segments, int), "trial": np.arange(n_segments),
              "laser": np.zeros(binned.counts.shape[:2])}  # fmt: skip
    if binned.observed is not None:
        arrays["observed"] = binned.observed
    params = {
        "tastes": ["none"],
        "dig_ins": ["none"],
        "regions": data.region,
        "units": unit_table(data),
        "stimulus": False,
        "kind": "recording",
    }
    with_covariates(params, arrays, options, first_s, (reach_bins, n_bins))
    arrays["start_s"] = first_s + reach_bins * width / 1000
    return finish(params, arrays, options, 0, (reach_bins, n_bins), np.zeros(n_segments, int), None, where)


def finish(params, arrays, options, start_ms, window, onset, flagged, where):
    """Laser and unrecorded trials out, last checks, and the parameters that all inputs share."""
    from . import twins
    from .trials import keep_recorded, only_tastes_with_trials, warn_of_silence

    arrays = {**{name: np.asarray(a) for name, a in arrays.items()}, "onset": np.asarray(onset)}
    if "observed" in arrays and arrays["observed"].all():
        del arrays["observed"]
    warn_of_silence(arrays["counts"], arrays.get("observed"), window, where)
    lit = arrays["laser"].any(axis=1) if flagged is None else np.asarray(flagged, bool)
    if lit.any():
        lasts = arrays["laser"][lit].sum(axis=1).mean() * options["bin_size"]
        told = f" ({lasts:.3g} ms of them on average)" if lasts else ""
        log.info("%d of %d trials have the laser on%s: %s", lit.sum(), len(lit), told, options["laser"])
    elif options["laser"] != "include":
        log.warning("no trial has the laser on: --laser %s changes nothing", options["laser"])
    if options["laser"] == "exclude":
        arrays = {name: a[~lit] for name, a in arrays.items()}
        if not len(arrays["taste"]):
            raise InputError("every trial has the laser on: --laser exclude leaves none.")
    regressor = bool(options["laser"] == "regressor" and arrays["laser"][:, window[0] : window[1]].any())
    if options["laser"] == "regressor" and lit.any() and not regressor:
        log.warning("the laser is never on within the window: no laser regressor")
    arrays = keep_recorded(arrays, window, where)
    params, arrays = only_tastes_with_trials(params, arrays)
    spikes = arrays["counts"][:, window[0] : window[1]].sum(axis=(0, 1))
    quiet = [int(i) for i in np.flatnonzero(spikes < MIN_SPIKES)]
    if len(quiet) == len(spikes):
        raise InputError(
            f"{where}: no unit has {MIN_SPIKES} spikes in the windows of {len(arrays['taste'])} trials; nothing can be fitted."
        )
    if quiet:
        text = "unit(s) %s with fewer than %d spikes in the window: mean rate, no score"
        log.warning(text, ", ".join(map(str, quiet)), MIN_SPIKES)
    copies = twins.told(twins.twins(arrays["counts"], arrays["taste"], arrays.get("observed")))
    if copies:
        log.warning("%s", copies)
    used = {"history_window": options["history_window"], "coupling_window": options["coupling_window"]}
    params = {**params, **used, "bin_size": options["bin_size"], "start_ms": int(start_ms), "window": [int(w) for w in window],
              "onset_bin": int(arrays["onset"][0]), "laser": regressor}  # fmt: skip
    return params, arrays


def run(folder):
    """Read ``request.json`` in ``folder``, extract, and write the exchange files."""
    request = json.loads((Path(folder) / "request.json").read_text(encoding="utf-8"))
    source, options = Path(request["source"]), request["options"]
    options.update(used_windows(options))
    if not source.exists():
        raise InputError(f"{source}: no such file or directory.")
    params, arrays = extract_blech(source, options) if source.is_dir() else extract_times(source, options)
    n_trials, n_bins, n_units = arrays["counts"].shape
    text = "%d units, %d trials of %d taste(s), %d bins of %d ms"
    log.info(text, n_units, n_trials, len(params["tastes"]), n_bins, params["bin_size"])
    save(folder, "extract", {**params, "source": str(source)}, arrays)
