"""Train p(W | activity) and p(W) in one network, or the regression baseline."""

from __future__ import annotations

from .train_prior import run

__all__ = ["run"]  # the same training with more options
