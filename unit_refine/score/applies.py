"""Does this model apply here? Each metric of a new recording beside the recordings that the model learned from.

A metric is told when its quartiles all lie beyond those of every training recording, when its order of magnitude does by a factor of
ten (a metric that is mostly near zero does not show another unit otherwise), when most of its values lie outside the training
units', when one value dominates, when it is missing, or when it goes along with the other metrics as another one does: another unit (V for uV, ms for s), another sign, another program's definition
or swapped columns look like that. A difference between two real recordings can look like that too, so this is a warning, never a
refusal. The rule and its limits are our own; measured on leave-one-mouse-out pairs (README).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

QUARTILES = (0.25, 0.5, 0.75)
TAILS = (0.005, 0.995)
MARGIN = 0.75  #: how far beyond every training recording a quartile lies, in interquartile ranges of the training units
DECADES = 1.0  #: how far beyond every training recording the order of magnitude lies; another unit of measure is three or more
SIGN_SHARE = 0.2  #: how far beyond every training recording the share of negative values lies where the sign is turned
FEW_SIGNS = 3  #: values that are not zero, all of a sign that no training unit has
WRONG_SIGN = 0.05  #: share of units with a sign that no training unit has
OUTSIDE, DOMINANT, MISSING = 0.6, 0.5, 0.9  #: shares of units from which a metric is told
SWAPPED = 0.3  #: by how much a metric must go along with the others like another one rather than like itself
FLIPPED = 0.15  #: by how much a metric must go along with the others like its own negative rather than like itself
CHANCE = 0.01  #: a constant or missing metric is told unless training recordings make it likelier than this
MIN_UNITS = 10  #: fewer units tell nothing about a distribution


class Finding(NamedTuple):
    """What is odd about a metric of a new recording."""

    metric: str
    why: str
    share_outside: float  #: share of its values beyond the tails of the training units


def reference(metrics: pd.DataFrame, groups: np.ndarray) -> dict[str, Any]:
    """Return what the training recordings look like, metric by metric, for `findings`.

    Parameters
    ----------
    metrics : (n, m) metrics of the training units.
    groups : (n,) recording of each.
    """
    found = {}
    for name in metrics.columns:
        values = metrics[name].to_numpy(dtype=float)
        used = values[np.isfinite(values) & (values != 0)]
        scale = float(np.median(np.abs(used))) if len(used) else 1.0
        per = [describe(values[groups == g], scale) for g in np.unique(groups)]
        z = np.arcsinh(values[np.isfinite(values)] / scale)
        if not len(z):
            continue
        quartiles = [d["quartiles"] for d in per if d["quartiles"]] or [[float(q) for q in np.quantile(z, QUARTILES)]]
        spread = float(np.subtract(*np.quantile(z, [QUARTILES[2], QUARTILES[0]])))
        found[str(name)] = {
            "scale": scale, "quartiles": quartiles, "tails": [float(q) for q in np.quantile(z, TAILS)], "spread": spread,
            "nonzero": [d["nonzero"] for d in per if d["nonzero"]], "magnitude": [d["magnitude"] for d in per if d["magnitude"]], "signs": [float(np.mean(z < 0)), float(np.mean(z > 0))],
            "negative": [d["negative"] for d in per if d["negative"] is not None], "missing": max(d["missing"] for d in per),
            "dominant": max(d["dominant"] for d in per), "usual": most_frequent(values),
        }  # fmt: skip
    return {"metrics": found, "correlation": correlations(metrics)}


def describe(values: np.ndarray, scale: float) -> dict[str, Any]:
    """Return quartiles (of all and of non-zero values, arsinh scale; of log10 of the size of the latter), share missing and share of the most frequent value."""
    finite = values[np.isfinite(values)]
    z = np.arcsinh(finite / scale)
    enough = len(z) >= MIN_UNITS
    nonzero = z[z != 0]
    return {
        "quartiles": [float(q) for q in np.quantile(z, QUARTILES)] if enough else [],
        "nonzero": [float(q) for q in np.quantile(nonzero, QUARTILES)] if len(nonzero) >= MIN_UNITS else [],
        "magnitude": [float(q) for q in np.quantile(np.log10(np.abs(finite[finite != 0])), QUARTILES)]
        if len(nonzero) >= MIN_UNITS
        else [],
        "negative": float(np.mean(nonzero < 0)) if len(nonzero) >= MIN_UNITS else None,
        "missing": 1 - len(finite) / max(len(values), 1),
        "dominant": float(np.unique(z, return_counts=True)[1].max() / len(z)) if enough else 0.0,
    }


def most_frequent(values: np.ndarray) -> float:
    """Return the value that most units have."""
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return float(found[counts.argmax()])


def constant(values: np.ndarray, known: Mapping[str, Any]) -> str:
    """Return why a metric that is the same, or missing, in every unit is odd; empty where it varies or was so in training.

    Where a training recording had the value in a share d of its units, n units all have it by chance with probability d^n.
    """
    finite = values[np.isfinite(values)]
    if len(values) >= MIN_UNITS and not len(finite) and known["missing"] ** len(values) < CHANCE:
        return f"missing in every unit (at most {known['missing']:.0%} in training)"
    if len(finite) < MIN_UNITS or finite.min() < finite.max():
        return ""
    other = "usual" in known and not np.isclose(finite[0], known["usual"], rtol=1e-5, atol=0)
    if other or known["dominant"] ** len(finite) < CHANCE:
        return f"all units have the same value, {finite[0]:.4g} (at most {known['dominant']:.0%} of a recording's units in training)"
    return ""


def correlations(metrics: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return Spearman's correlation of each pair of metrics; pairs with too few units are left out."""
    table = metrics.astype(float).corr("spearman", min_periods=MIN_UNITS * 2)
    return {
        str(a): {str(b): float(v) for b, v in row.items() if b != a and np.isfinite(v)} for a, row in table.iterrows()
    }


def findings(metrics: pd.DataFrame, known: Mapping[str, Any]) -> list[Finding]:
    """Return the metrics of a recording that do not look like the training recordings'."""
    found = {}
    for name in [n for n in metrics.columns if n in known["metrics"]]:
        why, share = judge(metrics[name].to_numpy(dtype=float), known["metrics"][name])
        if why:
            found[name] = Finding(str(name), why, share)
    for name in flipped(metrics, known["correlation"]):
        why = "the other sign: it goes along with the other metrics as its negative did in training"
        found.setdefault(name, Finding(name, why, float("nan")))
    for name, other in swapped(metrics, known["correlation"]):
        found.setdefault(
            name, Finding(name, f"goes along with the other metrics as '{other}' does: swapped columns?", float("nan"))
        )
    return list(found.values())


def judge(values: np.ndarray, known: Mapping[str, Any]) -> tuple[str, float]:
    """Return why a metric's values are odd, empty when they are not, and the share beyond the training units' tails."""
    own = describe(values, known["scale"])
    if same := constant(values, known):
        return same, float("nan")
    if own["missing"] >= MISSING and known["missing"] < 0.5 and len(values) >= MIN_UNITS:
        return f"missing in {own['missing']:.0%} of the units (at most {known['missing']:.0%} in training)", float(
            "nan"
        )
    if not own["quartiles"]:
        return "", float("nan")
    finite = values[np.isfinite(values)]
    z, (low, high) = np.arcsinh(finite / known["scale"]), known["tails"]
    outside = float(np.mean((z < low) | (z > high)))
    if own["dominant"] > max(DOMINANT, known["dominant"] + 0.25):
        return f"{own['dominant']:.0%} of the units have the same value", outside
    if wrong := turned_sign(z, known):
        return wrong, outside
    odd = beyond(own["quartiles"], known["quartiles"], known["spread"])
    if known["nonzero"] and own["nonzero"]:
        spread = max(q[2] - q[0] for q in known["nonzero"])
        odd = odd or beyond(own["nonzero"], known["nonzero"], spread)
    if known.get("magnitude") and own["magnitude"]:
        odd = odd or beyond(own["magnitude"], known["magnitude"], DECADES / MARGIN)
    if not odd and outside <= OUTSIDE:
        return "", outside
    usual = float(np.sinh(np.median([q[1] for q in known["quartiles"]])) * known["scale"])
    middle = float(np.median(finite))
    power = 0.0
    if known.get("magnitude") and own["magnitude"]:
        power = own["magnitude"][1] - float(np.median([q[1] for q in known["magnitude"]]))
    return f"{looks_like(middle, usual, known['scale'], power)}median {middle:.3g}, in training {usual:.3g}", outside


def turned_sign(z: np.ndarray, known: Mapping[str, Any]) -> str:
    """Return why the signs of a metric's values are odd; empty where they are not.

    Either units have a sign that no training unit has, or the share of negative ones lies far beyond every training recording's while
    that of positive ones would not.
    """
    signs = [float(np.mean(z < 0)), float(np.mean(z > 0))]
    used = z[z != 0]
    for k, share in zip(known.get("signs", (1.0, 1.0)), signs):
        if k == 0 and (share > WRONG_SIGN or share * len(z) == len(used) >= FEW_SIGNS):
            return f"the other sign: {share:.0%} of the units have one that no training unit has"
    if len(used) < MIN_UNITS or not known.get("negative"):
        return ""
    own, low, high = float(np.mean(used < 0)), min(known["negative"]), max(known["negative"])
    far, near = max(own - high, low - own), max(1 - own - high, low - 1 + own)
    if far > SIGN_SHARE and near < SIGN_SHARE / 2:
        return f"the other sign: {own:.0%} of the values are negative, {low:.0%} to {high:.0%} in training recordings"
    return ""


def beyond(own: list[float], theirs: list[list[float]], spread: float) -> bool:
    """Return whether all three quartiles lie below, or all above, those of every training recording, by a margin."""
    quartiles, table, margin = np.array(own), np.array(theirs), MARGIN * max(spread, 1e-9)
    return bool((quartiles < table.min(axis=0) - margin).all() or (quartiles > table.max(axis=0) + margin).all())


def looks_like(middle: float, usual: float, scale: float, power: float) -> str:
    """Return what a difference looks like: another sign, or a factor of a thousand or a million.

    Parameters
    ----------
    middle, usual : median now, and in training.
    power : difference of the medians of log10 of the sizes of the values that are not zero.
    """
    if middle * usual < 0 and min(abs(middle), abs(usual)) > 0.3 * scale:
        return "the other sign: "
    for step in (3, 6):
        if abs(abs(power) - step) < 0.6:
            return f"another unit (a factor of about 1e{int(math.copysign(step, power))}): "
    return ""


def flipped(metrics: pd.DataFrame, known: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return metrics that go along with the others as their negatives did in training."""
    if len(metrics) < 5 * MIN_UNITS:
        return []
    now, found = correlations(metrics), []
    for a in [n for n in now if n in known]:
        shared = [n for n in now[a] if n in known[a] and n in now]
        if len(shared) >= 5:
            as_is, turned = (np.mean([abs(now[a][n] - sign * known[a][n]) for n in shared]) for sign in (1, -1))
            if as_is - turned > FLIPPED:
                found.append(a)
    return found


def swapped(metrics: pd.DataFrame, known: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return pairs of metrics of which each goes along with all others as the other one did in training."""
    if len(metrics) < 5 * MIN_UNITS:
        return []
    now = correlations(metrics)
    names = [n for n in now if n in known]

    def likeness(a: str, b: str) -> float:
        """Return how much metric ``a`` now behaves like ``b`` in training: 1 minus the mean difference of their correlations."""
        shared = [n for n in names if n not in (a, b) and n in now[a] and n in known[b]]
        return 1 - float(np.mean([abs(now[a][n] - known[b][n]) for n in shared])) if len(shared) >= 5 else float("nan")

    found = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            as_is, crossed = likeness(a, a) + likeness(b, b), likeness(a, b) + likeness(b, a)
            if crossed - as_is > SWAPPED:
                found += [(a, b), (b, a)]
    return found


def novelty(metrics: pd.DataFrame, known: Mapping[str, Any]) -> np.ndarray:
    """Return for each unit the share of its metrics that lie beyond the tails of the training units."""
    outside, counted = np.zeros(len(metrics)), np.zeros(len(metrics))
    for name in [n for n in metrics.columns if n in known["metrics"]]:
        own = known["metrics"][name]
        z = np.arcsinh(metrics[name].to_numpy(dtype=float) / own["scale"])
        counted += np.isfinite(z)
        outside += (z < own["tails"][0]) | (z > own["tails"][1])
    return outside / np.maximum(counted, 1)
