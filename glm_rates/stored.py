"""What do figures and reports know of a finished run?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Stored(NamedTuple):
    """Results as figures and reports need them."""

    tastes: list[str]
    regions: list[str]  # (unit,)
    bin_ms: int
    time_ms: np.ndarray  # (bin,) start of each bin from the stimulus, or from the start of the segment
    has_stimulus: bool
    arrays: dict[
        str, np.ndarray
    ]  # counts, rate, log_rate_sd, rate_cv (trial, bin, unit); taste (trial,); ks_curve, ...
    populations: list[dict]  # region, taste, units and filters
    scores: dict[str, np.ndarray]  # model -> (unit,) held-out bits per spike
    score_errors: dict[str, np.ndarray]  # model -> (unit,) their standard errors over folds
    summary: dict[str, Any]
    provenance: dict[str, str]
