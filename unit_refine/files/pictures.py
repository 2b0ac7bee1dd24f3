"""What can be drawn of each unit: templates, spike times and amplitudes of a Phy folder or an analyzer, read without loading a recording."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from . import analyzers, clusters

log = logging.getLogger(__package__)


class Pictures(NamedTuple):
    """Spikes and templates of the units of one recording, in the order of its units; parts that a folder lacks are None."""

    rate_hz: float  #: samples a second
    samples: np.ndarray  #: (s,) time of each spike in samples, sorted
    unit: np.ndarray  #: (s,) index of its unit, -1 for clusters without metrics
    amplitudes: np.ndarray | None  #: (s,)
    templates: np.ndarray | None  #: (n, samples, channels)


def read(path: Path, unit_ids: Sequence[str]) -> Pictures | None:
    """Return what can be drawn of the units of a recording; None for a table, or a folder without spikes.

    Raises
    ------
    InputError : files that do not fit together.
    """
    if not path.is_dir():
        return None
    found = of_analyzer(path, unit_ids) if analyzers.is_analyzer(path) else of_phy(path, unit_ids)
    if found is None:
        return None
    if len(found.samples) != len(found.unit):
        raise InputError(f"{path}: {len(found.samples)} spike times for {len(found.unit)} cluster numbers.")
    if found.amplitudes is not None and len(found.amplitudes) != len(found.samples):
        log.warning("%s: %d amplitudes for %d spikes: not drawn", path, len(found.amplitudes), len(found.samples))
        found = found._replace(amplitudes=None)
    order = np.argsort(found.samples, kind="stable")
    amplitudes = None if found.amplitudes is None else found.amplitudes[order]
    return found._replace(samples=found.samples[order], unit=found.unit[order], amplitudes=amplitudes)


def array(path: Path) -> np.ndarray | None:
    """Return a NumPy file without pickles; None where it is absent."""
    if not path.is_file():
        return None
    with hdf5io.parsing(path, "a NumPy array"):
        return np.load(path, allow_pickle=False)


def of_phy(folder: Path, unit_ids: Sequence[str]) -> Pictures | None:
    """Return the spikes of a Phy folder; the template of a cluster is the mean of its spikes' templates (merges and splits)."""
    of_cluster, of_spike = (
        clusters.numbers_of_spikes(folder / n) if (folder / n).is_file() else None for n in clusters.CLUSTERS
    )
    numbers = of_spike if of_cluster is None else of_cluster
    samples = clusters.spike_samples(folder)
    if samples is None or numbers is None:
        return None
    rate = clusters.sample_rate(folder)
    if rate is None:
        raise InputError(
            f"{folder / 'params.py'}: no line 'sample_rate = NUMBER'; without it spike times have no unit."
        )
    unit = _index_of(numbers, [int(i) if i.lstrip("-").isdigit() else -1 for i in unit_ids])
    amplitudes = array(folder / "amplitudes.npy")
    templates = _phy_templates(folder)
    if templates is not None and of_spike is not None and len(of_spike) == len(unit) and len(templates):
        good = (unit >= 0) & (of_spike >= 0) & (of_spike < len(templates))
        weight = np.zeros((len(unit_ids), len(templates)))
        np.add.at(weight, (unit[good], of_spike[good]), 1)
        share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1)
        templates = np.tensordot(share.astype(np.float32), templates.astype(np.float32), 1)
    else:
        templates = None
    return Pictures(rate, samples, unit, None if amplitudes is None else amplitudes.ravel(), templates)


def _index_of(values: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Return for each value its place among the wanted ones, -1 for none."""
    order = np.argsort(wanted)
    sorted_ids = np.asarray(wanted)[order]
    at = np.clip(np.searchsorted(sorted_ids, values), 0, len(wanted) - 1)
    return np.where(sorted_ids[at] == values, order[at], -1)


def _phy_templates(folder: Path) -> np.ndarray | None:
    """Return dense templates (n, samples, channels): Kilosort's are dense, SpikeInterface's name their channels (-1: none)."""
    templates = array(folder / "templates.npy")
    channels = next(
        (a for n in ("template_ind.npy", "templates_ind.npy") if (a := array(folder / n)) is not None), None
    )
    if templates is None or channels is None or channels.shape != (len(templates), templates.shape[2]):
        return templates
    dense = np.zeros((len(templates), templates.shape[1], int(channels.max()) + 1), dtype=np.float32)
    for i, own in enumerate(channels.astype(int)):
        dense[i][:, own[own >= 0]] = templates[i][:, own >= 0]
    return dense


def of_analyzer(folder: Path, unit_ids: Sequence[str]) -> Pictures | None:
    """Return the spikes of an analyzer folder (binary or zarr), straight from its arrays."""
    get, rate = (_of_zarr if analyzers.is_zarr(folder) else _of_folder)(folder)
    samples, units = get("sample_index"), get("unit_index")
    if samples is None or units is None or rate is None:
        return None
    samples, segments = samples.astype(np.int64), get("segment_index")
    if segments is not None and len(segments):  # one after the other, a second apart
        ends = [samples[segments == s].max(initial=0) + int(rate) for s in range(int(segments.max()))]
        samples = samples + np.cumsum([0, *ends])[segments]
    templates = get("templates")
    if templates is not None and (templates.ndim != 3 or len(templates) != len(unit_ids)):
        templates = None
    return Pictures(float(rate), samples, units.astype(np.int64), get("amplitudes"), templates)


Getter = Callable[[str], np.ndarray | None]


def _of_folder(folder: Path) -> tuple[Getter, float | None]:
    info = folder / "sorting" / "numpysorting_info.json"
    rate = hdf5io.read_json(info).get("sampling_frequency") if info.is_file() else None
    spikes = array(folder / "sorting" / "spikes.npy")

    def get(name: str) -> np.ndarray | None:
        """Return an array of the analyzer, None where it has none."""
        if name == "templates":
            return array(folder / "extensions" / "templates" / "average.npy")
        if name == "amplitudes":
            return array(folder / "extensions" / "spike_amplitudes" / "amplitudes.npy")
        return None if spikes is None or name not in (spikes.dtype.names or ()) else spikes[name]

    return get, rate


def _of_zarr(folder: Path) -> tuple[Getter, float | None]:
    import zarr

    with hdf5io.parsing(folder, "a SortingAnalyzer in zarr format"):
        root = zarr.open_group(str(folder), mode="r")
        rate: Any = root["sorting"].attrs.get("sampling_frequency") if "sorting" in root else None
    places = {"templates": "extensions/templates/average", "amplitudes": "extensions/spike_amplitudes/amplitudes"}

    def get(name: str) -> np.ndarray | None:
        """Return an array of the analyzer, None where it has none."""
        place = places.get(name, f"sorting/spikes/{name}")
        if place not in root:
            return None
        return analyzers.decoded(root[place], folder)

    return get, rate
