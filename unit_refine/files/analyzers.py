"""Which metrics does a SpikeInterface SortingAnalyzer hold?

Metrics, unit ids and unit properties are read straight from the folder's tables and arrays (binary or zarr): neither the recording
nor anything else that a file of the folder names is loaded, so that opening somebody's analyzer executes nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import id_text
from ..units.releases import ANY, Release, of_version, together
from . import trust

log = logging.getLogger(__package__)

METRIC_EXTENSIONS = ("quality_metrics", "template_metrics")
#: More units than any sorting has: a header that claims more is broken.
MAX_UNITS = 10_000_000


class Analyzer(NamedTuple):
    """What a SortingAnalyzer says about its units."""

    unit_ids: list[str]
    table: pd.DataFrame  #: metrics, one row a unit
    params: dict[str, Any]  #: metric_params, for model_info.json
    property_names: list[str]
    property_values: Callable[[str], list[object]]  #: values of one property, by unit
    named: bool = False  #: ids are text for SpikeInterface, also where they look like numbers
    release: Release = ANY  #: of SpikeInterface, that computed the metrics


def is_analyzer(path: Path) -> bool:
    """Return whether a path is a SortingAnalyzer folder (binary or zarr), or the older WaveformExtractor folder."""
    if not path.is_dir():
        return False
    with contextlib.suppress(OSError, ValueError, RecursionError):
        info = json.loads((path / "spikeinterface_info.json").read_bytes())
        if isinstance(info, dict) and info.get("object") == "SortingAnalyzer":
            return True
    old = any((path / name / "metrics.csv").is_file() for name in METRIC_EXTENSIONS)
    return path.suffix == ".zarr" or (path / ".zgroup").is_file() or old


def is_zarr(path: Path) -> bool:
    """Return whether an analyzer's folder is in zarr's format."""
    return (path / ".zgroup").is_file() or path.suffix == ".zarr"


def read(path: Path, trust_pickles: bool = False) -> Analyzer:
    """Return what an analyzer folder says about its units; an analyzer without metrics has a table without columns.

    Raises
    ------
    InputError : not readable, or metrics of other units than those of the sorting.
    """
    for place in path.rglob("*") if not trust_pickles else ():
        if place.is_symlink() and not place.resolve().is_relative_to(path.resolve()):
            raise refuse(path, [f"{place.relative_to(path)} is a link that leads outside"])
    parts = _zarr_parts(path, trust_pickles) if is_zarr(path) else _folder_parts(path, trust_pickles)
    given, tables, params, names, values, releases = parts
    ids, named = [id_text(i) for i in given], any(isinstance(i, str) for i in given)
    if not ids:
        ids = list(dict.fromkeys(i for table in tables for i in table.index))
    if len(set(ids)) < len(ids):
        raise InputError(f"{path}: unit ids of the sorting occur more than once.")
    for table in tables:
        if not set(ids) & set(table.index) and len(table):
            raise InputError(
                f"{path}: its metrics are of units {', '.join(map(str, table.index[:3]))}, ..., its sorting has {', '.join(ids[:3])}, ..."
            )
    joined = pd.concat([t.reindex(ids) for t in tables], axis=1) if tables else pd.DataFrame(index=ids)
    joined = joined.loc[:, ~joined.columns.duplicated()]
    for name in METRIC_EXTENSIONS:
        if tables and f"{name.removesuffix('s')}_params" not in params:
            log.warning("%s: no %s; --compute-missing computes them", path, name)
    return Analyzer(ids, joined.reset_index(drop=True), params, names, values, named, together(releases))


def refuse(path: Path, found: list[str]) -> InputError:
    """Return the error that says what opening a folder would execute or reach."""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return InputError(
        f"{path}: not opened, {found[0]}{more}: opening it can execute code or read other files."
        " Is the analyzer your own? Then add --trust-pickles."
    )


Parts = tuple[list[object], list[pd.DataFrame], dict[str, Any], list[str], Callable[[str], list[object]], list[Release]]


def _folder_parts(path: Path, trust_pickles: bool) -> Parts:
    """Return ids, metric tables, parameters, properties and releases of a binary folder."""
    sorting, ids = path / "sorting", list[object]()
    if (sorting / "numpysorting_info.json").is_file():
        found = hdf5io.read_json(sorting / "numpysorting_info.json").get("unit_ids", [])
        ids = found if isinstance(found, list) else []
    tables, params, releases = [], {}, list[Release]()
    for name in METRIC_EXTENSIONS:
        for folder in (path / "extensions" / name, path / name):
            if (folder / "metrics.csv").is_file():
                tables.append(_metrics_csv(folder / "metrics.csv"))
                own = hdf5io.read_json(folder / "params.json") if (folder / "params.json").is_file() else {}
                params[f"{name.removesuffix('s')}_params"] = _chosen(own)
                made = folder / "info.json"
                releases.append(of_version(hdf5io.read_json(made)) if made.is_file() else ANY)
                break
    names = sorted(p.stem for p in (sorting / "properties").glob("*.npy"))

    def values(name: str) -> list[object]:
        """Return a property's values."""
        file = sorting / "properties" / f"{name}.npy"
        if not trust_pickles and trust.holds_objects(file):
            raise refuse(path, [f"{file.relative_to(path)} holds a pickle"])
        with hdf5io.parsing(file, "a NumPy array"):
            return np.load(file, allow_pickle=trust_pickles).tolist()

    return ids, tables, params, names, values, releases


def _metrics_csv(file: Path) -> pd.DataFrame:
    """Return a metrics extension's table by unit id."""
    with hdf5io.parsing(file, "a table of metrics"):
        table = pd.read_csv(file, index_col=0, low_memory=False)
        written = pd.read_csv(file, usecols=[0], dtype=str, keep_default_na=False)  # 007 is a name, no number
    table.index = pd.Index([id_text(i) for i in written.iloc[:, 0]])
    if not table.index.is_unique:
        raise InputError(f"{file}: unit {table.index[table.index.duplicated()][0]} stands in it more than once.")
    return table


def _zarr_parts(path: Path, trust_pickles: bool) -> Parts:
    """Return ids, metric tables, parameters, properties and releases of a zarr folder, decoded by harmless codecs only."""
    import zarr

    with hdf5io.parsing(path, "a SortingAnalyzer in zarr format"):
        root = zarr.open_group(str(path), mode="r")
        names = sorted(root["sorting/properties"].array_keys()) if "sorting/properties" in root else []
        ids = _zarr_values(root, "sorting/unit_ids", path, trust_pickles) if "sorting" in root else []
        tables, params, releases = [], {}, list[Release]()
        for name in METRIC_EXTENSIONS:
            if f"extensions/{name}/metrics" not in root:
                continue
            group = root[f"extensions/{name}/metrics"]
            columns = {key: _zarr_values(group, key, path, trust_pickles) for key in sorted(group.array_keys())}
            index = [id_text(i) for i in columns.pop("index")]
            tables.append(pd.DataFrame(columns, index=pd.Index(index)))
            said = root[f"extensions/{name}"].attrs.asdict()
            params[f"{name.removesuffix('s')}_params"] = _chosen(said.get("params", {}))
            releases.append(of_version(said.get("info")))
    return (
        ids,
        tables,
        params,
        names,
        lambda name: _zarr_values(root, f"sorting/properties/{name}", path, trust_pickles),
        releases,
    )


def _zarr_values(group: Any, name: str, path: Path, trust_pickles: bool) -> list[object]:
    """Return a one-dimensional array of a zarr group as a list."""
    array = group[name]
    if getattr(array, "ndim", None) != 1 or array.shape[0] > MAX_UNITS:
        raise InputError(f"{path}: '{name}' is no list of units (shape {getattr(array, 'shape', None)}).")
    return decoded(array, path, trust_pickles).tolist()


def decoded(array: Any, path: Path, trust_pickles: bool = False) -> np.ndarray:
    """Return the values of an opened zarr array; an array that a harmful codec would decode is refused before that.

    Other arrays of the folder may have such codecs (SpikeInterface pickles what is no table): they are not read.
    """
    if not trust_pickles and (found := trust.codecs_of(array)):
        raise refuse(path, [f"its array {array.path} {found[0]}"])
    with hdf5io.parsing(path, "a SortingAnalyzer in zarr format"):
        return np.asarray(array[:])


def _chosen(params: object) -> dict[str, Any]:
    """Return what model_info.json keeps of an extension's parameters."""
    return (
        {k: v for k, v in params.items() if k in ("metric_names", "metric_params")} if isinstance(params, dict) else {}
    )
