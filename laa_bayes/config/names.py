"""How must the name of a file that is written end?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator


def _named(*suffixes: str) -> AfterValidator:
    """Return the check that the name of a file to be written ends as its format does."""

    def check(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() not in suffixes:
            raise ValueError(f"expected a name ending in {' or '.join(suffixes)}")
        return path

    return AfterValidator(check)


Hdf5File = Annotated[Path, _named(".h5", ".hdf5")]


TraceFile = Annotated[Path, _named(".h5", ".hdf5", ".csv")]


FigureFile = Annotated[Path, _named(".png", ".svg", ".pdf")]


ExportFile = Annotated[Path, _named(".nc", ".npz", ".nwb")]


FIGURE_FORMAT = Literal["png", "svg", "pdf"]
