"""How is a network trained? Named sets of everything that decides it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .assumptions import Frozen


class Preset(Frozen):
    """Everything that decides how a network is trained."""

    n_simulations: int
    epochs: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_steps: int = Field(0, description="gradient steps over which a cosine schedule first rises")
    summary: Literal["mlp", "conv", "lstm", "gru", "stats"] = "mlp"
    summary_widths: tuple[int, ...] = (512, 512, 256)
    summary_dim: int = 32
    n_components: int = Field(
        0, description="mlp: principal components of the trace, whitened, that the network sees; 0: the trace itself"
    )
    frame: int = Field(1, ge=1, description="lstm, gru: samples that one recurrent step reads")
    flow: Literal["affine", "spline"] = "affine"
    flow_depth: int = 6
    flow_widths: tuple[int, ...] = (128, 128)
    batch_norm: Literal["actnorm", "subnet", "none"] = "actnorm"
    offline_noise: bool = Field(
        False, description="fix the noise once (the seed document's offline data) instead of fresh noise each epoch"
    )


_FAST = {
    "learning_rate": 2e-3,
    "warmup_steps": 200,
    "summary_widths": (384, 384, 256),
    "n_components": 64,
    "flow_depth": 4,
}


_LARGE = _FAST | {"summary_widths": (512, 512, 256), "n_components": 96}


PRESETS: dict[str, Preset] = {
    "demo": Preset(n_simulations=50_176, epochs=40, **_FAST),
    "quick": Preset(n_simulations=50_176, epochs=52, **_FAST),
    "standard": Preset(n_simulations=100_096, epochs=40, **_LARGE),
    "full": Preset(
        n_simulations=200_192,
        epochs=80,
        **_LARGE | {"summary_widths": (768, 768, 384), "summary_dim": 48, "flow_depth": 6},
    ),
    "seed": Preset(
        n_simulations=100_000,
        epochs=300,
        learning_rate=1e-4,
        summary="lstm",
        summary_widths=(64, 64),
        flow_depth=6,
        offline_noise=True,
    ),
    "seed-short": Preset(
        n_simulations=100_096,
        epochs=16,
        learning_rate=2e-3,
        warmup_steps=200,
        summary="lstm",
        summary_widths=(64, 64),
        frame=25,
        flow_depth=6,
    ),
}
