"""Do the published transformers forecast better? Informer and Autoformer of Hugging Face, on the windows of every other model.

The library's classes are used as they are: student-t head, lags 1..7, features of mean and scale. What differs from the usual recipe
is said here: Informer attends fully by default (its ProbSparse attention leaks the future in teacher forcing beyond about 20 steps and is
random in evaluation); the loss is our spike-weighted student-t likelihood with a penalty on the predicted scale; the point forecast rolls
the mean of the student-t forward instead of averaging 100 sampled paths.

The lag embedding is computed without building lagged copies. Informer concatenates seven lagged copies of all neurons (and their means
and scales at every frame) and multiplies by one matrix; the product is ``sum_i W_i x[t - lag_i]`` plus a term that is the same at every
frame. So the neurons are projected once on the weights of all lags, the small projections are shifted and added, and the constant term
is computed once a window: the same weights, the same numbers, faster.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from .networks import student_t_loss

N_LAGS = 7


class Architecture(NamedTuple):
    """What is needed to build the network again."""

    name: str  #: informer-hf or autoformer-hf
    n_neurons: int
    context: int
    horizon: int
    d_model: int = 64
    layers: int = 2
    attention: str = "full"
    spike_weight: float = 1.0
    scale_penalty: float = 0.0


class HuggingFace(nn.Module):
    """``InformerForPrediction`` or ``AutoformerForPrediction`` as a forecaster of z-scored activity."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.architecture, self.lags = a, a.context
        if a.context <= N_LAGS + 8:
            raise ValueError(
                f"{a.name} needs a context of more than {N_LAGS + 8} frames, {N_LAGS} of them for lags; got {a.context}"
            )
        self.inner = build(a)

    def outputs(self, context: torch.Tensor, future: torch.Tensor):
        """Return degrees of freedom, location and scale, each (window, horizon, neuron), given earlier true or forecast futures."""
        total = context.shape[1] + future.shape[1]
        age = torch.linspace(-1, 1, total, device=context.device, dtype=context.dtype)[None, :, None].expand(
            len(context), -1, 1
        )
        out = self.inner(
            past_values=context, past_time_features=age[:, : context.shape[1]], past_observed_mask=torch.ones_like(context),
            future_values=future, future_time_features=age[:, context.shape[1] :],
        )  # fmt: skip
        df, loc, scale = out.params
        return df, loc * out.scale + out.loc, scale * out.scale

    def forward(self, context: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return the point forecast (window, horizon, neuron)."""
        future = context.new_zeros(len(context), self.architecture.horizon, context.shape[2])
        if self.architecture.name == "autoformer-hf":
            return self.outputs(context, future)[1]
        for h in range(future.shape[1]):  # step h sees the forecasts of the steps before it
            future[:, h] = self.outputs(context, future)[1][:, h]
        return future

    def loss(self, context: torch.Tensor, target: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return the loss in teacher forcing."""
        a = self.architecture
        df, loc, scale = self.outputs(context, target)
        return student_t_loss(df, loc, scale, target, a.spike_weight, a.scale_penalty)


def build(a: Architecture) -> nn.Module:
    """Return the library's model with our sizes."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    shared: dict[str, Any] = {
        "prediction_length": a.horizon, "context_length": a.context - N_LAGS, "input_size": a.n_neurons,
        "lags_sequence": list(range(1, N_LAGS + 1)), "num_time_features": 1, "d_model": a.d_model, "scaling": "std",
        "encoder_layers": a.layers, "decoder_layers": a.layers, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 2 * a.d_model, "decoder_ffn_dim": 2 * a.d_model, "distribution_output": "student_t", "dropout": 0.1,
    }  # fmt: skip
    if a.name == "informer-hf":
        settings = transformers.InformerConfig(**shared, attention_type=a.attention, distil=True)
        return fuse(transformers.InformerForPrediction(settings))
    other = transformers.AutoformerConfig(**shared, label_length=min(10, a.context - N_LAGS))
    return transformers.AutoformerForPrediction(other)


def fuse(model: Any) -> Any:
    """Give an ``InformerForPrediction`` the fused lag embedding, in place; its weights stay where they are.

    The value embedding of lagged copies is ``sum_i W_i x[t - lag_i]``: the neurons are projected once on the weights of all lags and
    the small projections are shifted and added. The static features (location and scale) are embedded once, not at every frame.
    """
    inner = model.model
    inner.create_network_inputs = partial(_fused_inputs, inner)  # unlike a method, another process can be sent it
    for part in (inner.encoder, inner.decoder):
        part.value_embedding.forward = partial(_embedded_already, part.value_embedding)
    return model


def _embedded_already(embedding: Any, x: torch.Tensor) -> torch.Tensor:
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
    embedding: Any, x: torch.Tensor, static: torch.Tensor, time: torch.Tensor, length: int, config
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


def unfuse(model: Any) -> Any:
    """Give back the library's own embedding, in place."""
    inner = model.model
    inner.__dict__.pop("create_network_inputs", None)
    for part in (inner.encoder, inner.decoder):
        part.value_embedding.__dict__.pop("forward", None)
    return model
