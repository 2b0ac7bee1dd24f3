"""Draw weight matrices from a prior."""

from __future__ import annotations

from typing import Any

from hdf5io.errors import InputError

from ..config import SampleConfig
from ..console import Result, Run
from ..files.asked import refuse_memory
from ..files.metadata import load_metadata
from ..files.model_header import header_of


def check(config: SampleConfig) -> int:
    """Return the number of neurons of the samples.

    Raises
    ------
    InputError : a model of another kind, samples that no memory holds, a data set of other networks.
    """
    N = config.n_neurons or int(header_of(config.model, "diffusion")["n_neurons"])
    refuse_memory("--n-samples", 4 * 4 * config.n_samples * N**2, f"{config.n_samples} samples of {N} neurons")
    if config.data is not None:
        there = load_metadata(config.data)["config"].get("n_neurons", N)
        if there != N:
            raise InputError(
                f"{config.data}: networks of {there} neurons, the samples have {N}. Give --n-neurons {there}."
            )
    return N


def run(config: SampleConfig, run: Run) -> Result:
    """Load the model, sample, compare with real networks where a data set is given, write."""
    N = check(config)
    import torch

    from ..files import dataset, model_folder, posterior_file
    from ..rate_network.weights import get_spectral_radius
    from ..score.prior_metrics import prior_metrics

    model = model_folder.load_model(config.model, "diffusion")
    real = None if config.data is None else dataset.load_weights(config.data, "test")
    if real is not None and real.shape[-1] != N:
        raise InputError(
            f"{config.data}: networks of {real.shape[-1]} neurons, the samples have {N}. Give --n-neurons {real.shape[-1]}."
        )
    if real is not None and min(config.n_samples, len(real)) < 20:
        raise InputError(
            f"--n-samples {config.n_samples}, {len(real)} test networks: at least 20 of each are needed to compare."
        )
    if config.dry_run:
        return Result({}, {"n": config.n_samples, "N": N}, f"would draw {config.n_samples} matrices of {N} neurons")
    g = torch.Generator().manual_seed(config.seed)
    W = model.sample_prior(config.n_samples, N, generator=g, **config.solver)
    results: dict[str, Any] = {
        "n": config.n_samples,
        "N": N,
        "spectral_radius": float(get_spectral_radius(W).mean()),
        "entry_sd": float(W.std()),
    }
    if real is not None:
        results["against_test_networks"] = prior_metrics(W, real, config.seed)._asdict()
    posterior_file.save_samples(config.output, W, run.provenance(config))
    line = f"{config.n_samples} matrices of {N} neurons, mean spectral radius {results['spectral_radius']:.3f}"
    return Result({"samples": config.output}, results, line, record=config.output)
