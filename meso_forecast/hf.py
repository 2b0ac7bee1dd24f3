"""Do the published transformers forecast better? Informer and Autoformer of Hugging Face, on the windows of every other model.

The library's classes are used as they are: student-t head, lags 1..7, features of mean and scale. What differs from the usual recipe
is said here: Informer attends fully by default (its ProbSparse attention leaks the future in teacher forcing beyond about 20 steps and is
random in evaluation); the loss is our spike-weighted student-t likelihood with a penalty on the predicted scale; the point forecast rolls
the mean of the student-t forward instead of averaging 100 sampled paths.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from .fused import fuse
from .model import Network
from .networks import student_t_loss
from .train import Options, Source, fit
from .windows import Panel, window_origins

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
        return student_t_loss(*self.outputs(context, target), target, a.spike_weight, a.scale_penalty)


def build(a: Architecture) -> nn.Module:
    """Return the library's model with our sizes."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    shared = {
        "prediction_length": a.horizon, "context_length": a.context - N_LAGS, "input_size": a.n_neurons,
        "lags_sequence": list(range(1, N_LAGS + 1)), "num_time_features": 1, "d_model": a.d_model, "scaling": "std",
        "encoder_layers": a.layers, "decoder_layers": a.layers, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 2 * a.d_model, "decoder_ffn_dim": 2 * a.d_model, "distribution_output": "student_t", "dropout": 0.1,
    }  # fmt: skip
    if a.name == "informer-hf":
        settings = transformers.InformerConfig(**shared, attention_type=a.attention, distil=True)
        return fuse(transformers.InformerForPrediction(settings))
    settings = transformers.AutoformerConfig(**shared, label_length=min(10, a.context - N_LAGS))
    return transformers.AutoformerForPrediction(settings)


def fit_hugging_face(panel: Panel, a: Architecture, options: Options) -> Network:
    """Train on the training windows, stop on the validation windows."""
    torch.manual_seed(options.seed)
    net = HuggingFace(a)
    train, validation = (window_origins(panel.usable, panel.label, part, a.context, a.horizon) for part in (0, 1))
    activity = Source(torch.from_numpy(panel.x), None, train, validation, None, a.context, a.horizon, panel.x)
    fitted = fit(net, [activity], options)
    return Network(net, None, {"epochs": fitted.epochs, "validation_loss": fitted.best_loss, "architecture": list(a)})
