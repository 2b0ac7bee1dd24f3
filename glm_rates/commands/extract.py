"""Stage 1 by hand: bin a recording into an exchange folder that the user keeps."""

from __future__ import annotations

import shutil

import hdf5io

from ..config import ExtractConfig
from ..console import Result, Run
from ..files import results
from ..fit import pipeline


def run(config: ExtractConfig, run: Run) -> Result:
    """Extract into a private folder, then copy it to its place."""
    if config.output.is_dir() and config.overwrite and (config.output / "extract.json").is_file():
        shutil.rmtree(config.output)
    results.may_write(config.output)
    hdf5io.claim(config.output, False)
    with pipeline.exchange_folder() as folder:
        params, arrays = pipeline.extract(config.data, config, folder)
        config.output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, config.output, dirs_exist_ok=True)
    n_trials, n_bins, n_units = arrays["counts"].shape
    found = {"n_units": n_units, "n_trials": n_trials, "n_bins": n_bins, "tastes": params["tastes"],
             "regions": sorted(set(params["regions"])), "window": params["window"]}  # fmt: skip
    line = f"{n_units} units, {n_trials} trials; {config.output}"
    return Result({"exchange": config.output}, found, line, record=config.output)
