"""How are posteriors and samples of weights stored?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import hdf5io
from hdf5io import Dataset

SCHEMA = "neuro_diffusion/posterior/1"
SAMPLES_SCHEMA = "neuro_diffusion/samples/1"
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def save(
    path: Path,
    samples: Tensor,
    estimates: Mapping[str, Tensor],
    ridge_sd: Tensor,
    attrs: Mapping[str, Any],
    provenance: dict[str, str],
) -> Path:
    """Write samples (S, N, N), their summaries and every point estimate (N, N) of an inference."""
    draws, grid = samples.numpy(), ("post", "pre")
    sets = {
        "samples": Dataset(draws, "", "posterior samples of W", ("sample", *grid)),
        "mean": Dataset(draws.mean(0), "", "posterior mean", grid),
        "sd": Dataset(draws.std(0, ddof=1), "", "posterior standard deviation", grid),
        "quantiles": Dataset(np.quantile(draws, QUANTILES, axis=0), "", "posterior quantiles", ("level", *grid)),
        "quantile_levels": Dataset(np.array(QUANTILES), "", "levels of the quantiles", ("level",)),
        "positive_probability": Dataset((draws > 0).mean(0), "probability", "share of samples with W > 0", grid),
        "connection_probability": Dataset((draws != 0).mean(0), "probability", "share of samples with W != 0", grid),
        "ridge_sd": Dataset(ridge_sd.numpy(), "", "posterior sd of ridge regression", grid),
    }
    for name, W in estimates.items():
        key = name.replace(" ", "_").replace("(", "").replace(")", "")
        sets[f"estimates/{key}"] = Dataset(W.numpy(), "", f"point estimate: {name}", grid)
    return hdf5io.write(path, SCHEMA, sets, attrs=attrs, provenance=provenance, overwrite=True)


def save_samples(path: Path, W: Tensor, provenance: dict[str, str]) -> Path:
    """Write samples (S, N, N) of a prior."""
    sets = {"W": Dataset(W.numpy(), "", "sampled weights, row = postsynaptic", ("sample", "post", "pre"))}
    return hdf5io.write(path, SAMPLES_SCHEMA, sets, provenance=provenance, overwrite=True)
