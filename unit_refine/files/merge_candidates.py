"""Which units of an analyzer does SpikeInterface's auto-merge hold for one neuron?"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

from ..units.assemble import id_text
from . import analyzers, compute_metrics, trust

log = logging.getLogger(__package__)

#: What the auto-merge builds on; other extensions are not loaded.
NEEDED = {
    "random_spikes",
    "noise_levels",
    "waveforms",
    "templates",
    "unit_locations",
    "template_similarity",
    "correlograms",
}
PRESET = "similarity_correlograms"  #: SpikeInterface's own default


def by_spikeinterface(path: Path, trust_pickles: bool = False) -> list[tuple[str, ...]]:
    """Return groups of unit ids (``spikeinterface.curation.compute_merge_unit_groups``); none, and a notice, where it cannot be asked.

    Loading an analyzer loads what its files name: it is asked only where nothing dangerous is found, or with ``trust_pickles``.
    """
    if not analyzers.is_analyzer(path):
        return []
    if not trust_pickles and (found := trust.dangers(path)):
        log.warning("%s: SpikeInterface's auto-merge was not asked: %s", path, found[0])
        return []
    core = compute_metrics.spikeinterface()
    from spikeinterface.curation import compute_merge_unit_groups

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            analyzer = core.load_sorting_analyzer(path, load_extensions=False)
            for name in sorted(set(analyzer.get_saved_extension_names()) & NEEDED):
                analyzer.load_extension(name)
            groups = compute_merge_unit_groups(analyzer, preset=PRESET, n_jobs=1, progress_bar=False)
    except Exception as error:  # whatever a foreign folder makes it raise; the page does without
        reason = str(error).strip().partition("\n")[0][:120]
        log.warning("%s: SpikeInterface's auto-merge failed (%s: %s)", path, type(error).__name__, reason)
        return []
    return [tuple(id_text(i) for i in group) for group in groups]
