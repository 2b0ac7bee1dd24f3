"""How good is the posterior on held-out networks recorded as the data set says?"""

from __future__ import annotations

from hdf5io.errors import InputError

from ..config import EvaluateConfig
from ..console import Result, Run, log
from ..files.held_out import check_held_out
from ..files.metadata import load_settings


def run(config: EvaluateConfig, run: Run) -> Result:
    """Score the one condition of the data set, or what the options make of it."""
    found = load_settings(config.data)
    trials = config.trials if found is None or config.trials is not None else found.n_trials
    noise = config.noise if found is None or config.noise is not None else found.observation_noise
    if trials is None or noise is None:
        raise InputError(f"{config.data}: imported without trials and noise. Give --trials and --noise.")
    observed = (1.0 if found is None else found.observed) if config.observed is None else config.observed
    if noise == 0:
        log.warning("the data set has no observation noise: the likelihood assumes .001; --noise sets another.")
    check_held_out(config, [observed])
    from ..score.benchmark import Condition  # loads torch, as the next line does
    from .held_out import score

    return score(config, run, [Condition(trials, noise, observed)])
