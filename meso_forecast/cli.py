"""The verbs of ``meso-forecast``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

import os

from . import config, console

# One thread for matrix products unless the user sets another number: on two busy cores a small comparison took 57 s so, and
# over four minutes with a thread a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = console.application(
    "meso-forecast",
    "How well can the next seconds of a mouse cortex be predicted from the last ones?",
    {
        "simulate": config.SimulateConfig, "sessions": config.SessionsConfig, "extract": config.ExtractConfig,
        "preprocess": config.PreprocessConfig, "train": config.TrainConfig, "forecast": config.ForecastConfig,
        "evaluate": config.EvaluateConfig, "compare": config.CompareConfig, "transfer": config.TransferConfig,
        "plot": config.PlotConfig, "export": config.ExportConfig,
        "info": config.InfoConfig,
    },
    extra="meso",
    main="compare",
)  # fmt: skip
main = console.entry_point(app)
