"""Stage 2 by hand: fit an exchange folder and write a results file."""

from __future__ import annotations

from ..config import FitConfig
from ..console import Result, Run
from ..files import exchange, results
from ..fit import environments, pipeline
from ..score import tables
from ..show import pages


def run(config: FitConfig, run: Run) -> Result:
    """Fit a private copy of the folder, so that the user's stays as it was extracted."""
    place = results.place_of(config.folder, config.output)
    results.may_write(config.output)
    if config.dry_run:
        nemos = environments.nemos_python(config.nemos_env)
        return Result(
            {},
            {"fit_with": nemos.python, "nemos": nemos.version},
            f"would fit {config.folder} with {nemos.python} into {config.output}",
        )
    with pipeline.exchange_folder(like=config.folder) as folder:
        params, extracted = exchange.load(folder, "extract")
        digest = pipeline.digest(params, extracted, config)
        done = exchange.Fitted(params, extracted, *pipeline.fit(folder, config))
        rows, made = tables.score_rows(done, config.separate_regions), run.provenance(config)
        results.save(place, done, tables.unit_table(done), rows, pipeline.settings(config), digest, made, folder)
    outputs, found, line = pages.finish(place, config.plots, "all", run.warnings, config.figure_format)
    return Result(outputs, found, line, record=config.output)
