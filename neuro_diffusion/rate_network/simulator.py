"""What does a rate network do, and how does its activity depend on its weights?

``tau dh/dt = -h + W phi(h) + I + noise`` (Sompolinsky, Crisanti & Sommers 1988). With a = dt / tau the Euler rule reads
``h <- (1 - a) h + a (W phi(h) + I) + n xi``. All networks and trials advance together, one matrix product a step and no
autograd; the gradient is the hand-written adjoint of the same recursion (`_Trajectory`), which needs the rates alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Array = Tensor | np.ndarray | float  #: whatever becomes a tensor
Nonlinearity = str | Callable[[Tensor], Tensor]
RATE = {
    "tanh": torch.tanh,
    "relu": lambda h, out=None: torch.clamp_min(h, 0.0, out=out),
    "softplus": lambda h, out=None: torch.logaddexp(h, torch.zeros((), dtype=h.dtype, device=h.device), out=out),
}
SLOPE = {  # phi'(h) as a function of x = phi(h)
    "tanh": lambda x: 1 - x * x,
    "relu": lambda x: (x > 0).to(x.dtype),
    "softplus": lambda x: -torch.expm1(-x),
}
METHODS = ("euler", "exp_euler", "heun", "rk4")
UNSTABLE = {"euler": 2.0, "heun": 2.0, "rk4": 2.785}  #: dt / tau from which a decaying state grows


class Step(NamedTuple):
    """One step of the recursion: ``h <- keep h + gain (W phi(h) + I) + spread xi``."""

    keep: float  #: 1 - a for Euler, exp(-a) for the exponential rule
    gain: float  #: a, or 1 - exp(-a)
    spread: float  #: n, standard deviation of the noise added a step


def step_of(dt: float, tau: float, noise_std: float = 0.0, method: str = "euler", noise_scaling: str = "seed") -> Step:
    """Return the coefficients of one step; warn where the rule is coarse, refuse where it is unstable.

    Raises
    ------
    ValueError : dt or tau not positive, dt / tau too large for the method, an unknown method or noise scaling.
    """
    if not (dt > 0 and tau > 0 and noise_std >= 0):
        raise ValueError(f"dt and tau must be positive and noise_std at least 0, not dt={dt}, tau={tau}, {noise_std}")
    if method not in METHODS or noise_scaling not in ("seed", "ode"):
        raise ValueError(
            f"method is one of {', '.join(METHODS)} and noise_scaling seed or ode: {method}, {noise_scaling}"
        )
    a = dt / tau
    limit = UNSTABLE.get(method, math.inf)
    if a >= limit:
        name = {"euler": "Euler", "heun": "Heun", "rk4": "RK4"}[method]
        raise ValueError(
            f"{name} is unstable for dt/tau = {a:g} >= {limit:g}; take dt < {limit * tau:g} or method='exp_euler'"
        )
    if method == "euler" and a > 1:
        warnings.warn(f"dt/tau = {a:g} > 1: Euler overshoots at every step; take a smaller dt", stacklevel=3)
    spread = math.sqrt(dt) * noise_std / (tau if noise_scaling == "ode" else 1.0)
    return Step(math.exp(-a), -math.expm1(-a), spread) if method == "exp_euler" else Step(1 - a, a, spread)


def simulate_rate_network(
    W: Array,
    h0: Array,
    T: int,
    dt: float,
    tau: float,
    I: Array | None = None,
    noise_std: float = 0.0,
    return_h: bool = False,
    *,
    method: str = "euler",
    phi: Nonlinearity = "tanh",
    noise_scaling: str = "seed",
    generator: torch.Generator | None = None,
    noise: Array | None = None,
    record_every: int = 1,
    memory_floats: int = 2**28,
) -> Tensor | tuple[Tensor, Tensor]:
    """Simulate one or many rate networks; differentiable in W, h0, I and noise.

    Tensors, NumPy arrays and numbers are taken. A ``W`` that is itself computed (no leaf) keeps its gradient in ``W.grad`` as well.

    Parameters
    ----------
    W : (N, N) or (B, N, N) weights, row = postsynaptic neuron.
    h0 : (N,), (K, N), with batched weights (B, N) or (B, K, N): states at the first row; a number stands for all neurons.
    T : rows of the result before thinning; T - 1 updates are made and ``x[0] = phi(h0)``.
    dt, tau : step and membrane time constant, same unit.
    I : current, broadcastable to the result's shape (.., T, N); ``(N,)`` and ``(T, N)`` are the usual ones.
    noise_std : noise amplitude; ``noise_scaling`` "seed" adds sqrt(dt) noise_std a step, "ode" divides that by tau.
    return_h : also return the states h.
    method : euler, exp_euler, heun or rk4 (noise is added once a step, after the deterministic part).
    phi : tanh, relu, softplus or a function. generator : source of the noise.
    noise : a path of standard normal numbers (.., T - 1, N) to replay instead of drawing one.
    record_every : keep rows 0, m, 2 m, ...
    memory_floats : where ``2 T B K N`` exceeds it, the backward pass recomputes segments of about sqrt(T) steps.

    Returns
    -------
    x : (T, N), (K, T, N), (B, T, N) or (B, K, T, N) rates; with ``return_h`` the pair (x, h).

    Raises
    ------
    ValueError : shapes that do not fit (both are named), values that are not finite, bad step, method, phi, T or record_every.
    """
    step, (w, start, current, replay) = step_of(dt, tau, noise_std, method, noise_scaling), _tensors(W, h0, I, noise)
    _check(w, start, T, phi, record_every)
    if w.requires_grad and not w.is_leaf:
        w.retain_grad()
    shape = _shape(w, start)
    W3, h3 = w.reshape(-1, *w.shape[-2:]), start.reshape(shape.canonical)
    drive = None if current is None else _over_time(current.to(h3), shape, T, "I")
    path = _noise_path(replay, shape, T, step, h3, generator)
    if callable(phi) or method in ("heun", "rk4"):
        x, h = _plain(W3, h3, T, step, dt / tau, drive, path, method, phi)
        x, h = x[::record_every], h[::record_every]
    else:
        x, h = _Trajectory.apply(W3, h3, drive, path, T, step, phi, record_every, return_h, memory_floats)
    x, h = shape.restore(x), (shape.restore(h) if return_h else None)
    return (x, h) if return_h else x


def _tensors(
    W: Array, h0: Array, I: Array | None, noise: Array | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return all four as tensors of one kind; numbers and arrays take the kind of the tensors among W and h0."""
    like = next((v for v in (W, h0) if isinstance(v, Tensor)), None)
    found: list[Tensor | None] = []
    for name, value in (("W", W), ("h0", h0), ("I", I), ("noise", noise)):
        if value is None or isinstance(value, Tensor):
            found.append(value)
            continue
        try:
            tensor = torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} is {type(value).__name__} {value!r}; a tensor or an array of numbers is expected"
            ) from None
        kind = tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()
        found.append(tensor.to(kind) if like is None else tensor.to(like))
    first, start, drive, path = found
    if first is None or start is None:
        raise ValueError("W and h0 are needed, not None")
    if start.ndim == 0 and first.ndim in (2, 3):
        start = start.expand(first.shape[:-2] + first.shape[-1:]).to(first.dtype)
    return first, start, drive, path


def _noise_path(noise: Tensor | None, shape: _Shape, T: int, step: Step, like: Tensor, g: torch.Generator | None):
    """Return the path to replay, or a new one where the dynamics are noisy, as (T - 1, B, K, N)."""
    if noise is not None:
        return _over_time(noise.to(like), shape, T - 1, "noise")
    if step.spread > 0:
        return torch.randn((T - 1, *shape.canonical), generator=g, dtype=like.dtype, device=like.device)
    return None


class _Shape(NamedTuple):
    """How the caller's shapes map to (B, K, N)."""

    canonical: tuple[int, int, int]
    squeeze: tuple[int, ...]  # axes of (B, K, T, N) that the caller did not ask for

    def restore(self, rows: Tensor) -> Tensor:
        rows = rows.permute(1, 2, 0, 3)
        for axis in sorted(self.squeeze, reverse=True):
            rows = rows.squeeze(axis)
        return rows


def _shape(W: Tensor, h0: Tensor) -> _Shape:
    """Return the (B, K, N) form of a pair of shapes, or raise a ValueError that names both."""
    n = W.shape[-1] if W.ndim in (2, 3) else -1
    if n > 0 and W.shape[-2] == n and h0.ndim >= 1 and h0.shape[-1] == n:
        if W.ndim == 2 and h0.ndim in (1, 2):
            return _Shape((1, h0.shape[0] if h0.ndim == 2 else 1, n), (0,) if h0.ndim == 2 else (0, 1))
        if W.ndim == 3 and h0.ndim in (2, 3) and h0.shape[0] == W.shape[0]:
            return _Shape((W.shape[0], h0.shape[1] if h0.ndim == 3 else 1, n), () if h0.ndim == 3 else (1,))
    raise ValueError(
        f"W {tuple(W.shape)} and h0 {tuple(h0.shape)} do not fit: expected W (N, N) with h0 (N) or (K, N), "
        "or W (B, N, N) with h0 (B, N) or (B, K, N)"
    )


def _check(W: Tensor, h0: Tensor, T: int, phi: Nonlinearity, record_every: int) -> None:
    if T < 1 or record_every < 1:
        raise ValueError(f"T and record_every must be at least 1, not {T} and {record_every}")
    if not callable(phi) and phi not in RATE:
        raise ValueError(f"phi is one of {', '.join(RATE)} or a function, not {phi!r}")
    if W.dtype != h0.dtype or not W.is_floating_point():
        raise ValueError(f"W and h0 must have one floating dtype, not {W.dtype} and {h0.dtype}")
    for name, value in (("W", W), ("h0", h0)):
        if not bool(torch.isfinite(value.detach()).all()):
            raise ValueError(f"{name} {tuple(value.shape)} has values that are not finite")


def _over_time(values: Tensor, shape: _Shape, T: int, name: str) -> Tensor:
    """Return an input as (T, B, K, N)."""
    full = [shape.canonical[0], shape.canonical[1], T, shape.canonical[2]]
    for axis in shape.squeeze if values.ndim > 2 else ():
        values = values.unsqueeze(axis)
    try:
        return values.expand(full).permute(2, 0, 1, 3)
    except RuntimeError:
        asked = [size for axis, size in enumerate(full) if axis not in shape.squeeze]
        raise ValueError(f"{name} {tuple(values.shape)} does not broadcast to {tuple(asked)}") from None


def _roll(W: Tensor, h: Tensor, T: int, step: Step, drive, path, phi: str, start: int = 0, X=None) -> Iterator[tuple]:
    """Yield (row, x, h) for ``T`` rows from state h (B, K, N) at row ``start``, without autograd.

    The state is updated in place; the rates go into the rows of ``X`` (T, B, K, N) or, without it, into one reused tensor.
    """
    rate, keep, gain = RATE[phi], step.keep, step.gain
    h = h.clone(memory_format=torch.contiguous_format)
    one = len(W) == 1  # a plain matrix product costs half of a batched one
    state, weights = (h[0], W[0].T) if one else (h, W.transpose(1, 2).contiguous())
    update = state.addmm_ if one else state.baddbmm_
    rows = [state.new_empty(state.shape)] * T if X is None else (X[:, 0] if one else X).unbind(0)
    end = start + T - 1
    for t, x in enumerate(rows, start):
        rate(state, out=x)
        yield t, x, h
        if t < end:
            update(x, weights, beta=keep, alpha=gain)
            if drive is not None:
                h.add_(drive[t], alpha=gain)
            if path is not None:
                h.add_(path[t], alpha=step.spread)


def _rows(W: Tensor, h: Tensor, T: int, step: Step, drive, path, phi: str, start: int = 0) -> Tensor:
    """Return the rates (T, B, K, N) of T rows."""
    X = h.new_empty((T, *h.shape))
    for _ in _roll(W, h, T, step, drive, path, phi, start, X):
        pass
    return X


class _Trajectory(torch.autograd.Function):
    """The trajectory as one differentiable operation; backward is the discrete adjoint of the recursion.

    ``lam_t = keep lam_{t+1} + (g_t + gain lam_{t+1} W) phi'(x_t)``, and dW is one product ``gain sum_t lam_{t+1}' x_t``.
    """

    @staticmethod
    def forward(ctx, W, h0, drive, path, T, step, phi, record_every, return_h, memory_floats):
        needs_grad = any(ctx.needs_input_grad)
        light = needs_grad and 2 * T * h0.numel() > memory_floats
        every = max(1, math.isqrt(T)) if light else T
        if record_every == 1 and not return_h and not light:
            X = _rows(W, h0, T, step, drive, path, phi)
            saved, starts, result = X, h0[None], (X, X.new_empty(0))
        else:
            kept, states, starts, rows = [], [], [], []
            for t, x, h in _roll(W, h0, T, step, drive, path, phi):
                if t % every == 0 and needs_grad:
                    starts.append(h.clone())
                if t % record_every == 0:
                    kept.append(x.clone().view(h.shape))
                    states.append(h.clone() if return_h else h.new_empty(0))
                if needs_grad and not light:
                    rows.append(x.clone().view(h.shape))
            result = (torch.stack(kept), torch.stack(states))
            saved = torch.stack(rows) if rows else h0.new_empty(0)
            starts = torch.stack(starts) if starts else h0.new_empty(0)
        if needs_grad:
            ctx.save_for_backward(W, saved, starts, *(v for v in (drive, path) if v is not None))
            ctx.setting = (T, step, phi, record_every, return_h, every, drive is not None, path is not None)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_x, grad_h):
        W, saved, starts, *inputs = ctx.saved_tensors
        T, step, phi, record_every, return_h, every, has_drive, has_path = ctx.setting
        drive, path = (inputs[0] if has_drive else None), (inputs[-1] if has_path else None)
        shape = starts.shape[1:]
        lam, dW = W.new_zeros(shape), torch.zeros_like(W)
        keep_all = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        every_lam = []
        gradients = (grad_x.contiguous(), grad_h.contiguous() if return_h else None, record_every)
        for first in reversed(range(0, T, every)):
            length = min(every, T - first)
            X = saved if saved.numel() else _rows(W, starts[first // every], length, step, drive, path, phi, first)
            L, lam = _adjoint(W, lam, X, step, phi, first, gradients)
            left, right = (v.movedim(0, 1).reshape(len(W), -1, W.shape[-1]) for v in (L, X))
            dW.baddbmm_(left.transpose(1, 2), right, alpha=step.gain)
            if keep_all:
                every_lam.insert(0, L)
        later = torch.cat(every_lam)[: T - 1] if keep_all else None
        d_drive = torch.cat([later, later.new_zeros((1, *shape))]) * step.gain if ctx.needs_input_grad[2] else None
        d_path = later * step.spread if ctx.needs_input_grad[3] else None
        return dW, lam, d_drive, d_path, None, None, None, None, None, None


def _adjoint(W, lam, X, step: Step, phi: str, first: int, gradients) -> tuple[Tensor, Tensor]:
    """Return lam_{t+1} for the rows of a segment (T, B, K, N), and lam at its first row."""
    grad_x, grad_h, record_every = gradients
    L, slope, one = torch.empty_like(X), SLOPE[phi](X), len(W) == 1
    L[-1] = lam
    flat = (lambda v: v[:, 0]) if one else (lambda v: v)
    after, slopes, given = flat(L).unbind(0), flat(slope).unbind(0), flat(grad_x).unbind(0)
    states = None if grad_h is None else flat(grad_h).unbind(0)
    zero, product, weights = torch.zeros_like(after[0]), torch.addmm if one else torch.baddbmm, W[0] if one else W
    entry = torch.empty_like(zero)
    for k in reversed(range(len(X))):
        seen, place = (first + k) % record_every == 0, (first + k) // record_every
        back = product(given[place] if seen else zero, after[k], weights, alpha=step.gain).mul_(slopes[k])
        result = torch.add(back, after[k], alpha=step.keep, out=after[k - 1] if k else entry)
        if seen and states is not None:
            result.add_(states[place])
    return L, entry.view(X.shape[1:])


def _plain(W: Tensor, h: Tensor, T: int, step: Step, a: float, drive, path, method: str, phi: Nonlinearity):
    """Return (x, h) rows by ordinary autograd: Heun, RK4 and the reader's own nonlinearities."""
    rate = phi if callable(phi) else RATE[phi]
    Wt = W.transpose(1, 2)

    def slope(state: Tensor, t: int) -> Tensor:
        current = torch.matmul(rate(state), Wt) - state
        return current if drive is None else current + drive[t]

    states = [h]
    for t in range(T - 1):
        if method == "heun":
            k1 = slope(h, t)
            new = h + a / 2 * (k1 + slope(h + a * k1, t + 1))
        elif method == "rk4":
            k1 = slope(h, t)
            k2 = slope(h + a / 2 * k1, t)
            k3 = slope(h + a / 2 * k2, t)
            new = h + a / 6 * (k1 + 2 * k2 + 2 * k3 + slope(h + a * k3, t + 1))
        else:
            new = step.keep * h + step.gain * (slope(h, t) + h)
        h = new if path is None else new + step.spread * path[t]
        states.append(h)
    H = torch.stack(states)
    return rate(H), H
