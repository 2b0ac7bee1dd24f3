"""The verbs of ``unit-refine``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

import importlib

from . import config, console

app = console.application(
    "unit-refine",
    "Which sorted units are good, multi-unit or noise? Learn it from your labels, apply it to new recordings.",
)
VERBS = {
    "train": config.TrainConfig, "predict": config.PredictConfig, "evaluate": config.EvaluateConfig,
    "compare": config.CompareConfig, "info": config.InfoConfig, "inspect": config.InfoConfig,
    "export-phy": config.ExportPhyConfig, "export-curation": config.ExportCurationConfig, "suggest": config.SuggestConfig,
    "simulate": config.SimulateConfig, "plot": config.PlotConfig, "convert-metrics": config.ConvertMetricsConfig,
}  # fmt: skip


def _verb(name):
    def body(chosen, run):
        from .files.save_model import Staging

        target = getattr(chosen, "output", None)
        if target is not None and not getattr(chosen, "dry_run", False):
            Staging(target, chosen.overwrite)
        module = {"inspect": "info"}.get(name, name).replace("-", "_")
        return importlib.import_module(f"{__package__}.commands.{module}").run(chosen, run)

    body.__doc__ = VERBS[name].__doc__
    return body


for _name, _class in VERBS.items():
    console.command(app, _class, _name)(_verb(_name))
main = console.entry_point(app)
