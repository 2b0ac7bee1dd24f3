"""Which figures answer which question? Arrays in, matplotlib figures out; one colour for one model through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

# Okabe-Ito, colour-blind safe
COLOURS = {
    "informer": "#D55E00", "stack": "#0072B2", "ar": "#000000", "ar16": "#666666", "ar-drift": "#DDAA33", "ar-mixture": "#997700", "persistence": "#999999", "mean": "#CCCCCC",
    "var": "#009E73", "informer-hf": "#CC79A7", "autoformer-hf": "#AA4499", "nlinear": "#56B4E9", "dlinear": "#88CCEE",
    "linear-regression": "#E69F00", "context-mean": "#BBAA88", "stimulus-mean": "#F0E442",
    "patchtst": "#882255", "tsmixer": "#44AA99", "itransformer": "#117733", "poco": "#999933",
}  # fmt: skip
EMPHASISED = ("informer", "stack", "ar", "persistence")


def error_by_horizon(mse: Mapping[str, np.ndarray], low: Mapping, high: Mapping, dt_s: float, n_windows: int) -> Figure:
    """Return squared error against horizon, one line a model; bars (of the thick lines): 95 % interval over blocks of time."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(mse.items()):
        lead = (np.arange(1, len(values) + 1) + 0.04 * (i - len(mse) / 2)) * dt_s
        strong = name in EMPHASISED
        bars = np.clip([values - low[name], high[name] - values], 0, None) if strong else None
        axes.errorbar(lead, values, bars, label=name, color=COLOURS.get(name, "#332288"), lw=2 if strong else 1, elinewidth=0.7,
                      marker="o" if strong else ".", ms=4, zorder=3 if strong else 2)  # fmt: skip
    axes.set(
        xlabel="time ahead (s)",
        ylabel="mean squared error (z²)",
        title=f"Error against horizon, {n_windows} test windows",
    )
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def on_grid(times: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return times and values (window, ...) on a regular grid, NaN where there was no window, so that no line bridges a gap."""
    step = np.median(np.diff(times)) if len(times) > 1 else 1.0
    at = np.round((times - times[0]) / step).astype(int)
    grids = [np.full((at[-1] + 1, *v.shape[1:]), np.nan) for v in values]
    for grid, v in zip(grids, values):
        grid[at] = v
    return times[0] + step * np.arange(at[-1] + 1), *grids


def traces(
    times: np.ndarray, truth: np.ndarray, mean: np.ndarray, bands: np.ndarray, names: list[str], lead_s: float, who: str
) -> Figure:
    """Return example traces with the forecast made ``lead_s`` before.

    Parameters
    ----------
    times : (window,) s, of the target.
    truth, mean : (window, neuron).
    bands : (4, window, neuron), quantiles 5, 25, 75, 95 %.
    names : (neuron,), label of each neuron.
    lead_s, who : how long before the forecasts were made, and by which model.
    """
    times, truth, mean, *grids = on_grid(times, truth, mean, *bands)
    figure = Figure(figsize=(9, 1.7 * len(names) + 0.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    for i, (a, name) in enumerate(zip(axes, names)):
        a.fill_between(times, grids[0][:, i], grids[3][:, i], color="#D55E00", alpha=0.18, lw=0, label="90 %")
        a.fill_between(times, grids[1][:, i], grids[2][:, i], color="#D55E00", alpha=0.35, lw=0, label="50 %")
        a.plot(times, mean[:, i], color="#D55E00", lw=1.2, label="forecast")
        a.plot(times, truth[:, i], color="black", lw=0.8, label="truth")
        a.set_ylabel(f"{name}\n(z)", fontsize=8)
    axes[0].legend(
        fontsize=8, ncol=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False
    )  # above, not over the traces
    axes[0].set_title(loc="left", label=f"Truth and forecasts of {who}, made {lead_s:.2f} s before")
    axes[-1].set_xlabel("time (s)")
    return figure


def fan(
    times: np.ndarray, history: np.ndarray, lead: np.ndarray, mean: np.ndarray, bands: np.ndarray, names: list[str], who: str
) -> Figure:  # fmt: skip
    """Return what was seen last and what is forecast after it, with intervals that widen.

    Parameters
    ----------
    times, history : (time,) s before the last frame, (time, neuron).
    lead, mean, bands : (horizon,) s after it, (horizon, neuron), (4, horizon, neuron): quantiles 5, 25, 75, 95 %.
    names, who : label of each neuron; the model.
    """
    figure = Figure(figsize=(7, 1.7 * len(names) + 0.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    for i, (a, name) in enumerate(zip(axes, names)):
        ahead = np.r_[0, lead]
        low, inner_low, inner_high, high, middle = (np.r_[history[-1, i], v[:, i]] for v in (*bands, mean))
        a.fill_between(ahead, low, high, color="#D55E00", alpha=0.18, lw=0, label="90 %")
        a.fill_between(ahead, inner_low, inner_high, color="#D55E00", alpha=0.35, lw=0, label="50 %")
        a.plot(ahead, middle, color="#D55E00", lw=1.2, label="forecast")
        a.plot(times, history[:, i], color="black", lw=0.8, label="seen")
        a.axvline(0, color="#999999", lw=0.8, ls="--")
        a.set_ylabel(f"{name}\n(z)", fontsize=8)
    axes[0].legend(fontsize=8, ncol=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes[0].set_title(loc="left", label=f"The next {lead[-1]:.1f} s after the recording's end, by {who}")
    axes[-1].set_xlabel("time after the last frame (s)")
    return figure


def skill_map(position: np.ndarray, skill: np.ndarray, fov: np.ndarray, against: str) -> Figure:
    """Return each neuron's skill at its place in the cortex; where places are unknown, by neuron in the order of the file."""
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    label = f"skill against {against} (1 - error ratio)"
    if np.isfinite(position[:, :2]).all() and np.ptp(position[:, :2]) > 0:
        limit = max(0.05, float(np.nanpercentile(np.abs(skill), 98)))
        x, y = position[:, 0], position[:, 1]
        look: dict[str, Any] = {
            "cmap": "PuOr_r",
            "vmin": -limit,
            "vmax": limit,
            "s": 14,
            "edgecolor": "#555555",
            "linewidth": 0.2,
        }
        figure.colorbar(axes.scatter(x, y, c=skill, **look), label=label)
        axes.set(xlabel="medio-lateral (µm or pixels)", ylabel="antero-posterior (µm or pixels)")
    else:
        axes.axhline(0, color="#999999", lw=1, ls="--")
        for i in np.unique(fov):
            rows = np.flatnonzero(fov == i)
            axes.plot(rows, skill[rows], ".", color="#D55E00" if i % 2 == 0 else "#0072B2", label=f"field of view {i}")
        axes.set(xlabel="neuron (positions are unknown)", ylabel=label)
        axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"Skill per neuron, n = {len(skill)}, median {np.nanmedian(skill):+.3f}")
    return figure


def rasters(times: np.ndarray, truth: np.ndarray, mean: np.ndarray, lead_s: float, most: int = 300) -> Figure:
    """Return rasters (neuron by time) of truth, forecast and residual, neurons ordered by their first principal component."""
    use = np.linspace(0, truth.shape[1] - 1, min(most, truth.shape[1])).astype(int)
    y, f = truth[:, use], mean[:, use]
    centred = y - y.mean(0)
    order = np.argsort(np.linalg.svd(centred, full_matrices=False)[2][0])
    times, y, f = on_grid(times, y, f)
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, sharey=True)
    for a, values, title in zip(axes, (y, f, y - f), ("truth", f"forecast {lead_s:.2f} s before", "residual")):
        image = a.imshow(values[:, order].T, aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3, interpolation="nearest",
                         extent=(times[0], times[-1], len(use), 0))  # fmt: skip
        a.set(ylabel="neuron", title=f"{title} (n = {len(use)})")
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="activity (z)", shrink=0.6)
    return figure


def calibration(levels: np.ndarray, observed: Mapping[str, np.ndarray], n: int) -> Figure:
    """Return by how much the share of truths below a predicted quantile differs from its level."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="#999999", lw=1, ls="--", label="calibrated")
    largest = 0.05
    for name, values in observed.items():
        axes.plot(levels, values - levels, marker="o", ms=3, color=COLOURS.get(name, "#332288"), label=name)
        largest = max(largest, 1.1 * np.abs(values - levels).max())
    title = f"Calibration, n = {n} values"
    axes.set(xlabel="quantile level", ylabel="share of truths below - level", title=title, ylim=(-largest, largest))
    axes.legend(fontsize=8, frameon=False)
    return figure
