"""What should a person read after ``diagnose``? The sections of its report, from results that are already computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io

from ..config import DiagnoseConfig
from ..score import contraction, evaluate
from ..score.diagnosis import Diagnosis
from . import plots
from .figures import save_figure
from .pages import figures_in
from .report import Section, write_report
from .texts import CALIBRATION_NAMES, CALIBRATION_TEXT, CONTRACTION_TEXT, FINDING_NAMES, TERMS


def diagnosis_sections(d: Diagnosis, history: Sequence) -> list[Section]:
    """Return verdict, calibration, comparison with the exact posterior, predictions and typicality."""
    names = list(d.names)
    missed = [
        {
            "parameter": f.parameter,
            "score": FINDING_NAMES.get(f.score, f.score),
            "found": f.value,
            "demanded": f.demand,
            "verdict": f.verdict,
        }
        for f in d.findings
        if f.verdict != "pass"
    ]
    sections = [
        Section("Verdict", f"Verdict: {d.verdict}. {demands_text(d)}", missed),
        Section("Training", "", figures={"Training and validation loss.": plots.losses(history)}),
        calibration_section(d, names),
    ]
    if d.sharpness is not None:
        sections.append(exact_section(d, d.sharpness, names))
    sections.append(contraction_section(d.curves))
    example = d.example
    sections.append(
        Section(
            "Posterior predictive check",
            f"A held-out trace and what the network's posterior predicts for it: {100 * d.predictive_coverage:.0f} % of all samples of "
            f"{d.n_predictive} traces lie in the pointwise 90 % band.",
            figures={"Held-out trace, posterior predictive band and residual.": plots.fit(*example)},
        )
    )
    typical = [{"test": name, "flagged": f"{100 * share:.1f} %"} for name, share in d.typicality.items()]
    if typical:
        text = "Share of clean simulations that each of the seven tests flags (nominal .7 % each)."
        sections.append(Section("Typicality on clean traces", text, typical))
    return sections


def calibration_section(d: Diagnosis, names: list[str]) -> Section:
    """Return the scores of calibration by parameter, with ranks, coverage, recovery and contraction drawn."""
    mean, sd = d.draws.mean(axis=1), d.draws.std(axis=1)
    z = (mean - d.truth) / sd
    rows = [
        {"parameter": name, **{CALIBRATION_NAMES[k]: round(v, 3) for k, v in c._asdict().items()}}
        for name, c in d.table.items()
    ]
    return Section(
        "Calibration",
        f"{CALIBRATION_TEXT}\n\n{TERMS}",
        rows,
        {
            "Histograms of the rank of the true value among the draws; flat is calibrated.": plots.rank_histograms(
                d.ranks, d.draws.shape[1], names
            ),
            "The same as a distribution function with its simultaneous band.": plots.ecdf_bands(
                d.ranks, d.draws.shape[1], names, d.band
            ),
            "Coverage of central credible intervals.": plots.coverage(evaluate.LEVELS, d.coverage, names, len(d.truth)),
            "Recovery of the true parameters.": plots.recovery(d.truth, mean, sd, names),
            "Contraction and z-score of each test trace.": plots.contraction_and_z(1 - sd**2, z, names),
        },
    )


def contraction_section(c: contraction.Curves) -> Section:
    """Return what more data teach: the share of prior variance that is left, after a part of the current and after several sweeps."""
    rows = [
        {
            "parameter": name,
            **{f"{m} sweep{'s' * (m > 1)}": f"{x:.4f}" for m, x in zip(contraction.SWEEPS, left, strict=True)},
        }
        for name, left in zip(c.names, 1 - np.median(c.by_sweeps, axis=0).T, strict=True)
    ]
    caption = "What is left of the prior variance when a part of the current was seen, and after several sweeps of it."
    return Section("What more data teach", CONTRACTION_TEXT, rows, {caption: plots.contraction_curves(c)})


def demands_text(d: Diagnosis) -> str:
    """Return how many demands are met."""
    met = sum(f.verdict == "pass" for f in d.findings)
    return f"{met} of {len(d.findings)} demands on calibration and sharpness are met."


def exact_section(d: Diagnosis, s: evaluate.Sharpness, names: list[str]) -> Section:
    """Return the comparison of the network's posterior with the exact one, refined side by side."""
    rows = [
        {
            "parameter": name,
            "network sd / exact sd": round(float(np.median(s.sd_ratio[:, i])), 3),
            "newton sd / exact sd": round(float(d.newton_ratio[i]), 3),
            "network |mean error| / sd": round(float(np.median(s.mean_error[:, i])), 3),
            "network sd (prior sd)": round(float(np.median(d.draws[:, :, i].std(axis=1))), 4),
            "refined sd (prior sd)": round(float(np.median(d.exact[:, :, i].std(axis=1))), 4),
        }
        for i, name in enumerate(names)
    ]
    text = (
        f"Refined = importance sampling with the exact likelihood (median ESS {100 * d.median_ess:.0f} %). Median C2ST between network and exact draws: "
        f"{np.median(s.c2st):.2f} (.5 = indistinguishable). 'infer --refine laplace', the default, returns the refined posterior, 'newton' a Gaussian at the optimum."
    )
    return Section(
        "Against the exact posterior",
        text,
        rows,
        {"Lost information and C2ST over traces.": plots.sharpness(s.sd_ratio, s.c2st, names)},
    )


def write_diagnosis(
    config: DiagnoseConfig, found: Diagnosis, results: dict, history: Sequence, provenance: Mapping, warnings: list[str]
) -> dict[str, Path]:
    """Write figures, table and report of a diagnosis; return their paths."""
    sections, folder, written = diagnosis_sections(found, history), config.target, {}
    for number, figure in enumerate(figures_in(sections), 1):
        written[f"figure_{number}"] = save_figure(figure, folder / f"figure_{number}.{config.figure_format}")
    hdf5io.write_json(folder / "diagnosis.json", results)
    headline = {
        "verdict": results["verdict"],
        "posterior sd / exact sd": results["sd_ratio"],
        "C2ST against exact": results["c2st"],
        "clean traces flagged": results["clean_flagged"],
        "test traces": results["n_traces"],
    }
    headline = {label: value for label, value in headline.items() if value is not None}  # not asked for
    question = "Are the network's posteriors calibrated, sharp and right?"
    texts: dict[str, Any] = {"title": f"Diagnosis of {config.model.name}", "question": question, "headline": headline}
    path = folder / "report.html"
    report = write_report(
        path, **texts, sections=sections, warnings=warnings, provenance=provenance, verdict=found.answer.sentence
    )
    return {"report": Path(report), "table": folder / "diagnosis.json", **written}
