"""Stage 1 by hand: bin a recording into an exchange folder that the user keeps."""

from __future__ import annotations

import shutil

import hdf5io

from ..config import ExtractConfig
from ..console import Result, Run
from ..files import results
from ..fit import environments, pipeline


def run(config: ExtractConfig, run: Run) -> Result:
    """Extract into a private folder, then copy it to its place."""
    results.may_write(config.output)
    if config.dry_run:
        python = environments.extraction_python(config.blech_clust_env if config.data.is_dir() else "none").python
        return Result({}, {"extract_with": python}, f"would extract {config.data} with {python} into {config.output}")
    with pipeline.exchange_folder() as folder:
        params, arrays = pipeline.extract(config.data, config, folder)
        for path in sorted(folder.iterdir()):
            with hdf5io.atomic(config.output / path.name) as part:
                shutil.copyfile(path, part)
    n_trials, n_bins, n_units = arrays["counts"].shape
    found = {"n_units": n_units, "n_trials": n_trials, "n_bins": n_bins, "tastes": params["tastes"],
             "regions": sorted(set(params["regions"])), "window": params["window"]}  # fmt: skip
    line = f"{n_units} units, {n_trials} trials; {config.output}"
    return Result({"exchange": config.output}, found, line, record=config.output)
