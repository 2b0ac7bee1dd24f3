"""The figures in their files and the report that a person opens."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hdf5io.errors import InputError

from ..files.results import Place
from ..files.stored import Stored, read_results, safe_names
from ..score.drift import drifting
from ..score.tables import answer_of, compared, explained, further, json_results
from . import plots
from .figures import save_figure
from .report import Section, write_report

log = logging.getLogger(__name__)
MAX_IN_REPORT = 6
UNITS_TEXT = (
    "Bits per spike. In-sample: over the mean rate of the {kind}. Then held-out, ± standard error over folds, over the training "
    "trials' mean: PSTH, and models of history (H), stimulus (S) and coupling (C)."
)


def finish(
    place: Place, plots: bool, units: str, warnings: list[str], kind: str = "png"
) -> tuple[dict[str, Path], dict, str]:
    """Read results back from their file, draw, and make the answer: (outputs, documented results, one line)."""
    stored, summary = read_results(place.file), place.folder / "bits_per_spike_summary.csv"
    outputs = {"rates": place.file, "summary": summary, "artifacts": place.folder / "artifacts"}
    if plots:
        chosen = wanted_units(units, len(stored.regions))
        figures = draw(stored, read_rows(summary), place.folder / "plots", chosen, kind)
        page = report(place.folder / "report.html", stored, figures, warnings)
        outputs |= {"plots": place.folder / "plots", "report": page}
    found = json_results(stored)
    cv = found["bits_per_spike_cv"]
    said = (
        f"{cv['pooled']:.4f} held-out bits per spike, {found['n_explained']} explained"
        if cv
        else f"{found['bits_per_spike']['pooled']:.4f} in-sample bits per spike"
    )
    said += f"; {found['answer'].sentence}" if found["answer"] else ""
    return outputs, found, f"{found['n_units']} units, {said}; {place.file}"


def wanted_units(text: str, n_units: int) -> list[int]:
    """Parse ``--plot-units``: all, none, or indices.

    Raises
    ------
    InputError
        An index is no number or out of range.
    """
    if text in ("all", "none"):
        return list(range(n_units)) if text == "all" else []
    try:
        units = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--plot-units {text}: expected all, none, or indices such as 0,3,7.") from None
    if any(u not in range(n_units) for u in units):
        raise InputError(f"--plot-units {text}: units are numbered 0 to {n_units - 1}.")
    return units


def draw(
    stored: Stored, rows: list[dict], folder: Path, units: list[int], kind: str = "png"
) -> dict[str, Path | Figure]:
    """Write every figure below ``folder``; returns by caption what a report can show: PNG files, or else the figures."""
    figures = {"Information gained by unit": ("bits_per_spike_distribution", plots.bits_distribution(stored))}
    by_taste = plots.bits_by_taste_region(rows, stored.kind)
    figures[f"Bits per spike by {stored.kind} and region"] = ("bits_per_spike_by_taste_region", by_taste)
    if stored.summary["models"]:
        figures["What explains the spikes"] = ("model_comparison", plots.model_comparison(stored))
    figures["Goodness of fit"] = ("goodness_of_fit", plots.goodness_of_fit(stored))
    coupling = plots.coupling_matrix(stored)
    if coupling is not None:
        figures["Coupling"] = ("coupling_matrix", coupling)
    curves = plots.covariate_curves(stored)
    if curves is not None:
        figures["Covariates"] = ("covariates", curves)
    shown: dict[str, Path | Figure] = {}
    for caption, (name, figure) in figures.items():
        path = save_figure(figure, folder / f"{name}.{kind}")
        shown[caption] = path if kind == "png" else figure
    safe = safe_names(stored.regions)
    for unit in units:
        figure = plots.unit_figure(stored, unit)
        name = f"individual_neurons/neuron_{unit:03d}_{safe[stored.regions[unit]]}.{kind}"
        path = save_figure(figure, folder / name)
        shown[f"Unit {unit}"] = path if kind == "png" else figure
    return shown


def read_rows(path: Path) -> list[dict]:
    """Rows of ``bits_per_spike_summary.csv``; an empty cell is NaN."""
    with open(path, newline="", encoding="utf-8") as handle:
        return [{key: value or "nan" for key, value in row.items()} for row in csv.DictReader(handle)]


def report(path: Path, stored: Stored, figures: dict[str, Path | Figure], warnings: list[str]) -> Path:
    """Write ``report.html``: how many units are explained, by what, and whether to believe it."""
    models, steps = stored.summary["models"], stored.summary["steps"]
    n_units, scores, told = len(stored.regions), stored.arrays.get("bits_per_spike_cv"), answer_of(stored)
    headline = {"units": n_units, "in-sample bits per spike, pooled": stored.summary["bits_per_spike"]["pooled"]}
    if models:
        last = list(models)[-1]
        headline = {"units": n_units, "units explained (held-out bits > 0)": explained(stored),
                    "... by more than two standard errors": _beyond_two_errors(stored, last),
                    "held-out bits per spike, pooled": models[last]["pooled"], "... median over units": models[last]["median"],
                    "in-sample, pooled": stored.summary["bits_per_spike"]["pooled"]}  # fmt: skip
    p = stored.arrays["ks_pvalue"]
    headline["units rejected by time rescaling"] = f"{(p < 0.05).sum()} of {np.isfinite(p).sum()}"
    if "drift_pvalue" in stored.arrays:
        headline["units whose rate drifts beyond the model"] = len(drifting(stored.arrays["drift_pvalue"]))
    unit_rows = [
        {"unit": u, "region": stored.regions[u], "spikes": int(stored.arrays["n_spikes"][u]),
         "in-sample": f"{stored.arrays['bits_per_spike'][u]:.3f}", **{_short(name): _with_error(stored, name, u) for name in stored.scores if name not in ("rolling window", "one rate")}, "KS p": "<.001" if p[u] < 0.001 else f"{p[u]:.3f}"}
        for u in range(n_units)
    ]  # fmt: skip
    general = {c: f for c, f in figures.items() if not c.startswith("Unit ")}
    shown = [c for c in figures if c.startswith("Unit ")]
    if scores is not None:
        shown.sort(key=lambda c: -np.nan_to_num(scores[int(c.split()[1])], nan=-9.0))
    sections = [
        Section("Models", _verdict(models, steps), [{"model": n, **_rounded(v)} for n, v in compared(stored).items()]),
        Section("Steps between nested models", "Paired by fold.", [{"step": n, **_rounded(v)} for n, v in steps.items()]),
        Section("Figures", figures=general),
        Section("Units with the highest held-out score", "All others are in plots/individual_neurons.", figures={c: figures[c] for c in shown[:MAX_IN_REPORT]}),
        *further_section(further(stored)),
        Section("Every unit", UNITS_TEXT.format(kind=stored.kind), unit_rows),
    ]  # fmt: skip
    question = (
        "How fast does each unit fire on each trial, and how much of it do stimulus, own past and neighbours explain?"
    )
    command = json.loads(stored.provenance.get("config", "{}"))
    title = f"Firing rates: {Path(command.get('data', command.get('folder', ''))).name}"
    useful = [s for s in sections if s.table or s.figures]
    return write_report(
        path,
        title=title,
        question=question,
        headline=headline,
        verdict=told.sentence if told else "",
        sections=useful,
        warnings=warnings,
        provenance=stored.provenance,
    )


def further_section(rows: list[dict]) -> list[Section]:
    """The table of what would narrow the answer; nothing where it cannot be told."""
    if not rows:
        return []
    text = (
        "Half of the answer's 95 % interval, now and with more trials of the same session. The gain itself may change too: more"
        " trials also train the model better."
    )
    table = [
        {"further measurement": r["measurement"], f"now ({r['unit']})": r["now"], "then, predicted": r["then"]}
        for r in rows
    ]
    return [Section("What would narrow the answer", text, table)]


def _beyond_two_errors(stored: Stored, model: str) -> int:
    """Number of units whose held-out score exceeds zero by more than two standard errors over folds."""
    score, error = stored.scores[model], stored.score_errors.get(model)
    return 0 if error is None else int((score > 2 * error).sum())


def _short(model: str) -> str:
    """Initials of a nested model's effects; a rival's name."""
    return "PSTH" if model == "psth" else "+".join(effect[0].upper() for effect in model.split("+"))


def _with_error(stored: Stored, model: str, unit: int) -> str:
    """Held-out score of a unit with its standard error over folds."""
    score, error = stored.scores[model][unit], stored.score_errors.get(model, np.full(unit + 1, np.nan))[unit]
    return f"{score:.3f}±{error:.3f}" if np.isfinite(error) else f"{score:.3f}"


def _rounded(row: dict) -> dict:
    return {key.replace("_", " "): f"{v:.4f}" if isinstance(v, float) else v for key, v in row.items()}


def _verdict(models: dict, steps: dict) -> str:
    """Sentences computed from the table: which effect helps, and which does not."""
    if not models:
        return "Nothing was held out (--cv-folds 0): the in-sample figure says how well the model bends, not whether it is right."
    lines = []
    for name, row in steps.items():
        low, high = row["pooled_low"], row["pooled_high"]
        word = "helps" if low > 0 else "does harm" if high < 0 else "makes no difference that these folds can show"
        lines.append(f"{name}: {word} ({row['pooled']:+.4f} bits per spike, 95 % {low:+.4f} to {high:+.4f}).")
    best = list(models)[-1]
    rivals = [
        n
        for n in ("one rate", "psth", "rolling window")
        if n in models and models[n]["pooled"] > models[best]["pooled"]
    ]
    if rivals:
        lines.append(f"It does not help here: {', '.join(rivals)} predicts held-out trials better than the full model.")
    return "\n\n".join(lines)
