"""The verbs of ``neuro-diffusion``: each is a file in ``commands/``, its options a class in ``config.py``."""

from __future__ import annotations

import importlib
import inspect
import os

from . import config, console

# One thread unless the user sets another number: equal seeds then give equal results on every machine, and contended threads
# cost more than they bring for networks of this size.
os.environ.setdefault("OMP_NUM_THREADS", "1")

VERBS = {
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
}
app = console.application(
    "neuro-diffusion", "Posteriors over the synaptic weights of recurrent networks, beside ridge regression."
)


def _register(verb, config_class):
    def function(options, run):
        import hdf5io

        target = getattr(options, "output", None)
        if target is not None and not getattr(config_class, "resumes", False):
            hdf5io.claim(target, options.overwrite)
        return importlib.import_module(f".commands.{verb.replace('-', '_')}", __package__).run(options, run)

    function.__doc__ = inspect.getdoc(config_class)
    console.command(app, config_class, verb)(function)


for _verb, _class in VERBS.items():
    _register(_verb, _class)
main = console.entry_point(app)
