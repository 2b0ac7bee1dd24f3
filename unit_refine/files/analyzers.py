"""Which metrics does a SpikeInterface SortingAnalyzer hold, and which can be computed from it?

SpikeInterface is needed only here and in `simulate`; an analyzer's folder is never written.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hdf5io import InputError

log = logging.getLogger(__package__)

#: Extensions in the order in which they build on each other.
EXTENSIONS = (
    "random_spikes", "noise_levels", "waveforms", "templates", "spike_amplitudes", "spike_locations", "unit_locations",
    "principal_components", "quality_metrics", "template_metrics",
)  # fmt: skip
METRIC_EXTENSIONS = ("quality_metrics", "template_metrics")
#: Extensions that SpikeInterface saves as pickles, which execute code when loaded: computed again, never loaded.
PICKLED = frozenset({"principal_components"})
#: Extensions that take job settings.
PARALLEL = frozenset({"waveforms", "spike_amplitudes", "spike_locations", "principal_components"})


class SpikeInterfaceMissing(RuntimeError):
    """SpikeInterface is needed and not installed (exit code 5)."""

    exit_code = 5


def is_analyzer(path: Path) -> bool:
    """Return whether a path is a SortingAnalyzer folder (binary or zarr)."""
    if not path.is_dir():
        return False
    info = path / "spikeinterface_info.json"
    return (info.is_file() and '"SortingAnalyzer"' in info.read_text(errors="replace")) or path.suffix == ".zarr"


def spikeinterface():
    """Return SpikeInterface's core, or say how to get it."""
    try:
        import spikeinterface.core as core
    except ImportError:
        raise SpikeInterfaceMissing(
            "SpikeInterface is not installed; analyzers need it: pip install 'neuropipes[curation]'"
        ) from None
    return core


def read(
    path: Path, compute_missing: bool, trust_pickles: bool = False
) -> tuple[list[str], pd.DataFrame, dict[str, np.ndarray], dict[str, Any]]:
    """Return unit ids, metrics, unit properties and metric parameters of an analyzer folder.

    Raises
    ------
    InputError : the folder cannot be opened, holds pickles and ``trust_pickles`` is not given, or has no metrics and they were not asked for.
    """
    core = spikeinterface()
    if not trust_pickles and (found := pickled_files(path)):
        raise InputError(
            f"{path}: {found[0]} holds a pickle, which executes code when opened; not opened."
            " Is the analyzer your own? Then add --trust-pickles."
        )
    try:
        analyzer = core.load_sorting_analyzer(path, load_extensions=False)
    except Exception as error:  # whatever the broken folder makes it raise
        raise InputError(
            f"{path}: SpikeInterface cannot open this analyzer ({type(error).__name__}: {str(error)[:120]})."
        ) from None
    return from_analyzer(analyzer, str(path), compute_missing)


def pickled_files(path: Path) -> list[str]:
    """Return the files that SpikeInterface would unpickle when it opens this analyzer or its metrics."""
    found = [p for ending in ("*.pickle", "*.pkl") for p in path.rglob(ending)]
    found += [p for p in (path / "sorting").rglob("*.npy") if holds_objects(p)]
    found += [p for p in path.rglob(".zarray") if '"pickle"' in p.read_text(errors="replace")]
    names = [p.relative_to(path) for p in found]
    return sorted(str(name) for name in names if not PICKLED & set(name.parts))


def holds_objects(path: Path) -> bool:
    """Return whether a NumPy file stores Python objects, that is, a pickle."""
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        return True
    return False


def from_analyzer(
    analyzer: Any, where: str, compute_missing: bool
) -> tuple[list[str], pd.DataFrame, dict[str, np.ndarray], dict[str, Any]]:
    """Return unit ids, metrics, unit properties and metric parameters of an analyzer; see `read`."""
    absent = [name for name in METRIC_EXTENSIONS if not has(analyzer, name)]
    if absent and compute_missing:
        analyzer = compute(analyzer, where)
    elif len(absent) == len(METRIC_EXTENSIONS):
        raise InputError(
            f"{where}: the analyzer has no quality or template metrics. Add --compute-missing to compute them."
        )
    elif absent:
        log.warning("%s: no %s; --compute-missing computes them", where, absent[0])
    try:
        tables = [analyzer.get_extension(name).get_data() for name in METRIC_EXTENSIONS if has(analyzer, name)]
        table = pd.concat(tables, axis=1)
    except Exception as error:
        raise InputError(
            f"{where}: the metrics of this analyzer cannot be decoded ({type(error).__name__}); save it with format='binary_folder'."
        ) from None
    ids = [str(i) for i in analyzer.unit_ids]
    properties = {key: analyzer.sorting.get_property(key) for key in analyzer.sorting.get_property_keys()}
    params = {
        name.removesuffix("s") + "_params": {
            key: value for key, value in analyzer.get_extension(name).params.items() if key in ("metric_names", "metric_params")
        }
        for name in METRIC_EXTENSIONS if has(analyzer, name)
    }  # fmt: skip
    return ids, table.reset_index(drop=True), properties, params


def has(analyzer: Any, name: str) -> bool:
    """Return whether an extension is there, in memory or in the folder."""
    return analyzer.has_extension(name)


def compute(analyzer: Any, where: str) -> Any:
    """Return a copy of the analyzer in memory with every extension that metrics need.

    Raises
    ------
    InputError : the recording behind the analyzer is gone and is needed.
    """
    needed = [name for name in EXTENSIONS if not has(analyzer, name)]
    if "quality_metrics" in needed and analyzer.format != "memory":
        needed = [name for name in EXTENSIONS if name in needed or name in PICKLED]
    log.info("%s: computing %s", where, ", ".join(needed))
    if not analyzer.has_recording() and "waveforms" in needed:
        raise InputError(
            f"{where}: {', '.join(needed)} must be computed from the recording, which the analyzer cannot find."
        )
    if analyzer.format != "memory":  # a copy takes along only what is loaded
        saved = set(analyzer.get_saved_extension_names()) - PICKLED
        for name in [n for n in EXTENSIONS if n in saved]:
            analyzer.load_extension(name)
    analyzer = analyzer.save_as(format="memory")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in needed:
            analyzer.compute(name, **({"n_jobs": 1, "progress_bar": False} if name in PARALLEL else {}))
    return analyzer
