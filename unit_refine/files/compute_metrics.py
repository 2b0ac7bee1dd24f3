"""Which metrics can SpikeInterface compute from an analyzer? The one place that loads recordings; the folder is never written."""

from __future__ import annotations

import importlib.metadata
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hdf5io.errors import EnvironmentMissing, InputError

from ..units.assemble import id_text
from ..units.metrics import COMPUTED, to_new_names
from ..units.releases import ANY, of_version
from . import trust
from .analyzers import METRIC_EXTENSIONS, Analyzer, refuse

log = logging.getLogger(__package__)

#: Extensions in the order in which they build on each other.
EXTENSIONS = (
    "random_spikes", "noise_levels", "waveforms", "templates", "spike_amplitudes", "spike_locations", "unit_locations",
    "principal_components", "quality_metrics", "template_metrics",
)  # fmt: skip
#: Extensions that take job settings.
PARALLEL = frozenset({"waveforms", "spike_amplitudes", "spike_locations", "principal_components"})
#: Settings of what is drawn at random, so that the same recording has the same metrics.
SEEDED: dict[str, dict[str, Any]] = {
    "random_spikes": {"seed": 0}, "noise_levels": {"random_slices_kwargs": {"seed": 0}}, "quality_metrics": {"seed": 0},
}  # fmt: skip


def spikeinterface() -> Any:
    """Return SpikeInterface's core, or say how to get it."""
    try:
        import spikeinterface.core as core
    except ImportError:
        raise EnvironmentMissing(
            "SpikeInterface is not installed; analyzers need it: pip install 'neuropipes[curation]'"
        ) from None
    return core


def read(path: Path, trust_pickles: bool = False) -> Analyzer:
    """Return an analyzer folder's units with every metric, computed where it lacks them.

    Raises
    ------
    InputError : loading it would execute something and ``trust_pickles`` is not given; it cannot be opened; see `compute`.
    """
    if not trust_pickles and (found := trust.dangers(path)):
        raise refuse(path, found)
    try:
        analyzer = spikeinterface().load_sorting_analyzer(path, load_extensions=False)
    except EnvironmentMissing:
        raise
    except Exception as error:  # whatever the broken folder makes it raise
        raise InputError(
            f"{path}: SpikeInterface cannot open this analyzer ({type(error).__name__}: {str(error)[:120]})."
        ) from None
    return describe(analyzer, str(path), compute_missing=True)


def describe(analyzer: Any, where: str, compute_missing: bool) -> Analyzer:
    """Return what a SortingAnalyzer in memory says about its units.

    Raises
    ------
    InputError : it has no metrics and they were not asked for; see `compute`.
    """
    absent = [name for name in METRIC_EXTENSIONS if not analyzer.has_extension(name)]
    if compute_missing:
        analyzer = compute(analyzer, where)
    elif len(absent) == len(METRIC_EXTENSIONS):
        raise InputError(
            f"{where}: the analyzer has no quality or template metrics. Add --compute-missing to compute them."
        )
    elif absent:
        log.warning("%s: no %s; --compute-missing computes them", where, absent[0])
    have = [name for name in METRIC_EXTENSIONS if analyzer.has_extension(name)]
    ids = [id_text(i) for i in analyzer.unit_ids]
    tables = [analyzer.get_extension(name).get_data() for name in have]
    tables = [t.set_axis([id_text(i) for i in t.index], axis=0).reindex(ids) for t in tables]
    params = {
        name.removesuffix("s") + "_params": {
            key: value for key, value in analyzer.get_extension(name).params.items() if key in ("metric_names", "metric_params")
        }
        for name in have
    }  # fmt: skip
    sorting = analyzer.sorting
    names = sorted(sorting.get_property_keys())
    table = pd.concat(tables, axis=1).reset_index(drop=True)
    named = sorting.unit_ids.dtype.kind not in "iu"
    release = of_version({"version": importlib.metadata.version("spikeinterface")}) if compute_missing else ANY
    return Analyzer(ids, table, params, names, lambda name: list(sorting.get_property(name)), named, release)


def compute(analyzer: Any, where: str) -> Any:
    """Return a copy of the analyzer in memory with every extension that metrics need.

    Raises
    ------
    InputError : the recording behind the analyzer is gone and is needed; SpikeInterface cannot compute an extension.
    """
    needed = [name for name in EXTENSIONS if not analyzer.has_extension(name)]
    if "quality_metrics" in needed and analyzer.format != "memory":
        needed = [name for name in EXTENSIONS if name in needed or name in trust.PICKLED]
    log.info("%s: computing %s", where, ", ".join(needed))
    check_recording(analyzer, needed, where)
    if analyzer.format != "memory":  # a copy takes along only what is loaded
        saved = set(analyzer.get_saved_extension_names()) - trust.PICKLED
        for name in [n for n in EXTENSIONS if n in saved]:
            analyzer.load_extension(name)
    analyzer = analyzer.save_as(format="memory")
    if (
        analyzer.has_recording()
    ):  # sd_ratio draws stretches of its own, without a seed, unless the recording knows its noise
        spikeinterface().get_noise_levels(
            analyzer.recording, return_in_uV=analyzer.return_in_uV, method="std", random_slices_kwargs={"seed": 0}, n_jobs=1, progress_bar=False
        )  # fmt: skip
    for name in needed:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                analyzer.compute(name, **settings(name))
        except Exception as error:  # whatever is wrong with foreign data
            reason = str(error).strip().partition("\n")[0][:160]
            raise InputError(
                f"{where}: SpikeInterface cannot compute {name} ({type(error).__name__}: {reason})."
            ) from None
    add_metrics(analyzer, where)
    return analyzer


def settings(extension: str) -> dict[str, Any]:
    """Return the settings that an extension is computed with: in this process, and seeded where something is drawn at random."""
    jobs = {"n_jobs": 1, "progress_bar": False} if extension in PARALLEL else {}
    return jobs | SEEDED.get(extension, {})


def add_metrics(analyzer: Any, where: str) -> None:
    """Compute the metrics that the extensions of an analyzer in memory lack; what is there stays, what cannot be computed is told."""
    for extension in METRIC_EXTENSIONS:
        have = set(to_new_names(analyzer.get_extension(extension).get_data()).columns)
        for metric in analyzer.get_extension(extension).metric_list:
            if not set(metric.metric_columns) & set(COMPUTED) or set(metric.metric_columns) & set(COMPUTED) <= have:
                continue
            given = {"metric_names": [metric.metric_name], "delete_existing_metrics": False}
            given |= settings(extension)
            given |= {"include_multi_channel_metrics": True} if extension == "template_metrics" else {}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    analyzer.compute(extension, **given)
                log.info("%s: computed %s", where, metric.metric_name)
            except Exception as error:  # whatever is wrong with foreign data
                log.warning(
                    "%s: %s cannot be computed (%s: %s)",
                    where,
                    metric.metric_name,
                    type(error).__name__,
                    str(error)[:120],
                )


def check_recording(analyzer: Any, needed: Sequence[str], where: str) -> None:
    """Refuse to begin where an extension reads the voltage and the recording is gone."""
    if analyzer.has_recording():
        return
    from spikeinterface.core.sortinganalyzer import get_extension_class

    reading = [name for name in needed if get_extension_class(name).need_recording]
    if reading:
        raise InputError(
            f"{where}: {', '.join(reading)} must be computed from the recording, which the analyzer cannot find."
        )
