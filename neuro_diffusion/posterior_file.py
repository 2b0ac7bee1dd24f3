"""How is a posterior over weights stored?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import hdf5io
from hdf5io import Dataset

from .infer import QUANTILES, Inference

SCHEMA = "neuro_diffusion/posterior/1"


def save(path: Path, found: Inference, provenance: dict[str, str], overwrite: bool) -> Path:
    """Write samples, summaries and every estimate of an inference."""
    samples, grid = found.samples.numpy(), ("post", "pre")
    sets = {
        "samples": Dataset(samples, "", "posterior samples of W", ("sample", *grid)),
        "mean": Dataset(samples.mean(0), "", "posterior mean", grid),
        "sd": Dataset(samples.std(0, ddof=1), "", "posterior standard deviation", grid),
        "quantiles": Dataset(np.quantile(samples, QUANTILES, axis=0), "", "posterior quantiles", ("level", *grid)),
        "quantile_levels": Dataset(np.array(QUANTILES), "", "levels of the quantiles", ("level",)),
        "positive_probability": Dataset((samples > 0).mean(0), "probability", "share of samples with W > 0", grid),
        "connection_probability": Dataset((samples != 0).mean(0), "probability", "share of samples with W != 0", grid),
        "ridge_sd": Dataset(found.ridge_sd.numpy(), "", "posterior sd of ridge regression", grid),
    }
    for name, W in found.estimates.items():
        key = name.replace(" ", "_").replace("(", "").replace(")", "")
        sets[f"estimates/{key}"] = Dataset(W.numpy(), "", f"point estimate: {name}", grid)
    attrs = {"trust": found.trusted, "reason": found.reason, "noise_std": found.noise_std}
    return hdf5io.write(path, SCHEMA, sets, attrs=attrs, provenance=provenance, overwrite=overwrite)


def save_figure(path: Path, figure: Figure) -> Path:
    """Write a figure as PNG."""
    with hdf5io.atomic(path) as part:
        figure.savefig(part, format="png", dpi=110, metadata={"Software": ""})
    return path
