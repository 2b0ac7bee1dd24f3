"""What are the metrics of a sorter's own folder, which has none? SpikeInterface computes them from its spikes and the voltage it names.

``params.py`` is read as text and never executed; the folder is not changed.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from . import compute_metrics, pictures
from .analyzers import Analyzer
from .clusters import params_of, spike_counts

DTYPES = ("int16", "uint16", "int32", "float32", "float64")


class Voltage(NamedTuple):
    """The raw file that a folder's ``params.py`` names."""

    paths: list[Path]  #: several are read one after the other
    n_channels: int
    dtype: str
    offset: int  #: bytes before the first sample of each file
    rate_hz: float
    filtered: bool


def voltage_of(folder: Path) -> Voltage:
    """Return which file ``params.py`` names, and its form.

    Raises
    ------
    InputError : something that is needed to read the voltage is absent or no number; the file is gone or its size does not fit.
    """
    path, params = folder / "params.py", params_of(folder)
    needed = ("dat_path", "n_channels_dat", "dtype", "sample_rate")
    absent = [n for n in needed if params.get(n) in (None, "", "None", [], ())]
    if absent:
        raise InputError(f"{path}: no '{absent[0]}'; metrics need the voltage that the sorter has read.")
    given, dtype = params["dat_path"], str(params["dtype"]).removeprefix("np.")
    if dtype not in DTYPES:
        raise InputError(f"{path}: dtype '{dtype}'; expected one of {', '.join(DTYPES)}.")
    try:
        n, offset, rate = int(params["n_channels_dat"]), int(params.get("offset", 0)), float(params["sample_rate"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: n_channels_dat, offset and sample_rate must be numbers ({error}).") from None
    paths = [folder / str(p) for p in (given if isinstance(given, (list, tuple)) else [given])]
    for file in paths:
        if not file.is_file():
            raise InputError(f"{file}: the voltage that {path} names is not there (dat_path). Correct it.")
        if (file.stat().st_size - offset) % (n * np.dtype(dtype).itemsize):
            raise InputError(f"{file}: its size is no whole number of samples of {n} channels of {dtype} (params.py).")
    filtered = str(params.get("hp_filtered", False)).strip().lower() in ("true", "1")
    return Voltage(paths, n, dtype, offset, rate, filtered)


def recording_of(folder: Path, gain_to_uv: float) -> Any:
    """Return the voltage that a folder names, in microvolt, filtered where ``params.py`` says that it is not yet.

    Raises
    ------
    InputError : see `voltage_of`; positions of other channels.
    """
    import spikeinterface.core as core
    from probeinterface import Probe

    voltage = voltage_of(folder)
    n = voltage.n_channels
    recording = core.BinaryRecordingExtractor(
        voltage.paths, sampling_frequency=voltage.rate_hz, dtype=voltage.dtype, num_channels=n, file_offset=voltage.offset,
        gain_to_uV=gain_to_uv, offset_to_uV=0.0, is_filtered=True,
    )  # fmt: skip
    if len(voltage.paths) > 1:
        recording = core.concatenate_recordings([recording])
    places, used = (pictures.array(folder / f"channel_{name}.npy") for name in ("positions", "map"))
    used = np.arange(n) if used is None else used.ravel().astype(int)
    if places is None or places.shape != (len(used), 2) or used.max() >= n:
        raise InputError(
            f"{folder}: channel_positions.npy and channel_map.npy do not fit the {n} channels of params.py."
        )
    recording = recording.select_channels(recording.channel_ids[used])
    probe = Probe(ndim=2)
    probe.set_contacts(places.astype(float), shapes="circle", shape_params={"radius": 6})
    probe.set_device_channel_indices(np.arange(len(used)))
    placed = recording.set_probe(probe)  # in place from SpikeInterface 0.105 on
    recording = recording if placed is None else placed
    if not voltage.filtered:
        from spikeinterface.preprocessing import bandpass_filter

        recording = bandpass_filter(recording)
    return recording


def read(folder: Path, gain_to_uv: float | None) -> Analyzer:
    """Return the clusters of a sorter's folder with every metric.

    Parameters
    ----------
    gain_to_uv : microvolt of one step of the raw file.

    Raises
    ------
    InputError : no gain; see `recording_of`; SpikeInterface cannot compute them.
    """
    core = compute_metrics.spikeinterface()
    if gain_to_uv is None:
        raise InputError(
            f"{folder}: metrics are in microvolt, and the folder does not tell how many a step of its raw file has: give --gain-to-uv"
            " (2.34375 for Neuropixels 1.0, 0.195 for Intan, 1 for a file in microvolt)."
        )
    counts = spike_counts(folder)
    ids = sorted(map(int, counts or {}))
    spikes = pictures.of_phy(folder, [str(i) for i in ids]) if ids else None
    if spikes is None:
        raise InputError(
            f"{folder}: no spike_times.npy and spike_clusters.npy: there is nothing to compute metrics from."
        )
    recording = recording_of(folder, gain_to_uv)
    if len(spikes.samples) and spikes.samples.max() >= recording.get_num_samples():
        raise InputError(
            f"{folder}: spikes after the end of the voltage; params.py names another file, or dtype or channels differ."
        )
    units = {i: np.sort(spikes.samples[spikes.unit == k]) for k, i in enumerate(ids)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sorting = core.NumpySorting.from_unit_dict([units], spikes.rate_hz)
        analyzer = core.create_sorting_analyzer(
            sorting, recording, format="memory", sparse=True, progress_bar=False, seed=0, n_jobs=1
        )
    return compute_metrics.describe(analyzer, str(folder), compute_missing=True)
