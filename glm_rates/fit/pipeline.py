"""From a recording to fits: which stage runs where, on which options, in which folder?"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hdf5io.errors import InputError

from .. import config as options
from ..files import exchange
from ..files.results import recording_file
from . import environments

log = logging.getLogger(__name__)
SAME = {"jobs", "nemos_env", "create_nemos_env", "blech_clust_env"}  # options that change no number


@contextlib.contextmanager
def exchange_folder(keep: bool = False, like: Path | None = None) -> Iterator[Path]:
    """A private temporary folder for the two stages (a copy of ``like``), removed at the end unless it is to be kept."""
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="glm_rates_kept_" if keep else f"glm_rates_{os.getpid()}_"))
    try:
        if like is not None:
            exchange.load(like, "extract")
            shutil.copytree(like, folder, dirs_exist_ok=True)
        yield folder
    finally:
        if keep:
            log.info("exchange folder kept: %s", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path) -> None:
    """Remove the exchange folders that killed runs of this user left behind."""
    for left in place.glob("glm_rates_*_*"):
        number = left.name.split("_")[2]
        with contextlib.suppress(OSError):
            if (
                number.isdigit()
                and hasattr(os, "getuid")
                and left.stat().st_uid == os.getuid()
                and not alive(int(number))
            ):
                shutil.rmtree(left, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def extract(source: Path, config: options.ExtractOptions, folder: Path) -> tuple[dict, dict]:
    """Run stage 1 into ``folder`` and read what it wrote: (params, arrays).

    A blech_clust directory is read in the blech_clust environment, other inputs in this one.
    """
    must_apply(source, config)
    recording_file(source, config.h5)
    chosen = config.model_dump(mode="json", include=set(options.ExtractOptions.model_fields))
    for name in ("events", "observed"):
        if getattr(config, name) is not None:
            chosen[name] = str(getattr(config, name).resolve())
    chosen["covariates"] = [str(path.resolve()) for path in config.covariates]
    document = {"source": str(source.resolve()), "options": chosen}
    (folder / "request.json").write_text(json.dumps(document), encoding="utf-8")
    python = environments.extraction_python(config.blech_clust_env if source.is_dir() else "none")
    environments.run_stage(python, "extract", folder)
    return exchange.load(folder, "extract")


APPLIES = {  # options that only some inputs have a place for
    "h5": ("a blech_clust directory",), "events": ("a spike table",), "intervals": ("an NWB file",),
    "label_column": ("an NWB file", "a spike table with --events"),
    "align_column": ("an NWB file", "a spike table with --events"), "region_column": ("an NWB file", "a spike table"),
    "to_trial_end": ("an NWB file", "a spike table with --events"), "trial_window": ("an NWB file", "a spike table with --events"),
    "segment_s": ("an NWB file", "a spike table"),
}  # fmt: skip


def must_apply(source: Path, config: options.ExtractOptions) -> None:
    """Refuse an option that says nothing of this input, rather than leave it unused.

    Raises
    ------
    InputError
        It names the option and what it is for.
    """
    kind = (
        "a blech_clust directory"
        if source.is_dir()
        else "an NWB file"
        if source.suffix.lower() == ".nwb"
        else "a spike table"
    )
    have = {kind} | ({kind + " with --events"} if config.events is not None else set())
    for name, kinds in APPLIES.items():
        field = options.ExtractOptions.model_fields[name]
        if getattr(config, name) != field.default and not have & set(kinds):
            flag = {"label_column": "--label", "align_column": "--align"}.get(name, "--" + name.replace("_", "-"))
            raise InputError(f"{source} is {kind}; {flag} is for {' or '.join(kinds)}.")


def settings(config: options.FitOptions, **more: bool) -> dict[str, Any]:
    """Options of stage 2 that change a number, as plain JSON values."""
    return {**config.model_dump(mode="json", include=set(options.FitOptions.model_fields) - SAME), **more}


def fit(folder: Path, config: options.FitOptions, *, full_fit: bool = True) -> tuple[dict, dict]:
    """Run stage 2 on ``folder`` in an interpreter that has nemos and read what it wrote: (meta, arrays)."""
    wanted = settings(config, full_fit=full_fit) | {"jobs": config.jobs}
    (folder / "settings.json").write_text(json.dumps(wanted), encoding="utf-8")
    environments.run_stage(environments.nemos_python(config.nemos_env, config.create_nemos_env), "fit", folder)
    return exchange.load(folder, "fit")


def digest(params: dict, arrays: dict, config: options.FitOptions) -> str:
    """Digest of the extracted data and of every option that changes a number; jobs and environments do not."""
    data = {k: v for k, v in params.items() if k not in ("source", "h5", "label_problems", "kind")}
    return exchange.digest(arrays, {"data": data, "model": settings(config), "contract": exchange.CONTRACT})
