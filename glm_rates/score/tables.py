"""What do the scores say, unit by unit? Tables of one row a unit, one row a unit and taste, and the documented JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..answer import Answer, answer
from ..files.exchange import Fitted
from ..files.stored import Stored
from .drift import drifting

SLOWLY = ", with a slow gain over trials"


def unit_table(done: Fitted) -> dict[str, np.ndarray]:
    """One value per unit: index, region, spikes, converged, gradient, KS p, in-sample and held-out bits per spike."""
    params, meta, fitted, counts = done.params, done.meta, done.arrays, done.window_counts()
    n_units = counts.shape[2]
    table = {
        "unit": np.arange(n_units),
        "region": np.array(params["regions"]),
        "n_spikes": np.nansum(counts, axis=(0, 1)).astype(int),
    }
    for name, column in params["units"].items():
        table.setdefault(name, np.array(column))
    converged, fitted_flag, gradient = np.ones(n_units, bool), np.zeros(n_units, bool), np.zeros(n_units)
    for index, population in enumerate(meta["populations"]):
        units = population["units"]
        if f"{index}.converged" in fitted:
            converged[units] &= fitted[f"{index}.converged"]
            fitted_flag[units] |= fitted[f"{index}.fitted"]
            gradient[units] = np.maximum(gradient[units], fitted[f"{index}.grad_norm"])
    dispersion = np.zeros(n_units)
    for index, population in enumerate(meta["populations"]):
        dispersion[population["units"]] = fitted.get(f"{index}.dispersion", 0.0)
    if any(name.endswith(".dispersion") for name in fitted):
        kinds = np.where(dispersion > 0, "negative-binomial", np.where(dispersion < 0, "bernoulli", "poisson"))
        table |= {"observation": kinds, "dispersion": dispersion}
    table |= {
        "fitted": fitted_flag,
        "converged": converged,
        "grad_norm": gradient,
        "ks_pvalue": fitted["ks_pvalue"],
        "drift_pvalue": fitted["drift_pvalue"],
    }
    if "rate" in fitted:
        table["bits_per_spike"] = _per_spike(fitted["in_sample_bits"].sum(axis=0), table["n_spikes"])
    for row, name in enumerate(meta["scored"][1:], start=1):
        gain = (fitted["log_likelihood"][row] - fitted["log_likelihood"][0]).sum(axis=1) / np.log(2)
        table["cv " + name] = _per_spike(gain, table["n_spikes"])
        table[f"cv {name} se"] = fitted["fold_error"][row]
    if meta["scored"]:
        table["bits_per_spike_cv"] = table["cv " + meta["scored"][-1]]
    return table


def _per_spike(bits: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    return np.where(spikes >= 2, bits / np.maximum(spikes, 1), np.nan)


def score_rows(done: Fitted, by_region: bool) -> list[dict[str, Any]]:
    """Rows of ``bits_per_spike_summary.csv``: one for each taste and unit, the original columns first."""
    params, meta, fitted = done.params, done.meta, done.arrays
    counts, taste = done.window_counts(), done.extracted["taste"]
    rows = []
    for k in range(len(params["tastes"])):
        at = taste == k
        spikes = np.nansum(counts[at], axis=(0, 1))
        inside = _per_spike(fitted["in_sample_bits"][k], spikes)
        for unit in range(counts.shape[2]):
            region = params["regions"][unit] if by_region else "all"
            row = {"taste": k, "region": region, "neuron": unit, "bits_per_spike": inside[unit], "taste_name": params["tastes"][k],
                   "n_trials": int(at.sum()), "n_spikes": int(spikes[unit]), "ks_pvalue": fitted["ks_pvalue"][unit]}  # fmt: skip
            for index, name in enumerate(meta["scored"][1:], start=1):
                gain = (fitted["log_likelihood"][index] - fitted["log_likelihood"][0])[unit, at].sum() / np.log(2)
                row["cv " + name] = float(_per_spike(np.array(gain), np.array(spikes[unit])))
            row["bits_per_spike_cv"] = row["cv " + meta["scored"][-1]] if meta["scored"] else float("nan")
            rows.append(row)
    return rows


def json_results(stored: Stored) -> dict[str, Any]:
    """The documented keys of ``results``."""
    arrays, summary = stored.arrays, stored.summary
    last = list(stored.scores)[-1] if stored.scores else None
    units = []
    for unit, region in enumerate(stored.regions):
        row = {"unit": unit, "region": region, "n_spikes": int(arrays["n_spikes"][unit])}
        row |= {
            "bits_per_spike": arrays["bits_per_spike"][unit],
            "bits_per_spike_cv": arrays["bits_per_spike_cv"][unit] if last else None,
        }
        row["held_out"] = {
            name: [score[unit], stored.score_errors[name][unit]] for name, score in stored.scores.items()
        }
        row |= {name: arrays[name][unit] for name in ("ks_pvalue", "drift_pvalue") if name in arrays}
        row |= {"converged": bool(arrays["converged"][unit])}
        units.append(row)
    three = ("pooled", "mean", "median")
    return {
        "n_units": len(units),
        "kind": stored.kind,
        "bits_per_spike": {k: summary["bits_per_spike"][k] for k in three},
        "bits_per_spike_cv": {k: summary["models"][last][k] for k in three} if last else None,
        "models": summary["models"],
        "slow": summary.get("slow", {}),
        "steps": summary["steps"],
        "answer": answer_of(stored),
        "further": further(stored),
        "n_converged": int(arrays["converged"].sum()),
        "n_explained": explained(stored),
        "units": units,
    }


def rival_names(kind: str) -> dict[str, str]:
    """What the baselines are called in sentences and tables."""
    return {
        "homogeneous": f"the mean rate of the {kind}",
        "psth": "the PSTH",
        "rolling window": "the rolling window",
        "one rate": f"one mean rate for every {kind}",
        "drift": "the slow drift alone",
    }


def compared(stored: Stored) -> dict[str, dict[str, Any]]:
    """Every row that the answer may have been decided by: nested models, rivals, and those with a slow gain over trials."""
    models = stored.summary["models"]
    names = {**rival_names(stored.kind), "model": list(models)[-1] if models else ""}
    slow = stored.summary.get("slow", {})
    return {
        **models,
        **{names[n].removeprefix("the ") + ", slow gain" * (n != "drift"): row for n, row in slow.items()},
    }


def what_tells(steps: dict[str, dict[str, Any]]) -> str:
    """Which effects add to the others on held-out trials, in words, each by the largest model that it was left out of; empty without steps.

    Examples
    --------
    >>> steps = {"history+stimulus over history": {"pooled_low": -0.1}, "history+stimulus over stimulus": {"pooled_low": 0.1}}
    >>> what_tells(steps)
    'history alone does it, stimulus adds nothing that shows'
    """
    adds: dict[str, bool] = {}
    for name, step in sorted(steps.items(), key=lambda item: item[0].partition(" over ")[0].count("+")):
        larger, smaller = (set(part.split("+")) for part in name.split(" over "))
        if len(larger - smaller) == 1 and "(" not in name:  # not the same effects under another observation
            adds[(larger - smaller).pop()] = bool((step["pooled_low"] or 0.0) > 0)
    tells, silent = ([effect for effect in adds if adds[effect] is wanted] for wanted in (True, False))
    if not tells:
        return "no single effect shows" if adds else ""
    if not silent:
        return f"{', '.join(tells)}: each adds to the others"
    does = f"{' and '.join(tells)} {'alone does' if len(tells) == 1 else 'do'} it"
    return f"{does}, {' and '.join(silent)} add{'s' * (len(silent) == 1)} nothing that shows"


def answer_of(stored: Stored) -> Answer | None:
    """Does the model predict held-out trials better than the best baseline? None where nothing was held out."""
    found = stored.summary.get("against_best")
    if not found:
        return None
    names = rival_names(stored.kind)
    slowly, gains = found.get("slow"), f"{SLOWLY},"
    gain, low, high = (
        math.nan if found[key] is None else found[key] for key in ("pooled", "pooled_low", "pooled_high")
    )
    what = f"the model of {found['model'].replace('+', ', ')}{gains if found.get('both') else ''}"
    what += f" ({told})" if low > 0 and (told := what_tells(stored.summary["steps"])) else ""
    against = names[found["baseline"]] + (gains.rstrip(",") if slowly and found["baseline"] != "drift" else "")
    p = stored.arrays.get("drift_pvalue", np.full(1, np.nan))
    n = len(drifting(p))
    first = f"{n} of {np.isfinite(p).sum()} units drift beyond the model (--drift)" if n else ""
    unknown = (
        "cannot tell" if n and found.get("both") and not low > 0 else ""
    )  # the drift that it lacks may hide what it has
    unit = "bits per spike on held-out trials"
    return answer(what, against, gain, low, high, unit, verdict=unknown, first=first)


def further(stored: Stored) -> list[dict[str, Any]]:
    """What would narrow the answer: half of its 95 % interval now, and predicted for more trials; nothing without an interval.

    Trials of the same kind: the spread between folds falls with the square root of their number. The quantile of Student's t stays, as the
    number of folds does.
    """
    found = stored.summary.get("against_best") or {}
    low, high = found.get("pooled_low"), found.get("pooled_high")
    if low is None or high is None or not math.isfinite(high - low) or high <= low:
        return []
    n, each = len(stored.arrays["taste"]), f"of each {stored.kind}"
    n_labels = len(set(stored.arrays["taste"].tolist()))
    rows = []
    for part in (0.5, 1, 3):
        more = max(1, round(part * n / n_labels))
        what = f"{more} more segments" if stored.kind == "recording" else f"{more} more trials {each}"
        then = (high - low) / 2 * math.sqrt(n / (n + more * n_labels))
        rows.append({"measurement": what, "now": (high - low) / 2, "then": then, "unit": "bits per spike"})
    return rows


def explained(stored: Stored) -> int | None:
    """Number of units whose held-out bits per spike are above zero; None where nothing was held out."""
    scores = stored.arrays.get("bits_per_spike_cv")
    return None if scores is None else int((scores > 0).sum())
