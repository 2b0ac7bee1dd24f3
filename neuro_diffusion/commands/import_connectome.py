"""Draw sub-networks of a real connectome into a data set."""

from __future__ import annotations

from .build_dataset import run

__all__ = ["run"]  # a connectome is another source of networks for the same build
