"""Which files are not read, and which line converts them? Told by their first bytes, or by what their HDF5 says of itself."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import h5py

import hdf5io
from hdf5io.errors import InputError

FOOTER = 1 << 22  #: parquet and feather say at their end what is in them
TABLES = {b"PAR1": "parquet", b"ARROW1": "feather", b"FEA1": "feather"}
FLAT = "d.columns = ['_'.join(map(str, c)) if isinstance(c, tuple) else c for c in d.columns]"  #: of several levels one
LEVELS = "d.index.names = ['trial', 'time']"
#: first bytes of further files -> what they are, and the line that makes of them what is read
LINES = {
    b"\xd0\xcf\x11\xe0": ("a table as xls", "pandas.read_excel('{name}').to_csv('{stem}.csv', index=False)"),
    b"\x1f\x8b": (
        "packed by gzip",
        "gunzip -k '{name}', or of R's saveRDS: write.csv(readRDS('{name}'), '{stem}.csv', row.names = FALSE)",
    ),
    b"\x80": ("a pickle, which may run code when it is loaded", "if it is yours: numpy.save('{stem}.npy', numpy.load('{name}', allow_pickle=True))"),
    b"SQLite format 3": (
        "a database",
        "pandas.read_sql('SELECT * FROM the_table', sqlite3.connect('{name}')).to_csv('{stem}.csv', index=False)",
    ),
    b"CDF\x01": ("netCDF 3", "xarray.load_dataset('{name}').to_netcdf('{stem}.h5', engine='h5netcdf')"),
    b"CDF\x02": ("netCDF 3", "xarray.load_dataset('{name}').to_netcdf('{stem}.h5', engine='h5netcdf')"),
}  # fmt: skip


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raise InputError for a file of a format that is not read, with the line that converts it."""
    table = next((name for start, name in TABLES.items() if head.startswith(start)), None)
    if table is not None:
        raise _not_read(
            path, f"a table as {table}", _frame(path, f"pandas.read_{table}('{path.name}')", *_shape_of(path))
        )
    if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        _refuse_workbook(path)
    for start, (what, line) in LINES.items():
        if head.startswith(start):
            raise _not_read(path, what, line.format(name=path.name, stem=path.stem))
    if head.lstrip(b"\xef\xbb\xbf \n\r\t").startswith((b"{", b"[[", b"[{")):
        graph = (
            f"networkx.write_graphml(networkx.node_link_graph(json.load(open('{path.name}'))), '{path.stem}.graphml')"
        )
        matrix = f"numpy.savetxt('{path.stem}.csv', json.load(open('{path.name}')), delimiter=',')"
        raise InputError(f"{path}: JSON, which is not read. Convert it: {graph} of a graph, or {matrix} of a matrix.")


def refuse_foreign_hdf5(path: Path, file: h5py.File) -> None:
    """Raise InputError for HDF5 whose arrays do not say by themselves what is in them: AnnData, and tables of pandas with several levels."""
    if _text(file.attrs.get("encoding-type")) == "anndata":
        read = f"anndata.read_h5ad('{path.name}')"
        raise InputError(
            f"{path}: AnnData, which is not read. Convert it: {read}.to_df().to_csv('{path.stem}.csv') of activity (.to_df().T where a row is a"
            f" neuron), or pandas.DataFrame(a.obsp['connectivities'].toarray(), a.obs_names, a.obs_names).to_csv('{path.stem}.csv') of a"
            f" connectome, a = {read}."
        )
    for name, item in _groups(file):
        kind = _text(item.attrs.get("pandas_type"))
        several = [axis for axis in ("axis0", "axis1") if _text(item.attrs.get(f"{axis}_variety")) == "multi"]
        if kind == "frame_table":
            several = ["axis0", *(["axis1"] if "multiframe" in _text(item.attrs.get("table_type")) else [])]
        if kind == "frame" and not several and int(item.attrs.get("nblocks", 1)) > 1:
            read = f"pandas.read_hdf('{path.name}', '{name}')"
            raise _not_read(
                path,
                "a table of pandas with columns of several kinds (a trial or a time beside rates?)",
                _frame(path, read, False, 1),
            )
        if kind.startswith("frame") and several:
            read = f"pandas.read_hdf('{path.name}', '{name}')"
            what = "a table of pandas" if kind == "frame_table" else "a table of pandas with names of several levels"
            raise _not_read(path, what, _frame(path, read, "axis0" in several, 2 if "axis1" in several else 1))


def _groups(file: h5py.File) -> Iterator[tuple[str, h5py.Group]]:
    """Yield the groups at the root; links that lead elsewhere or nowhere, and what is damaged, are left to the reader of arrays."""
    for name in file:
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            try:
                item = file[name]
            except (KeyError, OSError, RuntimeError):
                continue
            if isinstance(item, h5py.Group):
                yield name, item


def _refuse_workbook(path: Path) -> None:
    """Raise InputError for a workbook of Excel, naming its sheets; those of WormWiring have names in row and column 3, and sums behind."""
    with hdf5io.parsing(path, "a zip archive"), zipfile.ZipFile(path) as archive:
        if "[Content_Types].xml" not in archive.namelist():
            return
        book = archive.read("xl/workbook.xml") if "xl/workbook.xml" in archive.namelist() else b"<workbook/>"
        sheets = [
            str(e.get("name")) for e in ElementTree.fromstring(book).iter() if e.tag.rpartition("}")[2] == "sheet"
        ]
    worm = [s for s in sheets if "chemical" in s.lower()]
    if worm:
        line = (
            f"d = pandas.read_excel('{path.name}', sheet_name='{worm[0]}', header=2, index_col=2);"
            f" n = [c for c in d.columns if c in d.index]; d.loc[n, n].fillna(0).to_csv('{path.stem}.csv'), then --rows pre"
        )
        raise _not_read(path, f"a workbook of WormWiring (sheets {', '.join(sheets)})", line)
    one = f", sheet_name='{sheets[0]}'" if len(sheets) > 1 else ""
    line = f"pandas.read_excel('{path.name}'{one}).to_csv('{path.stem}.csv', index=False)"
    raise _not_read(path, f"a table as xlsx{f' (sheets {chr(44).join(sheets)})' if one else ''}", line)


def _shape_of(path: Path) -> tuple[bool, int]:
    """Return whether a table that pandas wrote has columns of several levels, and how many levels name its rows."""
    with path.open("rb") as handle:
        handle.seek(-min(path.stat().st_size, FOOTER), os.SEEK_END)
        raw = handle.read()
    start = raw.find(b'{"index_columns"')
    try:
        found = json.JSONDecoder().raw_decode(raw[start:].decode("utf-8", "replace"))[0] if start >= 0 else {}
        named = [c for c in found.get("index_columns", ()) if isinstance(c, str)]
        return len(found.get("column_indexes", ())) > 1, len(named)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False, 0


def _frame(path: Path, read: str, columns: bool, levels: int) -> str:
    """Return the line that writes a table of pandas as text with one line of names: ``read`` makes it."""
    if not columns and levels < 1:
        return f"{read}.to_csv('{path.stem}.csv', index=False)"
    parts = [f"d = {read}", *([FLAT] if columns else [])]
    told = f" (after {LEVELS} where the levels of the rows have no names)" if levels > 1 else ""
    return f"{'; '.join(parts)}; d.reset_index().to_csv('{path.stem}.csv', index=False){told}"


def _not_read(path: Path, what: str, line: str) -> InputError:
    return InputError(f"{path}: {what}, which is not read. Convert it: {line}.")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
