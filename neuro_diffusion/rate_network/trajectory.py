"""How are the rates of many steps computed, and how do gradients run back through them?

All networks and trials advance together, one matrix product a step and no autograd; the gradient is the hand-written adjoint of the
same recursion (`Trajectory`), which needs the rates alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Nonlinearity = str | Callable[[Tensor], Tensor]
RATE: dict[str, Callable[..., Tensor]] = {
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


def number(name: str, value: object) -> float:
    """Return an option as a number.

    Raises
    ------
    ValueError : it is none; the option is named.
    """
    try:
        return float(value)  # type: ignore[arg-type]  # whatever has __float__
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {value!r}; one number is expected") from None


def step_of(dt: float, tau: float, noise_std: float = 0.0, method: str = "euler", noise_scaling: str = "seed") -> Step:
    """Return the coefficients of one step; warn where the rule is coarse, refuse where it is unstable.

    Raises
    ------
    ValueError : dt or tau not positive, dt / tau too large for the method, an unknown method or noise scaling.
    """
    dt, tau, noise_std = (number(n, v) for n, v in (("dt", dt), ("tau", tau), ("noise_std", noise_std)))
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
    if drive is not None or path is not None:
        for _ in _roll(W, h, T, step, drive, path, phi, start, X):
            pass
        return X
    rate, keep, gain, one = RATE[phi], step.keep, step.gain, len(W) == 1
    state = (h[0] if one else h).clone(memory_format=torch.contiguous_format)
    update, weights = (state.addmm_, W[0].T) if one else (state.baddbmm_, W.transpose(1, 2).contiguous())
    *before, last = (X[:, 0] if one else X).unbind(0)
    for x in before:
        rate(state, out=x)
        update(x, weights, beta=keep, alpha=gain)
    rate(state, out=last)
    return X


class Trajectory(torch.autograd.Function):
    """The trajectory as one differentiable operation; backward is the discrete adjoint of the recursion.

    ``lam_t = keep lam_{t+1} + (g_t + gain lam_{t+1} W) phi'(x_t)``, and dW is one product ``gain sum_t lam_{t+1}' x_t``.
    """

    @staticmethod
    def forward(ctx, W, h0, drive, path, T, step, phi, record_every, return_h, memory_floats):
        """Return rates (and states) of Euler steps; of long runs only every sqrt(T)-th state is kept for the way back."""
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
        """Return the gradients by the adjoint: lam <- (1 - a) lam + (g + a lam W) phi'."""
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


class Tableau(NamedTuple):
    """An explicit rule whose stages each start from the one before: k_i = f(h + a reach_i k_(i-1))."""

    reach: tuple[float, ...]
    weights: tuple[float, ...]
    later: tuple[int, ...]  #: 1 where a stage takes the input of the next row


TABLEAUS = {
    "heun": Tableau((0.0, 1.0), (1 / 2, 1 / 2), (0, 1)),
    "rk4": Tableau((0.0, 1 / 2, 1 / 2, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0, 0, 0, 1)),
}


class Stages(torch.autograd.Function):
    """The trajectory of Heun or RK4 as one operation; backward takes every step's stages again and runs through them in reverse.

    With u_i the gradient at k_i, that at the stage's state is ``s_i = (u_i W) phi'(x_i) - u_i``; ``dW = sum u_i' x_i``.
    """

    @staticmethod
    def forward(ctx, W, h0, drive, path, T, a, spread, phi, method):
        """Return rates and states of a Runge-Kutta method."""
        H, table, Wt = h0.new_empty((T, *h0.shape)), TABLEAUS[method], W.transpose(1, 2)
        H[0] = h0
        for t in range(T - 1):
            slopes = _stages(H[t], Wt, drive, t, a, phi, table)[1]
            H[t + 1] = H[t] + a * sum(b * k for b, k in zip(table.weights, slopes))
            if path is not None:
                H[t + 1] += spread * path[t]
        X = RATE[phi](H)
        ctx.save_for_backward(W, H, X, *(() if drive is None else (drive,)))
        ctx.setting = (a, spread, phi, method)
        return X, H

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_x, grad_h):
        """Return the gradients by the adjoint of every stage."""
        W, H, X, *inputs = ctx.saved_tensors
        (a, spread, phi, method), drive = ctx.setting, inputs[0] if inputs else None
        table, Wt, given = TABLEAUS[method], W.transpose(1, 2), grad_x * SLOPE[phi](X) + grad_h
        dW, lam = torch.zeros_like(W), given[-1]
        d_drive = torch.zeros_like(H) if ctx.needs_input_grad[2] else None
        d_path = torch.empty_like(H[1:]) if ctx.needs_input_grad[3] else None
        for t in reversed(range(len(H) - 1)):
            if d_path is not None:
                d_path[t] = spread * lam
            rates, _ = _stages(H[t], Wt, drive, t, a, phi, table)
            total, after = lam + given[t], None
            for i in reversed(range(len(rates))):
                u = a * table.weights[i] * lam
                if after is not None:
                    u = u + a * table.reach[i + 1] * after
                after = torch.matmul(u, W) * SLOPE[phi](rates[i]) - u
                dW.baddbmm_(u.transpose(1, 2), rates[i])
                if d_drive is not None:
                    d_drive[t + table.later[i]] += u
                total = total + after
            lam = total
        return dW, lam, d_drive, d_path, None, None, None, None, None


def _stages(
    h: Tensor, Wt: Tensor, drive, t: int, a: float, phi: str, table: Tableau
) -> tuple[list[Tensor], list[Tensor]]:
    """Return rates and slopes of the stages of the step from row t."""
    rates: list[Tensor] = []
    slopes: list[Tensor] = []
    for reach, later in zip(table.reach, table.later):
        state = h + a * reach * slopes[-1] if slopes else h
        rates.append(RATE[phi](state))
        current = torch.matmul(rates[-1], Wt) - state
        slopes.append(current if drive is None else current + drive[t + later])
    return rates, slopes


class Pace(NamedTuple):
    """One step of `plain`, as numbers or for each neuron (N)."""

    a: float | Tensor  #: dt / tau
    gain: float | Tensor  #: a, or 1 - exp(-a)
    spread: float | Tensor  #: standard deviation of the noise added a step


def pace_of(dt: float, tau: float | Tensor, step: Step, method: str, noise_scaling: str) -> Pace:
    """Return the step of a time constant, or of one for each neuron (N); ``step`` is that of the fastest."""
    if not isinstance(tau, Tensor):
        return Pace(dt / tau, step.gain, step.spread)
    a = dt / tau
    slower = tau.min() / tau if noise_scaling == "ode" else torch.ones_like(tau)
    return Pace(a, -torch.expm1(-a) if method == "exp_euler" else a, step.spread * slower)


def plain(W: Tensor, h: Tensor, T: int, pace: Pace, drive, path, method: str, phi: Nonlinearity):
    """Return (x, h) rows by ordinary autograd: a time constant for each neuron and the reader's own nonlinearities."""
    a, gain, spread = pace
    rate = phi if callable(phi) else RATE[phi]
    Wt = W.transpose(1, 2)

    def slope(state: Tensor, t: int) -> Tensor:
        """Return tau dh/dt (B, K, N)."""
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
            new = h + gain * slope(h, t)
        h = new if path is None else new + spread * path[t]
        states.append(h)
    H = torch.stack(states)
    return rate(H), H
