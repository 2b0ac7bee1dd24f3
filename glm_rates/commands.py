"""What each command does, step by step."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

import hdf5io

from . import environments, exchange, pipeline
from .console import Result

log = logging.getLogger(__name__)


def infer(config, run) -> Result:
    """Extract -> reuse or fit -> write -> draw."""
    source = config.data
    if not source.exists():
        raise exchange.BadRecording(f"{source}: no such file or directory.")
    if config.dry_run:
        return _plan(config, *_places(source, config.output))
    places = target, _, folder = _places(source, config.output)
    pipeline.may_write(target, target.parent, folder)
    with pipeline.alone(source) if config.output is None else contextlib.nullcontext():
        return _infer(config, run, source, *places)


def _infer(config, run, source: Path, target: Path, group: str, folder: Path) -> Result:
    with pipeline.exchange_folder(config.keep_temp) as temporary:
        pipeline.extract(source, config, temporary)
        pipeline.wanted_units(config.plot_units, len(exchange.load(temporary, "extract")[0]["regions"]))
        mark = pipeline.digest(temporary, config)
        reused = not config.retrain and _reusable(target, group, folder, mark)
        if config.output is not None and not reused:
            ours = config.retrain and _is_ours(target)
            hdf5io.claim(target, config.overwrite or ours)
        if reused:
            log.info("data and options are unchanged: results in %s are used again (--retrain fits anew)", target)
        else:
            pipeline.fit(temporary, config)
            provenance = run.provenance(config, inputs=[p for p in (source,) if p.is_file()])
            pipeline.write_results(temporary, target, group, config, provenance, mark)
            pipeline.write_tables(temporary, folder, config)
    outputs, results, line = _finish(target, folder, config.plots, config.plot_units, run.warnings)
    results["reused"] = reused
    return Result(outputs, results, line, record=folder)


def _places(source: Path, output: Path | None) -> tuple[Path, str, Path]:
    """(file, group in it, folder for tables and figures)."""
    from .data import GROUP

    if output is not None:
        inputs = [source, *(source.glob("*.h5") if source.is_dir() else [])]
        if output.resolve() in [path.resolve() for path in inputs]:
            raise exchange.BadRecording(
                f"--output {output} is the input itself; leave --output out to write into a recording."
            )
        return output, "", output.with_name(output.stem + "_glm_output")
    path = pipeline.recording_file(source)
    if path is None:
        raise exchange.BadRecording(
            f"{source}: results of a single file need --output FILE.h5; the file itself is never written."
        )
    return path, GROUP, source / "glm_output"


def _is_ours(target: Path) -> bool:
    """Whether a file is an earlier result of this pipeline, which --retrain may replace."""
    from .data import stored_digest

    return stored_digest(target, "") is not None


def _reusable(target: Path, group: str, folder: Path, mark: str) -> bool:
    from .data import stored_digest

    whole = (folder / "bits_per_spike_summary.csv").is_file() and (folder / "artifacts" / "params.json").is_file()
    return whole and stored_digest(target, group) == mark


def _plan(config, target: Path, group: str, folder: Path) -> Result:
    python = environments.extraction_python(config.blech_clust_env if config.data.is_dir() else "none")
    nemos = environments.nemos_python(config.nemos_env)
    results = {
        "extract_with": python.python,
        "fit_with": nemos.python,
        "nemos": nemos.version,
        "would_write": f"{target}{'/' + group if group else ''}",
        "tables": folder,
    }
    return Result(
        {},
        results,
        f"would extract with {python.python}, fit with {nemos.python}, write {results['would_write']} and {folder}",
    )


def _finish(target: Path, folder: Path, draw: bool, units: str, warnings: list[str]):
    """Read the results back from the file, draw, and make the answer."""
    from . import data

    stored = data.read_results(target)
    outputs = {"rates": target, "summary": folder / "bits_per_spike_summary.csv", "artifacts": folder / "artifacts"}
    if draw:
        outputs |= _draw(stored, folder, units, warnings)
    results = pipeline.json_results(stored)
    cv = results["bits_per_spike_cv"]
    said = (
        f"{cv['pooled']:.4f} held-out bits per spike, {results['n_explained']} explained"
        if cv
        else f"{results['bits_per_spike']['pooled']:.4f} in-sample bits per spike"
    )
    return outputs, results, f"{results['n_units']} units, {said}; {target}"


def _draw(stored, folder: Path, units: str, warnings: list[str]) -> dict[str, Path]:
    try:
        from . import reporting
    except ImportError as error:
        log.warning("no figures and no report: %s; install the 'glm' extra", error)
        return {}
    chosen = pipeline.wanted_units(units, len(stored.regions))
    figures = reporting.draw(
        stored, reporting.read_rows(folder / "bits_per_spike_summary.csv"), folder / "plots", chosen
    )
    return {"plots": folder / "plots", "report": reporting.report(folder / "report.html", stored, figures, warnings)}


def extract(config, run) -> Result:
    """Stage 1 into a folder that the user keeps."""
    if config.output.is_dir() and config.overwrite and (config.output / "extract.json").is_file():
        shutil.rmtree(config.output)
    pipeline.may_write(config.output)
    hdf5io.claim(config.output, False)
    with pipeline.exchange_folder(keep=False) as temporary:
        pipeline.extract(config.data, config, temporary)
        config.output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(temporary, config.output, dirs_exist_ok=True)
    params, arrays = exchange.load(config.output, "extract")
    n_trials, n_bins, n_units = arrays["counts"].shape
    results = {
        "n_units": n_units,
        "n_trials": n_trials,
        "n_bins": n_bins,
        "tastes": params["tastes"],
        "regions": sorted(set(params["regions"])),
        "window": params["window"],
    }
    return Result(
        {"exchange": config.output},
        results,
        f"{n_units} units, {n_trials} trials; {config.output}",
        record=config.output,
    )


def fit(config, run) -> Result:
    """Stage 2 on an extracted folder, into a results file."""
    pipeline.may_write(config.output)
    hdf5io.claim(config.output, config.overwrite)
    with _copy(config.folder) as temporary:
        mark = pipeline.digest(temporary, config)
        pipeline.fit(temporary, config)
        target, group, folder = _places(config.folder, config.output)
        pipeline.write_results(temporary, target, group, config, run.provenance(config), mark)
        pipeline.write_tables(temporary, folder, config)
    outputs, results, line = _finish(target, folder, config.plots, "all", run.warnings)
    return Result(outputs, results, line, record=folder)


@contextlib.contextmanager
def _copy(folder: Path):
    """A private copy of an exchange folder, so that the user's stays as it was extracted."""
    exchange.load(folder, "extract")
    with pipeline.exchange_folder(keep=False) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        yield temporary


def evaluate(config, run) -> Result:
    """Cross-validation only."""
    if config.cv_folds < 2:
        raise exchange.BadRecording("--cv-folds 0: evaluate needs at least 2 folds.")
    pipeline.may_write(config.output)
    hdf5io.claim(config.output, config.overwrite)
    from . import data

    with _copy(config.folder) as temporary:
        pipeline.fit(temporary, config, full_fit=False, save_models=False)
        params, extracted = exchange.load(temporary, "extract")
        meta, fitted = exchange.load(temporary, "fit")
        table = data.unit_table(extracted, params, fitted, meta)
    keep = [n for n in table if n in ("unit", "region", "n_spikes", "ks_pvalue") or n.startswith("cv ")]
    data.write_csv(config.output, [{n: table[n][u] for n in keep} for u in table["unit"]])
    summary = meta["summary"]
    best = list(summary["models"])[-1]
    results = {"n_units": len(table["unit"]), "models": summary["models"], "steps": summary["steps"]}
    row = summary["models"][best]
    line = f"{best}: {row['pooled']:.4f} held-out bits per spike (mean {row['mean']:.4f}, median {row['median']:.4f}); {config.output}"
    return Result({"scores": config.output}, results, line, record=config.output)


def plot(config, run) -> Result:
    """Figures and report from stored results."""
    from . import data

    source = config.data
    target = pipeline.recording_file(source) if source.is_dir() else source
    if not target.is_file():
        raise exchange.BadRecording(f"{source}: no such file or directory.")
    beside = (
        [source / "glm_output"]
        if source.is_dir()
        else [target.with_name(target.stem + "_glm_output"), target.parent / "glm_output"]
    )
    folder = next((p for p in beside if (p / "bits_per_spike_summary.csv").is_file()), None)
    if folder is None:
        raise exchange.BadRecording(
            f"{source}: no bits_per_spike_summary.csv in {beside[0]}. Run 'glm-rates infer' first."
        )
    from . import reporting

    stored = data.read_results(target)
    chosen = pipeline.wanted_units(config.plot_units, len(stored.regions))
    output = config.output or folder / "plots"
    pipeline.may_write(output, output.parent)
    figures = reporting.draw(stored, reporting.read_rows(folder / "bits_per_spike_summary.csv"), output, chosen)
    page = reporting.report(
        output.parent / "report.html" if config.output is None else output / "report.html",
        stored,
        figures,
        run.warnings,
    )
    return Result({"plots": output, "report": page}, {"n_figures": len(figures)}, f"{len(figures)} figures; {output}")


def check(config, run) -> Result:
    """Consistency of a recording, as tables."""
    from .check import check_recording

    pipeline.recording_file(config.data)
    found = check_recording(config.data)
    lines = [
        _table(found.tastes),
        "",
        _table(found.units),
        "",
        *[f"note: {n}" for n in found.notes],
        *[f"PROBLEM: {p}" for p in found.problems],
    ]
    verdict = f"{len(found.problems)} problem(s)" if found.problems else "consistent"
    return Result({}, found._asdict(), "\n".join([*lines, f"{config.data}: {verdict}"]), 3 if found.problems else 0)


def _table(rows: list[dict]) -> str:
    """Rows as text in aligned columns."""
    cells = [[*rows[0]]] + [
        [f"{v:.2f}" if isinstance(v, float) else "-" if v is None else str(v) for v in row.values()] for row in rows
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells)


def simulate(config, run) -> Result:
    """A directory that ``infer`` reads."""
    import numpy as np

    from . import simulate as simulation

    pipeline.may_write(config.output)
    hdf5io.claim(config.output, config.overwrite)
    rng = np.random.default_rng(config.seed)
    session = simulation.simulate(config, rng)
    path = simulation.write_blech_directory(config.output, config, session, rng)
    results = {
        "n_units": config.n_units,
        "n_trials": config.n_tastes * config.n_trials,
        "n_spikes": int(session.counts.sum()),
    }
    line = f"{config.n_units} units, {results['n_trials']} trials, {results['n_spikes']} spikes; {config.output}"
    return Result({"recording": path, "truth": config.output / "truth.npz"}, results, line, record=config.output)


def envs(config, run) -> Result:
    """Every candidate interpreter and what it said."""
    rows = []
    if config.blech_clust_env != "none":
        for prefix in environments.conda_prefixes():
            if prefix.name == config.blech_clust_env or str(prefix) == config.blech_clust_env:
                rows.append(
                    (
                        "extract",
                        environments.probe(
                            environments.python_of(prefix), f"conda environment {prefix}", environments.PROBE_H5
                        ),
                    )
                )
    here = Path(environments.sys.executable)
    rows.append(("extract", environments.probe(here, "this interpreter", environments.PROBE_H5)))
    rows += [
        ("fit", environments.probe(p, why, environments.PROBE_NEMOS))
        for p, why in environments.nemos_candidates(config.nemos_env)
    ]
    table = [
        {
            "stage": s,
            "python": str(i.python),
            "found as": i.why,
            "works with": i.version or "-",
            "problem": i.problem or "-",
        }
        for s, i in rows
    ]
    ready = any(s == "fit" and i.version for s, i in rows)
    return Result({}, {"candidates": table, "ready": ready}, _table(table), 0 if ready else 5)
