"""How are all linear forecasters fitted at once, and exactly?

Every linear forecaster here is one map from the columns

    own     x[t], x[t-1], ..  |  context mean  |  slow mean (causal EMA)  |  1          of the neuron itself
    shared  lags of PCA latents  |  their context mean  |  their slow mean             of the population
            lags of behaviour  |  stimuli of the next frames, where they are known in advance

to the next ``horizon`` frames of a neuron. A *reference* (training mean, last value, context mean, slow mean) is subtracted from
lags and targets and added back: a linear change of columns. So the second moments of (own, targets, shared), summed over blocks
of time once, give every ridge regression, each cross-validation fold and its held-out error without touching the data again.
The joint fit of own and shared coefficients eliminates the shared block (Frisch-Waugh-Lovell): one factorisation for all neurons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.signal import lfilter

from ..activity.windows import Panel, columns_of, observed_runs, release

SLOW_FRAMES = 200
CHUNK_NEURONS = 32
CHUNK_WINDOWS = 2048
REFERENCES = ("mean", "last", "context", "slow")


class Columns(NamedTuple):
    """Where each column lies: ``order`` own lags, three more own columns, ``horizon`` targets; ``lags`` x ``rank`` shared."""

    context: int
    horizon: int
    order: int
    rank: int = 0
    lags: int = 0
    inputs: int = 0  #: behaviour, ``input_lags`` lags of each
    input_lags: int = 0
    known: int = 0  #: what is known in advance, ``horizon`` frames of each

    @property
    def n_own(self) -> int:
        """Return the number of own input columns."""
        return self.order + 3

    @property
    def n_shared(self) -> int:
        """Return the number of shared columns."""
        return self.n_latent + self.inputs * self.input_lags + self.known * self.horizon

    @property
    def n_latent(self) -> int:
        """Return the number of shared columns that come from latents; they are the first."""
        return self.rank * (self.lags + 2) if self.rank else 0

    def reference(self, name: str) -> int | None:
        """Return the own column that holds a reference; None for the training mean, which is zero after normalisation."""
        return {"mean": None, "last": 0, "context": self.order, "slow": self.order + 1}[name]


class Moments(NamedTuple):
    """Second moments of the columns, one set for each block of time."""

    own: np.ndarray  #: (block, neuron, own + horizon, own + horizon)
    cross: np.ndarray  #: (block, neuron, own + horizon, shared)
    shared: np.ndarray  #: (block, shared, shared)
    n_windows: np.ndarray  #: (block,)


class LinearMap(NamedTuple):
    """A fitted linear forecaster in raw columns: forecast = own @ own_weights + shared @ shared_weights."""

    columns: Columns
    own: np.ndarray  #: (neuron, own, horizon)
    shared: np.ndarray  #: (shared, neuron, horizon)
    basis: np.ndarray  #: (neuron, rank), projects activity on latents

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts (window, horizon, neuron) float32 of the frames after ``origins``; sees no activity later than them."""
        c, origins, x, usable = self.columns, np.asarray(origins), panel.x, panel.usable
        out = np.empty((len(origins), c.horizon, x.shape[1]), np.float32)
        latents = shared_series(panel, c, self.basis)
        for rows in row_chunks(x.shape[1]):
            own = series_of(columns_of(x, rows), usable)
            for part in row_chunks(len(origins), CHUNK_WINDOWS):
                y = np.matmul(own_columns(own, origins[part], c), self.own[rows])  # (neuron, window, horizon)
                if latents is not None:
                    weights = self.shared[:, rows].reshape(c.n_shared, -1)
                    shared = shared_columns(latents, origins[part], c) @ weights
                    y += shared.reshape(y.shape[1], len(y), c.horizon).swapaxes(0, 1)
                out[part, :, rows] = y.transpose(1, 2, 0)
        return out


def row_chunks(n: int, size: int = CHUNK_NEURONS) -> Iterator[slice]:
    """Yield slices of neurons (or windows), so that no step holds more than a bounded part of the recording."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def slow_mean(x: np.ndarray, usable: np.ndarray, frames: float = SLOW_FRAMES) -> np.ndarray:
    """Return the causal exponential mean of each column, (time, neuron) float64; restarts after every gap, unbiased at starts."""
    out, keep = np.zeros(x.shape), 1 - 1 / frames
    for start, stop in observed_runs(usable):
        mean = lfilter([1 - keep], [1, -keep], x[start:stop].astype(float), axis=0)
        out[start:stop] = mean / (1 - keep ** np.arange(1, stop - start + 1))[:, None]
    return out


class Series(NamedTuple):
    """What columns are gathered from: some neurons, or the population's latents."""

    x: np.ndarray  #: (time, channel), 0 where unobserved
    total: np.ndarray  #: (time + 1, channel), running sum
    slow: np.ndarray  #: (time, channel), see `slow_mean`

    def context_mean(self, origins: np.ndarray, context: int) -> np.ndarray:
        """Return the mean of each window's context, (window, channel) float64."""
        return (self.total[origins + 1] - self.total[origins + 1 - context]) / context


def series_of(x: np.ndarray, usable: np.ndarray) -> Series:
    """Return activity with its running sums; unobserved frames may hold NaN, they count as zero and no window contains them."""
    clean = np.where(usable[:, None], x, 0)
    total = np.zeros((len(x) + 1, x.shape[1]))
    np.cumsum(clean, axis=0, dtype=float, out=total[1:])
    return Series(clean, total, slow_mean(clean, usable))


def own_columns(s: Series, origins: np.ndarray, c: Columns, targets: bool = False) -> np.ndarray:
    """Return the own columns (neuron, window, own [+ horizon]) float64 of the neurons of ``s``."""
    v = np.empty((s.x.shape[1], len(origins), c.n_own + c.horizon * targets))
    for lag in range(c.order):
        v[:, :, lag] = s.x[origins - lag].T
    v[:, :, c.order] = s.context_mean(origins, c.context).T
    v[:, :, c.order + 1] = s.slow[origins].T
    v[:, :, c.order + 2] = 1
    for h in range(c.horizon * targets):
        v[:, :, c.n_own + h] = s.x[origins + 1 + h].T
    return v


def shared_series(panel: Panel, c: Columns, basis: np.ndarray) -> Series | None:
    """Return latents, behaviour and what is known in advance, beside each other; None where no column needs them.

    Raises
    ------
    ValueError : the columns need behaviour, and the panel has none, or another number of inputs.
    """
    parts = [project(panel.x, basis[:, : c.rank])] if c.rank else []
    for n, given in ((c.inputs, panel.inputs), (c.known, panel.known)):
        if n and (given is None or given.shape[1] != n):
            raise ValueError(
                f"{n} inputs of behaviour are needed; the recording has {0 if given is None else given.shape[1]}"
            )
        parts += [given] if n and given is not None else []
    return series_of(np.concatenate(parts, axis=1), panel.usable) if parts else None


def shared_columns(s: Series, origins: np.ndarray, c: Columns) -> np.ndarray:
    """Return the shared columns (window, ``c.n_shared``): lags of the latents, their context mean, their slow mean; behaviour.

    Of behaviour there are lags; of what is known in advance, the frames of the targets (the last frame stands for those after the end).
    """
    k, parts = c.rank, []
    if k:
        parts = [s.x[origins - lag, :k] for lag in range(c.lags)]
        parts += [s.context_mean(origins, c.context)[:, :k], s.slow[origins, :k]]
    parts += [s.x[origins - lag, k : k + c.inputs] for lag in range(c.input_lags)]
    ahead = [np.minimum(origins + h, len(s.x) - 1) for h in range(1, c.horizon + 1) if c.known]
    return np.concatenate([*parts, *(s.x[rows, k + c.inputs :] for rows in ahead)], axis=1)


def project(x: np.ndarray, basis: np.ndarray, chunk: int = 1024) -> np.ndarray:
    """Return ``x @ basis`` (time, rank) float64, a bounded number of frames at a time; NaN becomes 0."""
    out = np.empty((len(x), basis.shape[1]))
    for start in range(0, len(x), chunk):
        out[start : start + chunk] = np.nan_to_num(x[start : start + chunk]) @ basis
        release(x)
    return out


def principal_basis(x: np.ndarray, frames: np.ndarray, rank: int, seed: int = 0) -> np.ndarray:
    """Return the leading principal directions of the given frames, (neuron, rank), scaled so that each latent has unit variance.

    Randomised subspace iteration with a fixed seed; exact when ``rank`` reaches the number of neurons.
    """
    rank = min(rank, x.shape[1], len(frames))
    q = np.random.default_rng(seed).standard_normal((x.shape[1], min(rank + 8, x.shape[1])))
    for _ in range(6):
        q = np.linalg.qr(_gram_times(x, frames, q))[0]
    small = q.T @ _gram_times(x, frames, q)
    variance, rotation = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(variance)[::-1][:rank]
    basis = q @ rotation[:, order]
    basis *= np.sign(basis[np.abs(basis).argmax(0), np.arange(rank)])  # one sign, whatever the library
    return basis / np.sqrt(np.maximum(variance[order], 1e-12) / len(frames))


def _gram_times(x: np.ndarray, frames: np.ndarray, q: np.ndarray, chunk: int = 1024) -> np.ndarray:
    """Return ``x[frames].T @ x[frames] @ q`` with bounded memory."""
    total = np.zeros_like(q)
    for start in range(0, len(frames), chunk):
        part = x[frames[start : start + chunk]].astype(float)
        total += part.T @ (part @ q)
        release(x)
    return total


def moments(
    panel: Panel, origins: np.ndarray, block: np.ndarray, c: Columns, latents: Series | None = None, neurons=None
) -> Moments:
    """Return the second moments of every block of windows, for the given neurons (default: all), in bounded memory.

    Parameters
    ----------
    panel : the recording.
    origins, block : (window,), the block of each window; windows of block -1 are left out.
    latents : see `shared_series`, needed when there are shared columns.
    neurons : indices or slice of neurons.
    """
    neurons = np.arange(panel.x.shape[1])[slice(None) if neurons is None else neurons]
    n_blocks, width = block.max() + 1, c.n_own + c.horizon
    own = np.zeros((n_blocks, len(neurons), width, width))
    cross = np.zeros((n_blocks, len(neurons), width, c.n_shared))
    shared = np.zeros((n_blocks, c.n_shared, c.n_shared))
    members = [origins[block == b] for b in range(n_blocks)]
    pieces = [(b, m[rows]) for b, m in enumerate(members) for rows in row_chunks(len(m), CHUNK_WINDOWS)]
    for part in row_chunks(len(neurons)):
        series = series_of(columns_of(panel.x, neurons[part]), panel.usable)
        for b, here in pieces:
            w = np.ascontiguousarray(own_columns(series, here, c, targets=True).swapaxes(1, 2))
            own[b, part] += w @ w.swapaxes(1, 2)
            if latents is not None:
                z = shared_columns(latents, here, c)
                cross[b, part] += (w.reshape(-1, len(here)) @ z).reshape(len(w), width, -1)
                shared[b] += z.T @ z if part.start == 0 else 0
    return Moments(own, cross, shared, np.array([len(m) for m in members]))


class Design(NamedTuple):
    """A change of columns: which features a regression uses, and what is added back."""

    own: np.ndarray  #: (own, feature)
    target: np.ndarray  #: (own + horizon, horizon), target minus reference
    back: np.ndarray  #: (own, horizon), the reference, added to the forecast
    lags: np.ndarray  #: (shared feature,), shared column of each lag of a latent
    minus: np.ndarray | None  #: (shared feature,), shared column of the latent's reference, subtracted
    behaviour: np.ndarray  #: (further shared feature,), shared columns of behaviour, taken as they are

    def of_shared(self, values: np.ndarray) -> np.ndarray:
        """Return shared features along the last axis from shared columns."""
        latent = values[..., self.lags] if self.minus is None else values[..., self.lags] - values[..., self.minus]
        return np.concatenate([latent, values[..., self.behaviour]], axis=-1) if len(self.behaviour) else latent


def design(c: Columns, reference: str, order: int, rank: int = 0, lags: int = 0, behaviour: bool = False) -> Design:
    """Return the columns of an autoregression of ``order`` (``lags`` of ``rank`` latents, behaviour) around a reference."""
    r = c.reference(reference)
    own = np.zeros((c.n_own, order + 1))
    own[np.arange(order), np.arange(order)] = 1
    own[c.order + 2, order] = 1
    target = np.zeros((c.n_own + c.horizon, c.horizon))
    target[c.n_own + np.arange(c.horizon), np.arange(c.horizon)] = 1
    back = np.zeros((c.n_own, c.horizon))
    if r is not None:
        own[r, :order] -= 1
        target[r], back[r] = -1, 1
    lag, latent = np.divmod(np.arange(rank * lags), max(rank, 1))
    columns = lag * c.rank + latent
    minus = None if r is None else latent if r == 0 else (c.lags + r - c.order) * c.rank + latent
    keep = slice(None) if minus is None else columns != minus
    further = np.arange(c.n_latent, c.n_shared if behaviour else c.n_latent)
    kept = None if minus is None else minus[keep]
    return Design(own[:, np.abs(own).sum(0) > 0], target, back, columns[keep], kept, further)


class Reduced(NamedTuple):
    """Moments after a change of columns; sums over blocks are plain sums."""

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray  #: (block, neuron, horizon)
    xz: np.ndarray
    zy: np.ndarray
    zz: np.ndarray
    n: np.ndarray


def reduce(m: Moments, d: Design) -> Reduced:
    """Return the moments of features and referenced targets."""
    a = np.zeros((m.own.shape[-1], d.own.shape[1]))
    a[: len(d.own)] = d.own
    right = m.own @ d.target
    cross = d.of_shared(m.cross)
    zz = d.of_shared(d.of_shared(m.shared).swapaxes(-1, -2))
    yy = np.einsum("dh,bndh->bnh", d.target, right)
    zy = cross.swapaxes(-1, -2) @ d.target
    return Reduced(a.T @ m.own @ a, a.T @ right, yy, a.T @ cross, zy, zz, m.n_windows)


def ridge(r: Reduced, own_penalty: float, shared_penalty: float = np.inf, joint: bool = True):
    """Return own weights (neuron, feature, horizon) and shared weights (neuron, feature, horizon) of one ridge regression.

    ``r`` holds sums (no block axis). The penalty on squared weights is ``penalty * n_windows``; an infinite shared penalty
    leaves the shared columns out. ``joint`` fits both at once, else the shared columns explain the own fit's residuals.
    """
    xx = r.xx + own_penalty * r.n * np.eye(r.xx.shape[-1])
    if not np.isfinite(shared_penalty) or r.zz.shape[0] == 0:
        return np.linalg.solve(xx, r.xy), np.zeros((len(r.xx), r.zz.shape[0], r.xy.shape[-1]))
    factor = cho_factor(r.zz + shared_penalty * r.n * np.eye(len(r.zz)))

    def shared_solve(right: np.ndarray) -> np.ndarray:
        """Return the shared weights for right-hand sides (neuron, shared, horizon)."""
        flat = right.swapaxes(0, 1).reshape(len(r.zz), -1)
        return cho_solve(factor, flat).reshape(len(r.zz), len(right), -1).swapaxes(0, 1)

    if not joint:
        a = np.linalg.solve(xx, r.xy)
        return a, shared_solve(r.zy - r.xz.swapaxes(1, 2) @ a)
    z_on_x, z_on_y = shared_solve(r.xz.swapaxes(1, 2)), shared_solve(r.zy)
    a = np.linalg.solve(xx - r.xz @ z_on_x, r.xy - r.xz @ z_on_y)
    return a, z_on_y - z_on_x @ a


def squared_error(r: Reduced, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the summed squared error (neuron, horizon) of given weights on the windows behind ``r``."""
    error = r.yy - 2 * np.einsum("nfh,nfh->nh", a, r.xy) + np.einsum("nfh,nfh->nh", a, r.xx @ a)
    if b.shape[1] and b.any():
        error += np.einsum("nfh,nfh->nh", b, r.zz @ b - 2 * (r.zy - r.xz.swapaxes(1, 2) @ a))
    return error


def take_blocks(r: Reduced, blocks: np.ndarray | list[int]) -> Reduced:
    """Return the sum over some blocks."""
    return Reduced(*(np.asarray(field)[blocks].sum(0) for field in r))


def raw_weights(c: Columns, d: Design, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights on raw columns: own (neuron, own, horizon), shared (shared, neuron, horizon)."""
    shared, b, n = np.zeros((c.n_shared, len(a), a.shape[-1])), b.swapaxes(0, 1), len(d.lags)
    shared[d.lags], shared[d.behaviour] = b[:n], b[n:]
    if d.minus is not None:
        np.subtract.at(shared, d.minus, b[:n])
    return d.own @ a + d.back, shared
