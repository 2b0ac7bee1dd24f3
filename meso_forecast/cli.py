"""The verbs of ``meso-forecast``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

import importlib
import os

from . import config, console

# One thread for matrix products unless the user sets another number: on two busy cores a small comparison took 57 s so, and
# over four minutes with a thread a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = console.application(
    "meso-forecast", "How well can the next seconds of a mouse cortex be predicted from the last ones?"
)
VERBS = {
    "simulate": config.SimulateConfig, "sessions": config.SessionsConfig, "extract": config.ExtractConfig,
    "preprocess": config.PreprocessConfig, "train": config.TrainConfig, "forecast": config.ForecastConfig,
    "evaluate": config.EvaluateConfig, "compare": config.CompareConfig, "plot": config.PlotConfig, "info": config.InfoConfig,
}  # fmt: skip


def register(verb, config_class):
    def function(config, run):
        return importlib.import_module(f"{__package__}.commands.{verb}").run(config, run)

    function.__doc__ = config_class.__doc__
    console.command(app, config_class, verb)(function)


for verb, config_class in VERBS.items():
    register(verb, config_class)
main = console.entry_point(app)
