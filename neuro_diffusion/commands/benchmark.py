"""How do all methods do on held-out networks, over a grid of conditions?"""

from __future__ import annotations

import itertools

from ..config import BenchmarkConfig
from ..console import Result, Run
from ..files.held_out import check_held_out


def run(config: BenchmarkConfig, run: Run) -> Result:
    """Score every combination of trials, noise and observed fraction."""
    check_held_out(config, config.observed)
    from ..score.benchmark import Condition  # loads torch, as the next line does
    from .held_out import score

    grid = itertools.product(config.observed, config.noise, config.trials)
    return score(config, run, [Condition(K, spread, part) for part, spread, K in grid])
