"""The verbs of ``neuro-diffusion``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

import os

from . import config, console

# One thread unless the user sets another number: equal seeds then give equal results on every machine, and contended threads
# cost more than they bring for networks of this size.
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = console.application(
    "neuro-diffusion",
    "Posteriors over the synaptic weights of recurrent networks, beside ridge regression.",
    {
        "simulate": config.SimulateConfig,
        "build-dataset": config.BuildDatasetConfig,
        "import-connectome": config.ImportConnectomeConfig,
        "import-pt": config.ImportPtConfig,
        "export-pt": config.ExportPtConfig,
        "check-simulator": config.CheckSimulatorConfig,
        "train-prior": config.TrainPriorConfig,
        "train-conditional": config.TrainConditionalConfig,
        "sample": config.SampleConfig,
        "infer": config.InferConfig,
        "evaluate": config.EvaluateConfig,
        "benchmark": config.BenchmarkConfig,
        "plot": config.PlotConfig,
        "info": config.InfoConfig,
    },
    extra="diffusion",
)
main = console.entry_point(app)
