"""The verbs of ``unit-refine``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

from . import config, console

app = console.application(
    "unit-refine",
    "Which sorted units are good, multi-unit or noise? Learn it from your labels, apply it to new recordings.",
    {
        "train": config.TrainConfig,
        "predict": config.PredictConfig,
        "evaluate": config.EvaluateConfig,
        "compare": config.CompareConfig,
        "info": config.InfoConfig,
        "export-phy": config.ExportPhyConfig,
        "export-curation": config.ExportCurationConfig,
        "suggest": config.SuggestConfig,
        "review": config.ReviewConfig,
        "simulate": config.SimulateConfig,
        "plot": config.PlotConfig,
        "convert-metrics": config.ConvertMetricsConfig,
    },
    extra="curation",
    main="predict",
    aliases={"inspect": "info"},
)
main = console.entry_point(app)
