"""What does a trained model assume, and how does it answer? The posterior network with prior, current, noise and reference summaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..config import Preset
from ..neuron.priors import inferred
from ..neuron.recipe import Recipe


class Reference(NamedTuple):
    """Where the summaries of clean simulations lie."""

    mean: np.ndarray  #: (n_summary,)
    whitening: np.ndarray  #: (n_summary, n_summary): distance = |whitening @ (s - mean)|
    distances: np.ndarray  #: (n,) sorted distances of simulations not used for mean and whitening


class TrainedModel(NamedTuple):
    """A network with everything it assumes."""

    approximator: Any  #: the BayesFlow approximator
    recipe: Recipe
    preset: Preset
    reference: Reference
    info: dict
    folder: Path | None = None

    def sample(self, v_mv: np.ndarray, n_draws: int, seed: int, batch: int = 100) -> np.ndarray:
        """Return posterior draws in coordinates, (n_trace, n_draws, n_inferred), of noisy traces (n_trace, n_time)."""
        rng, flow, parts = np.random.default_rng(seed), self.approximator.inference_network, []
        for first in range(0, len(v_mv), batch):
            summary = self.summaries(v_mv[first : first + batch])
            shape = (len(summary), n_draws, len(inferred(self.recipe.priors)))
            latent = rng.standard_normal((shape[0] * shape[1], shape[2]), dtype=np.float32)
            z = flow(latent, conditions=np.repeat(summary, n_draws, axis=0), inverse=True)
            parts.append(np.asarray(z, float).reshape(shape))
        return np.concatenate(parts)

    def log_density(self, z: np.ndarray, v_mv: np.ndarray) -> np.ndarray:
        """Return the log posterior density (n,) of coordinates (n, n_inferred) for one trace (n_time,)."""
        summary = np.repeat(self.summaries(v_mv[None]), len(z), axis=0)
        flow = self.approximator.inference_network
        return np.asarray(flow.log_prob(np.asarray(z, np.float32), conditions=summary), float)

    def log_densities(self, z: np.ndarray, v_mv: np.ndarray) -> np.ndarray:
        """Return the log posterior density (n,) of coordinates (n, n_inferred), each for its own trace of ``v_mv`` (n, n_time)."""
        flow = self.approximator.inference_network
        return np.asarray(flow.log_prob(np.asarray(z, np.float32), conditions=self.summaries(v_mv)), float)

    def summaries(self, v_mv: np.ndarray) -> np.ndarray:
        """Return summaries (n_trace, n_summary) of noisy traces."""
        parts = [
            self.approximator.summary_network(np.asarray(v_mv[i : i + 500], np.float32))
            for i in range(0, len(v_mv), 500)
        ]
        return np.concatenate([np.asarray(part) for part in parts])

    def summary_distance(self, v_mv: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance (n_trace,) of traces from clean simulations in summary space."""
        return distance_to(self.reference, self.summaries(v_mv))


def distance_to(reference: Reference, summaries: np.ndarray) -> np.ndarray:
    """Return the Mahalanobis distances (n,) of summaries (n, n_summary)."""
    return np.linalg.norm((summaries - reference.mean) @ reference.whitening.T, axis=1)


def make_reference(summaries: np.ndarray) -> Reference:
    """Return mean and whitening of the first half of summaries, and the sorted distances of the second."""
    half = len(summaries) // 2
    mean = summaries[:half].mean(axis=0)
    value, vector = np.linalg.eigh(np.cov(summaries[:half].T))
    whitening = (vector / np.sqrt(np.maximum(value, 1e-6 * value.max()))).T
    reference = Reference(mean, whitening, np.empty(0))
    return reference._replace(distances=np.sort(distance_to(reference, summaries[half:])))
