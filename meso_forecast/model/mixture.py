"""Which of several forecasters is to be trusted now? Convex weights that follow the errors already known.

Members: the linear stack; the stack with the correction of a network on latents (where its gate is open); networks that neurons
share; the last value. For each horizon the weights minimise the mean squared error of the mixture, estimated from
held-out errors on validation windows and, as the test part goes on, from an exponential mean of products of errors that are known at the
origin (of forecasts of horizon ``h`` those made ``h`` frames before or earlier). So a member that stops helping fades, and none can hurt for
long. Errors in training and validation frames, which members were fitted on, never enter the mean.

Where the mixture does not beat the last value beyond chance on validation windows, the last value is the forecast: on random walks weights
learned from few independent errors only add to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import lfilter

from ..activity.windows import TEST, Panel, gather, release, window_origins
from .correction import Gate, Spaces, inputs_of
from .forecaster import Linear, predict
from .probability import StudentT
from .stack import FEWEST_BLOCKS, LATE_BLOCKS, beyond_chance, convex_weights

MEMORY_FRAMES = 500
EVENNESS = 0.005  #: of the mean squared error, as a penalty on uneven weights: they are better where the test part is another regime
HELD_FRAMES = 8  #: weights are computed at every eighth frame and held in between
CHUNK_WINDOWS = 256


class Prior(NamedTuple):
    """What is known before the first test frame."""

    products: np.ndarray  #: (horizon, member, member), mean products of held-out errors on validation windows
    neurons: np.ndarray  #: (neuron,), embedding of each in the shared networks, -1 where it has none
    only_last: bool = False  #: the mixture does not beat the last value there


class Mixture:
    """Ours: members and the weights that follow their errors."""

    def __init__(
        self, base: Linear, spaces: Spaces, gate: Gate, prior: Prior, correction: Any, shared: Mapping[str, list], recording: int = 0
    ) -> None:  # fmt: skip
        self.base, self.spaces, self.gate, self.prior = base, spaces, gate, prior
        self.correction, self.shared, self.recording = correction, dict(shared), recording
        self.names = member_names(gate, self.shared)
        if prior.products.shape[1:] != (len(self.names),) * 2:
            raise ValueError(f"weights for {prior.products.shape[1:]} members, there are {', '.join(self.names)}")
        weights = np.stack([even_weights(p) for p in prior.products])
        if prior.only_last:
            weights = np.broadcast_to(np.eye(len(self.names))[-1], weights.shape)
        mixed = np.einsum("hi,hij,hj->h", weights, prior.products, weights)
        ratio = np.clip(mixed / np.maximum(prior.products[:, 0, 0], 1e-12), 0.25, 1)
        assert base.spread is not None
        self.spread = base.spread._replace(scale=base.spread.scale * np.sqrt(ratio)[:, None])
        self.info = {k: v for k, v in base.info.items() if k != "validation_mse"} | {
            "gate_open": gate.is_open, "gain": gate.gain.tolist(), "gain_standard_error": gate.standard_error,
            "weights": {name: round(float(w), 4) for name, w in zip(self.names, weights.mean(0))},
        }  # fmt: skip

    def parts(self) -> dict[str, Any]:
        """Return what a model folder holds of it, by name."""
        parts = {"map": self.base.map, "base_spread": self.base.spread, "spaces": self.spaces, "gate": self.gate}
        return parts | {"prior": self.prior}

    def nets(self) -> dict[str, Any]:
        """Return its networks by name."""
        shared = {f"{kind}.{i}": net for kind, nets in self.shared.items() for i, net in enumerate(nets)}
        return {"net": self.correction, **shared}

    @classmethod
    def from_parts(cls, parts: Mapping, nets: Mapping, spread: StudentT, info: dict, recording: int) -> Mixture:
        """Return the forecaster that `parts` came from."""
        shared: dict[str, list] = {}
        for name in sorted(n for n in nets if n != "net"):
            shared.setdefault(name.partition(".")[0], []).append(nets[name])
        base = Linear(parts["map"], parts["base_spread"], info)
        return cls(base, parts["spaces"], parts["gate"], parts["prior"], nets["net"], shared, recording)

    def members(self, panel: Panel, origins: np.ndarray, latents: np.ndarray) -> np.ndarray:
        """Return every member's forecast, (member, window, horizon, neuron) float32."""
        from .shared import forecast_shared  # torch, which reading a model folder does not need

        base = self.base.forecast(panel, origins)
        found = [base]
        if self.gate.is_open:
            g = predict(self.correction, latents, origins, self.recording) * self.gate.shrink
            found.append(base + np.matmul(g, self.spaces.outputs.T).astype(np.float32))
        for nets in self.shared.values():
            found.append(forecast_shared(nets, panel.x, self.prior.neurons, latents, origins))
        last = np.repeat(panel.x[origins][:, None], base.shape[1], 1)
        release(panel.x)
        return np.stack([*found, last])

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ascending ``origins``; the weights at each come from earlier frames only."""
        origins = np.asarray(origins)
        c = self.base.map.columns
        if self.prior.only_last:
            return np.repeat(panel.x[origins][:, None], c.horizon, 1)
        tested = window_origins(panel.usable, panel.label, TEST, c.context, c.horizon)
        tested = tested[tested < origins.max()]
        every, latents = np.union1d(tested, origins), inputs_of(panel, self.spaces)
        known = Known(self.prior.products)
        out = np.empty((len(origins), c.horizon, panel.x.shape[1]), np.float32)
        for start in range(0, len(every), CHUNK_WINDOWS):
            here = every[start : start + CHUNK_WINDOWS]
            forecasts = self.members(panel, here, latents)
            learned = np.isin(here, tested)
            truth = gather(panel.x, here[learned], 1, c.horizon)
            known.add(here[learned], error_products(truth[None] - forecasts[:, learned]))
            wanted = np.isin(here, origins)
            if wanted.any():
                weights = known.weights(here[wanted])
                rows = np.searchsorted(origins, here[wanted])
                out[rows] = np.einsum("whm,mwhn->whn", weights, forecasts[:, wanted], optimize=True)
        return out


def member_names(gate: Gate, shared: Mapping[str, list]) -> list[str]:
    """Return the names of the members in order."""
    return ["stack", *(["correction"] if gate.is_open else []), *shared, "persistence"]


def prior_of(errors: list[np.ndarray], neurons: np.ndarray) -> Prior:
    """Return what held-out errors on validation windows say of the members.

    Parameters
    ----------
    errors : of each member, (window, horizon, neuron); those of the last value come last.
    neurons : see `Prior`.
    """
    products = error_products(np.stack(errors))
    return Prior(products.mean(0), neurons, not beats_last(products))


def beats_last(products: np.ndarray, n_blocks: int = LATE_BLOCKS) -> bool:
    """Return whether the mixture beats its last member beyond chance (one-sided 97.5 %), from blocks that did not set its weights.

    Parameters
    ----------
    products : (window, horizon, member, member), mean products of errors.
    """
    n_blocks = min(n_blocks, len(products) // 2)
    if n_blocks < FEWEST_BLOCKS:
        return True  # too little to tell
    block = np.arange(len(products)) * n_blocks // len(products)
    gain = np.empty(len(products))
    for b in range(n_blocks):
        weights = np.stack([even_weights(p) for p in products[block != b].mean(0)])
        mixed = np.einsum("hi,whij,hj->w", weights, products[block == b], weights)
        gain[block == b] = products[block == b][:, :, -1, -1].sum(1) - mixed
    return beyond_chance(gain, n_blocks)


def even_weights(products: np.ndarray) -> np.ndarray:
    """Return convex weights that minimise the mixture's error plus a small penalty on their squares.

    >>> even_weights(np.array([[1.0, 1.0], [1.0, 1.0]])).round(3).tolist()
    [0.5, 0.5]
    """
    return convex_weights(products + EVENNESS * np.trace(products) / len(products) * np.eye(len(products)))


def error_products(errors: np.ndarray) -> np.ndarray:
    """Return the mean products over neurons of errors (member, window, horizon, neuron), (window, horizon, member, member)."""
    rows = errors.transpose(1, 2, 0, 3).astype(float)
    return rows @ rows.swapaxes(-1, -2) / errors.shape[-1]


class Known:
    """Exponential means of products of errors, and the weights they justify at each origin."""

    def __init__(self, prior: np.ndarray) -> None:
        self.origins, self.levels = np.empty(0, int), prior[None]
        self.cache: dict[tuple[int, int], np.ndarray] = {}

    def add(self, origins: np.ndarray, products: np.ndarray) -> None:
        """Take in the products of further windows, in order of their origins."""
        if not len(origins):
            return
        keep = 1 - 1 / MEMORY_FRAMES
        levels, _ = lfilter([1 - keep], [1, -keep], products, axis=0, zi=keep * self.levels[-1:])
        self.levels = np.concatenate([self.levels, levels])
        self.origins = np.concatenate([self.origins, origins])

    def weights(self, origins: np.ndarray) -> np.ndarray:
        """Return the weights at each origin, (window, horizon, member) float32, from errors known at it."""
        horizon = self.levels.shape[1]
        out = np.empty((len(origins), horizon, self.levels.shape[2]), np.float32)
        for h in range(horizon):
            held = origins - origins % HELD_FRAMES
            seen = np.searchsorted(
                self.origins, held - h - 1, side="right"
            )  # a forecast of h + 1 frames, made then or earlier
            for n in np.unique(seen):
                if (h, int(n)) not in self.cache:
                    self.cache[h, int(n)] = even_weights(self.levels[n, h])
                out[seen == n, h] = self.cache[h, int(n)]
        return out
