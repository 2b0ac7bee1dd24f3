"""What do the columns of the tables mean, for a reader who has not seen the code? Names with units; a value and its error in one cell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METHODS = {
    "ridge": "ridge",
    "oracle ridge": "ridge with the best penalty",
    "ep": "EP",
    "combined": "EP with what the network adds",
    "diffusion": "diffusion model",
    "diffusion sample": "one sample of the diffusion model",
    "regression": "regression network",
    "pigdm": "guided prior (pigdm)",
    "anatomy": "EP with anatomy",
}
EXPLAINED = {
    "ridge": "Bayesian ridge regression of each neuron's activity on the others', its penalty by marginal likelihood; no training",
    "oracle ridge": "the same with the penalty that correlates best with the true weights, which nobody could choose without them",
    "ep": "expectation propagation: the same likelihood under a prior in words (density, sizes, Dale's law) of the training family",
    "combined": "EP, and over it as much of the diffusion model as helped on held-out networks of the training family",
    "diffusion": "the trained network's posterior: the mean of its samples",
    "regression": "a network of the same size that was trained to give the posterior mean at once",
    "pigdm": "pseudo-inverse guidance: the network without data, pulled towards the data by their likelihood while it samples",
    "anatomy": "EP that is told where anatomy sees connections; how far that can be believed is learned",
}
QUANTITIES = {
    "trials": "trials",
    "noise": "observation noise (sd of a rate)",
    "observed": "share of the neurons recorded",
    "mse": "squared error (of the weights' variance)",
    "sign_auc": "signs told apart (area under the curve)",
    "crps": "ranked probability score (sd of the weights)",
    "radius_ratio": "spectral radius over the true one",
    "converged": "share of networks on which it came to rest",
    "share": "mean share of the diffusion model",
    "functional_error": "error of the activity (sd of the true rates)",
    "divergence_step": "steps until rates differ by 0.2",
    "lyapunov_error": "error of the Lyapunov exponent (1/tau)",
    "autocorrelation_error": "error of the autocorrelation time (of the true one)",
    "method": "method",
}
COVERAGE = re.compile(r"(?:(ridge|ep|combined|connection) )?coverage (\d+ %)")


def name_of(key: str) -> str:
    """Return a column's name for a reader, with its unit."""
    found = COVERAGE.fullmatch(key)
    if found:
        whose = METHODS.get(found[1] or "diffusion", METHODS["diffusion"])
        where = ", likely connections" if found[1] == "connection" else ""
        return f"{whose}: {found[2]} intervals cover{where} (share)"
    if key.startswith("gain over "):
        return f"{METHODS['diffusion']} minus {METHODS[key.removeprefix('gain over ')]}"
    if key == "combined gain over ep":
        return f"{METHODS['combined']} minus {METHODS['ep']}"
    if key in METHODS:
        return METHODS[key]
    whose, _, what = key.partition(" ")
    if whose in METHODS and what in QUANTITIES:
        return f"{METHODS[whose]}: {QUANTITIES[what]}"
    return QUANTITIES.get(key, key)


def readable(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a table with readable names, each value with its standard error in one cell; methods by their names."""
    return [
        {
            name_of(key): _cell(value, row.get(f"{key} se")) if key != "method" else METHODS.get(value, value)
            for key, value in row.items()
            if not key.endswith(" se")
        }
        for row in rows
    ]


def _cell(value: Any, error: Any) -> Any:
    if error is None or not math.isfinite(error) or not math.isfinite(value):
        return value
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 3
    return f"{value:.{min(digits, 5)}f} ± {error:.{min(digits, 5)}f}"


def explained(methods: Iterable[str]) -> list[dict[str, str]]:
    """Return a table of what each method is."""
    return [{"method": METHODS[m], "what it is": EXPLAINED[m]} for m in methods if m in EXPLAINED]
