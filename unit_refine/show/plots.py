"""Figures that a curator wants: what is confused with what, how sure, from which metrics, in which recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..score.evaluate import BINS, Scores, bin_edges, confusion_matrix

#: One colour for one class through the pipeline (Okabe and Ito 2008: told apart by colour-blind readers).
COLOURS = {
    "good": "#009E73", "sua": "#009E73", "neural": "#009E73", "mua": "#E69F00", "other": "#E69F00", "noise": "#8C564B",
}  # fmt: skip
BLUE, GREY = "#0072B2", "#7f7f7f"


def colour(name: str) -> str:
    """Return a class's colour."""
    return COLOURS.get(name, BLUE)


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Return the confusion matrix: share of each of the curator's classes, with the number of units."""
    figure = Figure(figsize=(1.6 + 1.3 * len(classes), 1.4 + 1.1 * len(classes)), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(len(classes)):
        for j in range(len(classes)):
            text = f"{share[i, j]:.0%}\n{int(matrix[i, j])}"
            axes.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.55 else "black")
    axes.set(
        xticks=range(len(classes)), xticklabels=classes, yticks=range(len(classes)), yticklabels=classes, xlabel="predicted class",
        ylabel="curator's class", title=f"Held-out units (n = {int(matrix.sum())})",
    )  # fmt: skip
    figure.colorbar(image, ax=axes, label="share of the curator's class", shrink=0.8)
    return figure


def roc_and_precision_recall(y: np.ndarray, p: np.ndarray, classes: Sequence[str], guess: np.ndarray) -> Figure:
    """Return ROC and precision-recall curves of each class against the rest, the decision marked."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, name in enumerate(classes):
        truth, called = np.equal(y, k), np.equal(guess, k)
        hits = (truth & called).sum()
        false_rate, true_rate, _ = roc_curve(truth, p[:, k])
        left.plot(false_rate, true_rate, color=colour(name), label=f"{name} (area {roc_auc_score(truth, p[:, k]):.3f})")
        left.plot((called & ~truth).sum() / (~truth).sum(), hits / truth.sum(), "o", color=colour(name), mec="black")
        precision, recall, _ = precision_recall_curve(truth, p[:, k])
        area = average_precision_score(truth, p[:, k])
        right.plot(recall, precision, color=colour(name), label=f"{name} (area {area:.3f}, share {truth.mean():.2f})")
        right.plot(hits / truth.sum(), hits / max(called.sum(), 1), "o", color=colour(name), mec="black")
    left.plot([0, 1], [0, 1], ":", color=GREY, label="chance")
    left.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC of held-out units (n = {len(y)})")
    right.set(xlabel="recall", ylabel="precision", title="Precision and recall; circles: the decision", ylim=(0, 1.02))
    for axes in (left, right):
        axes.legend(loc="lower left" if axes is right else "lower right", fontsize=9)
    return figure


def calibration(y: np.ndarray, balanced: np.ndarray, calibrated: np.ndarray, classes: Sequence[str]) -> Figure:
    """Return how often units with a given probability really are of the class, before and after calibration."""
    shown = range(len(classes)) if len(classes) > 2 else [1]
    figure = Figure(figsize=(1 + 3.7 * len(shown), 4.2), layout="constrained")
    for axes, k in zip(np.ravel(figure.subplots(1, len(shown))), shown):
        axes.plot([0, 1], [0, 1], ":", color=GREY)
        for p, label, style in (
            (balanced, "class-balanced (decides)", {"color": GREY, "marker": "s"}),
            (calibrated, "calibrated, cross-fitted", {"color": colour(classes[k]), "marker": "o"}),
        ):
            where = np.searchsorted(bin_edges(p[:, k]), p[:, k], "right")
            n = np.maximum(np.bincount(where, minlength=BINS), 1)
            frequency = np.bincount(where, weights=(y == k), minlength=BINS) / n
            error = 1.96 * np.sqrt(frequency * (1 - frequency) / n)
            axes.errorbar(
                np.bincount(where, weights=p[:, k], minlength=BINS) / n,
                frequency,
                yerr=error,
                label=label,
                capsize=2,
                lw=1.2,
                **style,
            )
        axes.set(
            xlabel=f"probability of {classes[k]}",
            ylabel=f"share that is {classes[k]}",
            title=f"Calibration, held out (n = {len(y)})",
            xlim=(0, 1),
            ylim=(-0.02, 1.02),
        )
        axes.legend(fontsize=8, loc="upper left")
    return figure


def importance(rows: Sequence[Mapping[str, Any]], top: int = 15) -> Figure:
    """Return what is lost on held-out recordings when correlated metrics are shuffled together; bars: sd over shuffles."""
    rows = list(rows)[:top][::-1]
    names = []
    for row in rows:
        members = row["metrics"]
        names.append(", ".join(members[:3]) + (f" + {len(members) - 3} more" if len(members) > 3 else ""))
    figure = Figure(figsize=(9.5, 1.2 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(rows)), [r["drop"] for r in rows], xerr=[r["sd"] for r in rows], color=BLUE, capsize=2)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set(
        xlabel="balanced accuracy lost when shuffled", title="Which metrics the decision rests on (held-out recordings)"
    )
    return figure


def abstention(curve: Sequence[Mapping[str, float]]) -> Figure:
    """Return balanced accuracy of the units kept against the share of units kept."""
    figure = Figure(figsize=(5.4, 4.0), layout="constrained")
    axes = figure.subplots()
    x, y = [r["coverage"] for r in curve], [r["balanced_accuracy"] for r in curve]
    axes.plot(x, y, "o-", color=BLUE)
    for i, row in enumerate(curve):
        if round(row["fraction"], 2) in (0.0, 0.2, 0.4):
            rises = i > 0 and y[i - 1] > y[i]  # towards the right, where the label stands
            axes.annotate(
                f"{row['fraction']:.0%} left: {row['balanced_accuracy']:.3f}",
                (row["coverage"], row["balanced_accuracy"]),
                xytext=(4, -14 if rises else 6),
                textcoords="offset points",
                fontsize=8,
            )
    axes.set(
        xlabel="share of units labelled",
        ylabel="balanced accuracy of these",
        title="Leaving the least confident to a person",
    )
    axes.margins(y=0.12)
    axes.set_xlim(right=max(x) + 0.16)
    axes.set_xticks(np.arange(0.5, 1.01, 0.1))
    return figure


def by_recording(scores: Scores, classes: Sequence[str]) -> Figure:
    """Return balanced accuracy of each held-out recording, the pooled score with its interval, and the interval for a new one."""
    rows = sorted(scores.by_group, key=lambda r: r["balanced_accuracy"])
    figure = Figure(figsize=(7.2, 1.6 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    low, high = scores.new_recording
    if np.isfinite(low):
        axes.axvspan(low, high, color=BLUE, alpha=0.10, label="95 % for one new recording")
    axes.axvspan(
        scores.low["balanced_accuracy"],
        scores.high["balanced_accuracy"],
        color=BLUE,
        alpha=0.25,
        label="95 % of the pooled score",
    )
    axes.axvline(
        scores.values["balanced_accuracy"],
        color=BLUE,
        label=f"all held-out units: {scores.values['balanced_accuracy']:.3f}",
    )
    axes.axvline(1 / len(classes), color=GREY, ls=":", label="chance")
    axes.plot([r["balanced_accuracy"] for r in rows], range(len(rows)), "o", color="black")
    axes.set_yticks(range(len(rows)), [f"{r['group']} (n = {r['n_units']})" for r in rows], fontsize=9)
    axes.set(
        xlabel="balanced accuracy", title="Score by recording, each held out", xlim=(min(0.3, 1 / len(classes)), 1)
    )
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def distributions(metrics: pd.DataFrame, predicted: Any, names: Sequence[str]) -> Figure:
    """Return the distribution of the most important metrics by predicted class (signed log axis, 1st to 99th percentile)."""
    predicted, names = np.asarray(predicted), [n for n in names if n in metrics.columns][:9]
    rows = int(np.ceil(len(names) / 3))
    figure = Figure(figsize=(10, 0.6 + 2.5 * rows), layout="constrained")
    present = list(dict.fromkeys(sorted(predicted)))
    panels = np.ravel(figure.subplots(rows, 3, squeeze=False))
    for axes, name in zip(panels, names):
        values = metrics[name].to_numpy(dtype=float)
        finite = np.isfinite(values)
        if not finite.any():
            continue
        low, high = np.quantile(values[finite], [0.01, 0.99])
        unit = np.nanmedian(np.abs(values[finite][values[finite] != 0])) if (values[finite] != 0).any() else 1.0
        z, edges = (
            np.arcsinh(np.clip(values, low, high) / unit),
            np.linspace(np.arcsinh(low / unit), np.arcsinh(high / unit) + 1e-9, 26),
        )
        for c in present:
            inside = finite & (predicted == c)
            axes.hist(
                z[inside],
                bins=edges,
                weights=np.full(inside.sum(), 1 / max(inside.sum(), 1)),
                histtype="step",
                lw=1.8,
                color=colour(c),
                label=f"{c} ({int((predicted == c).sum())})",
            )
        ticks = np.linspace(edges[0], edges[-1], 4)
        axes.set_xticks(ticks, [f"{np.sinh(t) * unit:.3g}" for t in ticks])
        axes.set(xlabel=f"{name} ({1 - finite.mean():.0%} missing)", ylabel="share of units")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=8, title="predicted class")
    figure.suptitle(f"Metrics by predicted class (n = {len(predicted)})")
    return figure


def score_figures(
    y: np.ndarray, p: np.ndarray, calibrated: np.ndarray, guess: np.ndarray, scores: Scores, classes: Sequence[str]
) -> dict[str, Figure]:
    """Return the figures that compare predictions with a curator's labels, by file name."""
    return {
        "confusion_matrix": confusion(confusion_matrix(y, guess, len(classes)), classes),
        "roc_precision_recall": roc_and_precision_recall(y, p, classes, guess),
        "calibration": calibration(y, p, calibrated, classes),
        "score_by_recording": by_recording(scores, classes),
    }
