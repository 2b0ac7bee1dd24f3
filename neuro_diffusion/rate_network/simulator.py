"""What does a rate network do, and how does its activity depend on its weights?

``tau dh/dt = -h + W phi(h) + I + noise`` (Sompolinsky, Crisanti & Sommers 1988). With a = dt / tau the Euler rule reads
``h <- (1 - a) h + a (W phi(h) + I) + n xi``. Shapes and options stand here, the steps and their gradient in `trajectory`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypedDict, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from .trajectory import RATE, TABLEAUS, Nonlinearity, Stages, Step, Trajectory, number, pace_of, plain, step_of

Array = Tensor | np.ndarray | float  #: whatever becomes a tensor


class Options(TypedDict, total=False):
    """What `simulate_rate_network` takes by name only."""

    method: str
    phi: Nonlinearity
    noise_scaling: str
    generator: torch.Generator | None
    noise: Array | None
    record_every: int
    memory_floats: int


@overload
def simulate_rate_network(
    W: Array,
    h0: Array,
    T: int,
    dt: float,
    tau: Array,
    I: Array | None = None,
    noise_std: float = 0.0,
    return_h: Literal[False] = False,
    **options: Unpack[Options],
) -> Tensor: ...
@overload
def simulate_rate_network(
    W: Array,
    h0: Array,
    T: int,
    dt: float,
    tau: Array,
    I: Array | None = None,
    noise_std: float = 0.0,
    *,
    return_h: Literal[True],
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]: ...
@overload
def simulate_rate_network(
    W: Array,
    h0: Array,
    T: int,
    dt: float,
    tau: Array,
    I: Array | None,
    noise_std: float,
    return_h: Literal[True],
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]: ...
def simulate_rate_network(
    W: Array,
    h0: Array,
    T: int,
    dt: float,
    tau: Array,
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

    Tensors, arrays and numbers are taken. A ``W`` that is itself computed (no leaf) keeps its gradient in ``W.grad`` as well.

    Parameters
    ----------
    W : (N, N) or (B, N, N) weights, row = postsynaptic neuron.
    h0 : (N,), (K, N), with batched weights (B, N) or (B, K, N): states at the first row; a number stands for all neurons.
    T : rows of the result before thinning; T - 1 updates are made and ``x[0] = phi(h0)``.
    dt, tau : step and membrane time constant (or one for each neuron, (N,)), same unit.
    I : current, broadcastable to the result's shape (.., T, N); ``(N,)`` and ``(T, N)`` are the usual ones.
    noise_std : noise amplitude; ``noise_scaling`` "seed" adds sqrt(dt) noise_std a step, "ode" divides that by tau.
    return_h : also return the states h. method : euler, exp_euler, heun or rk4 (noise is added after the deterministic part).
    phi : tanh, relu, softplus or a function. generator : source of the noise. record_every : keep rows 0, m, 2 m, ...
    noise : a path of standard normal numbers (.., T - 1, N) to replay instead of drawing one.
    memory_floats : where ``2 T B K N`` exceeds it, the backward pass recomputes segments of about sqrt(T) steps.

    Returns
    -------
    x : (T, N), (K, T, N), (B, T, N) or (B, K, T, N) rates; with ``return_h`` the pair (x, h).

    Raises
    ------
    ValueError : shapes that do not fit (both are named), values that are not finite or no numbers, bad step, method, phi or T.
    """
    w, start, current, replay = _tensors(W, h0, I, noise)
    taus = number("tau", tau) if np.ndim(tau) == 0 else _of_neurons(tau, start)
    step = step_of(dt, taus if isinstance(taus, float) else float(taus.min()), noise_std, method, noise_scaling)
    _check(w, start, current, T, phi, record_every)
    shape = _shape(w, start)
    W3, h3 = w.reshape(-1, *w.shape[-2:]), start.reshape(shape.canonical)
    drive = None if current is None else _over_time(current.to(h3), shape, T, "I")
    path = _noise_path(replay, shape, T, step, h3, generator)
    if not callable(phi) and not isinstance(taus, Tensor) and method in TABLEAUS:
        both = Stages.apply(W3, h3, drive, path, T, number("dt", dt) / taus, step.spread, phi, method)
        x, h = (v[::record_every] for v in both)
    elif callable(phi) or isinstance(taus, Tensor):
        pace = pace_of(number("dt", dt), taus, step, method, noise_scaling)
        x, h = (v[::record_every] for v in plain(W3, h3, T, pace, drive, path, method, phi))
    else:
        x, h = Trajectory.apply(W3, h3, drive, path, T, step, phi, record_every, return_h, memory_floats)
    return (shape.restore(x), shape.restore(h)) if return_h else shape.restore(x)


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
    if first.requires_grad and not first.is_leaf:
        first.retain_grad()
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
        """Return rows (T, B, K, N) in the shape of what was asked for."""
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


def _of_neurons(tau: Array, h0: Tensor) -> Tensor:
    """Return a time constant for each neuron (N)."""
    found = torch.as_tensor(tau).to(h0)
    if found.shape != h0.shape[-1:] or not bool((found > 0).all()):
        raise ValueError(f"tau {tuple(found.shape)}: one positive number or one for each of {h0.shape[-1]} neurons")
    return found


def _check(W: Tensor, h0: Tensor, I: Tensor | None, T: int, phi: Nonlinearity, record_every: int) -> None:
    for name, count in (("T", T), ("record_every", record_every)):
        if not isinstance(count, int | np.integer) and not (isinstance(count, Tensor) and count.ndim == 0):
            raise ValueError(f"{name} is {count!r}; a whole number is expected")
    if T < 1 or record_every < 1:
        raise ValueError(f"T and record_every must be at least 1, not {T} and {record_every}")
    if not callable(phi) and phi not in RATE:
        raise ValueError(f"phi is one of {', '.join(RATE)} or a function, not {phi!r}")
    if W.dtype != h0.dtype or not W.is_floating_point():
        raise ValueError(f"W and h0 must have one floating dtype, not {W.dtype} and {h0.dtype}")
    for name, value in (("W", W), ("h0", h0), ("I", I)):
        if value is not None and not bool(torch.isfinite(value.detach()).all()):
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
