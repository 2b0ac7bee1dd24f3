"""What should a person read after ``diagnose`` or ``infer``? The sections of the two reports, from results that are already computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io

from ..config import PARAMETERS, DiagnoseConfig, InferConfig
from ..neuron.priors import inferred, theta_from_z
from ..posterior.summary import NUISANCE, Posterior, Predictive, units_of_models
from ..score import evaluate
from ..score.diagnosis import Diagnosis
from . import plots
from .figures import save_figure
from .report import Section, write_report
from .texts import CALIBRATION_NAMES, CALIBRATION_TEXT, FINDING_NAMES, FURTHER_TEXT, MODELS_TEXT, TERMS


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


def demands_text(d: Diagnosis) -> str:
    """Return how many demands are met."""
    met = sum(f.verdict == "pass" for f in d.findings)
    return f"{met} of {len(d.findings)} demands on calibration and sharpness are met."


def further_sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return the section that says what would narrow the answer; none where nothing can be predicted."""
    if not rows:
        return []
    table = [
        {
            "further measurement": r["measurement"],
            "parameter": r["of"],
            f"now ({r['unit']})": f"± {r['now']:.3g}",
            "then, predicted": f"± {r['then']:.3g}",
        }
        for r in rows
    ]
    return [Section("What would narrow the answer", FURTHER_TEXT, table)]


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


def inference_sections(p: Posterior, predicted: Predictive, results: dict) -> list[Section]:
    """Return parameters, fit, pair plot and checks of one inference."""
    free = list(inferred(p.spec.prior_table))
    extra = [
        {
            "noise and electrode": f"{name}: {NUISANCE[name][1]}",
            "mean": f"{value['mean']:.4g}",
            "sd": f"{value['sd']:.2g}",
            "unit": value["unit"],
        }
        for name, value in results["nuisance"].items()
    ]
    checks = [
        {"test": name, **{k: v if isinstance(v, bool) else f"{v:.4g}" for k, v in t.items()}}
        for name, t in results["checks"]["tests"].items()
    ]
    columns = [PARAMETERS.index(name) for name in free]
    sets = {"exact" if p.refined is not None else "network": p.theta[:, columns]}
    if p.amortised is not None and p.refined is not None:
        sets = {"network": theta_from_z(p.spec.prior_table, p.amortised)[:, columns], **sets}
    text = passive_text(p, results)
    fit = plots.fit(
        p.recording.time_ms,
        p.recording.v_mv,
        p.recording.current,
        predicted.clean,
        predicted.band,
        p.recording.current_unit,
        "Recording and posterior prediction",
    )
    facts = "; ".join(results["checks"]["facts"]) or "no hard fact speaks against the model"
    read = plots.trace(
        p.recording.time_ms,
        p.recording.v_mv,
        p.recording.current,
        p.recording.current_unit,
        "As it was read and is used",
    )
    return [
        Section("What was read", what_was_read(p), figures={"Voltage and current of the analysed window.": read}),
        Section("Parameters", text, parameter_rows(results)),
        Section("Models compared", MODELS_TEXT.format(results["favoured"]), model_rows(p, results)),
        *(
            [
                Section(
                    "Noise and electrode",
                    "Estimated from the trace: AR(1) noise, initial voltage, series resistance.",
                    extra,
                )
            ]
            if extra
            else []
        ),
        Section("Fit", "", figures={"Trace, posterior predictive band, residual, current.": fit}),
        Section("Posterior", "", figures={"Draws of every pair of parameters.": plots.pairs(sets, free, p.units)}),
        Section("Typicality", f"Verdict: {results['verdict']}; {facts}.", checks),
        *further_sections(results["further"]),
    ]


def parameter_rows(results: dict) -> list[dict]:
    """Return one row for each parameter: mean, sd, interval, contraction, whether it is identified."""
    return [
        {
            "parameter": plots.label_of(name, results["units"]),
            "mean": f"{results['mean'][name]:.4g}",
            "sd": f"{results['sd'][name]:.3g}",
            "90 % interval": "{:.4g} to {:.4g}".format(*results["interval_90"][name]),
            "contraction": f"{results['contraction'][name]:.3f}" if name in results["contraction"] else "",
            "identified": ""
            if name not in results["identified"]
            else "yes"
            if results["identified"][name]
            else "NOT IDENTIFIED",
        }
        for name in results["mean"]
    ]


def model_rows(p: Posterior, results: dict) -> list[dict]:
    """Return one row for each model: BIC and evidence beside the best, parameters with units."""
    units = units_of_models(p.units)
    return [
        {
            "model": name,
            "BIC - best": f"{m['bic']:.1f}",
            "log evidence - best": f"{m['log_evidence']:.1f} ± {m['log_evidence_se']:.2f}",
            **{f"{n} ({units[n]})": f"{value:.4g}" for n, value in m["parameters"].items()},
        }
        for name, m in results["models"].items()
    ]


def what_was_read(p: Posterior) -> str:
    """Return which trace is analysed: channels, span, sampling, amplitudes with their units."""
    r = p.recording
    span = f"{r.time_ms[0]:g} to {r.time_ms[-1]:g} ms, {len(r.v_mv)} samples of {r.dt_ms:g} ms"
    sizes = f"{r.v_mv.min():.4g} to {r.v_mv.max():.4g} mV under {r.current.min():.4g} to {r.current.max():.4g} {r.current_unit}"
    return "; ".join([r.source, *r.notes, span, sizes]) + "."


def passive_text(p: Posterior, results: dict) -> str:
    """Return what the trace says with and without the activation term."""
    supported = "supports" if results["activation_bic"] > 0 else "does not support"
    passive = ", ".join(f"{name} {value:.4g} {p.units[name]}" for name, value in results["passive"].items())
    slope = results["slope_conductance"]
    return (
        f"BIC {supported} the activation term over a passive membrane (difference {results['activation_bic']:.1f}), whose best fit is "
        f"{passive}. At the trace's first voltage the slope conductance, activation included, is {slope['mean']:.4g} ± "
        f"{slope['sd']:.2g} {p.units['g_L']}."
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


def write_inference(
    config: InferConfig,
    output: Path,
    p: Posterior,
    predicted: Predictive,
    results: dict,
    provenance: Mapping,
    warnings: list[str],
) -> dict[str, Path]:
    """Write figures and report of an inference beside its posterior file; return their paths."""
    sections, written = inference_sections(p, predicted, results), {}
    for name, figure in zip(("recording", "fit", "pairs"), figures_in(sections), strict=True):
        written[name] = save_figure(figure, output.with_suffix(f".{name}.{config.figure_format}"))
    headline = {
        "verdict": results["verdict"],
        "favoured model": results["favoured"],
        "refinement": results["refine"],
        "effective sample size": results["ess"],
        **headline_numbers(results),
    }
    question = "Which membrane parameters explain this trace, and can the model be believed?"
    texts: dict[str, Any] = {
        "title": f"Inference for {config.recording.name}",
        "question": question,
        "headline": headline,
    }
    path = output.with_suffix(".report.html")
    report = write_report(
        path,
        **texts,
        sections=sections,
        warnings=warnings,
        provenance=provenance,
        verdict=results["answer"]["sentence"],
    )
    return written | {"report": Path(report)}


def headline_numbers(results: dict) -> dict[str, str]:
    """Return the parameters of the favoured model with their standard deviations; none where no model is to be believed."""
    if results["verdict"] == "misspecified":
        return {}
    if results["nuisance"] and results["favoured"] != "laa":
        best = results["models"][results["favoured"]]
        mean, sd, units, names = best["parameters"], best["sd"], best["units"], ("C_total", "g_L", "E_L")
    else:
        mean, sd, units = results["mean"], results["sd"], results["units"]
        names = tuple(name for name, known in results["identified"].items() if known)
    return {name: f"{mean[name]:.4g} ± {sd[name]:.2g} {units[name]}" for name in names}


def write_sweeps(
    config: InferConfig, folder: Path, rows: list[dict], told: dict, provenance: Mapping, warnings: list[str]
) -> dict[str, Path]:
    """Write figure and report of the sweeps of a file; return their paths."""
    fitted = [row for row in rows if row["verdict"] != "left out"]
    figure = plots.sweeps(fitted)
    written = {"figure": save_figure(figure, folder / f"sweeps.{config.figure_format}")}
    shown = [
        {k: f"{v:.4g}" if isinstance(v, float) else "" if v is None else v for k, v in row.items() if k != "file"}
        for row in rows
    ]
    text = (
        "A sweep whose steps are all followed by spikes is left out. 'favoured' is the model that the sweep supports."
    )
    sections = [Section("Sweeps", text, shown, {"The favoured model's membrane, sweep by sweep.": figure})]
    sections += further_sections(told["further"])
    headline = {"sweeps": len(rows), "fitted": len(fitted), "typical": sum(r["verdict"] == "typical" for r in rows)}
    question = "Which membrane parameters explain each sweep, and do the sweeps agree?"
    texts: dict[str, Any] = {"title": f"Sweeps of {config.recording.name}", "question": question, "headline": headline}
    path, verdict = folder / "report.html", told["answer"]["sentence"] if told["answer"] else ""
    report = write_report(path, **texts, sections=sections, warnings=warnings, provenance=provenance, verdict=verdict)
    return written | {"report": Path(report)}


def figures_in(sections: Sequence[Section]) -> list:
    """Return the figures of a report in their order."""
    return [figure for section in sections for figure in section.figures.values()]
