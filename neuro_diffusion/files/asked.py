"""What does `infer` read? The recording and all that is said of it, checked against each other before anything heavy is loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..config import InferConfig, refuse_size
from . import connectomes, recordings
from .beside import read_stimulus, truth_beside
from .model_header import header_of

LARGEST = 400  #: neurons up to which the diffusion model runs: beyond, the likelihoods of all rows fill the memory
log = logging.getLogger("neuro_diffusion")


class Asked(NamedTuple):
    """What a posterior is asked of."""

    recording: recordings.Rates
    truth: np.ndarray | None  #: (N, N)
    stimulus: np.ndarray | None  #: (K, T, N)
    anatomy: np.ndarray | None  #: (N, N) of the connectome of --anatomy, in the order of the recording's neurons


def read_asked(config: InferConfig) -> Asked:
    """Return all that is read of a recording.

    Raises
    ------
    InputError : a model of another kind, files that do not fit each other, options that are not there for such a recording.
    """
    if str(config.model) != "none":
        header_of(config.model, "diffusion", conditional=True)
    for folder, objective in ((config.prior, "diffusion"), (config.regression, "regression")):
        if folder is not None:
            header_of(folder, objective)
    recording = recordings.read_activity(config.activity, config.dataset, config.rows, config.axes)
    truth = truth_beside(config.truth, config.activity, recording.y.shape[-1])
    stimulus = read_stimulus(config.stimulus, config.activity, recording.y.shape)
    if stimulus is not None and config.refine != "none":
        raise InputError("--refine: does not know of a known input (stimulus). Leave it out.")
    if recording.observed.sum() < 2:
        raise InputError(f"{config.activity}: one neuron was recorded; at least 2 are needed.")
    if not recording.observed.all() and "estimate" in config.model_fields_set and config.estimate != ("none",):
        raise InputError(
            "--estimate: without effect where neurons were not recorded: the settings are as told. Leave it out."
        )
    for name in not_for_many(config, recording) if recording.y.shape[-1] > LARGEST else ():
        raise InputError(f"{name}: not there for more than {LARGEST} neurons. Leave it out.")
    if config.n_samples is not None:
        N = recording.y.shape[-1]
        refuse_memory("--n-samples", 4 * 4 * config.n_samples * N**2, f"{config.n_samples} samples of {N} neurons")
    return Asked(recording, truth, stimulus, anatomy_of(config.anatomy, recording))


def refuse_memory(option: str, n_bytes: float, what: str) -> None:
    """Raise InputError where what an option asks for is larger than the memory of this machine."""
    try:
        refuse_size(n_bytes, what)
    except ValueError as error:
        raise InputError(f"{option}: {error}.") from None


def not_for_many(config: InferConfig, recording: recordings.Rates) -> Iterator[str]:
    """Yield what was asked for and cannot be had of a large network."""
    for name in ("prior", "regression", "anatomy", "refine", "guidance", "sampler", "schedule", "steps"):
        if getattr(config, name) != type(config).model_fields[name].default:
            yield f"--{name}"
    for name in ("kernel", "taus") if "estimate" in config.model_fields_set else ():
        if name in config.estimate:
            yield f"--estimate {name}"
    if not recording.observed.all():
        yield "a recording of part of the neurons"


def anatomy_of(path: Path | None, recording: recordings.Rates) -> np.ndarray | None:
    """Return the matrix (N, N) of a connectome: joined by the neurons' names, or in order where a side has none."""
    if path is None:
        return None
    found, names = connectomes.load_connectome(path), recording.names
    N = recording.y.shape[-1]
    twice = [
        name for side in (names, found.names) for name in dict.fromkeys(side) if side.count(name) > 1 and name in names
    ]
    if twice:
        raise InputError(
            f"{path}: several neurons are named {twice[0]}, here or in the recording. Neurons are joined by their names."
        )
    if names and set(names) <= set(found.names):
        order = [found.names.index(name) for name in names]
    elif len(found.matrix) == N and (not names or found.names == tuple(map(str, range(N)))):
        order = list(range(N))
        log.warning("%s: taken in the order of the recording's neurons, for one of the two files has no names.", path)
    else:
        missing = sorted(set(names) - set(found.names))[:4] if names else []
        raise InputError(
            f"{path}: {len(found.matrix)} neurons ({', '.join(found.names[:4])}, ...) for {N} recorded ones; expected the same"
            f" names{' (missing ' + ', '.join(missing) + ')' if missing else ''}, or as many neurons in the same order without names."
        )
    return found.matrix[np.ix_(order, order)].astype(float)
