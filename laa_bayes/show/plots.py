"""What does it look like? Every figure of the pipeline, built from arrays, with units on the axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..neuron.dynamics import fixed_points, knees, net_current
from ..score.contraction import SWEEPS, Curves

NETWORK, EXACT, DATA = "#0072B2", "#D55E00", "#444444"  #: one colour for one thing (Okabe-Ito)
SEVERAL = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  #: one for each parameter


def label_of(name: str, units: dict[str, str]) -> str:
    """Return ``C_m (uF/cm2)`` for a parameter; coordinates and unknown names have no unit."""
    return f"{name} ({units[name]})" if units.get(name) else name


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def losses(epochs: Sequence) -> Figure:
    """Return training and validation loss against epoch (``train.Epoch`` lines)."""
    figure, axes = _figure(6, 3.2)
    x = [e.epoch for e in epochs]
    axes.plot(x, [e.loss for e in epochs], color=NETWORK, marker=".", label="training")
    axes.plot(x, [e.validation_loss for e in epochs], color=EXACT, marker=".", label="validation (noisy, held out)")
    axes.set(xlabel="epoch", ylabel="negative log posterior density (nats)", title=f"Loss over {len(x)} epochs")
    axes.legend(frameon=False)
    return figure


def recovery(truth: np.ndarray, mean: np.ndarray, sd: np.ndarray, names: Sequence[str], n_shown: int = 200) -> Figure:
    """Return posterior mean +- sd against the truth, in prior standard deviations."""
    figure, axes = _figure(2.5 * len(names), 2.8, 1, len(names), squeeze=False)
    for i, (name, ax) in enumerate(zip(names, axes[0], strict=True)):
        ax.errorbar(
            truth[:n_shown, i], mean[:n_shown, i], sd[:n_shown, i], fmt=".", color=NETWORK, alpha=0.5, ms=3, lw=0.8
        )
        ax.plot([-3, 3], [-3, 3], color=DATA, lw=0.8)
        ax.set(title=f"{name}, r = {np.corrcoef(truth[:, i], mean[:, i])[0, 1]:.3f}", xlabel="truth (prior sd)")
    axes[0, 0].set_ylabel("posterior mean ± sd (prior sd)")
    return figure


def rank_histograms(ranks: np.ndarray, n_draws: int, names: Sequence[str], n_bins: int = 20) -> Figure:
    """Return histograms of SBC ranks with the 95 % band of a uniform count."""
    from scipy import stats

    figure, axes = _figure(2.5 * len(names), 2.6, 1, len(names), squeeze=False, sharey=True)
    low, high = stats.binom.ppf([0.025, 0.975], len(ranks), 1 / n_bins)
    for i, (name, ax) in enumerate(zip(names, axes[0], strict=True)):
        ax.axhspan(low, high, color="#dddddd", label="95 % if uniform")
        ax.hist(ranks[:, i], bins=n_bins, range=(0, n_draws + 1), color=NETWORK)
        ax.set(title=name, xlabel=f"rank of the truth among {n_draws}")
    axes[0, 0].set_ylabel(f"traces (n = {len(ranks)})")
    axes[0, 0].legend(frameon=False, fontsize=7)
    return figure


def ecdf_bands(ranks: np.ndarray, n_draws: int, names: Sequence[str], band) -> Figure:
    """Return the ECDF of the ranks minus the uniform one, with its simultaneous 95 % band (``evaluate.ecdf_band``)."""
    figure, axes = _figure(2.5 * len(names), 2.6, 1, len(names), squeeze=False, sharey=True)
    level, low, high = band
    for i, (name, ax) in enumerate(zip(names, axes[0], strict=True)):
        counts = np.bincount(ranks[:, i], minlength=n_draws + 1)[:-1].cumsum() / len(ranks)
        ax.fill_between(level, low, high, color="#dddddd", label="95 % simultaneous band")
        ax.plot(level, counts - level, color=NETWORK)
        ax.set(title=name, xlabel="fractional rank")
    axes[0, 0].set(ylabel="ECDF − uniform", ylim=(1.5 * np.min(low), 1.1 * np.max(high)))  # room for the legend
    axes[0, 0].legend(frameon=False, fontsize=7, loc="lower left")
    return figure


def contraction_curves(c: Curves) -> Figure:
    """Return the share of prior variance that is left against how much of the current was seen, and against the number of sweeps."""
    figure, axes = _figure(8, 4.2, 2, 2, sharey="row", width_ratios=(2, 1), height_ratios=(3, 1))
    (left, right), (under, empty) = axes
    for i, name in enumerate(c.names):
        low, middle, high = np.quantile(c.by_time[:, :, i], [0.25, 0.5, 0.75], axis=0)
        left.fill_between(c.time_ms, low, high, color=SEVERAL[i], alpha=0.15, lw=0)
        left.plot(c.time_ms, middle, color=SEVERAL[i], label=name)
        right.plot(SWEEPS, np.median(c.by_sweeps[:, :, i], axis=0), color=SEVERAL[i], marker=".")
    for ax in (left, right):
        ax.axhline(0.5, color=DATA, lw=0.8, ls=":")
        ax.set_yscale("log")
    left.set(ylabel="posterior / prior variance", title=f"Median and quartiles of n = {len(c.by_time)} traces")
    left.legend(frameon=False, fontsize=8, loc="lower left")
    right.set(xlabel="sweeps (each the whole current)", xscale="log", xticks=SWEEPS, title="median")
    right.set_xticks(SWEEPS, [str(m) for m in SWEEPS])
    right.minorticks_off()
    under.step(np.arange(len(c.current)) * c.dt_ms, c.current, where="post", color=DATA, lw=0.8)
    under.set(xlabel="seen up to (ms)", ylabel=f"current\n({c.current_unit})", xlim=left.get_xlim())
    left.tick_params(labelbottom=False)
    empty.set_axis_off()
    return figure


def coverage(levels: np.ndarray, covered: np.ndarray, names: Sequence[str], n: int) -> Figure:
    """Return the empirical coverage of central intervals against their level."""
    figure, axes = _figure(4.4, 4)
    axes.plot([0, 1], [0, 1], color=DATA, lw=0.8)
    for i, name in enumerate(names):
        axes.plot(levels, covered[:, i], marker=".", color=SEVERAL[i], label=name)
    axes.set(
        xlabel="nominal level",
        ylabel="covered share",
        title=f"Coverage of central intervals, n = {n} traces",
        aspect="equal",
    )
    axes.legend(frameon=False)
    return figure


def contraction_and_z(contraction: np.ndarray, z: np.ndarray, names: Sequence[str]) -> Figure:
    """Return z-score against contraction, a dot a trace: the good corner is (1, 0)."""
    figure, axes = _figure(2.5 * len(names), 2.8, 1, len(names), squeeze=False, sharey=True)
    for i, (name, ax) in enumerate(zip(names, axes[0], strict=True)):
        ax.scatter(contraction[:, i], z[:, i], s=3, alpha=0.3, color=NETWORK, rasterized=True)
        ax.set(
            title=f"{name}, median {np.median(contraction[:, i]):.3f}",
            xlabel="contraction",
            xlim=(min(0, contraction[:, i].min()), 1.02),
            ylim=(-5, 5),
        )
        ax.axhline(0, color=DATA, lw=0.8)
    axes[0, 0].set_ylabel("z-score of the truth")
    return figure


def sharpness(sd_ratio: np.ndarray, c2st: np.ndarray, names: Sequence[str]) -> Figure:
    """Return the sd of the network's posterior over the exact one, and C2ST, over traces."""
    figure, (left, right) = _figure(8, 3.2, 1, 2, width_ratios=(2, 1))
    left.boxplot(sd_ratio, tick_labels=list(names), medianprops={"color": NETWORK})
    left.axhline(1, color=EXACT, lw=1)
    left.set(ylabel="posterior sd / exact sd", title=f"Lost information, n = {len(sd_ratio)} traces")
    right.hist(c2st, bins=np.linspace(0.45, 1, 12), color=NETWORK)
    right.axvline(0.5, color=EXACT, lw=1)
    right.set(xlabel="C2ST against the exact posterior", ylabel="traces", title=f"median {np.median(c2st):.2f}")
    return figure


def fit(
    time_ms: np.ndarray,
    v_mv: np.ndarray,
    current: np.ndarray,
    clean: np.ndarray,
    band: np.ndarray,
    current_unit: str,
    title: str = "",
) -> Figure:
    """Return the trace under its posterior predictive bands, the residual, and the current.

    Parameters
    ----------
    clean : (n_draws, n_time) noise-free predictions
    band : (2, n_time) 5 % and 95 % quantile of predictions with noise
    """
    figure, axes = _figure(9, 6, 3, 1, sharex=True, height_ratios=(3, 1, 1))
    low, high = band
    middle = np.quantile(clean, [0.05, 0.5, 0.95], axis=0)
    axes[0].fill_between(time_ms, low, high, color=EXACT, alpha=0.2, lw=0, label="90 % of replicated recordings")
    axes[0].plot(time_ms, v_mv, color=DATA, lw=0.7, label="recording")
    axes[0].plot(time_ms, middle[1], color=EXACT, lw=1.2, label="posterior median, noise-free")
    axes[0].fill_between(time_ms, middle[0], middle[2], color=EXACT, alpha=0.5, lw=0)
    axes[0].set(ylabel="voltage (mV)", title=title)
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].plot(time_ms, v_mv - middle[1], color=DATA, lw=0.6)
    axes[1].fill_between(time_ms, low - middle[1], high - middle[1], color=EXACT, alpha=0.2, lw=0)
    axes[1].set(ylabel="residual (mV)")
    axes[2].step(time_ms, current, where="post", color=DATA, lw=0.8)
    axes[2].set(ylabel=f"current\n({current_unit})", xlabel="time (ms)")
    return figure


def pairs(sets: dict[str, np.ndarray], names: Sequence[str], units: dict[str, str], n_shown: int = 800) -> Figure:
    """Return a pair plot of draws: set name -> (n_draws, n_parameter); the exact posterior is orange, the network's blue."""
    n = len(names)
    figure, axes = _figure(1.9 * n, 1.8 * n, n, n, squeeze=False)
    colours = {"exact": EXACT, "network": NETWORK, "prior": "#bbbbbb"}
    for row in range(n):
        for column in range(n):
            ax = axes[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            for key, draws in sets.items():
                x = draws[:n_shown]
                if row == column:
                    ax.hist(
                        draws[:, row], bins=30, density=True, histtype="step", color=colours.get(key, DATA), label=key
                    )
                    ax.set_yticks([])
                else:
                    ax.scatter(x[:, column], x[:, row], s=2, alpha=0.3, color=colours.get(key, DATA), rasterized=True)
            ax.tick_params(labelsize=7, rotation=30)
            if row == n - 1:
                ax.set_xlabel(label_of(names[column], units), fontsize=8)
            if column == 0 and row:
                ax.set_ylabel(label_of(names[row], units), fontsize=8)
    axes[0, 0].legend(frameon=False, fontsize=7)
    figure.suptitle("Posterior draws (" + ", ".join(f"{key}: {len(x)}" for key, x in sets.items()) + ")", fontsize=10)
    return figure


def trace(time_ms: np.ndarray, v_mv: np.ndarray, current: np.ndarray, current_unit: str, title: str) -> Figure:
    """Return voltages (n_time,) or (n_trace, n_time) over their current."""
    figure, (top, bottom) = _figure(8, 4.2, 2, 1, sharex=True, height_ratios=(3, 1))
    top.plot(time_ms, np.atleast_2d(v_mv).T, lw=0.9, color=NETWORK, alpha=1.0 if np.ndim(v_mv) == 1 else 0.4)
    top.set(ylabel="voltage (mV)", title=title)
    bottom.step(time_ms, current, where="post", color=DATA, lw=0.8)
    bottom.set(xlabel="time (ms)", ylabel=f"current\n({current_unit})")
    return figure


def sweeps(rows: Sequence[dict]) -> Figure:
    """Return the favoured model's capacitance and leak of every sweep, one exponential's capacitance beside it."""
    columns = [name for name in rows[0] if name.startswith("favoured ")]
    figure, axes = _figure(3.4 * len(columns), 3.0, 1, len(columns), squeeze=False)
    x, typical = [row["sweep"] for row in rows], np.array([row["verdict"] == "typical" for row in rows])
    for name, ax in zip(columns, axes[0], strict=True):
        y = np.array([row.get(name, np.nan) for row in rows], float)
        for mask, face, label in ((typical, NETWORK, "typical"), (~typical, "white", "misspecified")):
            ax.plot(np.array(x)[mask], y[mask], "o", color=NETWORK, mfc=face, label=label)
        beside = name.replace("favoured C_total", "one exponential C_m")
        if beside != name:
            ax.plot(x, [row.get(beside) or np.nan for row in rows], "x", color=DATA, label="one exponential")
        ax.set(xlabel="sweep", ylabel=name.removeprefix("favoured "), title=f"n = {len(rows)}")
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure


def current_voltage(theta, current: float) -> Figure:
    """Return the net membrane current against voltage with its fixed points and knees."""
    figure, axes = _figure(6, 3.8)
    points, edge = fixed_points(theta, current), knees(theta)
    centre = [p.v_mv for p in points] + [theta[4]]
    v = np.linspace(min(centre) - 25, max(centre) + 25, 500)
    axes.plot(v, net_current(v, theta, current), color=NETWORK)
    axes.axhline(0, color=DATA, lw=0.8)
    for p in points:
        axes.plot(
            p.v_mv,
            0,
            "o",
            color=NETWORK,
            mfc=NETWORK if p.stable else "white",
            label=f"{p.v_mv:.2f} mV, {'stable' if p.stable else 'unstable'}",
        )
    title = "never bistable" if edge is None else f"bistable for currents from {edge.i_low:.4g} to {edge.i_high:.4g}"
    axes.set(xlabel="voltage (mV)", ylabel="net current (unit of I)", title=f"I = {current:g}: {title}")
    axes.legend(frameon=False)
    return figure
