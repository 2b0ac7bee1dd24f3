"""How do results get into an NWB file? A copy of it with a processing module ``glm_rates`` that pynwb's validator accepts."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .hdf5 import parsing
from .stored import Stored

MODULE = "glm_rates"


def write_copy(source: Path, output: Path, stored: Stored) -> int:
    """Write a copy of ``source`` with the results added; returns the number of samples of the rates.

    The module holds ``firing_rate`` (fitted on all trials), ``firing_rate_held_out`` where it was scored, ``log_rate_sd`` (time,
    unit), with the ids of the units as ``unit_ids``, and the table ``unit_scores``.

    Raises
    ------
    InputError
        No pynwb, the results have no times, or the file has other units.
    """
    with parsing(source, "an NWB file"):
        try:
            from pynwb import NWBHDF5IO
        except ImportError:
            raise InputError("writing NWB needs pynwb; install the 'nwb' extra.") from None
    if "start_s" not in stored.arrays:
        raise InputError("the results do not say when their trials began; run 'glm-rates infer' on the NWB file again.")
    ids = [str(i) for i in stored.units.get("unit_id", [])]
    copy = hdf5io.bare(output, overwrite=True, track_order=False)
    with copy as file, parsing(source, "an NWB file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with NWBHDF5IO(str(source), "r", load_namespaces=True) as reader:
            nwb = reader.read()
            have = [] if nwb.units is None else [str(i) for i in nwb.units.id[:]]
            missing = [i for i in ids if i not in have]
            if not ids or missing:
                raise InputError(
                    f"{source}: has no unit {missing[0] if missing else 'ids'} of the results; they are of another file."
                )
            if MODULE in nwb.processing:
                raise InputError(f"{source}: has a processing module '{MODULE}' already; give the file without it.")
            module, n_samples = processing_module(stored, ids)
            nwb.add_processing_module(module)
            with NWBHDF5IO(file=file, mode="w", manager=reader.manager) as writer:
                writer.export(src_io=reader, nwbfile=nwb)
    return n_samples


def processing_module(stored: Stored, ids: list[str]) -> tuple[Any, int]:
    """The processing module of pynwb and the number of samples of its series."""
    from hdmf.common import DynamicTable, VectorData
    from pynwb import ProcessingModule, TimeSeries

    order = np.argsort(stored.arrays["start_s"], kind="stable")
    n_bins = len(stored.time_ms)
    time = (stored.arrays["start_s"][order, None] + (np.arange(n_bins) + 0.5) * stored.bin_ms / 1000).ravel()
    rows = np.flatnonzero(
        np.isfinite(stored.arrays["rate"][order]).any(axis=2).ravel()
    )  # of windows that overlap, one has each moment
    rows = rows[np.argsort(time[rows], kind="stable")]
    kept = rows[np.diff(time[rows], prepend=-np.inf) > 1e-9]
    module = ProcessingModule(name=MODULE, description="Firing rates of single trials from Poisson GLMs.")
    to_hz = 1000 / stored.bin_ms
    series = {
        "firing_rate": ("rate", to_hz, "Hz", "estimated rate, fitted on all trials"),
        "firing_rate_held_out": ("rate_cv", to_hz, "Hz", "rate of each trial from a fit without it"),
        "log_rate_sd": ("log_rate_sd", 1.0, "log Hz", "posterior standard deviation of the log rate"),
    }
    comments = json.dumps({"unit_ids": ids, "bin_ms": stored.bin_ms, "provenance": stored.provenance})
    for name, (key, factor, unit, text) in series.items():
        if key in stored.arrays:
            data = (stored.arrays[key][order] * factor).reshape(len(time), -1)[kept]
            module.add(
                TimeSeries(name=name, data=data, unit=unit, timestamps=time[kept], description=text, comments=comments)
            )
    columns = {"unit_id": ("id in the units table", np.array([int(i) if i.lstrip("-").isdigit() else i for i in ids]))}
    scores = ("bits_per_spike", "bits_per_spike_cv", "ks_pvalue")
    columns |= {key: (f"{key} of glm_rates", stored.arrays[key]) for key in scores if key in stored.arrays}
    columns["region"] = ("region", np.array(stored.regions, object))
    made = [VectorData(name=name, description=text, data=list(values)) for name, (text, values) in columns.items()]
    module.add(DynamicTable(name="unit_scores", description="One row a unit.", columns=made))
    return module, len(kept)
