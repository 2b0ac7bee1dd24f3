"""``info``: what is this file or folder?"""

from __future__ import annotations

import hdf5io
from hdf5io.errors import InputError

from ..config import InfoConfig
from ..console import Result, Run
from ..files.model_folder import load_model


def run(config: InfoConfig, run: Run) -> Result:
    """Describe a path."""
    path = config.path
    if path.is_dir():
        saved = load_model(path)
        results = {k: saved.about[k] for k in ("model", "context", "horizon", "recordings")}
        n = ", ".join(str(r["n_neurons"]) for r in results["recordings"])
        return Result(
            {},
            results,
            f"{path}: model {results['model']}, {results['context']} -> {results['horizon']} frames, {n} neurons",
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder.")
    with hdf5io.read(path) as file:
        schema = str(file.attrs.get("schema", "none"))
        shapes: dict[str, list[int]] = {}
        file.visititems(
            lambda name, item: shapes.__setitem__(name, list(item.shape)) if hasattr(item, "shape") else None
        )
    text = ", ".join(f"{k} {tuple(v)}" for k, v in list(shapes.items())[:6])
    return Result({}, {"schema": schema, "datasets": shapes}, f"{path}: schema {schema}; {text}")
