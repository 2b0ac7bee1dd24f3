"""How does a figure get into a file? Atomically, at print resolution, the same bytes for the same picture.

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hdf5io.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300
#: what would make two files of one picture differ, by format
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": ""},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG (300 dpi), SVG or PDF, as the suffix says, and return the path.

    Raises
    ------
    InputError : another suffix.
    """
    import matplotlib as mpl

    import hdf5io

    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise InputError(f"{path}: figures are written as {', '.join('.' + name for name in METADATA)}.")
    with hdf5io.atomic(path) as part, mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(part, format=kind, dpi=DPI, bbox_inches="tight", metadata=METADATA[kind])
    return path
