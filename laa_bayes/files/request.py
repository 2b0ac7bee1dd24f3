"""Which trace of a file is wanted, and which current goes with it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What a person said about a file that the file may not say itself."""

    sweep: int = 0
    columns: tuple[str, ...] = ()  #: names of the columns of a headerless table
    channel: str | None = None  #: voltage channel, series or electrode, where there are several
    current_from: str | None = None  #: channel, command or stimulus that holds the injected current
    current_file: Path | None = None  #: file that holds the injected current
    junction_mv: float = 0.0  #: liquid junction potential, subtracted from the recorded voltage


def request_of(config: Any, sweep: int | None = None) -> Request:
    """Return the request that the options of a command make (those that it has)."""
    given = {name: getattr(config, name) for name in Request._fields if getattr(config, name, None) is not None}
    given["columns"] = tuple(given.get("columns", ()))
    return Request(**given if sweep is None else given | {"sweep": sweep})
