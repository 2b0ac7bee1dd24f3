"""Does the simulator keep its promises on this machine?"""

from __future__ import annotations

from ..config import CheckSimulatorConfig
from ..console import Result, Run
from ..rate_network.simulator_check import check


def run(config: CheckSimulatorConfig, run: Run) -> Result:
    """Check, and say what passed; exit 3 where something did not."""
    outcome = check(config.n_neurons, config.n_time, config.seed)
    good = all(c.passed for c in outcome)
    line = "; ".join(f"{c.name} {'ok' if c.passed else 'FAILED'} ({c.value:.2g}, limit {c.limit:.2g})" for c in outcome)
    return Result({}, {"passed": good, "checks": [c._asdict() for c in outcome]}, line, exit_code=0 if good else 3)
