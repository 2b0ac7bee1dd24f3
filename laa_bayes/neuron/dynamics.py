"""Where does the neuron come to rest, and when has it two resting states? Fixed points and bifurcation knees of the LAA model.

At a constant current the model is a line (leak) against a sigmoid (activation): it has one or three fixed points, and three only
when the activation is steep, G_act > 4 g_L k. With one dimension and no reset it can relax or switch, never fire repeatedly.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy import optimize, special


class FixedPoint(NamedTuple):
    """A resting voltage at constant current."""

    v_mv: float
    stable: bool
    tau_ms: float  #: time constant of the linearised dynamics (negative: escape)


class Knees(NamedTuple):
    """The two currents between which the neuron is bistable, and the voltages where the states vanish."""

    i_low: float
    i_high: float
    v_upper_mv: float  #: the upper state vanishes here, at ``i_low``
    v_lower_mv: float  #: the lower state vanishes here, at ``i_high``


def net_current(v_mv, theta, current=0.0):
    """Return C_m dV/dt at voltage ``v_mv``: leak + injected + activation current.

    Parameters
    ----------
    theta : (C_m, g_L, E_L, k, V_thr, G_act), k as a width in mV
    """
    _, g_l, e_l, k, v_thr, g_act = theta
    return -g_l * (v_mv - e_l) + current + g_act * special.expit((v_mv - v_thr) / k)


def slope_conductance(v_mv, theta):
    """Return g_L - G_act s (1 - s) / k, what a small step of current measures at voltage ``v_mv`` (negative: unstable)."""
    _, g_l, _, k, v_thr, g_act = theta
    s = special.expit((v_mv - v_thr) / k)
    return g_l - g_act * s * (1 - s) / k


def is_bistable(theta) -> bool:
    """Return whether some current gives the neuron two resting states: G_act > 4 g_L k."""
    _, g_l, _, k, _, g_act = theta
    return g_act > 4 * g_l * k


def knees(theta) -> Knees | None:
    """Return the saddle-node currents, or None when the neuron is never bistable.

    The slope of the net current vanishes where s (1 - s) = g_L k / G_act with s the activation.
    """
    if not is_bistable(theta):
        return None
    _, g_l, _e_l, k, v_thr, g_act = theta
    root = np.sqrt(1 - 4 * g_l * k / g_act)
    v_lower, v_upper = (v_thr + k * special.logit((1 + sign * root) / 2) for sign in (-1, 1))
    i_high, i_low = (-net_current(v, theta) for v in (v_lower, v_upper))
    return Knees(float(i_low), float(i_high), float(v_upper), float(v_lower))


def fixed_points(theta, current: float = 0.0) -> list[FixedPoint]:
    """Return the fixed points at a constant current, in ascending voltage.

    The net current is monotone between the knees' voltages, so one bracket per monotone piece finds every root.
    """
    c_m, g_l, e_l, _, _, g_act = theta
    edge = knees(theta)
    low, high = e_l + current / g_l - 1.0, e_l + (current + g_act) / g_l + 1.0
    inner = [] if edge is None else [v for v in (edge.v_lower_mv, edge.v_upper_mv) if low < v < high]
    borders = [low, *inner, high]
    points = []
    for left, right in itertools.pairwise(borders):
        if net_current(left, theta, current) * net_current(right, theta, current) <= 0:
            v = float(optimize.brentq(net_current, left, right, args=(theta, current), xtol=1e-10))
            g = slope_conductance(v, theta)
            points.append(FixedPoint(v, bool(g > 0), float(c_m / g) if g else float("inf")))
    return points
