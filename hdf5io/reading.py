"""How is a file read so that a missing, damaged or foreign part gives one helpful line?"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5t

from .errors import InputError, LockedError


@contextlib.contextmanager
def read(path: str | Path, schema: str | None = None, required: Sequence[str] = ()) -> Iterator[h5py.File]:
    """Open an HDF5 file read-only, after finishing an interrupted `update`.

    What the HDF5 library says of a damaged file, of a link that leads nowhere or of a type that numpy has not, becomes one line.

    Parameters
    ----------
    path : the file.
    schema : expected root attribute ``schema``, for instance ``glm_rates/fit/1``; None accepts any file.
    required : names of groups or datasets that must be there.

    Raises
    ------
    InputError : no such file, no HDF5, damaged, another schema, or a required name is missing (the message lists what is there).
    LockedError : another process is writing.
    """
    from .journal import recover

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, a file is expected' if path.is_dir() else 'no such file'}.")
    recover(path)
    try:
        file = h5py.File(path, "r")
    except BlockingIOError:
        raise LockedError(f"{path} is opened for writing by another process. Close it and run again.") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it.") from None
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: not a readable HDF5 file ({_first_line(error)}). Is it complete?") from None
    with file:
        try:
            refuse_broken_types(file)
            found = file.attrs.get("schema")
            if schema is not None and found != schema:
                has = f"schema '{found}'" if found is not None else f"no schema; it has {_names(file)}"
                raise InputError(f"{path}: expected schema '{schema}', the file has {has}.")
            for name in required:
                require(file, name)
            yield file
        except (OSError, KeyError, RuntimeError, TypeError, ValueError, UnicodeError) as error:
            if isinstance(error, InputError) or not _raised_in(error, "h5py"):
                raise
            raise InputError(f"{path}: damaged, or not as expected inside ({_first_line(error)}).") from None


def refuse_broken_types(file: h5py.File, most: int = 1000) -> None:
    """Refuse text or rows of varying length whose type is damaged: the library (2.0.0) reads them through a null pointer.

    Looked at are the first ``most`` objects, each some .08 ms, and their attributes.

    Raises
    ------
    InputError : names the object, and behind @ its attribute.
    """
    broken: list[bytes] = []
    seen = 0

    def look(name: bytes) -> bool | None:
        nonlocal seen
        seen += 1
        with contextlib.suppress(KeyError, RuntimeError, OSError, ValueError, TypeError):
            item = h5o.open(file.id, name)
            if isinstance(item, h5d.DatasetID) and not _is_sound(item.get_type()):
                broken.append(name)
            attributes = (h5a.open(item, index=index) for index in range(h5a.get_num_attrs(item)))
            broken.extend(name + b"@" + one.name for one in attributes if not _is_sound(one.get_type()))
        return True if broken or seen >= most else None

    look(b".")
    with contextlib.suppress(
        KeyError, RuntimeError, OSError, ValueError, TypeError
    ):  # told when what is damaged is asked for
        h5o.visit(file.id, look)
    if broken:
        where = f"{file.filename}: '{broken[0].decode(errors='replace')}'"
        raise InputError(f"{where} has a type that HDF5 has not. The file is damaged: use a copy of it.")


def _is_sound(kind: h5t.TypeID) -> bool:
    """Return whether every varying length within a type is a sequence (0) or text (1), by HDF5's file format, IV.A.2.d."""
    if isinstance(kind, h5t.TypeCompoundID):
        return all(_is_sound(kind.get_member_type(index)) for index in range(kind.get_nmembers()))
    if isinstance(kind, h5t.TypeArrayID):
        return _is_sound(kind.get_super())
    return not isinstance(kind, h5t.TypeVlenID) or (kind.encode()[3] & 0x0F in (0, 1) and _is_sound(kind.get_super()))


def _raised_in(error: BaseException, package: str) -> bool:
    """Return whether an exception comes from a library's own code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename if trace else ""
    return package in Path(file).parts


@contextlib.contextmanager
def parsing(path: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a library says of a broken file into one line; to be held around the library's call alone.

    Parameters
    ----------
    path : the file. what : what it should be, with its article, such as "a parquet table".
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: says that it holds more than this machine's memory. Is it {what}?") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be opened'}.") from None
    except Exception as error:  # a parser of foreign bytes may raise anything
        raise InputError(f"{path}: not readable as {what} ({_first_line(error)}). Is it complete?") from None


def require(group: h5py.Group, name: str) -> Any:
    """Return ``group[name]``, or raise an InputError that lists what the group has instead."""
    try:
        return group[name]
    except (KeyError, RuntimeError, OSError, ValueError) as error:
        here = "" if group.name == "/" else f" in '{group.name}'"
        where = f"{group.file.filename}: '{name}'{here}"
        if group.get(name, getlink=True) if _has_link(group, name) else False:
            raise InputError(f"{where} leads nowhere or is damaged ({_first_line(error)}).") from None
        raise InputError(f"{group.file.filename}: no '{name}'{here}; there are {_names(group)}.") from None


def _has_link(group: h5py.Group, name: str) -> bool:
    with contextlib.suppress(KeyError, RuntimeError, OSError, ValueError):
        return group.get(name, getlink=True) is not None
    return False


def array(group: h5py.Group, name: str, ndim: int | Sequence[int] | None = None, kinds: str = "iuf") -> h5py.Dataset:
    """Return the dataset ``group[name]`` after a look at what it is; nothing of it is read.

    Parameters
    ----------
    ndim : number of axes, or several that are allowed; None allows any except a scalar.
    kinds : numpy kinds of its elements: i, u integers, f real, c complex, b Boolean, S, U, O text.

    Raises
    ------
    InputError : a group, an empty or scalar dataspace, other axes, other elements, or far more values than the file can hold.
    """
    found = require(group, name)
    where = f"{group.file.filename}: '{found.name if hasattr(found, 'name') else name}'"
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{where} is a group, an array is expected.")
    if found.shape is None:
        raise InputError(f"{where} is empty (no dataspace), an array is expected.")
    wanted = () if ndim is None else (ndim,) if isinstance(ndim, int) else tuple(ndim)
    if (wanted and found.ndim not in wanted) or (not wanted and found.ndim == 0):
        axes = " or ".join(map(str, wanted)) or "at least 1"
        raise InputError(f"{where} has shape {found.shape}, {axes} axes are expected.")
    with parsing(group.file.filename, "an HDF5 array of known type"):
        kind = found.dtype.kind
    if kind not in kinds:
        raise InputError(f"{where} holds {found.dtype}, {'numbers' if 'f' in kinds else 'text'} are expected.")
    refuse_never_written(found, where)
    return found


class Packing(NamedTuple):
    """How stored numbers stand for values: stored * scale + offset, NaN where a number means that there is none."""

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()

    def unpack(self, stored: np.ndarray) -> np.ndarray:
        """Return the values of stored numbers; they themselves where nothing is packed."""
        absent = np.isin(stored, self.missing) if self.missing else np.zeros(1, bool)
        if (self.scale, self.offset) == (1.0, 0.0) and not absent.any():
            return stored
        return np.where(absent, np.nan, np.asarray(stored, float) * self.scale + self.offset)


def packing(dataset: h5py.Dataset) -> Packing:
    """Return how a dataset is packed, by netCDF's attributes (``scale_factor``, ``add_offset``, ``_FillValue``, ``missing_value``).

    Raises
    ------
    InputError : an attribute that is no single number.
    """

    def number(name: str) -> float | None:
        value = np.ravel(dataset.attrs[name]) if name in dataset.attrs else np.empty(0)
        if name in dataset.attrs and (len(value) != 1 or value.dtype.kind not in "iuf"):
            where = f"{dataset.file.filename}: '{dataset.name}'"
            raise InputError(f"{where} has {name} = {dataset.attrs[name]!r}, one number is expected.")
        return float(value[0]) if len(value) else None

    scale, offset, *missing = map(number, ("scale_factor", "add_offset", "_FillValue", "missing_value"))
    known = dict.fromkeys(m for m in missing if m is not None and np.isfinite(m))
    return Packing(1.0 if scale is None else scale, offset or 0.0, tuple(known))


def refuse_never_written(dataset: h5py.Dataset, where: str) -> None:
    """Refuse an array that claims far more than its file holds, or of which nothing was ever written: reading it would make it up.

    Raises
    ------
    InputError : more than 64 MB, and a thousand times the file or no byte of it stored here, in another file or as views of others.
    """
    size = os.path.getsize(dataset.file.filename)
    stored = dataset.is_virtual or dataset.external or dataset.id.get_storage_size()
    if dataset.nbytes > (64 << 20) and (dataset.nbytes > 1000 * size or not stored):
        raise InputError(
            f"{where} claims {dataset.nbytes / 1e9:.1f} GB of which a file of {size / 1e6:.1f} MB holds little or nothing."
        )


def read_json(path: str | Path, kind: type = dict) -> Any:
    """Return the content of a JSON file whose outermost value is a ``kind``.

    Raises
    ------
    InputError : not there, not JSON, nested too deeply, or of another type.
    """
    with parsing(path, "JSON"):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, kind):
        raise InputError(
            f"{path}: {'an object' if kind is dict else 'a list'} is expected, it holds {type(content).__name__}."
        )
    return content


def _names(group: h5py.Group) -> str:
    names = [f"'{name}'" for name in list(group)[:12]]
    return ", ".join(names) + (", ..." if len(group) > 12 else "") if names else "no datasets"


def _first_line(error: BaseException) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
