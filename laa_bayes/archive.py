"""How does a trained model lie on disk? One folder, read only when it is whole.

``model.keras`` holds the weights (nothing is executed on load), ``model.json`` the preset, prior, current, noise, versions and
hashes, ``summaries.h5`` where clean simulations lie in summary space, ``history.csv`` the losses.
"""

from __future__ import annotations

import json
import logging
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hdf5io

from .bank import Recipe
from .config import Preset
from .model import Reference, TrainedModel

SCHEMA = "laa_bayes/model/1"
SUMMARIES = "laa_bayes/summaries/1"
LIBRARIES = ("bayesflow", "keras", "jax", "numpy")
log = logging.getLogger("laa_bayes")


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a saved network depends on."""
    return {name: version(name) for name in LIBRARIES}


def save(model: TrainedModel, folder: Path, provenance: dict) -> None:
    """Write the network, its assumptions and its reference summaries; ``model.json`` last, it makes the folder valid."""
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "model.keras") as part:
        whole = part.with_name(part.name + ".keras")
        model.approximator.save(whole)
        whole.replace(part)
    datasets = {
        "mean": hdf5io.Dataset(model.reference.mean, "1", "mean of clean summaries", ("summary",)),
        "whitening": hdf5io.Dataset(
            model.reference.whitening, "1", "whitening matrix of clean summaries", ("direction", "summary")
        ),
        "distances": hdf5io.Dataset(model.reference.distances, "1", "sorted distances of clean traces", ("trace",)),
    }
    hdf5io.write(folder / "summaries.h5", SUMMARIES, datasets, provenance=provenance, overwrite=True)
    table = {
        "schema": SCHEMA,
        "versions": versions(),
        "weights_sha256": hdf5io.sha256(folder / "model.keras"),
        "preset": model.preset.model_dump(mode="json"),
        "recipe": model.recipe.as_json(),
        **model.info,
        "provenance": {key: str(value) for key, value in provenance.items()},
    }
    with hdf5io.atomic(folder / "model.json") as part:
        part.write_text(json.dumps(table, indent=1), encoding="utf-8")


def load(folder: Path) -> TrainedModel:
    """Return the model in ``folder``.

    Raises
    ------
    InputError
        No model there, another format, weights that are not the ones the JSON names, or a network this version cannot read.
    """
    table = read_json(folder)
    path = folder / "model.keras"
    if not path.exists():
        raise hdf5io.InputError(f"{path}: missing. Train again, or copy the whole model folder.")
    if hdf5io.sha256(path) != table["weights_sha256"]:
        raise hdf5io.InputError(
            f"{path}: is not the file that model.json describes (sha256 differs). Copy the whole folder, or train again."
        )
    for name, saved in table["versions"].items():
        try:
            here = version(name)
        except PackageNotFoundError:
            here = "none"
        if name in ("bayesflow", "keras") and here.split(".")[0] != saved.split(".")[0]:
            raise hdf5io.InputError(
                f"{folder}: trained with {name} {saved}, here is {here}. Install {name} {saved} or train again."
            )
        if name in ("bayesflow", "keras") and here != saved:
            log.warning("%s: trained with %s %s, here is %s; draws may differ.", folder, name, saved, here)
    from . import networks  # registers the summary networks, else Keras raises a TypeError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            approximator = networks.keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError, OSError) as error:
        raise hdf5io.InputError(
            f"{path}: this version cannot read the network ({str(error).splitlines()[0]}). Train again."
        ) from None
    with hdf5io.read(folder / "summaries.h5", SUMMARIES) as file:
        reference = Reference(*(file[name][()] for name in Reference._fields))
    own = ("schema", "versions", "weights_sha256", "preset", "recipe", "provenance")
    info = {key: value for key, value in table.items() if key not in own}
    return TrainedModel(
        approximator, Recipe.from_json(table["recipe"]), Preset(**table["preset"]), reference, info, folder
    )


def read_json(folder: Path) -> dict:
    """Return the checked content of ``model.json``."""
    path = folder / "model.json"
    if not path.exists():
        part = (
            " (training is unfinished: run the same train command with --resume)"
            if (folder / "checkpoint.npz").exists()
            else ""
        )
        raise hdf5io.InputError(
            f"{folder}: no trained model (no model.json){part}. Train one with 'laa-bayes train --output {folder}'."
        )
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise hdf5io.InputError(f"{path}: not readable as JSON: {error}. Train again.") from None
    if table.get("schema") != SCHEMA:
        raise hdf5io.InputError(
            f"{path}: format '{table.get('schema')}', this version reads '{SCHEMA}'. Train again, or use that version."
        )
    return table
