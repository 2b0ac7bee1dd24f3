"""Which networks can be trained? Bodies of our correction, and DLinear / NLinear (Zeng et al. 2023).

A body maps delays of the population's latents, (window, lag, latent), to the correction of the projected forecast,
(window, horizon, output). Its last layer starts at zero, so that training starts at the linear base.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class DelayMLP(nn.Module):
    """Two hidden layers on the delay embedding."""

    def __init__(self, lags: int, latents: int, width: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(lags * latents, width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.width = width

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        return self.layers(context)


class InformerEncoder(nn.Module):
    """Self-attention over lags with Informer's distilling (a strided convolution between layers); full attention."""

    def __init__(self, lags: int, latents: int, width: int = 64, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.Linear(latents, width)
        self.position = nn.Parameter(torch.randn(lags, width) * 0.02)
        block: dict[str, Any] = {
            "nhead": 4,
            "dim_feedforward": 2 * width,
            "dropout": dropout,
            "batch_first": True,
            "norm_first": True,
        }
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, **block) for _ in range(layers))
        self.distil = nn.ModuleList(nn.Conv1d(width, width, 3, 2, 1) for _ in range(layers - 1))
        lengths = [lags]
        for _ in range(layers - 1):
            lengths.append((lengths[-1] + 1) // 2)
        self.width = width * lengths[-1]

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        x = self.embed(context) + self.position
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.distil):
                x = nn.functional.elu(self.distil[i](x.transpose(1, 2))).transpose(1, 2)
        return x.flatten(1)


class GRUBody(nn.Module):
    """The last state of a gated recurrent unit."""

    def __init__(self, lags: int, latents: int, width: int = 128) -> None:
        super().__init__()
        self.gru = nn.GRU(latents, width, batch_first=True)
        self.width = width

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        return self.gru(context)[0][:, -1]


BODIES = {"mlp": DelayMLP, "informer": InformerEncoder, "gru": GRUBody}


class Correction(nn.Module):
    """Body, with a read-in, a read-out and an embedding for each recording when there are several.

    Parameters
    ----------
    body : ``mlp``, ``informer`` or ``gru``.
    lags, latents : shape of the context.
    horizon, outputs : shape of the correction.
    n_recordings : how many recordings share the body.
    """

    def __init__(self, body: str, lags: int, latents: int, horizon: int, outputs: int, n_recordings: int = 1) -> None:
        super().__init__()
        self.architecture, self.lags = (body, lags, latents, horizon, outputs, n_recordings), lags
        self.body = BODIES[body](lags, latents)
        self.read_in = nn.Parameter(torch.eye(latents).repeat(n_recordings, 1, 1))
        self.offset = nn.Parameter(torch.zeros(n_recordings, latents))
        self.head = nn.Linear(self.body.width, horizon * outputs)
        self.read_out = nn.Parameter(torch.eye(outputs).repeat(n_recordings, 1, 1))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.shape = (horizon, outputs)
        if n_recordings == 1:  # nothing to align
            for parameter in (self.read_in, self.offset, self.read_out):
                parameter.requires_grad_(False)

    def forward(self, context: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        x = context @ self.read_in[recording] + self.offset[recording]
        return self.head(self.body(x)).unflatten(1, self.shape) @ self.read_out[recording]

    def loss(self, context: torch.Tensor, target: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return the mean squared error of the projected residuals.

        With an orthonormal output basis B, ``|r - B c|^2 = |c - B'r|^2 + const``: the loss over all neurons needs nothing else.
        """
        return (self(context, recording) - target).square().mean()


class NLinear(nn.Module):
    """One linear layer over time, shared by all neurons, around the last value."""

    def __init__(self, context: int, horizon: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, horizon)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        last = context[:, -1:]
        return self.linear((context - last).transpose(1, 2)).transpose(1, 2) + last


class DLinear(nn.Module):
    """Linear layers over time for the moving average and for the rest, shared by all neurons."""

    def __init__(self, context: int, horizon: int, kernel: int = 25) -> None:
        super().__init__()
        self.kernel = min(kernel, context) | 1
        self.trend, self.rest = nn.Linear(context, horizon), nn.Linear(context, horizon)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        x = context.transpose(1, 2)
        pad = self.kernel // 2
        edges = torch.cat([x[..., :1].expand(*x.shape[:-1], pad), x, x[..., -1:].expand(*x.shape[:-1], pad)], -1)
        trend = nn.functional.avg_pool1d(edges, self.kernel, 1)
        return (self.trend(trend) + self.rest(x - trend)).transpose(1, 2)


POINT_NETWORKS = {"nlinear": NLinear, "dlinear": DLinear}


class PointForecast(nn.Module):
    """A network trained on the activity itself, with spike weights in a plain squared error.

    Parameters
    ----------
    kind : ``nlinear`` or ``dlinear``.
    context, horizon : window in frames.
    spike_weight : see `spike_weights`.
    """

    def __init__(self, kind: str, context: int, horizon: int, spike_weight: float = 1.0) -> None:
        super().__init__()
        self.architecture, self.lags = (kind, context, horizon), context
        self.net, self.spike_weight = POINT_NETWORKS[kind](context, horizon), spike_weight

    def forward(self, context: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return features (batch, width), or a forecast (batch, horizon, neuron), of a context (batch, lag, latent or neuron)."""
        return self.net(context)

    def loss(self, context: torch.Tensor, target: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return the spike-weighted mean squared error."""
        return (spike_weights(target, self.spike_weight) * (self.net(context) - target).square()).mean()


def spike_weights(target: torch.Tensor, weight: float, threshold: float = 2.5) -> torch.Tensor:
    """Return a weight for every neuron and frame: ``weight`` where the z-scored activity is above the threshold; mean 1.

    >>> spike_weights(torch.tensor([[0.0, 3.0]]), 3.0).tolist()
    [[0.5, 1.5]]
    """
    raw = torch.where(target > threshold, weight, 1.0)
    return raw / raw.mean()


def student_t_loss(df, loc, scale, target, spike_weight: float = 1.0, scale_penalty: float = 0.0) -> torch.Tensor:
    """Return the spike-weighted student-t likelihood plus a penalty on the *predicted* log scale (it has a gradient).

    The penalty is ``scale_penalty * mean(log(scale)^2)``: predicted scales are drawn towards that of the z-scored activity.
    """
    nll = -torch.distributions.StudentT(df, loc, scale).log_prob(target)
    return (spike_weights(target, spike_weight) * nll).mean() + scale_penalty * scale.log().square().mean()
