"""What should a person read after ``infer``? The sections of its reports, from results that are already computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import PARAMETERS, InferConfig
from ..neuron.priors import inferred, theta_from_z
from ..posterior.summary import NUISANCE, Posterior, Predictive, units_of_models
from . import plots
from .figures import save_figure
from .report import Section, write_report
from .texts import FURTHER_TEXT, MODELS_TEXT


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
