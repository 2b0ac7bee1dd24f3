"""Which units are in a folder of IBL's files (ALF): ``clusters.metrics.pqt`` beside ``spikes.times.npy``, ``spikes.clusters.npy``?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hdf5io.errors import InputError

from ..units.metric_names import producers_of

METRICS = ("*clusters.metrics*.pqt", "*clusters.metrics*.csv", "*clusters.metrics*.parquet")
SPIKES = ("*spikes.times*.npy", "*spikes.clusters*.npy", "*clusters.channels*.npy")
#: How the waveforms behind such a folder become metrics.
CONVERT = (
    "in SpikeInterface: analyzer = create_sorting_analyzer(read_ibl_sorting(pid=PID, one=ONE()), read_ibl_recording(pid=PID, one=ONE(),"
    " stream_type='ap'), format='binary_folder', folder='analyzer'); then give the analyzer with --compute-missing"
)


def is_alf(path: Path) -> bool:
    """Return whether a folder holds IBL's files of a sorting."""
    return path.is_dir() and any(any(path.glob(pattern)) for pattern in (*METRICS, *SPIKES))


def metrics_table(folder: Path) -> Path:
    """Return the table of metrics of a folder.

    Raises
    ------
    InputError : there is none, or several.
    """
    found = sorted(p for pattern in METRICS for p in folder.glob(pattern))
    if not found:
        raise InputError(
            f"{folder}: IBL's spikes without clusters.metrics.pqt: no metrics of its units. Make them {CONVERT}."
        )
    if len(found) > 1:
        raise InputError(
            f"{folder}: {len(found)} tables of metrics ({', '.join(p.name for p in found[:4])}); give one of them as the input."
        )
    return found[0]


def share_of_criteria(columns: Iterable[object], name: str) -> bool:
    """Return whether a column is IBL's ``label``: the share of three criteria that a unit passes, which no person gave.

    >>> share_of_criteria(["label", "slidingRP_viol", "noise_cutoff", "ks2_label"], "label"), share_of_criteria(["label", "snr"], "label")
    (True, False)
    """
    return name.strip().lower() == "label" and any(p.name == "IBL brainbox" for p in producers_of(columns))


def criteria_as_labels(values: Sequence[object], where: Path, mapped: bool) -> list[object]:
    """Return shares of passed criteria as text with two digits (0, 0.33, 0.67, 1), for ``--label-map`` to say what they mean.

    Raises
    ------
    InputError : it does not say.
    """
    if not mapped:
        raise InputError(
            f"{where}: its column 'label' is the share of IBL's three criteria that a unit passes (0, 1/3, 2/3, 1), no curator's class."
            " Give a curator's labels with --labels, or say what the shares mean: --label-map 1=good,0.67=mua,0.33=mua,0=noise."
        )
    numbers = [float(v) if str(v).strip() not in ("", "nan", "None") else None for v in values]  # type: ignore[arg-type]
    return ["" if n is None else f"{n:.2f}".rstrip("0").rstrip(".") for n in numbers]
