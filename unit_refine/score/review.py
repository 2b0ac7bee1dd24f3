"""What must a person see of each unit to label it: what the model thinks and why, its metrics beside the training units', pictures?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..config import ReviewConfig
from ..files import load_model, merge_candidates, pictures, recordings
from ..files.clusters import si_unit_ids
from ..files.load_model import Model
from ..files.pictures import Pictures
from ..model import decisions
from ..units import trains
from ..units.assemble import Recording, json_ids
from ..units.labels import MEANING, tidy
from .predict import predict, prediction_table

log = logging.getLogger(__package__)

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
N_REASONS, N_CHANNELS, N_POINTS = 4, 6, 300
#: Labels of a page: what Phy's group file and SpikeInterface's category ``quality`` know.
LABELS = ("good", "mua", "noise")
PHY_LABEL = {"good": "good", "sua": "good", "mua": "mua", "noise": "noise"}


def content(config: ReviewConfig) -> dict[str, Any]:
    """Return everything that the page shows, as JSON knows it; units in the order in which a person should see them.

    Raises
    ------
    InputError : several recordings, whose unit ids would be mixed up.
    """
    if len(config.inputs) > 1:
        names = ", ".join(path.name for path in config.inputs[:8])
        raise InputError(f"inputs: {len(config.inputs)} recordings ({names}); one page is for one recording.")
    model = load_model.load(config.model, config.class_names, config.max_memory)
    found = recordings.read_unlabelled(config, config.inputs)
    if len(found) > 1:
        names = ", ".join(r.name for r in found[:8])
        raise InputError(f"inputs: {len(found)} recordings ({names}); one page is for one recording.")
    load_model.tell_releases(model, found)
    recording = found[0]
    where = str(recording.source)
    answer = predict(model, recording.table, where)
    for notice in answer["notices"]:
        log.warning("%s", notice)
    table = prediction_table(answer, recording)
    metrics = load_model.match(model, recording.table, where).metrics
    lead = np.where(answer["empty"], -1.0, decisions.lead(answer["p"]))
    order = np.argsort(lead, kind="stable")[: config.n_units]
    reasons = why(model, metrics.iloc[order], answer["p"][order], answer["guess"][order])
    drawn = None
    try:
        drawn = pictures.read(recording.source, recording.unit_ids)
    except InputError as error:
        log.warning("the page has no pictures: %s", error)
    units = [unit_of(recording, table, answer, metrics, int(i)) | {"why": r} for i, r in zip(order, reasons)]
    merges: list[dict[str, Any]] = []
    if drawn is not None:
        merges = add_pictures(units, drawn, [int(i) for i in order], recording.unit_ids)
        merges = both_scores(
            merges,
            merge_candidates.by_spikeinterface(recording.source, config.trust_pickles),
            drawn,
            recording.unit_ids,
        )
    clusters = si_unit_ids(recording.source) if recording.source.is_dir() else {}
    return {
        "recording": recording.name, "id_of": id_kind(recording), "classes": list(answer["classes"]), "metrics": list(metrics.columns),
        "quantiles": training_quantiles(model, metrics.columns), "units": units, "merges": merges,
        "ids": json_ids(recording.unit_ids, recording.id_of == "name"),
        "si_ids": dict(zip(clusters, json_ids(list(clusters.values())))) if recording.id_of == "cluster" else {},
        "bin_ms": trains.BIN_MS, "labels": LABELS,
    }  # fmt: skip


def id_kind(recording: Recording) -> str:
    """Return what the ids number: Phy's "cluster", an analyzer's "unit", or those of a "table" that nobody has told about."""
    return "cluster" if recording.id_of == "cluster" else "unit" if recording.source.is_dir() else "table"


def rounded(values: Any, digits: int = 4) -> list[float | None]:
    """Return numbers with so many significant digits; missing ones are None."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float).ravel()]


def unit_of(
    recording: Recording, table: pd.DataFrame, answer: dict[str, Any], metrics: pd.DataFrame, i: int
) -> dict[str, Any]:
    """Return what the model and the files say about one unit."""
    given = MEANING.get(tidy(recording.labels[i]), "") if recording.labels is not None else ""
    guess = str(table["predicted_quality"].iloc[i])
    return {
        "id": recording.unit_ids[i], "guess": guess, "suggest": PHY_LABEL.get(guess, ""), "p": rounded(answer["p"][i], 6),
        "novelty": round(float(answer["novelty"][i]), 3), "empty": bool(answer["empty"][i]), "given": given if given in LABELS else "",
        "values": rounded(metrics.iloc[i]),
    }  # fmt: skip


def training_quantiles(model: Model, names: Sequence[str]) -> list[list[float | None]]:
    """Return quantiles of each metric of the training units; empty lists where the folder does not hold them."""
    units = load_model.read_training_data(model)
    if units is None:
        return [[] for _ in names]
    return [rounded(units[n].quantile(QUANTILES)) if n in units.columns else [] for n in names]


def why(model: Model, metrics: pd.DataFrame, p: np.ndarray, guess: np.ndarray) -> list[list[dict[str, Any]]]:
    """Return for each unit the metrics that speak most for or against its predicted class.

    A metric speaks for the class by as much as the class loses when the metric is taken away (filled by the model's imputer), all
    others as they are. Metrics that go along with others share what they say, so that each says little alone.
    """
    rows = np.arange(len(p))
    gains = np.zeros((len(p), metrics.shape[1]))
    for k, name in enumerate(metrics.columns):
        without = metrics.copy()
        without[name] = np.float32(np.nan)
        gains[:, k] = p[rows, guess] - load_model.predict_proba(model, without)[rows, guess]
    best = np.argsort(-np.abs(gains), axis=1, kind="stable")[:, :N_REASONS]
    return [
        [{"metric": int(k), "gain": round(float(gains[i, k]), 3)} for k in row if abs(gains[i, k]) >= 0.005]
        for i, row in enumerate(best)
    ]


def add_pictures(
    units: list[dict[str, Any]], drawn: Pictures, order: list[int], ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Add template, correlograms and amplitudes to each unit, and return candidates for merges."""
    ms = drawn.samples * 1000.0 / drawn.rate_hz
    spikes = [np.flatnonzero(drawn.unit == i) for i in range(len(ids))]
    times = [ms[s] for s in spikes]
    alike = None if drawn.templates is None else trains.likeness(drawn.templates)
    for entry, i in zip(units, order):
        entry["acg"] = trains.correlogram(times[i]).tolist()
        entry["n_spikes"] = len(times[i])
        if drawn.amplitudes is not None and len(spikes[i]):
            some = spikes[i][np.unique(np.linspace(0, len(spikes[i]) - 1, N_POINTS).astype(int))]
            entry["amplitudes"] = [rounded(ms[some] / 1000), rounded(drawn.amplitudes[some], 3)]
        if drawn.templates is None or alike is None:
            continue
        strength = np.ptp(drawn.templates[i], axis=0)
        channels = np.sort(np.argsort(-strength, kind="stable")[:N_CHANNELS])
        entry["channels"] = channels.tolist()
        entry["template"] = [rounded(drawn.templates[i][:, c], 3) for c in channels]
        others = alike[i].copy()
        others[i] = -2
        if len(ids) > 1:
            k = int(np.argmax(others))
            entry["neighbour"] = {
                "id": ids[k], "likeness": round(float(others[k]), 3), "ccg": trains.correlogram(times[i], times[k]).tolist(),
                "template": [rounded(drawn.templates[k][:, c], 3) for c in channels],
            }  # fmt: skip
    if alike is None or not len(ms):
        return []
    pairs = trains.merge_candidates(times, alike, float(ms[-1] - ms[0]))
    return [
        {
            "ids": [ids[a.first], ids[a.second]],
            "likeness": round(a.likeness, 3),
            "score": round(a.score, 3),
            "by": "overlap",
        }
        for a in pairs
    ]


def both_scores(
    ours: list[dict[str, Any]], theirs: Sequence[tuple[str, ...]], drawn: Pictures, ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Return candidates for merges, those first that our score and SpikeInterface's auto-merge agree on, then the surest of ours.

    A group of SpikeInterface's that our score does not name is one candidate, with the smallest likeness of its templates.
    """
    sets = [set(group) for group in theirs]
    named = [set(pair["ids"]) for pair in ours]
    merges = [
        pair | ({"by": "overlap, SpikeInterface"} if any(own <= other for other in sets) else {})
        for pair, own in zip(ours, named)
    ]
    alike = None if drawn.templates is None else trains.likeness(drawn.templates)
    for group in theirs:
        if any(own <= set(group) for own in named) or not set(group) <= set(ids):
            continue
        rows = [list(ids).index(i) for i in group]
        least = 0.0 if alike is None else min(float(alike[a, b]) for a in rows for b in rows if a != b)
        merges.append({"ids": list(group), "likeness": round(least, 3), "score": 0.0, "by": "SpikeInterface"})
    return sorted(merges, key=lambda m: (m["by"] != "overlap, SpikeInterface", -m["score"]))
