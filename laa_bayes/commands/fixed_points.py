"""Find the resting voltages, their stability, and the currents between which the neuron is bistable."""

from __future__ import annotations

from ..config import FixedPointsConfig
from ..console import Result, Run
from ..neuron import dynamics


def run(config: FixedPointsConfig, run: Run) -> Result:
    """Compute fixed points and knees; draw the current-voltage curve where asked."""
    theta = config.theta()
    points, knees = dynamics.fixed_points(theta, config.current), dynamics.knees(theta)
    results = {
        "fixed_points": [p._asdict() for p in points],
        "bistable_at_some_current": dynamics.is_bistable(theta),
        "knees": knees._asdict() if knees else None,
        "k_width_mv": theta[3],
        "k_slope_per_mv": 1 / theta[3],
    }
    line = "; ".join(f"{p.v_mv:.2f} mV {'stable' if p.stable else 'unstable'}" for p in points)
    bounds = f"bistable for currents {knees.i_low:.4f} to {knees.i_high:.4f}" if knees else ""
    line += f"; {bounds or 'never bistable (G_act <= 4 g_L k)'}"
    if config.output is None:
        return Result({}, results, line)
    from ..show import figures, plots

    figure = figures.save_figure(plots.current_voltage(theta, config.current), config.output)
    return Result({"figure": figure}, results, line)
