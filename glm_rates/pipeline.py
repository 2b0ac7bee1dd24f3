"""From a recording to results: extract, fit, write, draw. The order of things, and nothing else."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hdf5io

from . import config as options
from . import environments, exchange

log = logging.getLogger(__name__)
EXTRACT_KEYS = ("laser", "label_column", "align_column", "segment_s")
MODEL_KEYS = ("separate_tastes", "separate_regions", "cv_folds", "nested", "jobs", "seed", "solver", "penalty")


def request(config: options.ExtractOptions) -> dict[str, Any]:
    """Options of stage 1 as plain JSON values."""
    lims = config.time_lims_from_stimulus
    return {
        **{key: getattr(config, key) for key in EXTRACT_KEYS},
        "bin_ms": config.bin_size,
        "reach_ms": max(config.history_window, config.coupling_window),
        "time_lims": list(config.time_lims),
        "time_lims_from_stimulus": None if lims is None else list(lims),
        "trial_window_ms": list(config.trial_window),
        "events": None if config.events is None else str(config.events.resolve()),
        "history_ms": config.history_window,
        "coupling_ms": config.coupling_window,
    }


def settings(config: options.FitOptions, *, full_fit: bool, save_models: bool) -> dict[str, Any]:
    """Options of stage 2 as plain JSON values."""
    return {
        **{key: getattr(config, key) for key in MODEL_KEYS},
        "n_history": config.n_basis_funcs,
        "n_coupling": config.n_coupling_funcs,
        "stimulus_ms": config.stimulus_window,
        "n_stimulus": config.n_stimulus_funcs,
        "coupling": config.include_coupling,
        "prior": config.prior if config.penalty is None else "ridge",
        "full_fit": full_fit,
        "save_models": save_models,
    }


@contextlib.contextmanager
def exchange_folder(keep: bool) -> Iterator[Path]:
    """A private temporary folder for the two stages, removed at the end unless it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="glm_rates_"))
    try:
        yield folder
    finally:
        if keep:
            log.info("exchange folder kept: %s", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


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
    exchange.BadRecording
        No permission, or a read-only disk.
    """
    for place in places:
        path = place.expanduser().resolve()
        there = next(p for p in (path, *path.parents) if p.exists())
        if not os.access(there, os.W_OK):
            raise exchange.BadRecording(
                f"{place}: {there} is read-only. Give --output in a folder that can be written."
            )


def recording_file(source: Path) -> Path | None:
    """The ``.h5`` file of a recording directory after recovery from an interrupted write; None for other inputs."""
    if not source.is_dir():
        return None
    from .recording import one_file

    path = one_file(source, ".h5")
    hdf5io.recover(path)
    return path


def extract(source: Path, config: options.ExtractOptions, folder: Path) -> None:
    """Run stage 1 into ``folder``: a blech_clust directory in the blech_clust environment, other inputs here."""
    if not source.exists():
        raise exchange.BadRecording(f"{source}: no such file or directory.")
    recording_file(source)
    document = {"source": str(source.resolve()), "options": request(config)}
    (folder / "request.json").write_text(json.dumps(document), encoding="utf-8")
    python = environments.extraction_python(config.blech_clust_env if source.is_dir() else "none")
    environments.run_stage(python, "extract", folder)


def fit(folder: Path, config: options.FitOptions, *, full_fit: bool = True, save_models: bool = True) -> None:
    """Run stage 2 on ``folder`` in an interpreter that has nemos."""
    wanted = settings(config, full_fit=full_fit, save_models=save_models)
    params, _ = exchange.load(folder, "extract")
    wanted |= {"history_ms": params["history_ms"], "coupling_ms": params["coupling_ms"]}
    (folder / "settings.json").write_text(json.dumps(wanted), encoding="utf-8")
    environments.run_stage(environments.nemos_python(config.nemos_env, config.create_nemos_env), "fit", folder)


def digest(folder: Path, config: options.FitOptions) -> str:
    """Digest of the extracted data and of every option that changes a number; jobs and environments do not."""
    params, arrays = exchange.load(folder, "extract")
    chosen = settings(config, full_fit=True, save_models=True)
    del chosen["jobs"]
    keep = {k: v for k, v in params.items() if k not in ("source", "h5")}
    return exchange.digest(arrays, {"data": keep, "model": chosen, "contract": exchange.CONTRACT})


def write_results(
    folder: Path, target: Path, group: str, config: options.FitOptions, provenance: dict, mark: str
) -> None:
    """Write the fit in ``folder`` into ``target``: a group of a recording, or (group "") a file of its own."""
    from . import data

    params, extracted = exchange.load(folder, "extract")
    meta, fitted = exchange.load(folder, "fit")
    datasets = data.result_datasets(extracted, params, fitted, meta, config.separate_regions, params["history_ms"])
    attrs = data.result_attrs(params, meta, mark)
    if group:
        hdf5io.update(target, group, datasets, attrs=attrs, provenance=provenance)
    else:
        attrs.pop("schema")
        hdf5io.write(target, data.SCHEMA, datasets, attrs=attrs, provenance=provenance, overwrite=True)


def write_tables(folder: Path, output: Path, config: options.FitOptions) -> list[dict]:
    """Write the CSV summary, ``artifacts/params.json`` and the nemos models; returns the rows of the summary."""
    from . import data

    params, extracted = exchange.load(folder, "extract")
    meta, fitted = exchange.load(folder, "fit")
    rows = data.score_rows(extracted, params, fitted, meta, config.separate_regions)
    output.mkdir(parents=True, exist_ok=True)
    data.write_csv(output / "bits_per_spike_summary.csv", rows)
    artifacts = output / "artifacts"
    if artifacts.is_dir():
        shutil.rmtree(artifacts)
    artifacts.mkdir()
    document = {"settings": json.loads((folder / "settings.json").read_text()), "versions": meta["versions"],
                "populations": meta["populations"], "tastes": params["tastes"], "bin_ms": params["bin_ms"]}  # fmt: skip
    (artifacts / "params.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    for index, population in enumerate(meta["populations"]):
        shutil.copyfile(folder / f"model_{index}.npz", artifacts / f"{data.population_name(population)}.npz")
    return rows


def json_results(stored) -> dict[str, Any]:
    """The documented keys of ``results``."""
    arrays, summary = stored.arrays, stored.summary
    last = list(stored.scores)[-1] if stored.scores else None
    units = []
    for unit, region in enumerate(stored.regions):
        row = {"unit": unit, "region": region, "n_spikes": int(arrays["n_spikes"][unit])}
        row |= {
            "bits_per_spike": arrays["bits_per_spike"][unit],
            "bits_per_spike_cv": arrays["bits_per_spike_cv"][unit] if last else None,
        }
        row["held_out"] = {
            name: [score[unit], stored.score_errors[name][unit]] for name, score in stored.scores.items()
        }
        row |= {"ks_pvalue": arrays["ks_pvalue"][unit], "converged": bool(arrays["converged"][unit])}
        units.append(row)
    three = ("pooled", "mean", "median")
    return {
        "n_units": len(units),
        "bits_per_spike": {k: summary["bits_per_spike"][k] for k in three},
        "bits_per_spike_cv": {k: summary["models"][last][k] for k in three} if last else None,
        "models": summary["models"],
        "steps": summary["steps"],
        "n_converged": int(arrays["converged"].sum()),
        "n_explained": explained(stored),
        "units": units,
    }


def explained(stored) -> int | None:
    """Number of units whose held-out bits per spike are above zero; None where nothing was held out."""
    scores = stored.arrays.get("bits_per_spike_cv")
    return None if scores is None else int((scores > 0).sum())


def wanted_units(text: str, n_units: int) -> list[int]:
    """Parse ``--plot-units``: all, none, or indices.

    Raises
    ------
    exchange.BadRecording
        An index is no number or out of range.
    """
    if text in ("all", "none"):
        return list(range(n_units)) if text == "all" else []
    try:
        units = [int(part) for part in text.split(",")]
    except ValueError:
        raise exchange.BadRecording(f"--plot-units {text}: expected all, none, or indices such as 0,3,7.") from None
    if any(u not in range(n_units) for u in units):
        raise exchange.BadRecording(f"--plot-units {text}: units are numbered 0 to {n_units - 1}.")
    return units
