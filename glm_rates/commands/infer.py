"""Estimate rates of a recording: extract, reuse or fit, write, draw."""

from __future__ import annotations

import contextlib
import logging

from ..config import InferConfig
from ..console import Result, Run
from ..files import results
from ..files.exchange import Fitted
from ..fit import environments, pipeline
from ..score import tables
from ..show import pages

log = logging.getLogger(__name__)


def run(config: InferConfig, run: Run) -> Result:
    """One pass through the rooms; results of the same data and options are used again."""
    place = results.place_of(config.data, config.output, config.h5)
    if config.dry_run:
        return plan(config, place)
    results.may_write(place.file, place.file.parent, place.folder)
    alone = results.alone(config.data) if config.output is None else contextlib.nullcontext()
    with alone, pipeline.exchange_folder(config.keep_temp) as folder:
        params, extracted = pipeline.extract(config.data, config, folder)
        if config.strict and params.get("label_problems"):
            found = {"label_problems": params["label_problems"]}
            return Result({}, found, f"{config.data}: {params['label_problems'][0]} Nothing was fitted (--strict).", 3)
        pages.wanted_units(config.plot_units, len(params["regions"]))
        digest = pipeline.digest(params, extracted, config)
        reused = not config.retrain and results.is_current(place, digest)
        if reused:
            log.info("data and options are unchanged: results in %s are used again (--retrain fits anew)", place.file)
        else:
            results.may_replace(place, config.overwrite, config.retrain)
            done = Fitted(params, extracted, *pipeline.fit(folder, config))
            rows = tables.score_rows(done, config.separate_regions)
            made = run.provenance(config)
            results.save(place, done, tables.unit_table(done), rows, pipeline.settings(config), digest, made, folder)
        outputs, found, line = pages.finish(place, config.plots, config.plot_units, run.warnings, config.figure_format)
    return Result(outputs, {**found, "reused": reused}, line, record=config.output or place.folder)


def plan(config: InferConfig, place: results.Place) -> Result:
    """What would be done, and where."""
    python = environments.extraction_python(config.blech_clust_env if config.data.is_dir() else "none")
    nemos = environments.nemos_python(config.nemos_env)
    target = f"{place.file}{'/' + place.group if place.group else ''}"
    found = {"extract_with": python.python, "fit_with": nemos.python, "nemos": nemos.version, "would_write": target, "tables": place.folder}  # fmt: skip
    line = f"would extract with {python.python}, fit with {nemos.python}, write {target} and {place.folder}"
    return Result({}, found, line)
