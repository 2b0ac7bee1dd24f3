"""``evaluate``: the scores of a trained model."""

from __future__ import annotations

from hdf5io.errors import InputError

from ..config import EvaluateConfig
from ..console import Result, Run
from ..files.model_folder import forecaster_for, load_model, seen_by
from ..fit.registry import open_checked, part_origins, warn_if_trained_on
from ..model.closed_form import fit_closed_form
from ..model.forecaster import with_spread
from ..score import compare
from ..score.verdict import BASELINES
from ..show import pages


def run(config: EvaluateConfig, run: Run) -> Result:
    """Score a model folder on a recording's test part."""
    unused = [] if config.output is not None else config.given("figure_format", "overwrite")
    if unused:
        raise InputError(
            f"--{unused[0].replace('_', '-')}: nothing is written without --output. Leave it out, or give --output."
        )
    saved = load_model(config.model)
    context, horizon, name = saved.about["context"], saved.about["horizon"], saved.about["model"]
    recording = seen_by(saved, open_checked(config.recording, context, horizon))
    forecaster, trained = forecaster_for(saved, recording)
    if config.dry_run:
        return Result({}, {}, f"would score {name} on {config.recording}; nothing written")
    warn_if_trained_on(trained, recording, part_origins(recording, context, horizon), horizon)

    def fit(wanted: str):
        """Return the model itself, or a baseline fitted anew."""
        if wanted == name:
            return forecaster
        panel = recording.panel.without_behaviour()
        return with_spread(fit_closed_form(wanted, panel, context, horizon, config.seed), panel, context, horizon)

    baselines = [m for m in BASELINES if m != name and (m != "stimulus-mean" or recording.panel.stimulus is not None)]
    outcome = compare.run([*baselines, name], fit, recording, context, horizon)
    results, line = compare.judged_results(outcome, recording, context, horizon, config.seed)
    cells, outputs = results["where"].pop("by_cell"), {}
    if config.output is not None:
        made = pages.figures(outcome, recording, context, horizon)
        question = f"How well does {config.model.name} forecast {config.recording.name}?"
        pages.write_folder(config.output, recording, cells, results, made, run, config, question)
        outputs = {"report": config.output / "report.html"}
    return Result(outputs, results, line, record=config.output)
