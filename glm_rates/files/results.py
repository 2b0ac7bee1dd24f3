"""How are results kept? In the recording's ``/glm_output`` (journal) or a file of their own, with tables and models beside.

The nodes of the original module keep their names, types and meaning; everything else is added beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io import Dataset
from hdf5io.errors import InputError

from .blech import one_file
from .exchange import Fitted
from .packed import EXACT, FILTER_BITS, LARGE_IN_TREE, RATE_BITS, SPREAD_BITS, STACKED, Packed, UnitGroups, View
from .stored import GROUP, SCHEMA, population_names, safe_names, stored_digest


class Place(NamedTuple):
    """Where the results of a recording go."""

    file: Path
    group: str  # in the file; empty: the whole file is ours
    folder: Path  # tables, figures, models, report


def place_of(source: Path, output: Path | None, h5: str | None = None) -> Place:
    """Where results go: into the recording, or into ``output`` and a folder beside it.

    Raises
    ------
    InputError
        ``output`` is the input itself, or the input is a file that is never written.
    """
    if output is not None:
        inputs = [source, *(source.glob("*.h5") if source.is_dir() else [])]
        if output.resolve() in [path.resolve() for path in inputs]:
            raise InputError(f"--output {output} is the input itself; leave --output out to write into a recording.")
        return Place(output, "", output.with_name(output.stem + "_glm_output"))
    path = recording_file(source, h5)
    if path is None:
        raise InputError(f"{source}: results of a single file need --output FILE.h5; the file itself is never written.")
    return Place(path, GROUP, source / "glm_output")


def is_current(place: Place, digest: str) -> bool:
    """Whether complete results of the same data and options are there."""
    tables = (place.folder / "bits_per_spike_summary.csv", place.folder / "artifacts" / "params.json")
    return all(t.is_file() for t in tables) and stored_digest(place.file, place.group) == digest


def may_replace(place: Place, overwrite: bool, retrain: bool) -> None:
    """Make sure that a file of its own may be written; an earlier result of ours may be replaced with ``retrain``."""
    if not place.group:
        hdf5io.claim(place.file, overwrite or (retrain and stored_digest(place.file, "") is not None))


def recording_file(source: Path, h5: str | None = None) -> Path | None:
    """The ``.h5`` file of a recording directory after recovery from an interrupted write; None for other inputs."""
    if not source.is_dir():
        return None
    path = one_file(source, ".h5", name=h5)
    hdf5io.recover(path)
    return path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a recording directory for the length of a run; a second run on it stops at once.

    The lock is the system's (``flock`` on the directory) and vanishes with the process; where there is none (Windows), the
    journal alone protects the recording.

    Raises
    ------
    hdf5io.LockedError
        Another run has the directory.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise hdf5io.LockedError(f"{folder}: another glm-rates run works on it. Wait until it is done.") from None
    finally:
        os.close(descriptor)


def may_write(*places: Path) -> None:
    """Stop before any work where a result could not be written: each place, or the folder above it that exists.

    Raises
    ------
    InputError
        No permission, or a read-only disk.
    """
    for place in places:
        path = place.expanduser().resolve()
        there = next(p for p in (path, *path.parents) if p.exists())
        if not os.access(there, os.W_OK):
            raise InputError(f"{place}: {there} is read-only. Give --output in a folder that can be written.")


def save(
    place: Place,
    done: Fitted,
    table: dict,
    rows: list[dict],
    settings: dict,
    digest: str,
    provenance: dict,
    folder: Path,
) -> None:
    """Write everything of a fit: the HDF5 file or group, the summary, ``artifacts/params.json`` and the nemos models.

    Parameters
    ----------
    place :
        Where to.
    done, table, rows :
        What was fitted, one value a unit, one row a unit and taste.
    settings, digest, provenance :
        Options of the fit, digest of data and options, and who made it.
    folder :
        Exchange folder that holds the models.
    """
    datasets, attrs = result_datasets(done, table, rows, views=not place.group), result_attrs(done, digest)
    if place.group:
        hdf5io.update(place.file, place.group, datasets, attrs=attrs, provenance=provenance)
    else:
        attrs.pop("schema")
        hdf5io.write(place.file, SCHEMA, datasets, attrs=attrs, provenance=provenance, overwrite=True)
    place.folder.mkdir(parents=True, exist_ok=True)
    hdf5io.write_csv(place.folder / "bits_per_spike_summary.csv", rows)
    artifacts = place.folder / "artifacts"
    if artifacts.is_dir():
        shutil.rmtree(artifacts)
    artifacts.mkdir()
    document = {"settings": settings, "versions": done.meta["versions"], "populations": done.meta["populations"],
                "tastes": done.params["tastes"], "bin_ms": done.params["bin_size"]}  # fmt: skip
    hdf5io.write_json(artifacts / "params.json", document)
    for index, name in enumerate(population_names(done.params, done.meta["populations"])):
        shutil.copyfile(folder / f"model_{index}.npz", artifacts / f"{name}.npz")


def result_datasets(done: Fitted, table: dict[str, np.ndarray], rows: list[dict], views: bool) -> dict[str, Dataset]:
    """Every dataset of ``/glm_output``, by its name within the group.

    With ``views`` the arrays of single units are views of the stacks (a file of its own); in a recording, whose superseded group is
    kept under another name, they are arrays.
    """
    params, extracted, fitted, meta = done.params, done.extracted, done.arrays, done.meta
    bin_ms, window, history_ms = params["bin_size"], params["window"], params["history_window"]
    low = params["start_ms"] + window[0] * bin_ms
    lims = [low, low + (window[1] - window[0]) * bin_ms]
    out = {
        "bin_size": Dataset(np.array([bin_ms], np.int64), "ms", "bin size"),
        "history_window": Dataset(np.array([history_ms], np.int64), "ms", "history window"),
        "time_lims": Dataset(np.array(lims, np.int64), "ms", "analysis window from the start of the trial"),
    }
    wanted = by_trial(done)
    out["regions"] = _by_unit(wanted, extracted["taste"], params, rows, views)
    for name, column in table.items():
        out["units/" + name.replace("/", "_")] = Dataset(column, *_unit_units(name), ("unit",))
    out |= _stacked(wanted, extracted, params, fitted, views)
    out |= _populations(fitted, meta, population_names(params, meta["populations"]))
    if meta["scored"]:
        out["scores/log_likelihood"] = Dataset(
            Packed(fitted["log_likelihood"]), "nats", "held-out Poisson log-likelihood", ("model", "unit", "trial")
        )
        out["scores/fold"] = Dataset(fitted["fold"], "", "test fold of each trial", ("trial",))
    return out


class ByTrial(NamedTuple):
    """An array (trial, bin, unit) and what is to be known of it."""

    array: np.ndarray
    units: str
    text: str
    stack: str  # its name among the stacks
    bits: int
    always: bool  # stacked also where single units hold arrays of their own


def by_trial(done: Fitted) -> dict[str, ByTrial]:
    """Counts and rates of all trials, by their names in the groups of single units; the last has no place there."""
    rate, to_hz = done.arrays["rate"], 1000 / done.params["bin_size"]
    fitted, held = "estimated rate, fitted on all trials", "rate of each trial from a fit without it"
    out = {
        "pred_firing": ByTrial(rate, "spikes per bin", fitted, "pred_firing", RATE_BITS, False),
        "binned_spikes": ByTrial(
            done.window_counts(), "spikes per bin", "observed counts", "binned_spikes", EXACT, True
        ),
        "pred_firing_hz": ByTrial(rate * to_hz, "Hz", fitted, "pred_firing_hz", RATE_BITS, True),
    }
    if "rate_cv" in done.arrays:
        cv = done.arrays["rate_cv"]
        out["pred_firing_cv"] = ByTrial(cv, "spikes per bin", held, "pred_firing_cv", RATE_BITS, False)
        out["pred_firing_cv_hz"] = ByTrial(cv * to_hz, "Hz", held, "pred_firing_cv_hz", RATE_BITS, True)
    spread = done.arrays["log_rate_sd"]
    out["log_rate_sd"] = ByTrial(
        spread, "log Hz", "standard deviation of the log rate", "log_rate_sd", SPREAD_BITS, True
    )
    return out


ONLY_STACKED = ("pred_firing_cv_hz", "log_rate_sd")


def _by_unit(wanted: dict[str, ByTrial], taste: np.ndarray, params: dict, rows: list[dict], views: bool) -> Dataset:
    """Groups ``regions/taste_{t}_region_{r}_neuron_{n}`` of the original module."""
    safe, groups, kind = safe_names(["all", *params["regions"]]), {}, params.get("kind", "stimulus")
    trials = {k: np.flatnonzero(taste == k) for k in range(len(params["tastes"]))}
    shape = _stack_shape(params, taste, wanted["pred_firing"].array)
    for row in rows:
        k, unit, own = row["taste"], row["neuron"], {}
        for name, item in wanted.items():
            if name in ONLY_STACKED:
                continue
            view = View("/stacked/" + item.stack, shape, k, unit, len(trials[k]))
            packed = Packed(item.array[trials[k], :, unit], bits=item.bits, large=LARGE_IN_TREE)
            dims = () if views else ("trial", "bin")  # the stack has them, and thousands of views are small that way
            own[name] = Dataset(view if views else packed, item.units, item.text, dims)
        text = f"in-sample, over the mean rate of the {kind}"
        own["bits_per_spike"] = Dataset(np.array([row["bits_per_spike"]]), "bits per spike", text)
        if "pred_firing_cv" in wanted:
            text = f"held-out trials, over the training mean of the {kind}"
            own["bits_per_spike_cv"] = Dataset(np.array([row["bits_per_spike_cv"]]), "bits per spike", text)
        groups[f"taste_{k}_region_{safe[row['region']]}_neuron_{unit}"] = own
    return Dataset(UnitGroups(groups), "", f"one group a {kind}, region and unit")


def _unit_units(name: str) -> tuple[str, str]:
    if "bits" in name or name.startswith("cv "):
        held = "standard error over folds" if name.endswith(" se") else "held-out trials"
        return "bits per spike", held if "cv" in name else "in-sample"
    known = {
        "grad_norm": "largest gradient of the mean objective",
        "ks_pvalue": "time rescaling, corrected for bins",
        "drift_pvalue": "score test of slow change over trials beyond the model",
    }
    return "", known.get(name, name.replace("_", " "))


def _stack_shape(params: dict, taste: np.ndarray, array: np.ndarray) -> tuple[int, ...]:
    return len(params["tastes"]), int(np.bincount(taste).max()), array.shape[2], array.shape[1]


def _stacked(
    wanted: dict[str, ByTrial], extracted: dict, params: dict, fitted: dict, views: bool
) -> dict[str, Dataset]:
    """Arrays (taste, trial, unit, bin), NaN-padded where tastes differ in their number of trials."""
    taste, trial = extracted["taste"], np.zeros(len(extracted["taste"]), int)
    for k in np.unique(taste):
        trial[taste == k] = np.arange((taste == k).sum())
    shape, out = _stack_shape(params, taste, wanted["pred_firing"].array), {}
    for item in wanted.values():
        if not (item.always or views):
            continue
        stacked = np.full(shape, np.nan, np.float32)
        stacked[taste, trial] = item.array.transpose(0, 2, 1)
        data = Packed(stacked, "f4", item.bits, STACKED)
        out["stacked/" + item.stack] = Dataset(data, item.units, item.text, ("taste", "trial", "unit", "bin"))
    index = Dataset(
        np.stack([taste, trial, extracted["trial"]]).astype(int),
        "",
        f"{params.get('kind', 'stimulus')}, place in the stack, trial of the recording",
        ("what", "trial"),
    )
    if "start_s" in extracted:
        text = "start of the analysis window of each trial of trial_index, time of the recording"
        out["stacked/window_start_s"] = Dataset(extracted["start_s"].astype(float), "s", text, ("trial",))
    return {
        **out,
        "stacked/trial_index": index,
        "ks_curve": Dataset(
            fitted["ks_curve"], "", "cumulative fraction of rescaled intervals at 0, .01, ..., 1", ("unit", "quantile")
        ),
    }


def _populations(fitted: dict, meta: dict, names: list[str]) -> dict[str, Dataset]:
    """Filters, penalties and edges of each population."""
    text = {
        "history": ("log rate per spike", ("unit", "lag")), "stimulus": ("log rate", ("unit", "taste", "lag")),
        "coupling": ("log rate per spike", ("target", "source", "lag")), "laser": ("log rate", ("unit", "regressor")),
    }  # fmt: skip
    out = {}
    for index, (population, name) in enumerate(zip(meta["populations"], names)):
        base = f"populations/{name}/"
        for key, array in fitted.items():
            owner, _, name = key.partition(".")
            if owner != str(index):
                continue
            effect = name.removesuffix("_se").removesuffix("_lag_ms")
            units, dims = text.get(effect, ("", ()))
            if name.startswith("covariate_") and not name.endswith("_x"):
                units, dims = "log rate", ("unit", "point")
            if name.endswith("_lag_ms"):
                units, dims = "ms", ("lag",)
            kind = "standard error of the filter" if name.endswith("_se") else name.replace("_", " ")
            bits = SPREAD_BITS if name.endswith("_se") else FILTER_BITS if effect in text else EXACT
            packed = Packed(array, bits=bits)
            out[base + name] = Dataset(
                packed if np.ndim(array) > 1 else array, units, kind, dims if len(dims) == np.ndim(array) else ()
            )
        out[base + "units"] = Dataset(np.array(population["units"]), "", "indices of the population's units", ("unit",))
    return out


def result_attrs(done: Fitted, digest: str) -> dict[str, Any]:
    """Attributes of ``/glm_output``: what a reader needs besides the arrays, as JSON."""
    params = done.params
    keep = {"tastes": params["tastes"], "regions": params["regions"], "dig_ins": params["dig_ins"], "bin_ms": params["bin_size"],
            "window": params["window"], "start_ms": params["start_ms"], "stimulus": params.get("stimulus", True),
            "onset_bin": params["onset_bin"], "kind": params.get("kind", "stimulus"), "covariates": params.get("covariates", [])}  # fmt: skip
    names = {safe: true for true, safe in safe_names(params["regions"]).items()}
    return {
        "digest": digest,
        "schema": SCHEMA,
        "params": json.dumps(keep),
        "meta": json.dumps(done.meta),
        "region_names": json.dumps(names),
    }
