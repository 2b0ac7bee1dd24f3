"""The verbs of ``laa-bayes``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

from . import config, console

app = console.application(
    "laa-bayes",
    "Bayesian inference for the Leaky Adaptive Activation neuron, checked against the exact posterior.",
    {
        "simulate": config.SimulateConfig,
        "train": config.TrainConfig,
        "diagnose": config.DiagnoseConfig,
        "infer": config.InferConfig,
        "compare": config.CompareConfig,
        "own": config.OwnConfig,
        "export": config.ExportConfig,
        "population": config.PopulationConfig,
        "posterior-predict": config.PosteriorPredictConfig,
        "fixed-points": config.FixedPointsConfig,
        "trace": config.TraceConfig,
        "info": config.InfoConfig,
        "plot": config.PlotConfig,
    },
    extra="laa",
)
main = console.entry_point(app)
