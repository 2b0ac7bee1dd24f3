"""Does the simulator solve the equation? Against DOP853, closed forms and hand-computed fixed points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.integrate import solve_ivp
from scipy.special import expit

from laa_bayes import config
from laa_bayes.neuron import dynamics, priors, protocols, simulator

CURRENT = simulator.protocol_current(config.SimulateConfig(output="bank"))
DEFAULT = config.SimulateConfig(output="bank").resolved_priors()


def oracle(theta, current, dt_ms):
    """Integrate sample by sample with an 8th-order method at 1e-11."""
    c_m, g_l, e_l, k, v_thr, g_act = theta
    v = [e_l]
    for i in current[:-1]:
        rhs = lambda _, y, i=i: (-g_l * (y - e_l) + i + g_act * expit((y - v_thr) / k)) / c_m  # noqa: E731
        v.append(solve_ivp(rhs, (0, dt_ms), [v[-1]], method="DOP853", rtol=1e-11, atol=1e-11).y[0, -1])
    return np.array(v)


def test_a_trace_agrees_with_dop853_to_a_thousandth_of_a_millivolt():
    theta = priors.theta_from_z(DEFAULT, priors.sample_z(DEFAULT, 6, np.random.default_rng(0)))
    theta[:3, 3] = 1.0
    v = simulator.simulate(theta, CURRENT, 1.0)
    assert max(np.abs(v[i] - oracle(theta[i], CURRENT, 1.0)).max() for i in range(6)) < 1e-3


def test_a_sharp_activation_agrees_with_dop853_to_two_hundredths_of_a_millivolt():
    theta = priors.theta_from_z(DEFAULT, priors.sample_z(DEFAULT, 4, np.random.default_rng(1)))
    theta[:, 3] = 0.1
    v = simulator.simulate(theta, CURRENT, 1.0)
    assert max(np.abs(v[i] - oracle(theta[i], CURRENT, 1.0)).max() for i in range(4)) < 0.02


def test_without_activation_the_voltage_is_the_rc_exponential():
    theta = np.array([[1.3, 0.08, -65.0, 5.0, -50.0, 0.0]])
    current = np.full(300, 0.7)
    t = np.arange(300.0)
    expected = -65.0 + 0.7 / 0.08 * (1 - np.exp(-t * 0.08 / 1.3))
    assert np.abs(simulator.simulate(theta, current, 1.0)[0] - expected).max() < 1e-4


def test_width_one_tenth_is_slope_ten():
    wide = config.TraceConfig(k=0.1, output="x.h5").theta()
    steep = config.TraceConfig(k=10.0, k_convention="slope", output="x.h5").theta()
    assert wide == pytest.approx(steep)


@pytest.mark.parametrize(("g_act", "v_mv"), [(2, -59.37), (3, -50.00), (5, -16.73)])
def test_fixed_points_of_the_seed_parameters_are_the_known_ones(g_act, v_mv):
    points = dynamics.fixed_points((1, 0.1, -65, 10, -50, g_act))
    assert [p.v_mv for p in points] == pytest.approx([v_mv], abs=0.01)


def test_knees_of_the_documented_case_are_at_a_fifth():
    edge = dynamics.knees((1, 0.1, -65, 5, -50, 3))
    assert (edge.i_low, edge.i_high) == pytest.approx((-0.2075, 0.2075), abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 20), st.floats(0.5, 8), st.floats(-3, 3))
def test_there_are_three_fixed_points_exactly_between_the_knees(k, g_act, current):
    theta = (1.0, 0.1, -65.0, k, -50.0, g_act)
    edge, points = dynamics.knees(theta), dynamics.fixed_points(theta, current)
    inside = edge is not None and edge.i_low < current < edge.i_high
    assert len(points) == (3 if inside else 1)
    assert dynamics.is_bistable(theta) == (g_act > 0.4 * k)
    assert all(abs(dynamics.net_current(p.v_mv, theta, current)) < 1e-6 for p in points)


@given(k=st.floats(1.0, 15.0), v_mv=st.floats(-90.0, -20.0))
def test_the_slope_conductance_is_minus_the_slope_of_the_net_current(k, v_mv):
    theta = (1.0, 0.1, -65.0, k, -50.0, 3.0)
    rise = dynamics.net_current(v_mv + 1e-4, theta) - dynamics.net_current(v_mv - 1e-4, theta)
    assert dynamics.slope_conductance(v_mv, theta) == pytest.approx(-rise / 2e-4, abs=1e-6)


def test_a_bistable_cell_stays_up_after_the_pulse_and_falls_after_a_reset():
    theta = np.array([[1.0, 0.1, -65.0, 3.0, -50.0, 3.0]])
    current = np.zeros(600)
    current[50:100], current[400:460] = 3.0, -3.0
    v = simulator.simulate(theta, current, 1.0)[0]
    assert v[40] < -55 < -45 < v[399]
    assert v[-1] < -55


def test_a_constant_current_never_makes_the_voltage_oscillate():
    theta = priors.theta_from_z(DEFAULT, priors.sample_z(DEFAULT, 50, np.random.default_rng(2)))
    v = simulator.simulate(theta, np.full(400, 1.0), 1.0)
    steps = np.diff(v, axis=1)
    assert np.all((steps.min(axis=1) > -1e-6) | (steps.max(axis=1) < 1e-6))


def test_exponential_euler_is_less_accurate_than_runge_kutta():
    theta = np.array([[1.0, 0.1, -65.0, 2.0, -50.0, 3.0]])
    exact = oracle(theta[0], CURRENT, 1.0)
    errors = {m: np.abs(simulator.simulate(theta, CURRENT, 1.0, method=m)[0] - exact).max() for m in simulator.STEPS}
    assert errors["rk4"] < 1e-3 < min(errors["euler"], errors["exponential-euler"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_coordinates_and_parameters_are_inverse(z):
    table = dict(DEFAULT)
    table["E_L"] = config.Prior(distribution="normal", center=-65, sd=5, lower=-90, upper=-40)
    table["V_thr"] = config.Prior(distribution="uniform", lower=-60, upper=-40)
    back = priors.z_from_theta(table, priors.theta_from_z(table, np.array(z)))
    assert back == pytest.approx(z, abs=1e-5)


def test_bounded_priors_stay_within_their_bounds():
    table = dict(DEFAULT)
    table["k"] = config.Prior(distribution="lognormal", center=6.0, sd=1.0, lower=2.0, upper=9.0)
    k = priors.theta_from_z(table, priors.sample_z(table, 2000, np.random.default_rng(0)))[:, 3]
    assert 2.0 <= k.min() < 2.3
    assert 8.7 < k.max() <= 9.0


def test_the_frozen_noise_of_the_protocol_has_the_stated_mean_and_sd():
    noise = protocols.ornstein_uhlenbeck(200_000, 1.0, config.PROTOCOLS["default"][-1])
    assert noise.mean() == pytest.approx(0.5, abs=0.05)
    assert noise.std() == pytest.approx(1.5, rel=0.03)
    assert np.corrcoef(noise[:-1], noise[1:])[0, 1] == pytest.approx(np.exp(-1 / 5), abs=0.01)


def test_a_prior_without_bounds_where_it_needs_them_is_refused():
    with pytest.raises(ValidationError, match="needs lower and upper"):
        config.Prior(distribution="uniform")
    with pytest.raises(ValidationError, match="unknown parameter 'tau'"):
        config.SimulateConfig(output="x", priors={"tau": config.Prior(distribution="fixed")})
