"""Figures: what each unit did and was estimated to do, what its filters are, what explains it, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files.stored import Stored
from ..score.evaluate import BASELINES
from ..score.tables import compared

# One colour for one thing (Okabe & Ito 2008).
COLOUR = {"rate": "#D55E00", "psth": "#4D4D4D", "in-sample": "#999999", "held-out": "#0072B2", "psth model": "#999999"}
TASTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **grid):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def _tidy(axis) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def bits_distribution(stored: Stored) -> Figure:
    """How many bits per spike do units reach, in-sample and held out?"""
    figure, ((axis,),) = _figure(6, 3.6)
    names = {"in-sample": "bits_per_spike", "held-out": "bits_per_spike_cv"}
    found = {k: stored.arrays[name] for k, name in names.items() if name in stored.arrays}
    series = {k: v[np.isfinite(v)] for k, v in found.items() if np.isfinite(v).any()}
    everything = np.concatenate([*series.values(), [0.0]])
    n = max((len(v) for v in series.values()), default=0)
    edges = np.histogram_bin_edges(everything, int(np.clip(2 * np.sqrt(n), 8, 24)))
    for name, values in series.items():
        step = {"histtype": "stepfilled", "alpha": 0.55} if name == "held-out" else {"histtype": "step", "lw": 1.6}
        axis.hist(values, edges, color=COLOUR[name], label=f"{name}, median {np.median(values):.3f}", **step)
    axis.axvline(0, color="k", lw=0.8, ls=":")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(
        xlabel=f"bits per spike over the mean rate of the {stored.kind}",
        ylabel="units",
        title=f"Information gained, n = {n} units",
    )
    if series:
        figure.legend(frameon=False, loc="outside lower center", ncols=2)
    _tidy(axis)
    return figure


def bits_by_taste_region(rows: Sequence[Mapping], kind: str) -> Figure:
    """Held-out bits per spike (in-sample where nothing was held out) of every unit, by taste and region."""
    key = "bits_per_spike_cv" if any(np.isfinite(float(r["bits_per_spike_cv"])) for r in rows) else "bits_per_spike"
    tastes = list(dict.fromkeys(r["taste_name"] for r in rows))
    regions = list(dict.fromkeys(r["region"] for r in rows))
    figure, ((axis,),) = _figure(max(4.5, 1.1 * len(tastes) * len(regions) ** 0.5 + 2), 3.8)
    for j, region in enumerate(regions):
        for k, taste in enumerate(tastes):
            values = np.array([float(r[key]) for r in rows if r["taste_name"] == taste and r["region"] == region])
            values = values[np.isfinite(values)]
            if not len(values):
                continue
            centre = k + (j - (len(regions) - 1) / 2) * 0.8 / len(regions)
            jitter = np.linspace(-0.25, 0.25, len(values)) / len(regions)
            colour = TASTE[j % len(TASTE)]
            axis.plot(centre + jitter, np.sort(values), "o", ms=3.5, alpha=0.6, color=colour, mew=0)
            axis.plot([centre - 0.3 / len(regions), centre + 0.3 / len(regions)], [np.median(values)] * 2, color=colour, lw=2.4,
                      label=f"{region} (n = {len(values)})" if k == 0 else None)  # fmt: skip
    axis.axhline(0, color="k", lw=0.8, ls=":")
    axis.set_xticks(range(len(tastes)), tastes, rotation=20 if len(tastes) > 3 else 0)
    held = "held-out" if key.endswith("cv") else "in-sample"
    axis.set(ylabel=f"{held} bits per spike", title=f"Each dot is a unit on the trials of one {kind}, bars are medians")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)
    _tidy(axis)
    return figure


def model_comparison(stored: Stored) -> Figure:
    """What explains the spikes: pooled held-out bits per spike of nested models and of simple rivals."""
    shown = {k: v for k, v in compared(stored).items() if v["pooled"] is not None}
    worst = min((v["pooled"] for k, v in shown.items() if k != "rolling window"), default=0)
    figure, ((axis,),) = _figure(6.4, 0.5 * len(shown) + 1.5)
    names = list(shown)
    for row, name in enumerate(names):
        value = shown[name]
        ours = name in stored.scores.keys() - set(BASELINES) or name.startswith(list(stored.summary["models"])[-1])
        colour = COLOUR["held-out" if ours else "psth"]
        axis.barh(row, value["pooled"], color=colour, height=0.6)
        axis.plot([value["pooled_low"], value["pooled_high"]], [row, row], color="k", lw=1.4)
    best = max(np.nanmax([v["pooled"], v["pooled_high"] or np.nan]) for v in shown.values())
    low = min(0.0, worst) - 0.25 * max(best, 0.01)
    clipped = [n for n in names if shown[n]["pooled"] < low]
    axis.set_xlim(low, max(best, 0.002) * 1.08)
    for name in clipped:
        axis.text(low, names.index(name), f"  {shown[name]['pooled']:.3f}", va="center", color="w")
    axis.axvline(0, color="k", lw=0.8)
    axis.set_yticks(range(len(names)), ["PSTH" if name == "psth" else name for name in names])
    axis.invert_yaxis()
    n_units = next(iter(shown.values()))["n_units"]
    label = "held-out bits per spike, pooled (95 % interval over folds)"
    axis.set(xlabel=label, title=f"What explains the spikes, n = {n_units} units")
    _tidy(axis)
    return figure


def goodness_of_fit(stored: Stored) -> Figure:
    """Time rescaling: quantiles of rescaled intervals less the uniform, each line a unit, with the 95 % band."""
    figure, (axes,) = _figure(8, 3.6, 1, 2)
    grid, curves, p = (
        np.linspace(0, 1, stored.arrays["ks_curve"].shape[1]),
        stored.arrays["ks_curve"],
        stored.arrays["ks_pvalue"],
    )
    for curve, value in zip(curves, p):
        if np.isfinite(value):
            axes[0].plot(
                grid, curve - grid, lw=0.8, alpha=0.6, color=COLOUR["rate"] if value < 0.05 else COLOUR["held-out"]
            )
    spikes = stored.arrays["n_spikes"][np.isfinite(p)]
    if len(spikes):
        band = 1.36 / np.sqrt(np.median(spikes))
        axes[0].axhspan(
            -band, band, color="0.9", zorder=0, label="95 % band at the median spike count; orange: p < .05"
        )
        figure.legend(frameon=False, fontsize=8, loc="outside lower left")
    axes[0].set(
        xlabel="quantile of rescaled intervals (model)",
        ylabel="empirical less model CDF",
        title=f"Time rescaling, n = {len(spikes)} units",
    )
    good = p[np.isfinite(p)]
    axes[1].hist(good, np.linspace(0, 1, 21), color=COLOUR["held-out"])
    title = f"{(good < 0.05).sum()} of {len(good)} units rejected at .05"
    axes[1].yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[1].set(xlabel="Kolmogorov-Smirnov p", ylabel="units", title=title)
    for axis in axes:
        _tidy(axis)
    return figure


def coupling_matrix(stored: Stored) -> Figure | None:
    """Summed coupling filters (target x source) and the probability of each edge; None without coupling."""
    coupled = [p for p in stored.populations if "coupling" in p]
    if not coupled:
        return None
    figure, axes = _figure(8.4, 3.9 * len(coupled), len(coupled), 2)
    for row, population in zip(axes, coupled):
        total = population["coupling"].sum(axis=2)
        limit = max(np.abs(total).max(), 1e-3)
        edges = population.get("edge_probability", (total != 0).astype(float))
        for axis, matrix, label, style in (
            (row[0], total, "summed filter, log rate per spike", {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit}),
            (row[1], edges, "probability of the edge", {"cmap": "Greys", "vmin": 0, "vmax": 1}),
        ):
            shown = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)  # no unit is its own neighbour
            image = axis.imshow(shown, interpolation="nearest", **style)
            axis.set_facecolor("#C8DCE8")
            figure.colorbar(image, ax=axis, label=label, shrink=0.8)
            ticks = range(0, len(matrix), max(1, len(matrix) // 10))
            axis.set_xticks(ticks, [population["units"][i] for i in ticks])
            axis.set_yticks(ticks, [population["units"][i] for i in ticks])
            axis.set(xlabel="source unit", ylabel="target unit")
        name = population["region"] + ("" if population["taste"] is None else f", {stored.tastes[population['taste']]}")
        row[0].set_title(f"Coupling in {name}, n = {len(total)} units")
        row[1].set_title("blue: not modelled", fontsize=9)
    return figure


def covariate_curves(stored: Stored) -> Figure | None:
    """What each covariate does to the log rate: the units with the clearest effect, with 95 % intervals; None without any."""
    found = [(p, c) for p in stored.populations for c in stored.covariates if _key(c) in p]
    if not found:
        return None
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = _figure(3.8 * columns + 0.4, 3.2 * rows, rows, columns)
    for axis, (population, covariate) in zip(axes.ravel(), found):
        key = _key(covariate)
        value, error, x = population[key], population[key + "_se"], population[key + "_x"]
        clear = np.nan_to_num(np.abs(value).max(axis=1) / np.maximum(error.mean(axis=1), 1e-9))
        if x.ndim == 2:
            unit = int(clear.argmax())
            side = round(len(x) ** 0.5)
            limit = max(np.abs(value[unit]).max(), 1e-3)
            box = (x[:, 0].min(), x[:, 0].max(), x[:, 1].min(), x[:, 1].max())
            image = axis.imshow(
                value[unit].reshape(side, side).T,
                origin="lower",
                extent=box,
                cmap="PuOr_r",
                vmin=-limit,
                vmax=limit,
                aspect="auto",
            )
            figure.colorbar(image, ax=axis, label="log rate", shrink=0.8)
            axis.set(
                xlabel=covariate["name"].split(" x ")[0],
                ylabel=covariate["name"].split(" x ")[1],
                title=f"unit {population['units'][unit]}, the clearest of {len(value)}",
            )
            continue
        lagged = covariate["basis"] in ("lagged", "onset")
        points = x * stored.bin_ms if lagged else x
        for i, unit in enumerate(np.argsort(-clear)[:5]):
            colour = TASTE[i % len(TASTE)]
            axis.plot(points, value[unit], color=colour, lw=1.3, label=f"unit {population['units'][unit]}")
            low, high = value[unit] - 1.96 * error[unit], value[unit] + 1.96 * error[unit]
            axis.fill_between(points, low, high, color=colour, alpha=0.15, lw=0)
        axis.axhline(0, color="k", lw=0.7, ls=":")
        since = {"onset": "the stimulus"}.get(covariate["basis"], covariate["name"].removesuffix(" kernel"))
        axis.set(xlabel=f"ms since {since}" if lagged else covariate["name"], ylabel="effect on the log rate",
                 title=f"{covariate['name']} ({covariate['basis']}), the {min(5, len(value))} clearest of {len(value)} units")  # fmt: skip
        axis.legend(frameon=False, fontsize=6, ncols=2)
        _tidy(axis)
    for axis in axes.ravel()[len(found) :]:
        axis.set_axis_off()
    return figure


def decoding_courses(time: np.ndarray, courses: dict, n_stimuli: int, n_trials: int) -> Figure:
    """Decoding of the stimulus and correlation with palatability over time, with the null of shuffled labels."""
    figure, axes = _figure(6.4, 2.9 * len(courses), len(courses), 1, sharex=True)
    labels = {"identity": "held-out accuracy", "palatability": "mean squared Spearman correlation"}
    for axis, (name, course) in zip(axes[:, 0], courses.items()):
        axis.fill_between(
            time,
            course.null_mean,
            course.null_high,
            color="0.85",
            lw=0,
            label="shuffled labels: mean to 95th percentile",
        )
        axis.plot(time, course.value, color=COLOUR["held-out"], lw=1.6)
        clear = course.p_largest < 0.05
        axis.plot(
            time[clear],
            course.value[clear],
            "o",
            ms=4,
            color=COLOUR["rate"],
            mew=0,
            label="p < .05, corrected for all windows",
        )
        if name == "identity":
            axis.axhline(1 / n_stimuli, color="k", lw=0.7, ls=":")
        axis.axvline(0, color="k", lw=0.7, ls=":")
        axis.set(ylabel=labels[name], title=f"{name}, n = {n_trials} trials of {n_stimuli} stimuli")
        axis.legend(frameon=False, fontsize=7)
        _tidy(axis)
    axes[-1, 0].set_xlabel("ms from the stimulus")
    return figure


def _key(covariate: dict) -> str:
    return "covariate_" + covariate["name"].replace("/", "-")


def unit_figure(stored: Stored, unit: int) -> Figure:
    """One unit: rasters over the estimated rate with its interval and the PSTH, by taste, and the filters below."""
    n_tastes = len(stored.tastes)
    columns = max(n_tastes, 3)
    figure = Figure(figsize=(2.5 * columns + 0.6, 7), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1.3))
    above, below = parts
    axes = above.subplots(2, n_tastes, squeeze=False, sharex=True, sharey="row")
    for k in range(n_tastes):
        _rate_axes(axes[0, k], axes[1, k], stored, unit, k)
    axes[0, 0].set(ylabel="trial", ylim=(max(np.bincount(stored.arrays["taste"])), -1))
    axes[1, 0].set(ylabel="rate (Hz)", ylim=(0, None))
    above.legend(
        *axes[1, 0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=3
    )
    effects = [e for e in ("history", "stimulus", "coupling") if any(e in p for p in stored.populations)]
    for axis, effect in zip(below.subplots(1, len(effects), squeeze=False)[0], effects):
        _filter_axis(axis, stored, unit, effect)
    cv = stored.arrays.get("bits_per_spike_cv", np.full(len(stored.regions), np.nan))[unit]
    spikes, region = int(stored.arrays["n_spikes"][unit]), stored.regions[unit]
    held = f"{cv:.3f} held-out bits per spike" if np.isfinite(cv) else "no held-out score"
    figure.suptitle(f"Unit {unit} ({region}), {spikes} spikes in the window, {held}")
    return figure


def _rate_axes(raster, axis, stored: Stored, unit: int, k: int) -> None:
    """Raster of one taste, and below it the mean estimated rate with its interval over the PSTH."""
    at = stored.arrays["taste"] == k
    counts, rate = stored.arrays["counts"][at][:, :, unit], stored.arrays["rate"][at][:, :, unit]
    sd = stored.arrays["log_rate_sd"][at][:, :, unit]
    time, to_hz = stored.time_ms + stored.bin_ms / 2, 1000 / stored.bin_ms
    trial, b = np.nonzero(np.nan_to_num(counts))
    raster.plot(time[b], trial, "|", ms=3, mew=0.7, color="k")
    raster.set_xlim(stored.time_ms[0], stored.time_ms[-1] + stored.bin_ms)
    raster.set_title(f"{stored.tastes[k]}, n = {len(counts)} trials", fontsize=9)
    mean = _mean(rate) * to_hz
    half = 1.96 * np.sqrt(_mean(sd**2))
    low, high = mean * np.exp(-half), mean * np.exp(half)
    axis.plot(time, _mean(counts) * to_hz, color=COLOUR["psth"], lw=0.7, label="PSTH")
    axis.fill_between(time, low, high, color=COLOUR["rate"], alpha=0.25, lw=0, label="95 % interval of the estimate")
    axis.plot(time, mean, color=COLOUR["rate"], lw=1.5, label="estimated (fitted on all trials), mean over trials")
    axis.set_xlabel("ms from the stimulus" if stored.has_stimulus else "ms in the segment")
    for a in (raster, axis):
        if stored.has_stimulus:
            a.axvline(0, color="k", lw=0.7, ls=":")
        _tidy(a)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the trials (trial, bin) that have an observation, NaN where none has."""
    n = np.isfinite(values).sum(axis=0)
    return np.where(n > 0, np.nansum(values, axis=0) / np.maximum(n, 1), np.nan)


def _filter_axis(axis, stored: Stored, unit: int, effect: str) -> None:
    """The unit's filter over lag with standard errors; of coupling, the six strongest sources."""
    for population in stored.populations:
        if unit not in population["units"] or effect not in population:
            continue
        row = population["units"].index(unit)
        lag, value, error = population[effect + "_lag_ms"], population[effect][row], population[effect + "_se"][row]
        if effect == "history":
            suffix = "" if population["taste"] is None else stored.tastes[population["taste"]]
            lines = [(suffix, value, error)]
        elif effect == "stimulus":
            tastes = range(len(stored.tastes)) if population["taste"] is None else [population["taste"]]
            lines = [(stored.tastes[k], v, e) for k, v, e in zip(tastes, value, error)]
        else:
            order = np.argsort(-np.abs(value.sum(axis=1)))[:6]
            lines = [(f"from {population['units'][s]}", value[s], error[s]) for s in order if np.any(value[s])]
        offset = len(axis.lines)
        for i, (label, v, e) in enumerate(lines):
            colour = TASTE[(i + offset) % len(TASTE)]
            axis.plot(lag, v, color=colour, lw=1.3, label=label or None)
            axis.fill_between(lag, v - e, v + e, color=colour, alpha=0.2, lw=0)
    if not axis.lines:
        axis.text(0.5, 0.5, "no coupled unit", transform=axis.transAxes, ha="center", color="0.4")
        axis.set_axis_off()
        return
    axis.axhline(0, color="k", lw=0.7, ls=":")
    units = "log rate" if effect == "stimulus" else "log rate per spike"
    axis.set(
        xlabel="ms from the stimulus" if effect == "stimulus" else "lag (ms)", ylabel=units, title=f"{effect} (± s.e.)"
    )
    axis.title.set_fontsize(9)
    if 0 < len(axis.get_legend_handles_labels()[0]) <= 12:  # more have no colours of their own
        axis.legend(frameon=False, fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.32))
    _tidy(axis)
