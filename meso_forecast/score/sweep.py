"""How do errors depend on how much is seen and how far is forecast? The same test windows for every context.

Also the protocol of ZAPBench (Lueckmann et al. 2025, ICLR, arXiv 2503.02618; constants of github.com/google-research/zapbench): 4 or 256
frames are seen, 32 are forecast, the mean absolute error in units of the activity is averaged over windows and cells at each step ahead,
then over conditions. Here every stretch of test frames is a condition, as ``preprocess --split blocks`` makes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..activity.windows import TEST, gather, observed_runs, window_origins
from ..config import PRESETS
from ..files.recording import Recording
from ..model.forecaster import Probabilistic
from .scores import block_length, compare, score
from .verdict import BASELINES, best_baseline

log = logging.getLogger(__package__)
ZAPBENCH_CONTEXTS, ZAPBENCH_HORIZON = (4, PRESETS["zapbench"]["context"]), PRESETS["zapbench"]["horizon"]
ZAPBENCH_STEPS = (1, 4, 8, 16, 32)
OPPONENTS = ("persistence", "mean", "ar", "ar-drift")


def sweep(
    recording: Recording, contexts: Sequence[int], horizons: Sequence[int], judged: str, fit: Callable[[str, int, int], Probabilistic]
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a row for each context, horizon and model, all on the test windows that the longest of both have.

    ``fit(name, context, horizon)`` returns a fitted forecaster. ``mse`` is over all of a row's horizons, ``mse_common`` over those that
    every row has; ``mae_by_step`` in units of the activity.
    """
    p, most, rows = recording.panel, max(horizons), []
    origins = window_origins(p.usable, p.label, TEST, max(contexts), most)
    y, conditions = gather(p.x, origins, 1, most), condition_of(p.usable & (p.label == TEST), origins)
    for context in contexts:
        for horizon in horizons:
            block, scores, info = block_length(context, horizon, len(origins)), {}, {}
            for name in dict.fromkeys([*OPPONENTS, judged]):
                fitted = fit(name, context, horizon)
                forecast = fitted.forecast(p, origins)
                scores[name], info[name] = score(y[:, :horizon], forecast), fitted.point.info
                rows.append({
                    "context": context, "horizon": horizon, "model": name, "mse": float(scores[name].mse.mean()),
                    "mse_common": float(scores[name].mse[: min(horizons)].mean()),
                    "mae_by_step": mae_by_step(y[:, :horizon] - forecast.mean, recording.scale, conditions).tolist(),
                })  # fmt: skip
            best = best_baseline({k: v for k, v in info.items() if k in BASELINES}, judged)
            c = compare(scores[judged], scores[best], block)
            rows[-1] |= {"best_baseline": best, "skill": c.skill, "low": c.low, "high": c.high}
            log.info("context %d, horizon %d: %s %+.1f %% against %s", context, horizon, judged, 100 * c.skill, best)
    return rows


def condition_of(tested: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Return which stretch of test frames each window's targets lie in, (window,)."""
    return np.searchsorted(observed_runs(tested)[:, 0], origins + 1, side="right") - 1


def mae_by_step(error: np.ndarray, scale: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return the mean absolute error at each step ahead, (horizon,), each condition counting the same.

    Parameters
    ----------
    error : (window, horizon, neuron), in z.
    scale : (neuron,), units of the activity for one z.
    conditions : (window,).
    """
    each = (np.abs(error) * scale).mean(2, dtype=float)
    return np.mean([each[conditions == k].mean(0) for k in np.unique(conditions)], axis=0)


def published_rows(table: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return published errors in the form of a sweep's rows, averaged over conditions and seeds.

    ``table`` has the columns method, context, condition, steps_ahead, MAE.
    """
    method, steps = np.array(table["method"], str), np.array(table["steps_ahead"], int)
    context, mae, condition = (
        np.array(table["context"], int),
        np.array(table["MAE"], float),
        np.array(table["condition"], str),
    )
    rows = []
    for name, seen in sorted({(str(m), int(c)) for m, c in zip(method, context)}):
        here = (method == name) & (context == seen)
        each = [
            np.mean([mae[here & (steps == s) & (condition == k)].mean() for k in np.unique(condition[here])])
            for s in np.unique(steps[here])
        ]
        rows.append(
            {
                "context": seen,
                "horizon": len(each),
                "model": f"{name} (published)",
                "mae_by_step": [float(v) for v in each],
            }
        )
    return rows
