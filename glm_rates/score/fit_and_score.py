"""Stage 2: what are the rates and filters, and how well do they predict held-out trials? Exchange folder -> fits and scores.

Runs in any interpreter with nemos (see `stages`): FOLDER holds ``extract.*`` and ``settings.json`` and receives ``fit.*`` and one
nemos model file per population. Every population x fold is a pure task; ``jobs`` processes share them, each with one BLAS
thread, and the result does not depend on their number.
"""

from __future__ import annotations

import json
import logging
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from .. import workers
from ..files.exchange import load, save
from ..fit import estimate
from ..fit.populations import fit_population, populations, settings_for
from ..model import population as model
from ..model.design import Trials, scored_counts
from ..model.kernels import Window
from . import drift, evaluate

log = logging.getLogger("glm_rates.score.fit_and_score")
KS_GRID = np.linspace(0, 1, 101)


def work(task):
    """One task: ("fit" or fold number, population, window, settings, number of folds, whether to score nested models)."""
    what, population, window, settings, n_folds, nested = task
    if what == "fit":
        return fit_population(population, window, settings)
    return evaluate.score_fold(population.data, window, settings, n_folds, what, nested)


def run(folder: Path) -> None:
    """Fit and score everything that ``settings.json`` asks for."""
    params, arrays = load(folder, "extract")
    wanted = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    window, n_folds = Window(*params["window"]), wanted["cv_folds"]
    groups = populations(params, arrays, wanted["separate_regions"], wanted["separate_tastes"])
    smallest = min(int(np.bincount(g.data.taste).min()) for g in groups)
    largest = min(int(np.bincount(g.data.taste).max()) for g in groups)
    if n_folds and largest < n_folds:
        raise InputError(
            f"no stimulus has more than {largest} trial(s), fewer than {n_folds} folds; --cv-folds 0 scores nothing."
        )
    if n_folds and smallest < n_folds:
        log.warning(
            "a taste has %d trial(s), fewer than %d folds: it is missing from some test folds", smallest, n_folds
        )
    tasks = []
    for group in groups:
        settings = settings_for(params, wanted, group)
        whats = (["fit"] if wanted["full_fit"] else []) + list(range(n_folds))
        tasks += [(what, group, window, settings, n_folds, wanted["nested"]) for what in whats]
    chosen = [settings_for(params, wanted, group) for group in groups]
    n_bins = window.stop - window.start
    costs = [
        estimate.cost_of(len(g.units), len(g.trials) * n_bins, len(np.unique(g.data.taste)), s)
        for g, s in zip(groups, chosen)
    ]
    estimate.announce(costs, n_folds, int(wanted["full_fit"]), wanted["jobs"], chosen)
    done = _map(tasks, wanted["jobs"])
    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "nemos": version("nemos")}
    meta, results = gather(groups, tasks, done, params, arrays, window, wanted, n_folds)
    if wanted["full_fit"]:
        from ..model.nemos_bridge import save_model

        for index, group in enumerate(groups):
            coef, kernels = results[f"{index}.coef"], model.kernels_of(settings_for(params, wanted, group))
            n_rows = len(group.trials) * (window.stop - window.start)
            save_model(folder / f"model_{index}.npz", coef, coef.shape[1] - kernels["history"].size, n_rows)
    if text := drift.told(results["drift_pvalue"]):
        log.warning("%s", text)
    save(folder, "fit", {**meta, "versions": versions}, results)


def _map(tasks: list, jobs: int) -> list:
    n_fits = sum(task[0] == "fit" for task in tasks)
    log.info("%d fit(s) and %d fold(s), %d process(es)", n_fits, len(tasks) - n_fits, min(jobs, len(tasks)))
    done = dict(workers.run(work, [(task,) for task in tasks], jobs=jobs, what="fits and folds"))
    return [done[index] for index in range(len(tasks))]


def recorded_counts(params: dict, arrays: dict, window: Window) -> np.ndarray:
    """Counts of the whole recording in the window, NaN where a bin is no observation: (trial, bin, unit)."""
    trials = Trials(
        arrays["counts"],
        arrays["taste"],
        arrays["onset"],
        arrays["laser"],
        arrays.get("observed"),
        arrays.get("counted"),
    )
    return scored_counts(trials, window, params["history_window"] // params["bin_size"])


def gather(groups, tasks, done, params, arrays, window: Window, wanted: dict, n_folds: int) -> tuple[dict, dict]:
    """Lay the parts out over the whole recording: arrays (trial, bin, unit), tables (model, unit, trial), and summaries."""
    counts = recorded_counts(params, arrays, window)
    shape = counts.shape
    results: dict = {}
    names = max((list(d.log_likelihood) for d in done if isinstance(d, evaluate.FoldScore)), key=len, default=[])
    table = np.zeros((len(names), shape[2], shape[0]))
    slow: dict[str, np.ndarray] = {}
    whole = {name: np.full(shape, np.nan) for name in ("rate", "log_rate_sd", "rate_cv")}
    fold_of = np.zeros(shape[0], int)
    meta = [{"region": g.name, "taste": g.taste, "units": g.units.tolist()} for g in groups]
    index_of = {(g.name, g.taste): index for index, g in enumerate(groups)}
    for task, part in zip(tasks, done):
        group, index = task[1], index_of[task[1].name, task[1].taste]
        block = np.ix_(group.trials, np.arange(shape[1]), group.units)
        if task[0] == "fit":
            for name in ("rate", "log_rate_sd"):
                whole[name][block] = part.pop(name)
            results |= {f"{index}.{name}": array for name, array in part.items()}
            continue
        fold_of[group.trials] = evaluate.fold_of_trials(group.data.taste, n_folds)
        whole["rate_cv"][block] = np.where(np.isfinite(part.rate), part.rate, whole["rate_cv"][block])
        largest = part.log_likelihood[list(part.log_likelihood)[-1]]  # a lone unit has no coupling: its largest model
        for row, name in enumerate(names):
            table[row][np.ix_(group.units, group.trials)] += part.log_likelihood.get(name, largest)
        for name, score in part.slow.items():
            slow.setdefault(name, np.zeros((shape[2], shape[0])))[np.ix_(group.units, group.trials)] += score
    best = whole["rate_cv"] if n_folds else whole["rate"]
    results |= {name: array for name, array in whole.items() if np.isfinite(array).any()}
    results["ks_curve"], results["ks_pvalue"] = evaluate.rescaling_curves(counts, best, wanted["seed"], KS_GRID)
    results["drift_pvalue"] = drift.pvalues(counts, best, arrays["taste"], arrays.get("start_s", arrays["trial"]))
    results["fold"] = fold_of
    if np.isnan(counts).any():
        results["valid"] = np.isfinite(counts)
    if n_folds:
        results["log_likelihood"] = table
        gain, spikes = (table - table[:1]) / np.log(2), np.nansum(counts, axis=1).T
        results["fold_error"] = np.stack([evaluate.fold_error(part, spikes, fold_of) for part in gain])  # (model, unit)
    in_sample = None
    if "rate" in results:
        pairs = [
            (counts[arrays["taste"] == k], whole["rate"][arrays["taste"] == k]) for k in np.unique(arrays["taste"])
        ]
        in_sample = np.stack([evaluate.in_sample_gain(*pair) for pair in pairs]) / np.log(2)
        results["in_sample_bits"] = in_sample  # (taste, unit)
    summary = summarise(counts, arrays["taste"], in_sample, names, table, fold_of, slow)
    return {"populations": meta, "scored": names, "summary": summary}, results


def summarise(counts, taste, in_sample, names: list[str], table: np.ndarray, fold: np.ndarray, slow=None) -> dict:
    """Scores pooled over the recording: in-sample, every model and rival over the homogeneous rate, and nested steps.

    ``slow`` holds tables of the rivals and the full model with a slow gain (`evaluate.FoldScore`).
    """
    spikes = np.nansum(counts, axis=1).T
    out: dict = {"models": {}, "steps": {}}
    if in_sample is not None:
        by_taste = np.stack([spikes[:, taste == k].sum(axis=1) for k in np.unique(taste)], axis=1)
        gain = in_sample.T * np.log(2)
        out["bits_per_spike"] = evaluate.compare(gain, 0 * gain, by_taste, np.unique(taste))._asdict()
    for row, name in enumerate(names[1:], start=1):
        out["models"][name] = evaluate.compare(table[row], table[0], spikes, fold)._asdict()
    for before, after in evaluate.nested_pairs(names):
        step = evaluate.compare(table[names.index(after)], table[names.index(before)], spikes, fold)
        out["steps"][f"{after} over {before}"] = step._asdict()
    if len(names) > 1:
        out["slow"] = {n: evaluate.compare(t, table[0], spikes, fold)._asdict() for n, t in (slow or {}).items()}
        out["against_best"] = _against_the_best_rival(out, names, table, slow or {}, spikes, fold)
    return out


def _against_the_best_rival(
    scores: dict, names: list[str], table: np.ndarray, slow: dict[str, np.ndarray], spikes: np.ndarray, fold: np.ndarray
) -> dict:
    """The full model over the baseline that predicts held-out trials best, paired by fold.

    Where that is one with a slow gain, the full model is given one too, unless it has drift among its terms.
    """
    rivals = {(n, False): scores["models"][n]["pooled"] if n in scores["models"] else 0.0
              for n in evaluate.BASELINES if n in names}  # fmt: skip
    rivals |= {(n, True): row["pooled"] for n, row in scores["slow"].items() if n != "model"}
    best, slowly = max(rivals, key=lambda rival: np.nan_to_num(rivals[rival], nan=-np.inf))
    both = slowly and "model" in slow
    model, rival = slow["model"] if both else table[-1], slow[best] if slowly else table[names.index(best)]
    found = evaluate.compare(model, rival, spikes, fold)
    return {"model": names[-1], "baseline": best, "slow": slowly, "both": both, **found._asdict()}
