"""Which trace of a file is wanted, and which current goes with it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError


class Request(NamedTuple):
    """What a person said about a file that the file may not say itself."""

    sweep: int = 0
    columns: tuple[str, ...] = ()  #: names of the columns of a headerless table
    channel: str | None = None  #: voltage channel, series or electrode, where there are several
    current_from: str | None = None  #: channel, command or stimulus that holds the injected current
    current_file: Path | None = None  #: file that holds the injected current
    current_scale: float | None = None  #: factor of the current, where the file has its unit wrong; 1 confirms its size
    junction_mv: float = 0.0  #: liquid junction potential, subtracted from the recorded voltage


def request_of(config: Any, sweep: int | None = None) -> Request:
    """Return the request that the options of a command make (those that it has); InputError for a current scaled to nothing."""
    given = {name: getattr(config, name) for name in Request._fields if getattr(config, name, None) is not None}
    given["columns"] = tuple(given.get("columns", ()))
    if not np.isfinite(scale := given.get("current_scale", 1.0)) or scale == 0:
        raise InputError(f"--current-scale {scale:g}: a finite factor other than 0 is expected.")
    return Request(**given if sweep is None else given | {"sweep": sweep})


def refuse_request(config: Any, path: Path, what: str) -> None:
    """Refuse options about a recording, of which ``path`` is none.

    Raises
    ------
    InputError
        The first that was given another value than its default.
    """
    fields = type(config).model_fields
    given = [n for n in Request._fields if n in fields and getattr(config, n) != fields[n].default]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')}: {path} is a {what}, no recording. Leave it out.")
