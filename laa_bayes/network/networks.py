"""Which networks turn a voltage trace into numbers, and numbers into a posterior?

Summary networks for BayesFlow 2 (it has no MLP, LSTM, GRU or summary-statistics network of its own) and the coupling flow. All are
registered for Keras serialisation: import this module before a model is loaded. Inputs are voltages (batch, time) in mV, scaled here
by a fixed centre and scale.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

import numpy as np

from hdf5io.errors import EnvironmentMissing

os.environ.setdefault("KERAS_BACKEND", "jax")
if "keras" in sys.modules and sys.modules["keras"].backend.backend() != "jax":
    raise EnvironmentMissing(
        "keras is already loaded with another backend; set KERAS_BACKEND=jax before keras is imported."
    )
if os.environ["KERAS_BACKEND"] != "jax":
    raise EnvironmentMissing(
        f"KERAS_BACKEND is '{os.environ['KERAS_BACKEND']}'; laa-bayes needs 'jax'. Unset it or set it to jax."
    )

import logging

logging.getLogger("jax").setLevel(logging.WARNING)
logging.disable(logging.INFO)  # BayesFlow greets on import
import bayesflow as bf  # noqa: E402

logging.disable(logging.NOTSET)
import keras  # noqa: E402
from bayesflow.utils.serialization import serializable, serialize  # noqa: E402

from ..config import Preset  # noqa: E402

logging.getLogger("bayesflow").setLevel(logging.WARNING)
CENTER_MV, SCALE_MV = -60.0, 15.0  #: networks see (V - CENTER_MV) / SCALE_MV


class TraceSummary(bf.networks.SummaryNetwork):
    """Base of the summary networks: fixed scaling of mV, then ``encode``, then a linear map to the summaries."""

    def __init__(self, widths=(512, 512, 256), summary_dim: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.widths, self.summary_dim = tuple(widths), summary_dim
        self.head = keras.layers.Dense(summary_dim)
        self.make_layers()

    def make_layers(self) -> None:
        """Create the layers of ``encode``."""
        raise NotImplementedError

    def encode(self, x, training: bool = False):
        """Return features (batch, n) of scaled traces (batch, time)."""
        raise NotImplementedError

    def call(self, x, training: bool = False, **kwargs):
        """Return summaries (batch, summary_dim) of voltages (batch, time) in mV."""
        return self.head(self.encode((x - CENTER_MV) / SCALE_MV, training=training))

    def get_config(self) -> dict:
        """Return the constructor's arguments for Keras serialisation."""
        base = {key: value for key, value in super().get_config().items() if key in ("name", "dtype", "trainable")}
        return base | serialize({"widths": self.widths, "summary_dim": self.summary_dim})


@serializable("laa_bayes.networks")
class MLPSummary(TraceSummary):
    """Dense layers on the whole trace, or on its first ``n_components`` principal components, each scaled to unit variance.

    Neighbouring samples of a trace are almost equal, and the small directions that tell similar neurons apart would be learned last;
    whitened, all directions are learned at one pace. The projection is fixed before training and saved with the weights.
    """

    def __init__(self, n_components: int = 0, **kwargs):
        self.n_components = int(n_components)
        super().__init__(**kwargs)

    def make_layers(self) -> None:
        """Create the layers of ``encode``."""
        self.project = keras.layers.Dense(self.n_components, trainable=False) if self.n_components else None
        self.hidden = [keras.layers.Dense(width, activation="silu") for width in self.widths]

    def encode(self, x, training: bool = False):
        """Return features (batch, n) of scaled traces (batch, time)."""
        x = x if self.project is None else self.project(x)
        for layer in self.hidden:
            x = layer(x)
        return x

    def set_components(self, v_mv: np.ndarray, noise_mv: float) -> None:
        """Fix the projection to the principal components of noise-free traces (n_trace, n_time) seen through white noise."""
        mean = v_mv.mean(axis=0, dtype=float)
        _, size, direction = np.linalg.svd(v_mv - mean, full_matrices=False)
        sd = np.sqrt(size[: self.n_components] ** 2 / len(v_mv) + noise_mv**2)
        to_unit = direction[: self.n_components].T / sd
        assert self.project is not None  # there are components to fix
        self.project.set_weights([SCALE_MV * to_unit, (CENTER_MV - mean) @ to_unit])

    def get_config(self) -> dict:
        """Return the constructor's arguments for Keras serialisation."""
        return super().get_config() | serialize({"n_components": self.n_components})


@serializable("laa_bayes.networks")
class ConvSummary(TraceSummary):
    """Strided one-dimensional convolutions, flattened: the place in the protocol is kept."""

    def make_layers(self) -> None:
        """Create the layers of ``encode``."""
        sizes = (32, 64, 64)
        self.convolutions = [keras.layers.Conv1D(n, 7, strides=3, padding="same", activation="silu") for n in sizes]
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(self.widths[-1], activation="silu")

    def encode(self, x, training: bool = False):
        """Return features (batch, n) of scaled traces (batch, time)."""
        x = x[..., None]
        for layer in self.convolutions:
            x = layer(x)
        return self.hidden(self.flatten(x))


@serializable("laa_bayes.networks")
class LSTMSummary(TraceSummary):
    """Stacked LSTM layers with tanh cells (a ReLU cell over 500 steps is unstable), then a ReLU layer.

    One recurrent step reads ``frame`` samples; what is left over at the end is filled with the last sample.
    """

    cell = keras.layers.LSTM

    def __init__(self, frame: int = 1, **kwargs):
        self.frame = int(frame)
        super().__init__(**kwargs)

    def make_layers(self) -> None:
        """Create the layers of ``encode``."""
        last = len(self.widths) - 1
        self.recurrent = [self.cell(width, return_sequences=i < last) for i, width in enumerate(self.widths)]
        self.hidden = keras.layers.Dense(self.widths[-1], activation="relu")

    def encode(self, x, training: bool = False):
        """Return features (batch, n) of scaled traces (batch, time)."""
        n_time = x.shape[1]
        padded = keras.ops.pad(x, [[0, 0], [0, -n_time % self.frame]], mode="edge")
        x = keras.ops.reshape(padded, (-1, padded.shape[1] // self.frame, self.frame))
        for layer in self.recurrent:
            x = layer(x)
        return self.hidden(x)

    def get_config(self) -> dict:
        """Return the constructor's arguments for Keras serialisation."""
        return super().get_config() | serialize({"frame": self.frame})


@serializable("laa_bayes.networks")
class GRUSummary(LSTMSummary):
    """The same with GRU cells."""

    cell = keras.layers.GRU


@serializable("laa_bayes.networks")
class StatsSummary(TraceSummary):
    """Dense layers on hand-made statistics: crossings, inter-spike intervals, latency, means, sds and slopes of protocol segments.

    ``edges`` are the sample indices where the protocol's segments begin and end; the statistics are computed in the graph.
    """

    def __init__(self, edges=(0, 500), **kwargs):
        self.edges = tuple(int(e) for e in edges)
        super().__init__(**kwargs)

    def make_layers(self) -> None:
        """Create the layers of ``encode``."""
        self.hidden = [keras.layers.Dense(width, activation="silu") for width in self.widths]

    def encode(self, x, training: bool = False):
        """Return features (batch, n) of scaled traces (batch, time)."""
        x = statistics(x * SCALE_MV + CENTER_MV, self.edges)
        for layer in self.hidden:
            x = layer(x)
        return x

    def get_config(self) -> dict:
        """Return the constructor's arguments for Keras serialisation."""
        return super().get_config() | serialize({"edges": self.edges})


def statistics(v_mv, edges: tuple[int, ...]):
    """Return summary statistics (batch, 5 + 4 n_segment) of voltages (batch, time), each scaled to order one.

    Upward threshold crossings of -50 mV in the trace smoothed over 5 samples: count, mean and sd of the intervals between them,
    latency of the first, share of time above; per segment: mean, sd, slope, last value minus first.
    """
    ops = keras.ops
    n_time = v_mv.shape[1]
    padded = ops.pad(v_mv, [[0, 0], [2, 2]], mode="edge")
    smooth = sum(padded[:, i : i + n_time] for i in range(5)) / 5
    above = ops.cast(smooth > -50.0, v_mv.dtype)
    crossing = above[:, 1:] * (1 - above[:, :-1])
    place = ops.arange(1, n_time, dtype=v_mv.dtype) / n_time
    count = ops.sum(crossing, axis=1)
    many = ops.maximum(count, 1.0)
    first = ops.min(ops.where(crossing > 0, place, 2.0), axis=1)
    last = ops.max(ops.where(crossing > 0, place, -1.0), axis=1)
    interval = ops.where(count > 1, (last - first) / ops.maximum(count - 1, 1.0), 0.0)
    center = ops.sum(crossing * place, axis=1) / many
    spread = ops.sqrt(ops.sum(crossing * (place - center[:, None]) ** 2, axis=1) / many + 1e-8)
    columns = [count / 5, interval, spread, first, ops.mean(above, axis=1)]
    for start, stop in itertools.pairwise(edges):
        part = (v_mv[:, start:stop] - CENTER_MV) / SCALE_MV
        time = np.linspace(-1, 1, stop - start)
        slope = ops.sum(part * ops.convert_to_tensor(time / max(float((time**2).sum()), 1e-9), part.dtype), axis=1)
        columns += [ops.mean(part, axis=1), ops.std(part, axis=1), slope, part[:, -1] - part[:, 0]]
    return ops.stack(columns, axis=1)


SUMMARIES = {"mlp": MLPSummary, "conv": ConvSummary, "lstm": LSTMSummary, "gru": GRUSummary, "stats": StatsSummary}


def segment_edges(current: np.ndarray, shortest: int = 5, longest: int = 25) -> tuple[int, ...]:
    """Return the borders of stretches of at most ``longest`` samples that start at every jump of the current."""
    jumps = np.flatnonzero(np.abs(np.diff(current)) > 0.3 * max(np.ptp(current), 1e-12)) + 1
    borders = [0]
    for jump in [*jumps.tolist(), len(current)]:
        while jump - borders[-1] >= longest + shortest:
            borders.append(borders[-1] + longest)
        if jump - borders[-1] >= shortest:
            borders.append(jump)
    return tuple(borders[:-1] + [len(current)]) if borders[-1] != len(current) and len(borders) > 1 else tuple(borders)


def build_approximator(preset: Preset, current: np.ndarray) -> bf.ContinuousApproximator:
    """Return the untrained approximator of a preset: summary network, coupling flow, parameters in coordinates z."""
    choices: dict[str, dict[str, Any]] = {
        "stats": {"edges": segment_edges(current)},
        "mlp": {"n_components": min(preset.n_components, len(current))},
        "lstm": {"frame": preset.frame},
        "gru": {"frame": preset.frame},
    }
    extra = choices.get(preset.summary, {})
    summary = SUMMARIES[preset.summary](widths=preset.summary_widths, summary_dim=preset.summary_dim, **extra)
    subnet = {"widths": preset.flow_widths, "dropout": None, "activation": "silu"}
    if preset.batch_norm == "subnet":
        subnet["norm"] = "batch"
    flow = bf.networks.CouplingFlow(
        depth=preset.flow_depth,
        transform=preset.flow,
        permutation="orthogonal",
        use_actnorm=preset.batch_norm == "actnorm",
        subnet_kwargs=subnet,
    )
    return bf.ContinuousApproximator(inference_network=flow, summary_network=summary, standardize=None)
