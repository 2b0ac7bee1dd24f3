"""How do Hugging Face's Informer and Autoformer do on the same windows, under the same scores?

`HFNet` trains `InformerForPrediction` or `AutoformerForPrediction` as their libraries intend (student-t head, lags 1..7), with full
attention: in transformers 5 ProbSparse attention sees the future in teacher forcing. Past, lags and context together span exactly
the frames every other model sees. `fuse` replaces Informer's lag embedding by an equal one that never builds the lagged copies.
"""

from __future__ import annotations

import types
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .networks import student_t_loss
from .windows import Panel, gather

LAGS = (1, 2, 3, 4, 5, 6, 7)


class HFShape(NamedTuple):
    """Size of the network; the original used width 128, 4 + 4 layers."""

    width: int = 64
    layers: int = 2
    heads: int = 4


def build(
    name: str, n_neurons: int, context: int, horizon: int, shape: HFShape | None = None, **given: Any
) -> nn.Module:
    """Return an untrained Hugging Face model: ``informer`` or ``autoformer``.

    Raises
    ------
    ValueError : the context is too short for the lags.
    """
    from transformers import AutoformerConfig, AutoformerForPrediction, InformerConfig, InformerForPrediction

    if context < max(LAGS) + 2:
        raise ValueError(
            f"context {context}: Hugging Face models need at least {max(LAGS) + 2} frames for lags 1..{max(LAGS)}"
        )
    shape = shape or HFShape()
    settings = {
        "prediction_length": horizon, "context_length": context - max(LAGS), "input_size": n_neurons, "lags_sequence": list(LAGS),
        "num_time_features": 1, "scaling": "std", "d_model": shape.width, "encoder_layers": shape.layers,
        "decoder_layers": shape.layers, "encoder_attention_heads": shape.heads, "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": 2 * shape.width, "decoder_ffn_dim": 2 * shape.width, "distribution_output": "student_t",
    }  # fmt: skip
    if name == "informer":
        return InformerForPrediction(InformerConfig(**settings, **({"attention_type": "full", "distil": True} | given)))
    return AutoformerForPrediction(
        AutoformerConfig(**settings, **({"label_length": min(10, context - max(LAGS))} | given))
    )


class HFNet(nn.Module):
    """A Hugging Face model with the interface of our trainer: ``loss(context, target)`` and a point forecast."""

    def __init__(self, model: nn.Module, spike_weight: float = 1.0, scale_penalty: float = 0.0) -> None:
        super().__init__()
        self.model, self.spike_weight, self.scale_penalty = model, spike_weight, scale_penalty
        self.lags, self.horizon = model.config.context_length + max(LAGS), model.config.prediction_length

    def student_t(self, context: torch.Tensor, future: torch.Tensor):
        """Return (df, loc, scale) of every future frame, (window, horizon, neuron), under teacher forcing with ``future``."""
        clock = torch.linspace(-1, 1, self.lags + self.horizon, device=context.device)[None, :, None].expand(
            len(context), -1, -1
        )
        out = self.model(
            past_values=context, past_time_features=clock[:, : self.lags], past_observed_mask=torch.ones_like(context),
            future_values=future, future_time_features=clock[:, self.lags :],
        )  # fmt: skip
        df, loc, scale = out.params
        return df, out.loc + loc * out.scale, scale * out.scale

    def loss(self, context: torch.Tensor, target: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return the student-t loss, with the original's spike weights and scale penalty when they are asked for."""
        return student_t_loss(*self.student_t(context, target), target, self.spike_weight, self.scale_penalty)

    @property
    def autoregressive(self) -> bool:
        """Return whether the decoder reads the frames it is to forecast (Informer does, Autoformer does not)."""
        return type(self.model).__name__.startswith("Informer")

    def forecast_t(self, context: torch.Tensor):
        """Return (df, loc, scale) when nothing of the future is known: the decoder is fed its own means, frame by frame."""
        future = torch.zeros(len(context), self.horizon, context.shape[2], device=context.device)
        steps = range(self.horizon) if self.autoregressive else range(1)
        for h in steps:
            df, loc, scale = self.student_t(context, future)
            if self.autoregressive:
                future[:, h] = loc[:, h]
        return df, loc, scale

    def forward(self, context: torch.Tensor, recording: int = 0) -> torch.Tensor:
        return self.forecast_t(context)[1]


def make(
    name: str,
    n_neurons: int,
    context: int,
    horizon: int,
    shape: HFShape,
    attention: str = "full",
    fused: bool = True,
    **loss,
) -> HFNet:
    """Return an untrained `HFNet` that remembers how it was made; ``loss`` goes to `HFNet`."""
    given = {"attention_type": attention} if name == "informer" else {}
    model = build(name, n_neurons, context, horizon, shape, **given)
    net = HFNet(fuse(model) if fused and name == "informer" else model, **loss)
    net.name, net.shape, net.attention, net.fused = name, shape, attention, fused
    return net


class HFForecaster(NamedTuple):
    """A trained Hugging Face model as a forecaster."""

    net: HFNet
    info: dict[str, Any]

    def parts(self, panel: Panel, origins: np.ndarray, batch: int = 64):
        """Return (df, mean, scale), each (window, horizon, neuron)."""
        found: list[list[np.ndarray]] = [[], [], []]
        with torch.inference_mode():
            for i in range(0, len(origins), batch):
                context = gather(panel.x, origins[i : i + batch], 1 - self.net.lags, 0)
                for store, part in zip(found, self.net.forecast_t(torch.from_numpy(np.ascontiguousarray(context)))):
                    store.append(part.float().numpy())
        return [np.concatenate(f) for f in found]

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return point forecasts (window, horizon, neuron)."""
        return self.parts(panel, origins)[1]


def fuse(model: nn.Module) -> nn.Module:
    """Give an ``InformerForPrediction`` the fused lag embedding, in place; its weights stay where they are.

    The value embedding of lagged copies is ``sum_i W_i x[t - lag_i]``: the neurons are projected once on the weights of all lags and
    the small projections are shifted and added. The static features (location and scale) are embedded once, not at every frame.
    """
    inner = model.model
    inner.create_network_inputs = types.MethodType(_fused_inputs, inner)
    for part in (inner.encoder, inner.decoder):
        part.value_embedding.forward = types.MethodType(_embedded_already, part.value_embedding)
    return model


def _embedded_already(embedding: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Pass what `_fused_inputs` has embedded; embed what ``generate`` makes itself."""
    linear = embedding.value_projection
    return x if x.shape[-1] == linear.out_features else linear(x)


def _fused_inputs(self, past_values, past_time_features, static_categorical_features=None, static_real_features=None,
                  past_observed_mask=None, future_values=None, future_time_features=None):  # fmt: skip
    """Return what ``InformerModel.create_network_inputs`` returns, embedded."""
    context = self.config.context_length
    observed = torch.ones_like(past_values) if past_observed_mask is None else past_observed_mask
    _, loc, scale = self.scaler(past_values[:, -context:], observed[:, -context:])
    sequence = past_values if future_values is None else torch.cat((past_values, future_values), 1)
    x = (sequence - loc) / scale
    static = torch.cat((loc.squeeze(1).abs().log1p(), scale.squeeze(1).log()), 1)
    time = past_time_features[:, self._past_length - context :]
    embedded = _embed_lags(
        self.encoder.value_embedding, x[:, : past_values.shape[1]], static, time, context, self.config
    )
    if future_values is not None:
        ahead = future_values.shape[1]
        recent = x[:, -(ahead + max(self.config.lags_sequence)) :]
        decoded = _embed_lags(self.decoder.value_embedding, recent, static, future_time_features, ahead, self.config)
        embedded = torch.cat((embedded, decoded), 1)
    return embedded, loc, scale, static


def _embed_lags(
    embedding: nn.Module, x: torch.Tensor, static: torch.Tensor, time: torch.Tensor, length: int, config
) -> torch.Tensor:
    """Return the embedding of the last ``length`` frames of ``x``, (window, length, width)."""
    weight, n, lags = embedding.value_projection.weight, config.input_size, config.lags_sequence
    n_lagged = n * len(lags)
    by_lag = weight[:, :n_lagged].unflatten(1, (n, len(lags)))  # (width, neuron, lag)
    projected = x @ by_lag.permute(1, 2, 0).reshape(n, -1)  # (window, frame, lag * width)
    projected = projected.unflatten(2, (len(lags), -1))
    total = x.shape[1]
    out = sum(projected[:, total - length - lag : total - lag, i] for i, lag in enumerate(lags))
    rest = weight[:, n_lagged:]
    return out + (static @ rest[:, : static.shape[1]].T)[:, None] + time @ rest[:, static.shape[1] :].T
