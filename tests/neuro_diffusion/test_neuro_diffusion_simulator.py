"""Is the simulator the recursion it claims to be, in every shape and method, and is its gradient right?"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from neuro_diffusion.rate_network.simulator import simulate_rate_network, step_of
from neuro_diffusion.rate_network.simulator_check import check


def slow(W, h0, T, dt, tau, I, noise, noise_std):
    """Return x of one network and trial, neuron by neuron."""
    h, rows, a, N = h0.numpy().astype(float).copy(), [], dt / tau, len(h0)
    for t in range(T):
        rows.append(np.tanh(h))
        if t < T - 1:
            new = np.empty(N)
            for i in range(N):
                drive = sum(float(W[i, j]) * rows[-1][j] for j in range(N))
                new[i] = (1 - a) * h[i] + a * (drive + float(I[t, i])) + math.sqrt(dt) * noise_std * float(noise[t, i])
            h = new
    return np.array(rows)


@pytest.fixture
def network():
    g = torch.Generator().manual_seed(0)
    return (
        torch.randn(6, 6, generator=g) / 2,
        torch.randn(6, generator=g),
        torch.randn(20, 6, generator=g),
        torch.randn(19, 6, generator=g),
    )


def test_the_simulator_equals_a_loop_over_neurons_to_1e6(network):
    W, h0, I, noise = network
    x = simulate_rate_network(W, h0, 20, 0.1, 0.7, I, 0.3, noise=noise)
    np.testing.assert_allclose(x, slow(W, h0, 20, 0.1, 0.7, I, noise, 0.3), atol=1e-6)


def test_every_shape_gives_the_same_trajectories():
    g = torch.Generator().manual_seed(1)
    W, h0 = torch.randn(3, 5, 5, generator=g), torch.randn(3, 4, 5, generator=g)
    every = simulate_rate_network(W, h0, 12, 0.1, 1.0)
    assert every.shape == (3, 4, 12, 5)
    for b in range(3):
        torch.testing.assert_close(simulate_rate_network(W[b], h0[b], 12, 0.1, 1.0), every[b], atol=1e-6, rtol=0)
        torch.testing.assert_close(simulate_rate_network(W[b], h0[b, 2], 12, 0.1, 1.0), every[b, 2], atol=1e-6, rtol=0)
    torch.testing.assert_close(simulate_rate_network(W, h0[:, 1], 12, 0.1, 1.0), every[:, 1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("W", "h0"), [((4, 5), (5,)), ((5, 5), (4,)), ((2, 5, 5), (3, 5)), ((5, 5), (2, 3, 5)), ((5,), (5,))]
)
def test_shapes_that_do_not_fit_are_named(W, h0):
    with pytest.raises(ValueError, match=r"W \(.*\) and h0 \(.*\) do not fit: expected"):
        simulate_rate_network(torch.zeros(W), torch.zeros(h0), 5, 0.1, 1.0)


def test_an_input_that_does_not_broadcast_is_named(network):
    W, h0, I, _ = network
    with pytest.raises(ValueError, match=r"I \(20, 5\) does not broadcast to \(20, 6\)"):
        simulate_rate_network(W, h0, 20, 0.1, 1.0, I[:, :5])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory_floats": 1},
        {"record_every": 3},
        {"return_h": True, "record_every": 2, "memory_floats": 1},
        {"phi": "softplus"},
        {"phi": "relu"},
        {"method": "exp_euler", "noise_scaling": "ode"},
        {"method": "heun"},
        {"method": "rk4", "phi": torch.sin},
    ],
    ids=lambda options: ",".join(f"{k}={getattr(v, '__name__', v)}" for k, v in options.items()) or "defaults",
)
def test_the_gradient_passes_gradcheck_in_float64(options):
    g = torch.Generator().manual_seed(2)
    draw = lambda *s: torch.randn(*s, generator=g, dtype=torch.double).requires_grad_()  # noqa: E731
    W, h0, I, noise = draw(2, 4, 4), draw(2, 3, 4), draw(7, 4), draw(2, 3, 6, 4)

    def run(W, h0, I, noise):
        return simulate_rate_network(W, h0, 7, 0.1, 0.5, I, 0.3, noise=noise, **options)

    assert torch.autograd.gradcheck(run, (W, h0, I, noise))


def test_recomputed_segments_give_the_same_gradient_as_stored_rates():
    g = torch.Generator().manual_seed(3)
    h0, grads = torch.randn(4, 8, generator=g), []
    for memory in (2**28, 1):
        W = (torch.randn(8, 8, generator=torch.Generator().manual_seed(4)) / 2).requires_grad_()
        simulate_rate_network(W, h0, 53, 0.1, 1.0, memory_floats=memory).square().mean().backward()
        grads.append(W.grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("exp_euler", 1), ("heun", 2), ("rk4", 4)])
def test_the_error_against_solve_ivp_falls_with_the_order_of_the_method_for_tau_not_1(method, order):
    g, tau, end = torch.Generator().manual_seed(5), 2.0, 4.0
    W, h0 = torch.randn(10, 10, generator=g, dtype=torch.double) * 0.5, torch.randn(10, generator=g, dtype=torch.double)
    I = torch.randn(10, generator=g, dtype=torch.double)
    right = lambda t, h: (-h + W.numpy() @ np.tanh(h) + I.numpy()) / tau  # noqa: E731
    exact = np.tanh(solve_ivp(right, (0, end), h0.numpy(), rtol=1e-11, atol=1e-12).y[:, -1])
    errors = []
    for steps in (40, 80):
        x = simulate_rate_network(W, h0, steps + 1, end / steps, tau, I, method=method)
        errors.append(np.abs(x[-1].numpy() - exact).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_uncoupled_noise_has_the_variance_of_its_recursion():
    a, s, W = 0.1, 0.5, torch.zeros(200, 200)
    g = torch.Generator().manual_seed(6)
    _, h = simulate_rate_network(W, torch.zeros(8, 200), 2000, a, 1.0, None, s, True, generator=g)
    assert float(h[:, 200:].var()) == pytest.approx(a * s**2 / (1 - (1 - a) ** 2), rel=0.03)
    _, h = simulate_rate_network(
        W, torch.zeros(8, 200), 2000, 0.2, 2.0, None, s, True, noise_scaling="ode", generator=g
    )
    assert float(h[:, 200:].var()) == pytest.approx(0.2 * s**2 / 4 / (1 - 0.9**2), rel=0.03)


def test_a_replayed_noise_path_gives_the_same_bits_and_a_generator_decides_the_path(network):
    W, h0, _, noise = network
    runs = [simulate_rate_network(W, h0, 20, 0.1, 1.0, None, 0.2, noise=noise) for _ in range(2)]
    assert torch.equal(*runs)
    runs = [
        simulate_rate_network(W, h0, 20, 0.1, 1.0, None, 0.2, generator=torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_unstable_steps_are_refused_and_coarse_ones_warned_of(network):
    W, h0, *_ = network
    with pytest.raises(ValueError, match="Euler is unstable for dt/tau = 2"):
        simulate_rate_network(W, h0, 5, 2.0, 1.0)
    with pytest.warns(UserWarning, match=r"dt/tau = 1.5 > 1"):
        simulate_rate_network(W, h0, 5, 1.5, 1.0)
    assert torch.isfinite(simulate_rate_network(W, h0, 50, 2.0, 1.0, method="exp_euler")).all()
    with pytest.raises(ValueError, match="dt and tau must be positive"):
        step_of(0.0, 1.0)
    with pytest.raises(ValueError, match="phi is one of tanh, relu, softplus"):
        simulate_rate_network(W, h0, 5, 0.1, 1.0, phi="sigmoid")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 30))
def test_relabelling_the_neurons_relabels_the_activity(seed, n, T):
    g = torch.Generator().manual_seed(seed)
    W, h0, p = (
        torch.randn(n, n, generator=g, dtype=torch.double),
        torch.randn(3, n, generator=g, dtype=torch.double),
        torch.randperm(n, generator=g),
    )
    x = simulate_rate_network(W, h0, T, 0.1, 1.0)
    torch.testing.assert_close(simulate_rate_network(W[p][:, p], h0[:, p], T, 0.1, 1.0), x[..., p])


def test_the_example_of_the_seed_runs_as_it_is_written():
    """Its W is no leaf; its gradient is there all the same."""
    from neuro_diffusion import simulate_rate_network

    N, T, dt, tau = 50, 100, 0.1, 1.0
    W = torch.randn(N, N, requires_grad=True) / (N**0.5)
    h0 = torch.randn(N)
    activity = simulate_rate_network(W, h0, T=T, dt=dt, tau=tau)
    assert activity.shape == (100, 50)
    loss = activity.mean()
    loss.backward()
    assert W.grad.shape == (50, 50)
    assert W.grad.norm().item() > 0


def test_arrays_and_numbers_are_taken_and_other_things_refused_by_name(network):
    W, h0, I, noise = network
    expected = simulate_rate_network(W, h0, 20, 0.1, 1.0, I, 0.1, noise=noise)
    given = (v.numpy() for v in (W, h0))
    torch.testing.assert_close(
        simulate_rate_network(*given, 20, 0.1, 1.0, I.numpy(), 0.1, noise=noise.numpy()), expected
    )
    flat = simulate_rate_network(W, torch.full((6,), 0.5), 20, 0.1, 1.0, torch.full((6,), 0.2))
    torch.testing.assert_close(simulate_rate_network(W, 0.5, 20, 0.1, 1.0, 0.2), flat)
    assert simulate_rate_network(np.eye(3), np.zeros(3), 5, 0.1, 1.0).dtype == torch.float64
    with pytest.raises(ValueError, match=r"W \(\) and h0 \(\) do not fit"):
        simulate_rate_network(0.3, 0.5, 5, 0.1, 1.0)
    with pytest.raises(ValueError, match="W is str 'x'; a tensor or an array of numbers is expected"):
        simulate_rate_network("x", h0, 5, 0.1, 1.0)
    with pytest.raises(ValueError, match=r"W \(6, 6\) has values that are not finite"):
        simulate_rate_network(W * float("nan"), h0, 5, 0.1, 1.0)


@pytest.mark.parametrize(("method", "a"), [("euler", 2.0), ("heun", 5.0), ("rk4", 2.8)])
def test_no_method_runs_where_it_must_diverge(network, method, a):
    with pytest.raises(ValueError, match=rf"is unstable for dt/tau = {a:g}"):
        simulate_rate_network(network[0], network[1], 5, a, 1.0, method=method)


def test_check_simulator_passes_and_would_notice_a_wrong_time_constant(monkeypatch):
    assert [c.passed for c in check(20, 50, 1)] == [True] * 4
    right = simulate_rate_network
    monkeypatch.setattr(
        "neuro_diffusion.rate_network.simulator_check.simulate_rate_network",
        lambda W, h, T, dt, tau, **k: right(W, h, T, dt, tau * 1.01, **k),
    )
    assert not check(20, 50, 1)[0].passed


def test_a_time_constant_for_each_neuron_is_that_neurons_alone(network):
    """Uncoupled neurons decay each at its own pace; equal time constants give what one does; noise and inputs go along."""
    h0 = torch.tensor([1.0, 2.0, 0.5], dtype=torch.double)
    tau = torch.tensor([0.5, 1.0, 4.0], dtype=torch.double)
    _, h = simulate_rate_network(torch.zeros(3, 3, dtype=torch.double), h0, 20, 0.1, tau, return_h=True)
    torch.testing.assert_close(h[-1], h0 * (1 - 0.1 / tau) ** 19)
    W = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    for method in ("euler", "exp_euler", "rk4"):
        one, each = (simulate_rate_network(W, h0, 30, 0.1, t, 0.3, method=method) for t in (2.0, np.full(3, 2.0)))
        torch.testing.assert_close(one, each)
    with pytest.raises(ValueError, match="one for each of 3 neurons"):
        simulate_rate_network(W, h0, 30, 0.1, np.ones(4))


@pytest.mark.parametrize(("options", "message"), [
    ({"T": 10.0}, "T is 10.0; a whole number is expected"), ({"dt": "fast"}, "dt is 'fast'; one number is expected"),
    ({"noise_std": np.ones(3)}, "noise_std is .*; one number is expected"), ({"I": np.full(3, np.nan)}, "I .* not finite"),
])  # fmt: skip
def test_what_is_no_number_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_rate_network(
            **{"W": torch.zeros(3, 3), "h0": torch.zeros(3), "T": 10, "dt": 0.1, "tau": 1.0} | options
        )


@pytest.mark.parametrize("method", ["heun", "rk4"])
@pytest.mark.parametrize("phi", ["tanh", "softplus"])
def test_stages_have_the_gradients_of_autograd(method, phi):
    """Weights, initial states, input and replayed noise; the rate as a function of the caller's goes through autograd."""
    g = torch.Generator().manual_seed(0)
    own = {"tanh": torch.tanh, "softplus": torch.nn.functional.softplus}[phi]
    W, h0 = (
        0.5 * torch.randn(2, 4, 4, generator=g, dtype=torch.double),
        torch.randn(2, 3, 4, generator=g, dtype=torch.double),
    )
    current, noise = (torch.randn(2, 3, T, 4, generator=g, dtype=torch.double) for T in (7, 6))
    target = torch.randn(2, 3, 7, 4, generator=g, dtype=torch.double)
    found = []
    for rate in (phi, own):
        leaves = [v.clone().requires_grad_() for v in (W, h0, current, noise)]
        x, h = simulate_rate_network(
            leaves[0], leaves[1], 7, 0.3, 1.2, leaves[2], 0.1, True, method=method, phi=rate, noise=leaves[3]
        )
        ((x * target).sum() + (h**2 * target).sum()).backward()
        found.append((x.detach(), h.detach(), *(v.grad for v in leaves)))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs)
