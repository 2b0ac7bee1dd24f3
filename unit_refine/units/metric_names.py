"""Whose metrics are these? Names and units of other programs become SpikeInterface's where the definition is the same.

A metric of the same name with another definition or unit would be a wrong number that nobody sees: in a table of that program it is
left out, and said to be. Sources: ecephys_spike_sorting and AllenSDK (Siegle et al. 2021), Bombcell (Fabre et al. 2023), IBL's
brainbox (IBL et al. 2022), Kilosort 4 (Pachitariu et al. 2024), each compared with SpikeInterface's definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

MS, US = 1e-3, 1e-6


class Producer(NamedTuple):
    """A program that writes metrics under names of its own."""

    name: str
    marks: frozenset[str]  #: columns that no other program writes; two of them tell it
    same: Mapping[str, tuple[str, float]]  #: its name -> (SpikeInterface's name, factor); equal definitions
    other: frozenset[str]  #: its metrics with a definition or unit of their own


#: Metrics that ecephys and AllenSDK name as SpikeInterface does and define otherwise (window, unit, or noise estimate).
ALLEN_OTHER = ("repolarization_slope", "recovery_slope", "spread", "velocity_above", "velocity_below", "snr", "amplitude",
               "silhouette_score", "max_drift", "cumulative_drift", "presence_ratio")  # fmt: skip
PRODUCERS = (
    Producer(
        "Allen's (ecephys_spike_sorting, AllenSDK)",
        frozenset({"isi_viol", "PT_ratio", "silhouette_score", "max_drift", "cumulative_drift", "halfwidth", "epoch_name_quality_metrics", "epoch_name_waveform_metrics",
                   "waveform_PT_ratio", "waveform_duration", "waveform_halfwidth", "waveform_amplitude", "waveform_spread", "L_ratio", "isi_violations"}),
        {
            "isi_viol": ("isi_violations_ratio", 1.0), "isi_violations": ("isi_violations_ratio", 1.0), "L_ratio": ("l_ratio", 1.0),
            "duration": ("peak_to_trough_duration", MS), "waveform_duration": ("peak_to_trough_duration", MS),
            "halfwidth": ("trough_half_width", MS), "waveform_halfwidth": ("trough_half_width", MS),
            "PT_ratio": ("peak_after_to_trough_ratio", 1.0), "waveform_PT_ratio": ("peak_after_to_trough_ratio", 1.0),
        },
        frozenset({*ALLEN_OTHER, *(f"waveform_{n}" for n in ALLEN_OTHER)}),
    ),
    Producer(
        "Bombcell",
        frozenset({"phy_clusterID", "nPeaks", "nTroughs", "waveformDuration_peakTrough", "spatialDecaySlope", "fractionRPVs_estimatedTauR", "percentageSpikesMissing_gaussian", "rawAmplitude", "maxDriftEstimate"}),
        {
            "nSpikes": ("num_spikes", 1.0), "isolationDistance": ("isolation_distance", 1.0), "Lratio": ("l_ratio", 1.0),
            "waveformDuration_peakTrough": ("peak_to_trough_duration", US),
        },
        frozenset({"presenceRatio", "signalToNoiseRatio", "silhouetteScore", "fractionRPVs_estimatedTauR", "percentageSpikesMissing_gaussian", "rawAmplitude", "maxDriftEstimate", "nPeaks", "nTroughs", "spatialDecaySlope"}),
    ),
    Producer(
        "Bombcell's first releases in Python",
        frozenset({"n_peaks", "n_troughs", "is_somatic", "waveform_duration_peak_trough", "spatial_decay_slope", "spatial_decay", "waveform_baseline", "wv_baseline_flatness", "fraction_RPVs", "frac_RPVs", "RPV_use_tauR_est",
                   "percent_missing_gaussian", "percent_missing_symmetric", "raw_amplitude", "signal_to_noise_ratio", "max_drift_estimate", "scnd_peak_to_trough_ratio", "peak1_to_peak2_ratio", "trough_to_peak2_ratio", "isolation_dist"}),
        {
            "n_spikes": ("num_spikes", 1.0), "isolation_dist": ("isolation_distance", 1.0),
            "waveform_duration_peak_trough": ("peak_to_trough_duration", US),
        },
        frozenset({"presence_ratio", "exp_decay", "trough_width", "peak_before_width", "main_peak_to_trough_ratio", "waveform_baseline_flatness", "waveform_baseline", "signal_to_noise_ratio", "silhouette_score",
                   "fraction_RPVs", "percent_missing_gaussian", "percent_missing_symmetric", "raw_amplitude", "max_drift_estimate", "n_peaks", "n_troughs", "spatial_decay_slope"}),
    ),
    Producer(
        "IBL brainbox",
        frozenset({"slidingRP_viol", "amp_std_dB", "missed_spikes_est", "contamination_alt", "presence_ratio_std", "spike_count", "amp_median", "amp_max", "max_confidence", "min_contamination", "n_spikes_below2", "ks2_label",
                   "ibl_quality_score", "kilosort2_label", "cluster_uuid", "missed_spikes_estimate", "presence_ratio_standard_deviation", "alternative_contamination", "sliding_refractory_period_violation"}),
        {"spike_count": ("num_spikes", 1.0), "firing_rate_hz": ("firing_rate", 1.0)},
        frozenset({"presence_ratio", "presence_ratio_std", "slidingRP_viol", "missed_spikes_est", "contamination", "contamination_alt", "amp_median", "amp_max", "amp_min", "amp_std_dB", "drift", "noise_cutoff",
                   "isi_violations_ratio", "rp_violation", "sliding_rp_violation"}),  # in its NWB files sliding_rp_violation is 1 for a unit that passes
    ),
    Producer("Kilosort", frozenset({"ContamPct", "KSLabel", "Amplitude", "fr", "n_spikes", "amp", "sh"}), {"n_spikes": ("num_spikes", 1.0), "fr": ("firing_rate", 1.0)}, frozenset({"ContamPct", "Amplitude", "amp"})),
)  # fmt: skip


def producers_of(columns: Iterable[object]) -> list[Producer]:
    """Return the programs that wrote a table, the surest first; none for SpikeInterface's own or an unknown one.

    Several can have: Phy puts what other programs left in its folder into its own table.
    """
    found = [(len(p.marks & set(columns)), p) for p in PRODUCERS]
    return [p for n, p in sorted(found, key=lambda pair: -pair[0]) if n >= 2]


def from_producer(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with SpikeInterface's names and units where the definitions are the same, and what was done.

    >>> table = pd.DataFrame({"isi_viol": [0.1], "PT_ratio": [0.5], "duration": [0.4], "spread": [60.0]})
    >>> from_producer(table)[0].round(5).to_dict("list")
    {'isi_violations_ratio': [0.1], 'peak_after_to_trough_ratio': [0.5], 'peak_to_trough_duration': [0.0004]}
    """
    notices = list[str]()
    for producer in producers_of(table.columns):
        table, more = converted(table, producer)
        notices += more
    return table, notices


def converted(table: pd.DataFrame, producer: Producer) -> tuple[pd.DataFrame, list[str]]:
    """Return a table of one program with SpikeInterface's names and units, and what was done."""
    names: dict[str, str] = {}
    for old, (new, _) in producer.same.items():
        if old in table.columns and new not in {*table.columns, *names.values()} and _is_number(table[old]):
            names[old] = new
    left_out = sorted(producer.other & set(table.columns))
    table = table.drop(columns=left_out)
    for old in names:
        factor = producer.same[old][1]
        if factor != 1.0:
            table[old] = pd.to_numeric(table[old], errors="coerce") * factor
    notices = []
    if names:
        shown = ", ".join(f"{old} as {new}" for old, new in names.items())
        notices.append(f"metrics of {producer.name} read: {shown}")
    if left_out:
        notices.append(
            f"metrics that {producer.name} defines otherwise than SpikeInterface are left out: {', '.join(left_out)}"
        )
    return table.rename(columns=names), notices


def _is_number(values: pd.Series) -> bool:
    """Return whether a column holds numbers; Phy writes some with their unit, as text."""
    return bool(pd.to_numeric(values, errors="coerce").notna().sum() == values.notna().sum())
