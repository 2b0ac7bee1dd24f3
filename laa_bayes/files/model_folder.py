"""How does a trained model lie on disk? One folder, read only when it is whole.

``model.keras`` holds the weights (nothing is executed on load), ``model.json`` the preset, prior, current, noise, versions and
hashes, ``summaries.h5`` where clean simulations lie in summary space, ``history.csv`` the losses. While it is trained,
``checkpoint.npz`` holds every variable of networks and optimiser.
"""

from __future__ import annotations

import csv
import json
import logging
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import Preset
from ..network.trained import Reference, TrainedModel
from ..neuron.recipe import Bank, Recipe

SCHEMA = "laa_bayes/model/1"
SUMMARIES = "laa_bayes/summaries/1"
NEEDED = ("schema", "versions", "weights_sha256", "preset", "recipe")
LIBRARIES = ("bayesflow", "keras", "jax", "numpy")
log = logging.getLogger("laa_bayes")


class Epoch(NamedTuple):
    """One line of ``history.csv``."""

    epoch: int
    loss: float
    validation_loss: float
    learning_rate: float
    seconds: float


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a saved network depends on."""
    return {name: version(name) for name in LIBRARIES}


def save(model: TrainedModel, folder: Path, provenance: dict) -> None:
    """Write the network, its assumptions and its reference summaries; ``model.json`` last, it makes the folder valid."""
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "model.keras") as part:
        model.approximator.save(part)
        hdf5io.rezip(part, undated)
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
    hdf5io.write_json(folder / "model.json", table)
    (folder / "checkpoint.npz").unlink(missing_ok=True)


def undated(members: dict[str, bytes]) -> dict[str, bytes]:
    """Return the members of a Keras archive without the day it was saved and without addresses in memory."""
    about = json.loads(members["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    config, _ = hdf5io.numbered(members["config.json"].decode(), r'("shared_object_id": )(\d+)')
    known = {"metadata.json": json.dumps(about), "config.json": config}
    return members | {name: text.encode() for name, text in known.items()}


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
        raise InputError(f"{path}: missing. Train again, or copy the whole model folder.")
    if hdf5io.sha256(path) != table["weights_sha256"]:
        raise InputError(
            f"{path}: is not the file that model.json describes (sha256 differs). Copy the whole folder, or train again."
        )
    check_versions(folder, table["versions"])
    recipe = recipe_of(folder, table)
    from ..network import networks  # registers the summary networks, else Keras raises a TypeError

    try:
        preset = Preset(**table["preset"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            approximator = networks.keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: this version cannot read the network ({str(error).splitlines()[0]}). Train again."
        ) from None
    with hdf5io.read(folder / "summaries.h5", SUMMARIES, Reference._fields) as file:
        reference = Reference(*(file[name][()] for name in Reference._fields))
    info = {key: value for key, value in table.items() if key not in (*NEEDED, "provenance")}
    return TrainedModel(approximator, recipe, preset, reference, info, folder)


def check_versions(folder: Path, trained_with: Mapping[str, str]) -> None:
    """Refuse another major version of BayesFlow or Keras than the network was trained with; warn of another minor one."""
    for name in ("bayesflow", "keras"):
        saved = str(trained_with.get(name, "unknown"))
        try:
            here = version(name)
        except PackageNotFoundError:
            here = "none"
        if here.split(".")[0] != saved.split(".")[0]:
            raise InputError(
                f"{folder}: trained with {name} {saved}, here is {here}. Install {name} {saved} or train again."
            )
        if here != saved:
            log.warning("%s: trained with %s %s, here is %s; draws may differ.", folder, name, saved, here)


def recipe_of(folder: Path, table: dict) -> Recipe:
    """Return the recipe of a model's training simulations; InputError where ``model.json`` has none."""
    try:
        return Recipe.from_json(table["recipe"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / 'model.json'}: no recipe of the simulations ({error}). Train again.") from None


def read_json(folder: Path) -> dict:
    """Return the checked content of ``model.json``."""
    path = folder / "model.json"
    if not path.exists():
        part = (
            " (training is unfinished: run the same train command again)"
            if (folder / "checkpoint.npz").exists()
            else ""
        )
        raise InputError(
            f"{folder}: no trained model (no model.json){part}. Train one with 'laa-bayes train --output {folder}'."
        )
    table = hdf5io.read_json(path)
    if table.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: format '{table.get('schema')}', this version reads '{SCHEMA}'. Train again, or use that version."
        )
    missing = [name for name in NEEDED if name not in table]
    if missing or not isinstance(table["versions"], dict):
        raise InputError(f"{path}: no {', '.join(missing) or 'table of versions'}. Copy the whole model folder.")
    return table


def fingerprint(preset: Preset, bank: Bank) -> str:
    """Return what a checkpoint must agree with to be resumed."""
    return f"{preset.model_dump_json()} {bank.recipe.digest()} {bank.recipe.noise_mv} {len(bank.z)}"


def write_checkpoint(
    folder: Path,
    variables: Mapping[str, np.ndarray],
    preset: Preset,
    bank: Bank,
    n_epochs: int,
    history: Sequence[Epoch],
) -> None:
    """Write variables of networks and optimiser, and the history; the checkpoint names how many epochs it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    hdf5io.write_csv(folder / "history.csv", [epoch._asdict() for epoch in history])
    arrays: Any = dict(variables) | {
        "n_epochs": np.array(n_epochs),
        "done": np.array(len(history)),
        "fingerprint": np.array(fingerprint(preset, bank)),
    }
    with hdf5io.atomic(folder / "checkpoint.npz") as part, part.open("wb") as file:
        np.savez(file, **arrays)


def read_checkpoint(folder: Path, preset: Preset, bank: Bank) -> dict[str, np.ndarray] | None:
    """Return the checkpoint of an interrupted training, or None when it had not finished an epoch."""
    path = folder / "checkpoint.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            saved = {key: file[key] for key in file.files}
        made_by = str(saved["fingerprint"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable checkpoint ({error}). Use --overwrite to start anew.") from None
    if made_by != fingerprint(preset, bank):
        raise InputError(
            f"{path}: was made with other options. Resume with the options it began with, or use --overwrite."
        )
    return saved


def read_history(folder: Path, n_epochs: int | None = None) -> list[Epoch]:
    """Return the losses of ``history.csv``."""
    path = folder / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        return [Epoch(int(row[0]), *(float(x) for x in row[1:5])) for row in rows][:n_epochs]
    except (OSError, ValueError, IndexError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable history of losses ({error}). Copy the whole model folder.") from None
