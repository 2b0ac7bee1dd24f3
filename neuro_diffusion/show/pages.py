"""Held-out networks on paper: table, figures, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import hdf5io

from ..answer import Answer
from ..rate_network.simulator import simulate_rate_network
from ..score.benchmark import Cell
from ..score.calibration import rank_histogram
from . import plots
from .figures import save_figure
from .report import Section, write_report
from .words import explained, readable

SHORT = (
    "trials", "noise", "observed", "ridge", "oracle ridge", "ep", "combined", "regression", "pigdm", "diffusion",
    "combined gain over ep", "gain over ep", "gain over oracle ridge",
)  # fmt: skip
CALIBRATION = (
    "Coverage of the central 50, 80 and 95 % intervals. Missing connections are exactly 0 in the truth and in samples; ties are broken at "
    "random, which an exact posterior passes at its nominal level. Connection coverage is over the connections that most samples "
    "hold to be there."
)


def save(
    folder: Path,
    cells: Sequence[Cell],
    a: float,
    n_time: int,
    provenance: Mapping[str, Any],
    warnings: Sequence[str],
    figure_format: str = "png",
    *,
    answer: Answer,
    further: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Path]:
    """Write benchmark.csv, dynamics.csv, figures and report.html; return their paths.

    Parameters
    ----------
    a : dt/tau. n_time : steps of a trial, for the trajectories. answer : against the best baseline. further : what would narrow it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, n = [c.row for c in cells], len(cells[0].W)
    behaviour = [{**{k: c.row[k] for k in ("trials", "noise")}, **row} for c in cells for row in c.behaviour]
    paths = {"table": hdf5io.write_csv(folder / "benchmark.csv", rows)}
    if behaviour:
        paths["dynamics"] = hdf5io.write_csv(folder / "dynamics.csv", behaviour)
    show = max(cells, key=lambda c: c.row["gain over oracle ridge"])
    figures = figures_of(cells, show, a, n_time)
    for name, (_, figure) in figures.items():
        paths[name] = save_figure(figure, folder / f"{name}.{figure_format}")
    paths["report"] = write_report(
        folder / "report.html",
        title="Weights from activity: held-out networks",
        question="Where does a learned prior over weights help, and where is ridge regression enough?",
        headline={
            "held-out networks": n,
            "conditions": len(rows),
            "gain over the best baseline, 95 % interval": f"{answer.gain:+.3f} ({answer.low:+.3f} to {answer.high:+.3f})",
        },
        verdict=answer.sentence,
        sections=[
            Section("Correlation", verdict(rows), pick(rows, SHORT), captioned(figures, "correlation", "weights")),
            Section("The methods", "", explained(cells[0].scores)),
            Section("Calibration", CALIBRATION, coverage_table(rows), captioned(figures, "calibration")),
            Section("What the weights do when they run", DYNAMICS if behaviour else "Only where every neuron is recorded.", readable(behaviour),
                    captioned(figures, "trajectories", "eigenvalues")),
            Section("What would narrow the answer", NARROWER, further),
            Section("Everything measured", "Means over held-out networks ± standard errors.", readable(rows)),
        ],
        warnings=list(warnings),
        provenance=provenance,
    )  # fmt: skip
    return paths


DYNAMICS = (
    "Each estimate and the true weights run without noise from the same new initial states; the truth scores 0, the last step, 1, 0, 0. "
    "Means over held-out networks ± standard errors."
)
NARROWER = "The half-width of the answer's 95 % interval falls with the square root of the number of networks."


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in one sentence whether the learned prior helps everywhere."""
    lost = [r for r in rows if r["diffusion"] < r["ridge"]]
    found = (
        f"In {len(lost)} conditions ridge is better: the learned prior does not help there."
        if lost
        else "Diffusion is at or above ridge in every condition."
    )
    ahead = sum(r["gain over ep"] > 2 * r["gain over ep se"] for r in rows)
    found += (
        f" It is ahead of expectation propagation with the family's written prior in {ahead} of {len(rows)} conditions (by 2 standard"
        f" errors){'; elsewhere the latter suffices, without training' if ahead < len(rows) else ''}."
    )
    return f"{found} All numbers are means over held-out networks of the correlation between estimated and true weights ± standard errors."


def pick(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return some columns of a table, with their standard errors, for a reader."""
    return readable([{k: r[k] for name in names for k in (name, f"{name} se") if k in r} for r in rows])


def coverage_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the coverage columns with their standard errors."""
    names = [k for k in rows[0] if "coverage" in k and not k.endswith(" se")]
    return pick(rows, ("trials", "noise", "observed", *names))


def figures_of(cells: Sequence[Cell], show: Cell, a: float, n_time: int) -> dict[str, tuple[str, Figure]]:
    """Return caption and figure by file name; ``show`` is the condition from which single networks are drawn."""
    rows, n = [c.row for c in cells], len(show.W)
    title = f"K = {show.row['trials']}, noise {show.row['noise']:g}"
    mean, sd = show.samples[0].mean(0), show.samples[0].std(0)
    panels = {
        "truth": show.W[0],
        **{k: show.estimates[k][0] for k in ("ridge", "ep")},
        "posterior mean": mean,
        "posterior sd": sd,
    }
    clouds = {"truth": show.W, "ridge": show.estimates["ridge"], "diffusion": show.samples[:, 0]}
    run = lambda w: simulate_rate_network(w, show.h0[0, 0], 2 * n_time, a, 1.0).numpy()  # noqa: E731
    paths = {"truth": run(show.W[0]), "ridge": run(show.estimates["ridge"][0]), "diffusion": run(mean)}
    draws = [run(w) for w in show.samples[0, :8]]
    return {
        "correlation": ("Entry correlation with the true weights", plots.benchmark_figure(rows, n)),
        "weights": (
            "Truth, ridge and posterior side by side",
            plots.weights_figure({k: v.numpy() for k, v in panels.items()}, f"{title}: first held-out network"),
        ),
        "calibration": (
            "Are the intervals honest?",
            plots.calibration_figure(rows, rank_histogram(cells[-1].ranks), n),
        ),
        "trajectories": (
            "Does the estimated network run like the true one?",
            plots.trajectory_figure(paths, draws, a, f"{title}: first held-out network, new initial state"),
        ),
        "eigenvalues": (
            "Eigenvalues",
            plots.eigenvalue_figure(
                {k: v.numpy() for k, v in clouds.items()}, f"{title}; diffusion: one sample a network"
            ),
        ),
    }


def captioned(figures: Mapping[str, tuple[str, Figure]], *names: str) -> dict[str, Figure]:
    """Return some of the figures by caption."""
    return dict(figures[name] for name in names)
