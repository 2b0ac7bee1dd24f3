"""Figures: weights side by side, eigenvalues, calibration, gain over ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

COLOURS = {
    "truth": "black",
    "ridge": "#E69F00",
    "oracle ridge": "#999999",
    "diffusion": "#0072B2",
    "ep": "#D55E00",
    "combined": "#56B4E9",
    "regression": "#009E73",
    "pigdm": "#CC79A7",
}


def weights_figure(panels: Mapping[str, np.ndarray], title: str) -> Figure:
    """Return weight matrices (N, N) side by side on one colour scale; panels whose name holds 'sd' have their own."""
    figure = Figure(figsize=(2.9 * len(panels), 3.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    limit = max(np.abs(M).max() for name, M in panels.items() if "sd" not in name)
    for axis, (name, M) in zip(axes, panels.items()):
        if "sd" in name:
            image = axis.imshow(M, cmap="viridis", vmin=0)
            figure.colorbar(image, ax=axis, shrink=0.7, label="sd of a weight")
        else:
            image = axis.imshow(M, cmap="RdBu_r", vmin=-limit, vmax=limit)
            if axis is axes[0]:
                figure.colorbar(image, ax=axis, shrink=0.7, label="weight", location="left")
        axis.set(title=name, xlabel="presynaptic neuron", xticks=[], yticks=[])
    axes[0].set_ylabel("postsynaptic neuron")
    figure.suptitle(title)
    return figure


def eigenvalue_figure(sets: Mapping[str, np.ndarray], title: str) -> Figure:
    """Return the eigenvalues of each set of matrices (B, N, N) in the complex plane, with the unit circle."""
    figure = Figure(figsize=(4.2 * len(sets), 4.8), layout="constrained")
    angle = np.linspace(0, 2 * np.pi, 200)
    axes = np.atleast_1d(figure.subplots(1, len(sets), sharex=True, sharey=True))
    for axis, (name, W) in zip(axes, sets.items()):
        z = np.linalg.eigvals(W).ravel()
        axis.plot(z.real, z.imag, ".", ms=2, alpha=0.4, color=COLOURS.get(name, "#0072B2"))
        axis.plot(np.cos(angle), np.sin(angle), "k-", lw=0.8)
        axis.set(title=f"{name}, {len(W)} matrices", xlabel="real part", aspect="equal")
    axes[0].set_ylabel("imaginary part")
    figure.suptitle(title)
    return figure


def benchmark_figure(rows: Sequence[Mapping[str, Any]], n_networks: int) -> Figure:
    """Return the entry correlation of each method against the number of trials, a panel a noise level and observed fraction."""
    cells = sorted({(r["noise"], r["observed"]) for r in rows})
    figure = Figure(figsize=(4.2 * len(cells), 3.8), layout="constrained")
    for axis, (noise, observed) in zip(np.atleast_1d(figure.subplots(1, len(cells), sharey=True)), cells):
        part = [r for r in rows if (r["noise"], r["observed"]) == (noise, observed)]
        names = [
            n for n in ("ridge", "oracle ridge", "ep", "combined", "regression", "pigdm", "diffusion") if n in part[0]
        ]
        for name, aside in zip(
            names, np.linspace(0.95, 1.05, len(names))
        ):  # so that equal values do not hide each other
            K, mean, se = (np.array([r[k] for r in part]) for k in ("trials", name, f"{name} se"))
            axis.errorbar(aside * K, mean, 2 * se, label=name, color=COLOURS[name], marker="o", ms=4, capsize=2)
        axis.set(xscale="log", xlabel="trials K", title=f"noise {noise:g}, {observed:.0%} observed")
        axis.set_xticks(sorted({r["trials"] for r in part}), [str(k) for k in sorted({r["trials"] for r in part})])
        axis.minorticks_off()
    figure.axes[0].set_ylabel("entry correlation with the truth")
    figure.axes[0].legend(frameon=False)
    figure.suptitle(f"{n_networks} held-out networks, bars are 2 standard errors")
    return figure


def calibration_figure(rows: Sequence[Mapping[str, Any]], histogram: np.ndarray, n_networks: int) -> Figure:
    """Return found against nominal coverage of each condition, and the rank histogram of all entries of the last."""
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels = (50, 80, 95)
    left.plot([0, 1], [0, 1], color="#999999", lw=1)
    for row in rows:
        left.plot(
            [p / 100 for p in levels],
            [row[f"coverage {p} %"] for p in levels],
            "o-",
            ms=4,
            color=COLOURS["diffusion"],
            alpha=0.5,
        )
    left.set(
        xlabel="nominal coverage",
        ylabel="found coverage",
        title=f"{len(rows)} conditions, {n_networks} networks each",
    )
    right.bar(
        (np.arange(len(histogram)) + 0.5) / len(histogram), histogram, 0.9 / len(histogram), color=COLOURS["diffusion"]
    )
    right.axhline(1, color="black", lw=0.8)
    right.set(xlabel="rank of the true weight among samples", ylabel="density", title="last condition")
    return figure


def trajectory_figure(
    runs: Mapping[str, np.ndarray], draws: Sequence[np.ndarray], a: float, title: str, n_neurons: int = 4
) -> Figure:
    """Return the rates (T, N) of the first neurons under true and estimated weights, and under posterior samples (thin lines)."""
    figure = Figure(figsize=(8.4, 1.6 * n_neurons + 0.6), layout="constrained")
    time = a * np.arange(len(runs["truth"]))
    axes = np.atleast_1d(figure.subplots(n_neurons, 1, sharex=True))
    for neuron, axis in enumerate(axes):
        for k, x in enumerate(draws):
            label = "posterior samples" if k == 0 else None
            axis.plot(time, x[:, neuron], lw=0.6, alpha=0.5, color=COLOURS["diffusion"], label=label)
        for name, x in runs.items():
            style = "--" if name == "truth" else "-"
            label = "posterior mean" if name == "diffusion" else name
            axis.plot(time, x[:, neuron], style, lw=1.6, color=COLOURS[name], label=label)
        axis.set(ylim=(-1.05, 1.05), ylabel=f"neuron {neuron}")
    axes[-1].set_xlabel("time (membrane time constants)")
    figure.supylabel("rate, tanh h")
    axes[0].legend(frameon=False, ncol=4, fontsize=8, loc="upper right")
    figure.suptitle(title)
    return figure


def activity_figure(y: np.ndarray, observed: np.ndarray, title: str, n_trials: int = 4) -> Figure:
    """Return the rates (K, T, N) of the first trials as images, a row a neuron; neurons that were not recorded stay grey."""
    shown = y[:n_trials]
    figure = Figure(figsize=(3.2 * len(shown) + 1, 3.6), layout="constrained")
    limit = float(np.abs(shown[:, :, observed]).max())
    axes = np.atleast_1d(figure.subplots(1, len(shown), sharey=True))
    for k, (axis, x) in enumerate(zip(axes, shown)):
        image = axis.imshow(
            np.where(observed, x, np.nan).T,
            aspect="auto",
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
        )
        axis.set(title=f"trial {k + 1} of {len(y)}", xlabel="time step", facecolor="#cccccc")
    axes[0].set_ylabel("neuron")
    figure.colorbar(image, ax=axes, shrink=0.8, label="rate (as recorded)")
    figure.suptitle(f"{title}: {int(observed.sum())} of {len(observed)} neurons recorded, {y.shape[1]} steps a trial")
    return figure


def behaviour_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return median and 95 % interval over posterior samples of every quantity, a panel each, the true value as a cross."""
    figure = Figure(figsize=(2.0 * len(rows), 3.0), layout="constrained")
    for row, axis in zip(rows, np.atleast_1d(figure.subplots(1, len(rows)))):
        low, middle, high = row["2.5 %"], row["median"], row["97.5 %"]
        bars = [[middle - low], [high - middle]]
        axis.errorbar([0], [middle], bars, fmt="o", capsize=4, color=COLOURS["diffusion"], label="samples, 95 %")
        if "truth" in row:
            axis.plot([0.3], [row["truth"]], "x", color=COLOURS["truth"], label="truth")
        unit = " (1 / tau)" if "exponent" in row["quantity"] else ""
        axis.set(xlim=(-0.6, 0.6), xticks=[], ylabel=f"{row['quantity']}{unit}")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncol=2
    )
    figure.suptitle(title)
    return figure
