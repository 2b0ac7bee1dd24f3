"""When do the rates tell which stimulus it was, and how palatable?"""

from __future__ import annotations

import contextlib

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import DecodeConfig
from ..console import Result, Run
from ..files import exchange, results
from ..fit import environments, pipeline
from ..score import decoding
from ..show import plots
from ..show.figures import save_figure


def run(config: DecodeConfig, run: Run) -> Result:
    """Fit blind to the labels, decode in each window, draw the time courses."""
    results.may_write(config.output)
    if config.dry_run:
        nemos = environments.nemos_python(config.nemos_env)
        return Result(
            {},
            {"fit_with": nemos.python, "nemos": nemos.version},
            f"would decode {config.folder} with {nemos.python} into {config.output}",
        )
    with pipeline.exchange_folder(like=config.folder) as folder:
        params, arrays = exchange.load(folder, "extract")
        label, tastes = arrays["taste"], params["tastes"]
        check(config, params, label)
        value = palatability_of(config.palatability, tastes) if config.palatability else None  # before the work
        blind = {**params, "tastes": ["any"], "dig_ins": ["any"]}
        exchange.save(folder, "extract", {k: v for k, v in blind.items() if k not in ("contract", "arrays")},
                      {**arrays, "taste": np.zeros_like(label)})  # fmt: skip
        _, fitted = pipeline.fit(folder, config.model_copy(update={"cv_folds": 0, "separate_tastes": False}))
    rate = fitted["rate"]
    if np.isnan(rate).any():
        raise InputError(
            f"{config.folder}: some bins are no observations; decoding needs all units in all bins of all trials. Extract anew without units that "
            "were not recorded throughout (--units), and with windows that do not overlap (--time-lims-from-stimulus)."
        )
    width = max(1, config.window // params["bin_size"])
    features, first = decoding.in_windows(rate, width, max(1, config.step // params["bin_size"]))
    origin = params["onset_bin"] if params.get("stimulus", True) else 0
    time = (first + params["window"][0] - origin + width / 2) * params["bin_size"]
    courses = {"identity": decoding.identity(features, label, config.n_folds, config.n_shuffles, config.seed)}
    if value is not None:
        courses["palatability"] = decoding.palatability(features, value[label], config.n_shuffles, config.seed)
    rows = [{"time_ms": float(t), **{f"{name} {key}": float(v[i]) for name, c in courses.items() for key, v in c._asdict().items()}}
            for i, t in enumerate(time)]  # fmt: skip
    config.output.mkdir(parents=True, exist_ok=True)
    table, figure = config.output / "decoding.csv", config.output / f"decoding.{config.figure_format}"
    hdf5io.write_csv(table, rows)
    save_figure(plots.decoding_courses(time, courses, len(tastes), len(label)), figure)
    best = int(courses["identity"].value.argmax())
    found = {name: {"best_ms": float(time[c.value.argmax()]), "best": float(c.value.max()), "p_corrected": float(c.p_largest[c.value.argmax()]),
                    "n_significant": int((c.p_largest < 0.05).sum())} for name, c in courses.items()}  # fmt: skip
    one = courses["identity"]
    line = (f"identity decoded best at {time[best]:.0f} ms: {one.value[best]:.0%} (chance {1 / len(tastes):.0%}, corrected p "
            f"{one.p_largest[best]:.3f}); {config.output}")  # fmt: skip
    return Result({"table": table, "figure": figure}, found, line, record=config.output)


def check(config: DecodeConfig, params: dict, label: np.ndarray) -> None:
    """Stop where there is nothing to decode.

    Raises
    ------
    InputError
        One stimulus, or fewer trials of one than folds.
    """
    if len(params["tastes"]) < 2:
        raise InputError(f"{config.folder}: one stimulus ({params['tastes'][0]}); decoding needs at least two.")
    smallest = int(np.bincount(label).min())
    if smallest < config.n_folds:
        raise InputError(f"{config.folder}: a stimulus has {smallest} trial(s), fewer than --n-folds {config.n_folds}.")


def palatability_of(items: list[str], tastes: list[str]) -> np.ndarray:
    """Palatability of each taste from ``sucrose=4`` and so on.

    Raises
    ------
    InputError
        Not of this form, a stimulus without a value, a name that is no stimulus or is there twice, or one value for all.
    """
    values: dict[str, float] = {}
    for item in items:
        name, number = item.rpartition("=")[0].strip(), item.rpartition("=")[2]
        with contextlib.suppress(ValueError):
            if name in tastes and name not in values and np.isfinite(float(number)):
                values[name] = float(number)
                continue
        reason = "a second value for it" if name in values else "expected NAME=NUMBER, such as sucrose=4"
        raise InputError(f"--palatability {item}: {reason}; the stimuli are {', '.join(tastes)}.")
    missing = [taste for taste in tastes if taste not in values]
    if missing:
        raise InputError(f"--palatability says nothing of {', '.join(missing)}; the stimuli are {', '.join(tastes)}.")
    if len(set(values.values())) == 1:
        raise InputError(
            f"--palatability gives every stimulus the value {next(iter(values.values())):g}: nothing to correlate with."
        )
    return np.array([values[taste] for taste in tastes])
