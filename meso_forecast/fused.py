"""How is Hugging Face's lag embedding computed without building the lagged copies? The same weights, the same numbers, faster.

Informer concatenates seven lagged copies of all neurons (and their means and scales at every frame) and multiplies by one matrix. The
product is ``sum_i W_i x[t - lag_i]`` plus a term that is the same at every frame: the neurons are projected once on the weights of all
lags, the small projections are shifted and added, and the constant term is computed once a window.
"""

from __future__ import annotations

import types

import torch
from torch import nn


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


def unfuse(model: nn.Module) -> nn.Module:
    """Give back the library's own embedding, in place."""
    inner = model.model
    inner.__dict__.pop("create_network_inputs", None)
    for part in (inner.encoder, inner.decoder):
        part.value_embedding.__dict__.pop("forward", None)
    return model
