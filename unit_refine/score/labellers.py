"""What do other programs' criteria call these units, and which metric excluded one?

Thresholds as their sources give them; a metric that is not there is not judged by (and said to be absent):

- ``bombcell``: Fabre et al., in SpikeInterface's port (``spikeinterface.curation.bombcell_get_default_thresholds``, 0.105).
- ``allen``: AllenSDK's default filter of units (``allensdk.brain_observatory.ecephys``: amplitude_cutoff_maximum 0.1,
  presence_ratio_minimum 0.9, isi_violations_maximum 0.5).
- ``ibl``: the three criteria of the International Brain Laboratory (``brainbox.metrics.single_units``: contamination of at most 10 %
  with 90 % confidence, noise cutoff below 5, median amplitude above 50 uV).
- ``spikeinterface``: the thresholds of SpikeInterface's guide for Neuropixels (amplitude cutoff 0.1, ISI violations ratio 1,
  presence ratio 0.9).
- ``kslabel``: what Kilosort wrote beside the spikes.
- a JSON file of thresholds, as ``spikeinterface.curation.threshold_metrics_label_units`` or ``bombcell_label_units`` read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..files.label_files import kilosort_labels
from ..files.thresholds import read_thresholds
from ..units.assemble import Recording
from ..units.labels import MEANING, TASKS, classes_of, tidy
from ..units.metrics import numeric

#: {section: {metric: {"greater", "less", "abs"}}}, inclusive. What fails ``noise`` is noise, what fails ``mua`` is multi-unit, what
#: fails ``good`` is only said not to be a good unit; ``non-somatic`` as Bombcell has it.
CRITERIA: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "bombcell": {
        "noise": {
            "num_positive_peaks": {"less": 2}, "num_negative_peaks": {"less": 1},
            "peak_to_trough_duration": {"greater": 0.0001, "less": 0.00115}, "waveform_baseline_flatness": {"less": 0.5},
            "peak_after_to_trough_ratio": {"less": 0.8}, "exp_decay": {"greater": 0.01, "less": 0.1},
        },
        "mua": {
            "amplitude_median": {"greater": 30, "abs": True}, "snr": {"greater": 5}, "amplitude_cutoff": {"less": 0.2},
            "num_spikes": {"greater": 300}, "sliding_rp_violation": {"less": 0.1}, "presence_ratio": {"greater": 0.7},
            "drift_ptp": {"less": 100}, "isolation_distance": {"greater": 20}, "l_ratio": {"less": 0.3},
        },
        "non-somatic": {
            "peak_before_to_trough_ratio": {"less": 3}, "peak_before_width": {"greater": 0.00015}, "trough_width": {"greater": 0.0002},
            "peak_before_to_peak_after_ratio": {"less": 3}, "main_peak_to_trough_ratio": {"less": 0.8},
        },
    },
    "allen": {"good": {"amplitude_cutoff": {"less": 0.1}, "presence_ratio": {"greater": 0.9}, "isi_violations_ratio": {"less": 0.5}}},
    "ibl": {"good": {"sliding_rp_violation": {"less": 0.1}, "noise_cutoff": {"less": 5}, "amplitude_median": {"greater": 50, "abs": True}}},
    "spikeinterface": {"good": {"amplitude_cutoff": {"less": 0.1}, "isi_violations_ratio": {"less": 1}, "presence_ratio": {"greater": 0.9}}},
}  # fmt: skip
#: A missing value fails here, although its section lets missing values pass: the test could not be passed at any level.
MISSING_FAILS = frozenset({"sliding_rp_violation", "peak_before_width", "trough_width"})
NOT_GOOD, NON_SOMATIC = "not good", "non_soma"


class Opinion(NamedTuple):
    """What a labeller says of units."""

    name: str
    labels: (
        np.ndarray
    )  #: (n,) good, mua, noise, non_soma, "not good" (multi-unit or noise), or "" where it says nothing
    excluded_by: list[str]  #: metrics that a unit failed, comma-separated
    absent: list[str]  #: its metrics that are not there


def check(names: Sequence[str]) -> None:
    """Refuse names that are no labeller's, files of thresholds that cannot be read, and a labeller that is named twice.

    Raises
    ------
    InputError : which, and what is expected.
    """
    for name in names:
        if list(names).count(name) > 1:
            raise InputError(f"--labellers: '{name}' is named twice.")
        if name.lower() != "kslabel":
            sections_of(name)


def sections_of(name: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the thresholds that go by a name, or those of a JSON file."""
    if name.lower() not in CRITERIA and not Path(name).is_file():
        raise InputError(
            f"--labellers '{name}': expected {', '.join(CRITERIA)}, kslabel, or a JSON file of SpikeInterface's thresholds."
        )
    return CRITERIA.get(name.lower()) or read_thresholds(Path(name))


def ask(name: str, recording: Recording) -> Opinion:
    """Return what a labeller says of the units of a recording; ``name`` is a key of `CRITERIA`, "kslabel", or a JSON file.

    Raises
    ------
    InputError : no such labeller; none of its metrics is there; no Kilosort labels.
    """
    if name.lower() == "kslabel":
        return of_kilosort(recording)
    sections = sections_of(name)
    return apply(Path(name).stem if name.lower() not in CRITERIA else name.lower(), sections, recording)


def of_kilosort(recording: Recording) -> Opinion:
    """Return Kilosort's own labels, from the table's column or the file beside it."""
    column = next((c for c in recording.table.columns if str(c).lower() == "kslabel"), None)
    folder = recording.source if recording.source.is_dir() else recording.source.parent
    own = {} if column is not None else kilosort_labels(folder)
    if column is None and not own:
        raise InputError(f"{recording.source}: no column KSLabel, and no cluster_KSLabel.tsv beside it.")
    given = recording.table[column].tolist() if column is not None else [own.get(i, "") for i in recording.unit_ids]
    labels = np.array([MEANING.get(tidy(v), "") for v in given], dtype=object)
    return Opinion("kslabel", labels, [""] * len(labels), [])


def apply(name: str, sections: Mapping[str, Mapping[str, Mapping[str, Any]]], recording: Recording) -> Opinion:
    """Return what thresholds say of the units, and which metrics each unit fails.

    A missing value fails in the sections ``noise`` and ``good``, and passes in ``mua`` and ``non-somatic`` (as in SpikeInterface).
    """
    wanted = dict.fromkeys(m for rules in sections.values() for m in rules)
    present = [m for m in wanted if m in recording.table.columns]
    absent = [m for m in wanted if m not in present]
    if not any(m in present for section, rules in sections.items() if section != "non-somatic" for m in rules):
        raise InputError(
            f"{recording.source}: none of the metrics that '{name}' judges by is there: {', '.join(wanted)}."
        )
    table = numeric(recording.table[present], str(recording.source))
    failed = {
        (section, m): fails(table[m].to_numpy(dtype=float), rule, section in ("noise", "good") or m in MISSING_FAILS)
        for section, rules in sections.items()
        for m, rule in rules.items()
        if m in present
    }
    n = len(table)

    def any_of(section: str) -> np.ndarray:
        """Return which units fail any rule of a section."""
        return np.any([np.zeros(n, bool), *(f for (s, _), f in failed.items() if s == section)], axis=0)

    noise, mua, not_good = any_of("noise"), any_of("mua"), any_of("good")
    labels = np.select([noise, mua, not_good], ["noise", "mua", NOT_GOOD], "good").astype(object)
    labels[non_somatic(sections, failed, n) & ~noise] = NON_SOMATIC
    why = [[] for _ in range(n)]  # type: list[list[str]]
    for (section, metric), mask in failed.items():
        shown = mask if section in ("noise", "good") else mask & ~noise & (section != "non-somatic")
        for i in np.flatnonzero(shown):
            why[i].append(metric)
    return Opinion(name, labels, [", ".join(w) for w in why], absent)


def fails(values: np.ndarray, rule: Mapping[str, Any], missing_fails: bool) -> np.ndarray:
    """Return which values lie outside a threshold's range (inclusive)."""
    values = np.abs(values) if rule.get("abs") else values
    low, high = rule.get("greater"), rule.get("less")
    if low is None and high is None:
        return np.zeros(len(values), bool)
    with np.errstate(invalid="ignore"):
        outside = (values < (-np.inf if low is None else low)) | (values > (np.inf if high is None else high))
    return np.where(np.isnan(values), missing_fails, outside)


def non_somatic(
    sections: Mapping[str, Mapping[str, Any]], failed: Mapping[tuple[str, str], np.ndarray], n: int
) -> np.ndarray:
    """Return which units have an axon's or dendrite's shape: (narrow and a large first peak) or a large main peak."""
    own = {m: failed[("non-somatic", m)] for m in sections.get("non-somatic", {}) if ("non-somatic", m) in failed}
    width = [own[m] for m in ("peak_before_width", "trough_width") if m in own]
    ratio = [own[m] for m in ("peak_before_to_trough_ratio", "peak_before_to_peak_after_ratio") if m in own]
    narrow = np.all(width, axis=0) if width else np.zeros(n, bool)
    large = np.any(ratio, axis=0) if ratio else np.zeros(n, bool)
    return (narrow & large) | own.get("main_peak_to_trough_ratio", np.zeros(n, bool))


def as_classes(labels: Sequence[str], task: str) -> np.ndarray:
    """Return a labeller's labels as class indices of a task, -1 where it says nothing about it.

    >>> as_classes(["good", "not good", "noise", "non_soma"], "sua_vs_all").tolist()
    [1, 0, 0, -1]
    """
    classes, meaning = classes_of(task), dict(TASKS[task])
    rest = {meaning[label] for label in ("mua", "noise") if label in meaning}
    if len(rest) == 1 and meaning.get("good") not in rest:
        meaning[NOT_GOOD] = rest.pop()
    if "neural" in meaning:
        meaning[NON_SOMATIC] = meaning["neural"]
    return np.array([classes.index(meaning[label]) if label in meaning else -1 for label in labels])


def speaks_of(name: str, task: str) -> bool:
    """Return whether a labeller can tell apart all classes of a task."""
    sections = CRITERIA.get(name, {})
    said = {"good", *(["noise"] if "noise" in sections else []), *(["mua"] if "mua" in sections else []), *([NOT_GOOD] if "good" in sections else [])}  # fmt: skip
    return len(set(as_classes(sorted(said), task).tolist()) - {-1}) == len(classes_of(task))


def kappa(a: np.ndarray, b: np.ndarray) -> float:
    """Return Cohen's kappa of two labellings, units that either says nothing about left out; NaN where chance agrees fully.

    >>> round(kappa(np.array([0, 0, 1, 1, -1]), np.array([0, 1, 1, 1, 0])), 3)
    0.5
    """
    both = (a >= 0) & (b >= 0)
    a, b = a[both], b[both]
    if not len(a):
        return float("nan")
    k = int(max(a.max(), b.max())) + 1
    table = np.bincount(a * k + b, minlength=k * k).reshape(k, k) / len(a)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return float((np.trace(table) - chance) / (1 - chance)) if chance < 1 else float("nan")


def consensus(votes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the class with the most votes; the first voter's where there is none such.

    >>> consensus([np.array([0, 1]), np.array([1, 0]), np.array([1, -1])]).tolist()
    [1, 1]
    """
    table = np.stack(votes)
    k = int(table.max()) + 1
    counts = np.stack([(table == c).sum(axis=0) for c in range(k)])
    best = counts.max(axis=0)
    tied = (counts == best).sum(axis=0) > 1
    return np.where(tied & (table[0] >= 0), table[0], counts.argmax(axis=0))
