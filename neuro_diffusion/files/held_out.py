"""Can these models be scored on this data set? Asked of what the files say of themselves, before models and networks are loaded."""

from __future__ import annotations

from collections.abc import Sequence

from hdf5io.errors import InputError

from ..config import HeldOutConfig
from .metadata import load_metadata, shards_of
from .model_header import header_of


def check_held_out(config: HeldOutConfig, observed: Sequence[float]) -> None:
    """Raise InputError where models are of another kind, a data set is unfinished, or a fraction leaves less than two neurons."""
    header_of(config.model, "diffusion", conditional=True)
    for folder, objective in ((config.regression, "regression"), (config.prior, "diffusion")):
        if folder is not None:
            header_of(folder, objective)
    shards_of(config.data)
    N = load_metadata(config.data)["config"].get("n_neurons")
    for part in observed:
        if isinstance(N, int) and round(part * N) < 2:
            raise InputError(f"--observed {part:g}: leaves less than 2 of {N} neurons. Give a larger fraction.")
