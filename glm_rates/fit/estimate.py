"""How long will a fit take, and does it fit into memory? Said before it begins; what cannot fit is refused.

Seconds are those of one thread of a machine of 2024, from fits of 40 to 1000 units (120 trials of 3 s, bins of 25 ms); they grow with
rows as measured there. Memory is what the arrays take.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

from hdf5io.errors import InputError

from ..model.population import Settings, kernels_of

log = logging.getLogger("glm_rates.fit.estimate")
REFERENCE_ROWS = 14_400
GB = 1e9


class Cost(NamedTuple):
    """What one fit of one population takes."""

    seconds: float  # CPU
    gigabytes: float


def cost_of(n_units: int, n_rows: int, n_tastes: int, settings: Settings) -> Cost:
    """Seconds and memory of fitting one population once."""
    sizes = {term: kernels.size for term, kernels in kernels_of(settings).items()}
    many = n_tastes if n_tastes > 1 else 0
    shared = 1 + many + sizes.get("stimulus", 0) * (1 + many) + settings.laser
    base = shared + sizes["history"]
    scale = n_rows / REFERENCE_ROWS
    seconds = 0.03 * n_units * scale * base / 60
    numbers = n_units * n_rows * (12 * sizes["history"] + 60) + 12 * shared * n_rows + 24 * n_units * base**2
    if settings.include_coupling and settings.coupling_method == "screened":
        seconds += (0.075 * n_units + 2.2e-5 * n_units**2) * scale
        numbers += n_units * n_rows * (8 * sizes["coupling"] + 12) + 60 * n_units**2 * sizes["coupling"] ** 2
    elif settings.include_coupling:
        edges = n_units * sizes["coupling"]
        seconds += 4 * (n_units / 40) ** 2.4 * scale**0.9
        numbers += 5 * 8 * n_units * (base + edges) ** 2 + 20 * edges * n_rows
    return Cost(seconds, 0.2 + numbers / GB)


def memory_left() -> float:
    """Memory that new processes can have, in GB; infinite where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as handle:
            for line in handle:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024 / GB
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (AttributeError, ValueError, OSError):
        return float("inf")


def announce(costs: Sequence[Cost], n_folds: int, n_fits: int, jobs: int, settings: Sequence[Settings]) -> None:
    """Say what the fits of all populations will take together.

    Parameters
    ----------
    costs :
        One a population, on all rows.
    n_folds, n_fits :
        Held-out fits and fits of everything, of each population.
    jobs :
        Processes at once.
    settings :
        One a population.

    Raises
    ------
    InputError
        They need more memory than there is.
    """
    times = n_fits + n_folds * (1 - 1 / n_folds if n_folds else 0) * 1.2
    seconds = sum(cost.seconds for cost in costs) * times
    tasks = len(costs) * (n_fits + n_folds)
    at_once = min(jobs, tasks)
    largest = sorted((cost.gigabytes for cost in costs for _ in range(n_fits + n_folds)), reverse=True)[:at_once]
    need, left = sum(largest), memory_left()
    log.info("the fits take about %s of CPU time and %.1f GB", _spell(seconds), need)
    if need > left:
        ways = ["fewer --jobs"] if at_once > 1 else []
        if any(s.include_coupling and s.coupling_method == "full" for s in settings):
            ways.append("--coupling-method screened")
        ways += ["--separate-regions", "fewer units (--units)", "larger bins", "a shorter window"]
        raise InputError(f"the fits need about {need:.1f} GB, {left:.1f} GB are free; try {', '.join(ways)}.")


def _spell(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
