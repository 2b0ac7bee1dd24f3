"""What would a sorting look like whose every unit is known: single, several mixed, or noise?

Two kinds. *Recordings*: voltage with known spikes (SpikeInterface), and a sorting made from them: single units lose a few spikes and
gain a few foreign ones, multi-units are two to four neurons in one cluster, noise clusters are times at which nothing, or only the
flank of somebody's spike, is seen. *Tables*: metrics drawn directly, in milliseconds, with shifts between recordings.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .config import SimulateConfig

CLASSES = ("good", "mua", "noise")
#: Per metric: log or linear, mean for good, mua, noise, spread within a class, spread between recordings (both in the same scale).
TABLE = {
    "snr": ("log", (1.9, 1.35, 0.9), 0.45, 0.15),
    "firing_rate": ("log", (0.9, 1.2, -0.3), 1.1, 0.3),
    "amplitude_median": ("log", (4.4, 3.9, 3.7), 0.45, 0.15),
    "amplitude_cutoff": ("log", (-6.0, -5.2, -4.6), 1.2, 0.2),
    "isi_violations_ratio": ("log", (-3.0, 0.2, 0.4), 1.3, 0.2),
    "rp_contamination": ("log", (-2.8, -0.4, -0.2), 1.0, 0.2),
    "presence_ratio": ("linear", (0.97, 0.93, 0.75), 0.08, 0.02),
    "sd_ratio": ("log", (0.1, 0.3, 0.6), 0.22, 0.05),
    "d_prime": ("log", (1.5, 1.1, 0.9), 0.35, 0.1),
    "isolation_distance": ("log", (4.6, 4.1, 3.9), 0.5, 0.2),
    "l_ratio": ("log", (-2.5, -0.5, 0.3), 1.3, 0.3),
    "silhouette": ("linear", (0.18, 0.1, 0.07), 0.06, 0.02),
    "nn_hit_rate": ("linear", (0.85, 0.65, 0.45), 0.13, 0.04),
    "nn_miss_rate": ("log", (-4.8, -4.2, -4.6), 0.8, 0.2),
    "drift_ptp": ("log", (2.3, 2.5, 3.0), 0.7, 0.3),
    "sync_spike_2": ("log", (-3.0, -2.2, -1.6), 0.9, 0.2),
    "peak_to_trough_duration": ("log", (-7.9, -8.0, -7.8), 0.35, 0.05),
    "trough_half_width": ("log", (-8.5, -8.4, -7.9), 0.25, 0.05),
    "repolarization_slope": ("log", (12.6, 12.2, 11.6), 0.5, 0.1),
    "recovery_slope": ("log", (11.0, 10.8, 10.4), 0.6, 0.1),
    "num_positive_peaks": ("linear", (1.2, 1.4, 2.4), 0.6, 0.0),
    "exp_decay": ("log", (-3.6, -3.8, -4.6), 0.5, 0.1),
    "spread": ("log", (4.2, 4.4, 4.9), 0.5, 0.1),
}


class Simulated(NamedTuple):
    """One simulated sorting with its truth."""

    sorting: Any  #: SpikeInterface sorting
    recording: Any  #: SpikeInterface recording
    labels: list[str]  #: class of each unit


def curator(truth: np.ndarray, label_noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return a curator's labels: the truth, wrong for a fraction of the units."""
    labels, wrong = truth.copy(), rng.random(len(truth)) < label_noise
    labels[wrong] = (truth[wrong] + rng.integers(1, len(CLASSES), wrong.sum())) % len(CLASSES)
    return np.array(CLASSES)[labels]


def metric_table(n_units: int, label_noise: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return a table of metrics of one recording: ``unit_id``, metrics, ``label``.

    Units differ in how typical of their class they are, and all metrics of a unit share that, so that classes overlap as
    much as in real recordings. Rarely firing units lack drift and cutoff, as in real tables.
    """
    truth = rng.permutation(np.arange(n_units) % len(CLASSES))
    typical = np.clip(1 + rng.normal(0, 0.45, n_units), -0.4, 2.0)
    columns = {}
    for name, (scale, means, spread, shift) in TABLE.items():
        centre = np.mean(means) + typical * (np.array(means)[truth] - np.mean(means))
        values = centre + rng.normal(0, spread, n_units) + rng.normal(0, shift)
        columns[name] = np.exp(values) if scale == "log" else values
    columns["presence_ratio"] = np.clip(columns["presence_ratio"], 0, 1)
    columns["num_positive_peaks"] = np.maximum(np.round(columns["num_positive_peaks"]), 0)
    table = pd.DataFrame({"unit_id": np.arange(n_units), **columns})
    rare = table["firing_rate"] < 0.5
    table.loc[rare, ["drift_ptp", "amplitude_cutoff"]] = np.nan
    table["label"] = curator(truth, label_noise, rng)
    return table


def sorting_from_truth(
    trains: list[np.ndarray], n_units: int, n_samples: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return spike times (samples) of sorted clusters and the class of each.

    Parameters
    ----------
    trains : true spike times of each neuron, neighbours in the list are neighbours in space; at least ``n_units``.
    """
    classes = np.sort(np.arange(n_units) % len(CLASSES))
    every = np.sort(np.concatenate(trains))
    clusters, used = [], 0
    for kind in classes:
        if kind == 0:  # most spikes of one neuron, a few of others
            own = trains[used % len(trains)]
            own = own[rng.random(len(own)) > rng.uniform(0, 0.15)]
            foreign = rng.choice(every, size=int(rng.uniform(0, 0.02) * len(own)), replace=False)
            times, used = np.concatenate([own, foreign]), used + 1
        elif kind == 1:  # two to four neurons in one cluster, each only in part
            mixed = rng.choice(len(trains), size=rng.integers(2, 5), replace=False)
            times = np.concatenate([t[rng.random(len(t)) < rng.uniform(0.3, 0.9)] for t in (trains[i] for i in mixed)])
        elif rng.random() < 0.5:  # nothing there
            times = rng.integers(100, n_samples - 100, size=int(rng.uniform(60, 400)))
        else:  # the flank of somebody's spike
            own = rng.choice(every, size=min(len(every), int(rng.uniform(60, 600))), replace=False)
            times = own + rng.integers(20, 60, len(own)) * rng.choice([-1, 1], len(own))
        clusters.append(np.unique(np.clip(times, 100, n_samples - 101)))
    return clusters, classes


def ground_truth(config: SimulateConfig, seed: np.random.SeedSequence) -> Simulated:
    """Return one simulated recording with the sorting made from its known spikes."""
    import spikeinterface.core as core

    rng = np.random.default_rng(seed)
    n_true = max(config.n_units // 2, 4)
    kinds = {
        "num_columns": 2,
        "xpitch": 20,
        "ypitch": 20,
        "contact_shapes": "circle",
        "contact_shape_params": {"radius": 6},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording, truth = core.generate_ground_truth_recording(
            durations=[config.duration_s], num_channels=config.n_channels, num_units=n_true, generate_probe_kwargs=kinds,
            generate_sorting_kwargs={"firing_rates": (2.0, 18.0), "refractory_period_ms": 3.0},
            generate_unit_locations_kwargs={"margin_um": 10.0, "minimum_z": 5.0, "maximum_z": 45.0, "minimum_distance": 5, "distance_strict": False},
            noise_kwargs={"noise_levels": config.noise_uv, "strategy": "on_the_fly"}, seed=int(rng.integers(2**31)),
        )  # fmt: skip
    trains = [truth.get_unit_spike_train(unit, segment_index=0) for unit in truth.unit_ids]
    clusters, classes = sorting_from_truth(trains, config.n_units, recording.get_num_samples(), rng)
    order = rng.permutation(len(clusters))
    samples = {int(i): clusters[k] for i, k in enumerate(order)}
    sorting = core.NumpySorting.from_unit_dict([samples], recording.get_sampling_frequency())
    labels = list(curator(classes[order], config.label_noise, rng))
    sorting.set_property("ground_truth", labels)
    return Simulated(sorting, recording, labels)


def write_analyzer(simulated: Simulated, folder: Path) -> pd.DataFrame:
    """Make an analyzer folder with every extension that metrics need; return the metrics by unit id."""
    import spikeinterface.core as core

    from .files.compute_metrics import EXTENSIONS, settings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer = core.create_sorting_analyzer(
            simulated.sorting,
            simulated.recording,
            format="binary_folder",
            folder=folder,
            sparse=True,
            progress_bar=False,
            seed=0,
            n_jobs=1,
        )
        for name in EXTENSIONS:
            analyzer.compute(name, **settings(name))
        return analyzer.get_metrics_extension_data()
