"""What is this file or folder?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..config import InfoConfig
from ..console import Result, Run
from ..files.identify import describe


def run(config: InfoConfig, run: Run) -> Result:
    """Describe it in one line, or with --json in full."""
    found = describe(config.path, config.dataset, config.rows, config.axes)
    facts = ", ".join(f"{name} {_short(value)}" for name, value in found.items() if name != "kind")
    more = {**found, "next": next_commands(config.path, found), "sure": not _by_its_shape(config.path, found)}
    return Result({}, more, f"{config.path}: {found['kind']}; {facts}")


def next_commands(path: Path, found: dict[str, Any]) -> list[str]:
    """Return the command lines that one types next; words in capitals are the reader's (``neuropipes doctor`` prints them)."""
    data, kind = shlex.quote(str(path)), str(found["kind"])
    if kind.endswith(" model"):
        return [f"neuro-diffusion infer {data} ACTIVITY --output posterior.h5"]
    train = "neuro-diffusion train-conditional networks --output model"
    return {
        "activity": [
            f"neuro-diffusion infer none {data} --dt-over-tau DT_OVER_TAU --output posterior.h5",
            f"neuro-diffusion infer MODEL {data} --output posterior.h5",
        ],
        "connectome": [f"neuro-diffusion import-connectome {data} --output networks", train],
        "data set": [f"neuro-diffusion train-conditional {data} --output model"],
        "folder of .pt networks": [f"neuro-diffusion import-pt {data} --output networks", train],
        "posterior": [f"neuro-diffusion plot {data} --output posterior.png"],
        "samples of a prior": [f"neuro-diffusion plot {data} --output samples.png"],
    }.get(kind, [])


def _by_its_shape(path: Path, found: dict[str, Any]) -> bool:
    """Return whether only the shape of numbers without names tells what they are: another pipeline may know better."""
    named = any(not str(name).isdigit() for name in found.get("names", ()))
    bare = {
        "activity": (".npy", ".npz", ".mat", ".h5", ".hdf5", ".csv", ".tsv", ".txt"),
        "connectome": (".npy", ".npz", ".mat", ".h5", ".hdf5"),
    }
    return not named and path.suffix.lower() in bare.get(str(found["kind"]), ())


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list) and len(value) > 6:
        return f"{', '.join(map(str, value[:3]))}, ... ({len(value)})"
    return str(value)
