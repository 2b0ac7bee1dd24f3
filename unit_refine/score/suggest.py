"""Which units should a person label next?"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from ..config import SuggestConfig
from ..files import load_model, recordings
from ..model import decisions
from .predict import predict_one, prediction_table

log = logging.getLogger(__package__)


def suggest(config: SuggestConfig) -> pd.DataFrame:
    """Return the units to label next: the model is unsure of them, and they are unlike each other.

    Greedy: each further unit has the largest product of uncertainty (1 - lead of the first class) and distance, in ranked
    metrics, to the units already suggested.
    """
    model = load_model.load(config.model, config.class_names, config.max_memory)
    parts, features = [], []
    found = recordings.read_unlabelled(config, config.inputs)
    load_model.tell_releases(model, found)
    for recording in found:
        answer = predict_one(model, recording.table, str(recording.source), False)
        for notice in answer["notices"]:
            log.warning("%s", notice)
        parts.append(prediction_table(answer, recording).assign(lead=decisions.lead(answer["p"])))
        features.append(load_model.match(model, recording.table, str(recording.source)).metrics)
    table = pd.concat(parts, ignore_index=True)
    ranks = pd.concat(features, ignore_index=True).rank(pct=True).fillna(0.5).to_numpy()
    chosen = spread_out(1 - table["lead"].to_numpy(), ranks, config.n_units)
    keep = [
        "unit_id",
        "recording",
        "predicted_quality",
        "prediction_confidence",
        *(c for c in table.columns if c.startswith("p_")),
    ]
    return table.iloc[chosen][keep]


def spread_out(uncertainty: np.ndarray, points: np.ndarray, n: int) -> list[int]:
    """Return rows with large uncertainty that are far from each other, most wanted first."""
    nearest = np.ones(len(points))
    chosen: list[int] = []
    for _ in range(min(n, len(points))):
        wanted = uncertainty * nearest
        wanted[chosen] = -1
        chosen.append(int(np.argmax(wanted)))
        gap = np.sqrt(np.mean((points - points[chosen[-1]]) ** 2, axis=1))
        nearest = gap if len(chosen) == 1 else np.minimum(nearest, gap)
    return chosen
