"""What is a trained model worth: its scores on held-out recordings, calibration, what it rests on?

The command line and `train_model` both call these functions.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from ..config import TrainConfig
from ..fit import add
from ..fit import train as training
from ..model import calibration, pipelines
from ..model.decisions import decide
from ..units.assemble import Units
from . import applies, baselines, evaluate

log = logging.getLogger(__package__)

PAYS = 0.01  #: balanced accuracy for which one labels fifty units more


class Outcome(NamedTuple):
    """A trained model with everything that is known about it."""

    units: Units
    trained: training.Trained
    scores: evaluate.Scores  #: on held-out recordings
    animal_scores: evaluate.Scores | None  #: on held-out animals
    sigmoid: calibration.Sigmoid
    calibrated: np.ndarray  #: (n, K) cross-fitted calibrated held-out probabilities
    curve: list[dict[str, float]]  #: abstention curve
    importance: list[dict[str, Any]]
    reference: dict[str, Any]  #: what the training recordings look like, see `applies`
    against: (
        baselines.Against
    )  #: the best baseline on the same held-out units; the base model where units were added to one
    more: add.Forecast | None = None  #: what further labels of the added recording would add

    @property
    def best_pipeline(self) -> Any:
        """Return the fitted pipeline, under the name that SpikeInterface gives it."""
        return self.trained.pipeline


def run_training(config: TrainConfig, units: Units, candidates: list[pipelines.Setting] | None = None) -> Outcome:
    """Return the trained model with its held-out scores; a pure function of the units and the config.

    ``candidates`` stand for the settings that the config names.
    """
    candidates = candidates or list(
        pipelines.settings(
            config.classifiers, config.imputation_strategies, config.scaling_techniques, config.search_iterations
        )
    )
    n_groups = len(np.unique(units.groups))
    if n_groups == 1:
        log.warning(
            "one recording only: units are held out singly, so the scores tell about this recording, not about new ones (these will be lower)"
        )
    log.info(
        "%d settings, %d units, %d metrics, %d recordings",
        len(candidates),
        len(units.y),
        units.metrics.shape[1],
        n_groups,
    )
    training.check_folds(units.y, units.groups, units.animals, units.classes, config.group_by, config.seed)
    if units.animals is not None and len(np.unique(units.animals)) < 2:
        log.warning("--animal-by: one animal only (%s): none can be held out", units.animals[0])
    hands = training.Hands(config.jobs, config.scheduler)
    found = training.train(
        candidates, units.metrics, units.y, units.groups, config.cv_folds, config.seed, hands, units.weight
    )
    seen = np.isfinite(found.held_out.p[:, 0])
    if not seen.all():
        log.warning("%d units of recordings without which a class is empty have no held-out score", int((~seen).sum()))
    p, y, groups = found.held_out.p[seen], units.y[seen], units.groups[seen]
    blocks = groups if n_groups > 1 else np.arange(len(y)) % 5
    calibrated = np.full_like(found.held_out.p, np.nan)
    calibrated[seen] = calibration.cross_fit(p, y, blocks)
    options: dict[str, Any] = {"threshold": found.threshold, "bootstraps": config.bootstraps, "seed": config.seed}
    scores = evaluate.score(y, p, calibrated[seen], groups, units.classes, **options)
    learned, weight, more = p, units.weight, None
    if units.added is None:
        against = beside_baseline(config, found, units, seen)
    else:
        own, against, more = beside_base_model(config, found, units, hands)
        learned = np.where(np.isfinite(own), own, found.held_out.p)[seen]
    sigmoid = calibration.fit_sigmoid(learned, y, None if weight is None else weight[seen])
    return Outcome(
        units, found, scores, score_animals(config, candidates, units, options), sigmoid, calibrated,
        evaluate.abstention_curve(y, p, found.threshold, groups),
        evaluate.permutation_importance(found.held_out, units.metrics, units.y, config.seed),
        applies.reference(units.metrics, units.groups), against, more,
    )  # fmt: skip


def beside_base_model(
    config: TrainConfig, found: training.Trained, units: Units, hands: training.Hands
) -> tuple[np.ndarray, baselines.Against, add.Forecast | None]:
    """Return what the added labels are worth on their recording: probabilities of its units, beside the base model, and of more."""
    assert units.added is not None  # only called where units were added
    p = add.adapted(units, found.setting, config.seed, hands)
    inside = units.added & np.isfinite(p[:, 0]) & np.isfinite(found.held_out.p[:, 0])
    ours, theirs = decide(p[inside], found.threshold), decide(found.held_out.p[inside])
    y, groups = units.y[inside], units.groups[inside]
    against = baselines.against(
        baselines.BASE_MODEL,
        y,
        ours,
        theirs,
        groups,
        len(units.classes),
        bootstraps=config.bootstraps,
        seed=config.seed,
    )
    n = int(units.added.sum() / len(np.unique(units.groups[units.added])))
    return p, against, add.forecast(units, found.setting, found.held_out.p, n, config.seed, hands)


def beside_baseline(config: TrainConfig, found: training.Trained, units: Units, seen: np.ndarray) -> baselines.Against:
    """Return how much better the model is than the best baseline, chosen in each fold without the recording held out."""
    k, held = len(units.classes), found.held_out
    name, guess = baselines.held_out(units.metrics, units.y, units.groups, held.folds, k, config.task)
    ours, groups, y = decide(held.p[seen], found.threshold), units.groups[seen], units.y[seen]
    return baselines.beside_both(name, y, ours, guess[seen], groups, k, config.bootstraps, config.seed)


def score_animals(config: TrainConfig, candidates: list, units: Units, options: dict) -> evaluate.Scores | None:
    """Return scores with whole animals held out, where animals are known and there are at least two."""
    if units.animals is None or len(np.unique(units.animals)) < 2:
        return None
    log.info("holding out whole animals")
    held = training.hold_out(
        candidates,
        units.metrics,
        units.y,
        units.animals,
        config.cv_folds,
        config.seed,
        training.Hands(config.jobs, config.scheduler),
        units.weight,
    )
    seen = np.isfinite(held.p[:, 0])
    p, y, groups = held.p[seen], units.y[seen], units.animals[seen]
    return evaluate.score(y, p, calibration.cross_fit(p, y, groups), groups, units.classes, **options)


def training_results(outcome: Outcome) -> dict[str, Any]:
    """Return the documented numbers of a training run."""
    scores, results = outcome.scores, dict[str, Any]()
    for name in evaluate.SCORES:
        results |= {name: scores.values[name], f"{name}_low": scores.low[name], f"{name}_high": scores.high[name]}
    y, seen = outcome.units.y, np.isfinite(outcome.calibrated[:, 0])
    results |= {
        "per_class": {
            c: {s: scores.values[f"{s}_{c}"] for s in ("precision", "recall")} for c in outcome.units.classes
        },
        "ece_balanced": evaluate.balanced_calibration_error(outcome.calibrated[seen], y[seen]),
        "interval_over": scores.resampled,
        "new_recording_low": scores.new_recording[0],
        "new_recording_high": scores.new_recording[1],
        "balanced_accuracy_animals": outcome.animal_scores.values["balanced_accuracy"]
        if outcome.animal_scores
        else None,
        "by_animal": outcome.animal_scores.by_group if outcome.animal_scores else None,
        "n_units": len(y),
        "n_duplicates": outcome.units.n_duplicates,
        "counts": dict(zip(outcome.units.classes, np.bincount(y).tolist())),
        "n_recordings": len(np.unique(outcome.units.groups)),
        "classifier": outcome.trained.setting.classifier,
        "threshold": outcome.trained.threshold,
        "threshold_gain": outcome.trained.threshold_gain,
        "abstention": outcome.curve,
        "by_group": scores.by_group,
        "answer": baselines.answered(outcome.against, "the model"),
        "further": baselines.further(outcome.against, n_scored(outcome)),
        "added": None if outcome.units.added is None else added_results(outcome),
    }
    return results


def n_scored(outcome: Outcome) -> int:
    """Return how many units the answer is about."""
    return len(outcome.units.y) if outcome.units.added is None else int(outcome.units.added.sum())


def added_results(outcome: Outcome) -> dict[str, Any]:
    """Return what the added labels are worth, and what `add.MORE` further ones would add."""
    found, more = outcome.against, outcome.more
    return {
        "n_labels": n_scored(outcome),
        "balanced_accuracy": found.score + found.gain,
        "balanced_accuracy_base": found.score,
        "gain_of_50_more": None if more is None else more.gain,
        "gain_of_50_more_error": None if more is None else more.error,
        "gain_of_50_more_low": None if more is None else evaluate.prediction_interval(more.gains)[0],
        "gain_of_50_more_high": None if more is None else evaluate.prediction_interval(more.gains)[1],
        "gain_of_50_more_recordings": 0 if more is None else len(more.gains),
    }


def more_labels(outcome: Outcome) -> str:
    """Return in words whether further labels pay; empty where nothing was added or nothing can be said."""
    more = outcome.more
    if more is None:
        return ""
    n, (low, high) = len(more.gains), evaluate.prediction_interval(more.gains)
    if not np.isfinite(low):
        return f"what {add.MORE} more labels would add cannot be told from {n} recording{'s' * (n > 1)} of the base model: three are needed"
    told = "go on" if low > 0 else "they would not pay" if high < PAYS else "whether they pay here cannot be told"
    return (
        f"{add.MORE} more labels would add {low:+.3f} to {high:+.3f} of balanced accuracy here (95 %), on average {more.gain:+.3f} +-"
        f" {more.error:.3f} (standard error; {n} recordings of the base model, each treated as new): {told}"
    )
