"""Does a refusal of a foreign format hold the line that converts it, and does that line do it?"""

import gzip
import itertools
import pickle
import re
import zipfile

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from neuro_diffusion.files.connectomes import load_connectome
from neuro_diffusion.files.recordings import read_activity

pandas = pytest.importorskip("pandas")
K, T, N = 3, 12, 4


def rates():
    """Return smooth rates (K, T, N)."""
    rng = np.random.default_rng(0)
    return np.tanh(rng.standard_normal((K, T, N)).cumsum(1) / 3)


def frame(columns=False, rows=False):
    """Return the rates of all trials as pandas holds them: names of two levels, rows by trial and time."""
    names = [f"n{i}" for i in range(N)]
    at = pandas.MultiIndex.from_product([range(K), np.arange(T) / 10], names=["trial", "time"]) if rows else None
    of = pandas.MultiIndex.from_tuples([("mouse", n) for n in names]) if columns else names
    return pandas.DataFrame(rates().reshape(-1, N), index=at, columns=of)


def converted(message, folder, monkeypatch):
    """Run the line that a refusal holds."""
    monkeypatch.chdir(folder)
    line = re.search(r"Convert it: (.*?)( \(after .*\))?\.$", message)[1].partition(", then ")[0]
    exec(line, {"pandas": pandas})


#: what pandas writes: no levels of rows in feather, not both in a table of HDF5
WRITTEN = [
    (suffix, rows, columns)
    for suffix, rows, columns in itertools.product(
        ["parquet", "feather", "h5", "table.h5"], [False, True], [False, True]
    )
    if not ((suffix == "feather" and rows) or (suffix == "table.h5" and rows and columns))
]


@pytest.mark.parametrize(("suffix", "rows", "columns"), WRITTEN)
def test_the_line_that_converts_a_table_of_pandas_gives_the_rates(columns, rows, suffix, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    pytest.importorskip("tables")
    table, path = frame(columns, rows), tmp_path / f"a.{suffix}"
    {"parquet": table.to_parquet, "feather": table.to_feather}.get(
        suffix, lambda p: table.to_hdf(p, key="rates", format="table" if suffix == "table.h5" else "fixed")
    )(path)
    if suffix == "h5" and not (columns or rows):
        assert read_activity(path).y.shape == (1, K * T, N)  # a plain one is read
        return
    with pytest.raises(InputError, match=r"Convert it: .*pandas\.read_") as refused:
        read_activity(path)
    converted(str(refused.value), tmp_path, monkeypatch)
    found = read_activity(tmp_path / f"{path.stem}.csv")
    np.testing.assert_allclose(found.y.reshape(-1, N), rates().reshape(-1, N), rtol=1e-5)
    if rows:
        assert found.y.shape == (K, T, N)
    assert found.names == tuple(f"mouse_n{i}" if columns else f"n{i}" for i in range(N))


def test_the_line_that_converts_a_workbook_of_wormwiring_gives_its_synapses(tmp_path, monkeypatch):
    """Names stand in the third row and column; muscles only receive; sums stand behind."""
    with zipfile.ZipFile(tmp_path / "si5.xlsx", "w") as book:
        book.writestr("[Content_Types].xml", "<Types/>")
        book.writestr("xl/workbook.xml", '<workbook><sheets><sheet name="hermaphrodite chemical"/><sheet name="gap"/></sheets></workbook>')  # fmt: skip
    lines = [
        "Cook,,,,,,",
        ",,,NEURONS,,MUSCLES,",
        ",,,AVAL,AVAR,MDL01,",
        "NEURONS,,AVAL,,5,2,7",
        ",,AVAR,3,,,3",
        ",,,3,5,2,",
    ]
    (tmp_path / "sheet.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"WormWiring \(sheets hermaphrodite chemical, gap\)") as refused:
        load_connectome(tmp_path / "si5.xlsx")
    assert "then --rows pre" in str(refused.value)
    monkeypatch.setattr(pandas, "read_excel", lambda _, sheet_name, **k: pandas.read_csv("sheet.csv", **k))
    converted(str(refused.value), tmp_path, monkeypatch)
    found = load_connectome(tmp_path / "si5.csv", rows="pre")
    assert found.names == ("AVAL", "AVAR")
    np.testing.assert_array_equal(found.matrix, [[0, 3], [5, 0]])  # row = target


def test_anndata_is_refused_with_a_line_for_either_use(tmp_path):
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file.attrs["encoding-type"] = "anndata"
        file["X"] = rates()[0]
        file.create_group("obs")
    for read in (read_activity, load_connectome):
        with pytest.raises(InputError, match=r"AnnData, .*to_df\(\)\.to_csv\('a\.csv'\).*obsp\['connectivities'\]"):
            read(tmp_path / "a.h5ad")
    assert read_activity(tmp_path / "a.h5ad", "X", "time").y.shape == (1, T, N)  # who names the array is believed


def test_archives_and_pickles_and_databases_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2\n"))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(rates()))
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    (tmp_path / "a.nc").write_bytes(b"CDF\x01" + bytes(100))
    for name, line in (("a.csv.gz", "gunzip -k"), ("a.pkl", "numpy.save"), ("a.db", "read_sql"), ("a.nc", "h5netcdf")):
        with pytest.raises(InputError, match=f"Convert it: .*{line}"):
            read_activity(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.load("a.pkl", allow_pickle=True))
    np.testing.assert_allclose(read_activity(tmp_path / "a.npy", rows="time").y, rates(), rtol=1e-5)


def test_a_table_with_several_lines_of_names_says_what_to_do(tmp_path):
    frame(columns=True).to_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"2 lines of names .*'_'\.join"):
        read_activity(tmp_path / "a.csv")
