"""How do rates arise, and how are they recorded? The settings that the likelihood of a recording depends on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

INPUT_SD = 1.0  #: prior standard deviation of a neuron's constant input
OWN_SD = 0.5  #: prior standard deviation of 1 - dt/tau of a neuron over that of all
UNSEEN = 0.5  #: standard deviation of what a recorder's kernel holds of the time before a trial, beyond the first rate


class Settings(NamedTuple):
    """How rates arise and are recorded: y = offset + gain tanh(h) + noise, h <- (1-a) h + a (W tanh(h) + input) + process xi."""

    a: float  #: time step over time constant
    gain: float = 1.0
    offset: float = 0.0
    input: bool = False  #: a constant input to each neuron, integrated out
    process: float = 0.0  #: standard deviation of noise that is added to h at every step
    h0_std: float = 1.0  #: prior standard deviation of initial states
    kernel: float = (
        0.0  #: what the recorder keeps of a step: c <- kernel c + (1 - kernel) tanh(h) takes the place of tanh(h)
    )
    taus: tuple[float, ...] = ()  #: dt/tau of each neuron over `a`, where they differ; empty: all have that of `a`
    taus_sd: tuple[float, ...] = ()  #: the standard deviations with which these are known

    def rates(self, y: Tensor) -> Tensor:
        """Return recorded values (..., T, N) as rates x, the recorder's kernel undone; its noise is then `noise_shape`."""
        x = (y - self.offset) / self.gain
        if self.kernel == 0:
            return x
        return torch.cat([x[..., :1, :], (x[..., 1:, :] - self.kernel * x[..., :-1, :]) / (1 - self.kernel)], -2)

    def noise_shape(self, noise: float, like: Tensor) -> Tensor:
        """Return the covariance (T, T) of the noise on `rates` in units of its variance on the values; T steps as ``like`` (K, T, N).

        The first rate of a trial is known up to what the kernel holds from before.
        """
        T = like.shape[1]
        shape = torch.eye(T, dtype=like.dtype)
        if self.kernel == 0:
            return shape
        back = (shape - self.kernel * torch.diag(shape.new_ones(T - 1), -1)) / (1 - self.kernel)
        back[0, 0] = 1.0
        shape = back @ back.T
        shape[0, 0] += (UNSEEN * self.gain / noise) ** 2
        return shape

    @property
    def plain(self) -> bool:
        """Return whether the likelihood of `ridge` holds once rates are rescaled: no input, no kernel, one time constant."""
        return not (self.input or self.kernel or self.taus)

    @property
    def latent_sd(self) -> list[float]:
        """Return the prior standard deviations of what each row has beside its weights: input, 1 - its own dt/tau over `a`."""
        return [INPUT_SD] * self.input + [OWN_SD] * bool(self.taus)
