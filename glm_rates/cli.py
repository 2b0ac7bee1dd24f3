"""The verbs of ``glm-rates``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

from . import config, console

app = console.application(
    "glm-rates",
    "Firing rates of single trials from Poisson GLMs with learned priors.",
    {
        "infer": config.InferConfig,
        "extract": config.ExtractConfig,
        "fit": config.FitConfig,
        "evaluate": config.EvaluateConfig,
        "plot": config.PlotConfig,
        "info": config.InfoConfig,
        "check": config.CheckConfig,
        "simulate": config.SimulateConfig,
        "decode": config.DecodeConfig,
        "export-nwb": config.ExportNwbConfig,
        "envs": config.EnvsConfig,
    },
    extra="glm",
)
main = console.entry_point(app)
