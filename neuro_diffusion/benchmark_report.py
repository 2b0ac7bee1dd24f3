"""The benchmark on paper: table, figures, report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

import hdf5io

from . import plots
from .evaluate import Cell, rank_histogram
from .posterior_file import save_figure
from .report import Section, write_report

SHORT = (
    "trials",
    "noise",
    "observed",
    "ridge",
    "oracle ridge",
    "regression",
    "pigdm",
    "diffusion",
    "gain over oracle ridge",
    "gain over oracle ridge se",
)


def save(
    folder: Path, cells: Sequence[Cell], W: Tensor, provenance: dict[str, str], warnings: Sequence[str]
) -> dict[str, Path]:
    """Write benchmark.csv, PNG figures and report.html; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, n = [c.row for c in cells], len(W)
    with hdf5io.atomic(folder / "benchmark.csv") as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(dict.fromkeys(k for r in rows for k in r)))
        writer.writeheader()
        writer.writerows(rows)
    show = max(cells, key=lambda c: c.row["gain over oracle ridge"])
    title = f"K = {show.row['trials']}, noise {show.row['noise']:g}: first held-out network"
    panels = {"truth": show.W[0], "ridge": show.ridge[0], "posterior mean": show.mean[0], "posterior sd": show.sd[0]}
    figures = {
        "Entry correlation with the true weights": plots.benchmark_figure(rows, n),
        "Are the intervals honest?": plots.calibration_figure(
            rows, rank_histogram(cells[-1].ranks, cells[-1].n_samples), n
        ),
        "Truth, ridge and posterior side by side": plots.weights_figure(
            {k: v.numpy() for k, v in panels.items()}, title
        ),
        "Eigenvalues": plots.eigenvalue_figure(
            {"truth": show.W.numpy(), "ridge": show.ridge.numpy(), "diffusion": show.mean.numpy()},
            title.split(":")[0] + ", means",
        ),
    }
    names = ("correlation", "calibration", "weights", "eigenvalues")
    paths = {name: save_figure(folder / f"{name}.png", f) for name, f in zip(names, figures.values())}
    lost = [r for r in rows if r["diffusion"] < r["ridge"]]
    verdict = (
        "Diffusion is at or above ridge in every condition."
        if not lost
        else f"In {len(lost)} conditions ridge is better: the learned prior does not help there."
    )
    paths["report"] = write_report(
        folder / "report.html",
        title="Weights from activity: held-out benchmark",
        question="Where does a learned prior over weights help, and where is ridge regression enough?",
        headline={
            "held-out networks": n,
            "largest gain over oracle ridge": show.row["gain over oracle ridge"],
            "conditions": len(rows),
        },
        sections=[
            Section(
                "Correlation",
                verdict
                + " All numbers are means over held-out networks; se is their standard error. Blurred coverage adds equal noise (a tenth of the weights' sd) to truth and samples, because a missing connection is exactly 0 and its samples only nearly.",
                [{k: r[k] for k in SHORT if k in r} for r in rows],
                figures,
            ),
            Section("Everything measured", "", rows),
        ],
        warnings=list(warnings),
        provenance=provenance,
    )
    return {"table": folder / "benchmark.csv", **paths}
