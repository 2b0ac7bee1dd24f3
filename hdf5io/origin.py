"""Who made this, from what, with which versions?"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: modules that compute, by the name of their distribution; those that were used in a run are named in its outputs
COMPUTING = {
    "numpy": "numpy", "scipy": "scipy", "pandas": "pandas", "h5py": "h5py", "tables": "tables", "jax": "jax", "jaxlib": "jaxlib",
    "nemos": "nemos", "torch": "torch", "transformers": "transformers", "pytorch_lightning": "pytorch-lightning",
    "safetensors": "safetensors", "sklearn": "scikit-learn", "skops": "skops", "spikeinterface": "spikeinterface",
    "keras": "keras", "bayesflow": "bayesflow", "numpyro": "numpyro", "neo": "neo", "pynwb": "pynwb", "one": "ONE-api",
    "matplotlib": "matplotlib", "pyarrow": "pyarrow", "dask": "dask",
}  # fmt: skip
NOT_INPUT = {
    "report.html",
    "result.json",
    "unfinished.json",
    "methods.md",
    "references.bib",
}  #: what runs leave in a folder beside what it is


def provenance(
    command: str,
    config: Mapping[str, Any],
    seed: int | None = None,
    inputs: Sequence[str | Path] = (),
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return how an output was made, as text attributes: command, folder (where it was typed), config, seed, versions, commit, inputs, time (UTC).

    ``known`` holds the SHA-256 of inputs from before the work, by path: results may have been written into them since.
    """
    output, known = config.get("output"), known or {}
    found = {
        str(path): known.get(str(path)) or sha256(path, leave_out=output) for path in inputs if Path(path).exists()
    }
    return {
        "command": command,
        "folder": _folder(),
        "config": json.dumps(config, sort_keys=True),
        "seed": "" if seed is None else str(seed),
        "versions": json.dumps(versions()),
        "commit": _commit(),
        "inputs": json.dumps(found),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _folder() -> str:
    """Return the folder that relative paths start from; empty where it was removed."""
    with contextlib.suppress(OSError):
        return os.getcwd()
    return ""


def versions() -> dict[str, str]:
    """Return the versions of Python, of this distribution and of every computing library that this process has loaded."""
    used = {name: distribution for name, distribution in COMPUTING.items() if name in sys.modules}
    return {
        "python": platform.python_version(),
        **{distribution: _version(distribution) for distribution in ("neuropipes", *used.values())},
    }


def sha256(path: str | Path, leave_out: str | Path | None = None) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder: of the names and hashes of its files.

    In a folder, hidden files, reports, folders of other runs (with ``result.json`` in them), raw data (``raw_*``, as IBL's sessions
    hold them by the terabyte) and ``leave_out`` do not count; links to folders are followed, each folder once. A file
    whose size and time of change are known from before is not read again (`_Known`).
    """
    path = Path(path)
    if not path.is_dir():
        return _known().digest(path)
    total, skipped = hashlib.sha256(), None if leave_out is None else Path(leave_out).resolve()
    seen = {path.resolve(), skipped}
    for folder, folders, files in os.walk(path, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders
            if not name.startswith((".", "raw_")) and not (here / name / "result.json").is_file() and (here / name).resolve() not in seen
        )  # fmt: skip
        seen.update((here / name).resolve() for name in folders)
        for name in sorted(files):
            file = here / name
            if name.startswith(".") or name in NOT_INPUT or file.resolve() == skipped or not file.is_file():
                continue
            place = os.fsencode(file.relative_to(path).as_posix())  # names may be of any bytes
            total.update(place + f"\0{_known().digest(file)}\n".encode())
    return total.hexdigest()


class _Known:
    """Digests by path, size and time of change, kept in the user's cache so that large recordings are hashed once."""

    LARGE = 64 << 20  #: bytes from which a digest is worth keeping on disk

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME") and str(Path(os.environ["HOME"]) / ".cache"))
        self.file = Path(base) / "neuropipes" / "sha256.json" if base else None
        if self.file is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self.seen = {str(k): str(v) for k, v in json.loads(self.file.read_text(encoding="utf-8")).items()}

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, read only where its size, time or place is not known already."""
        state = path.stat()
        key = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{state.st_ino}"
        if key not in self.seen:
            with open(path, "rb") as handle:
                self.seen[key] = hashlib.file_digest(handle, "sha256").hexdigest()
            if state.st_size >= self.LARGE:
                self._keep()
        return self.seen[key]

    def _keep(self) -> None:
        """Write the digests of large files; a cache that cannot be written costs time only."""
        if self.file is None:
            return
        large = {k: v for k, v in self.seen.items() if int(k.rsplit("|", 3)[1]) >= self.LARGE}
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.file.parent)
            with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
                json.dump(dict(list(large.items())[-2000:]), handle)
            os.replace(name, self.file)


@functools.cache
def _known() -> _Known:
    return _Known()


@functools.cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


@functools.cache
def _commit() -> str:
    """Return the commit of the checkout this module lies in; empty for an installed wheel."""
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists() or shutil.which("git") is None:
        return ""
    answer = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip()
