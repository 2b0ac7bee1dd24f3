"""How are posteriors and samples of weights stored?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io import Dataset
from hdf5io.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor  # what is read is first an array; torch takes a second to load

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
    names: Sequence[str] = (),
    more: Mapping[str, tuple[Tensor, str, tuple[str, ...]]] | None = None,
) -> Path:
    """Write samples (S, N, N), their summaries and every point estimate (N, N) of an inference.

    ``more`` are further arrays by name, each with its description and the names of its axes.
    """
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
    for name, (array, description, axes) in (more or {}).items():
        sets[name] = Dataset(array.numpy(), "", description, axes)
    if names:
        sets["neurons"] = Dataset(
            list(names), "", "names of the neurons, in the order of rows and columns", ("neuron",)
        )
    return hdf5io.write(path, SCHEMA, sets, attrs=attrs, provenance=provenance, overwrite=True)


def save_samples(path: Path, W: Tensor, provenance: dict[str, str]) -> Path:
    """Write samples (S, N, N) of a prior."""
    sets = {"W": Dataset(W.numpy(), "", "sampled weights, row = postsynaptic", ("sample", "post", "pre"))}
    return hdf5io.write(path, SAMPLES_SCHEMA, sets, provenance=provenance, overwrite=True)


class Posterior(NamedTuple):
    """A posterior that was written by `save`."""

    samples: np.ndarray  #: (S, N, N)
    estimates: dict[str, np.ndarray]  #: (N, N) by method
    attrs: dict[str, Any]  #: trusted method, reason, verdict, noise


def load(path: Path) -> Posterior:
    """Return a posterior.

    Raises
    ------
    InputError : not a posterior of this pipeline, or damaged.
    """
    with hdf5io.read(path, SCHEMA, ["samples"]) as file:
        samples = _stack(path, hdf5io.array(file, "samples", 3)[()])
        names = list(file["estimates"]) if isinstance(file.get("estimates"), h5py.Group) else []
        estimates = {name: hdf5io.array(file, f"estimates/{name}", 2)[()] for name in names}
        attrs = {k: v.item() if hasattr(v, "item") else v for k, v in file.attrs.items() if k != "schema"}
    return Posterior(samples, estimates, attrs)


def load_samples(path: Path) -> np.ndarray:
    """Return the samples (S, N, N) of a prior; raises InputError as `load` does."""
    with hdf5io.read(path, SAMPLES_SCHEMA, ["W"]) as file:
        return _stack(path, hdf5io.array(file, "W", 3)[()])


def _stack(path: Path, W: np.ndarray) -> np.ndarray:
    if W.shape[1] != W.shape[2] or not W.size or not np.isfinite(W).all():
        raise InputError(f"{path}: samples of shape {W.shape}, expected finite (sample, N, N).")
    return W
