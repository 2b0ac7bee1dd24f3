"""Spike tables as they are exported: separators, decimal commas, parquet, npz, and each broken kind in one line."""

import csv
import json
import zipfile

import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files.spike_table import read_spike_table
from glm_rates.files.tables import read_table
from hdf5io.errors import InputError

ROWS = [("a", 0.5, "gc"), ("b", 1.25, "bla"), ("a", 2.75, "gc"), ("10", 3.0, "x"), ("9", 3.5, "x")]


def request(**changes):
    return {**options.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


def text(mark, decimal="."):
    lines = [mark.join(("unit_id", "time_s", "region"))]
    return "\n".join(lines + [mark.join((u, str(t).replace(".", decimal), r)) for u, t, r in ROWS]) + "\n"


@pytest.mark.parametrize(
    ("mark", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", ".")]
)
def test_every_dialect_holds_the_same_spikes(tmp_path, mark, decimal):
    (tmp_path / "s.csv").write_text("\ufeff" + text(mark, decimal), encoding="utf-8")
    data = read_spike_table(tmp_path / "s.csv", request())
    assert data.unit_id == ["9", "10", "a", "b"]
    assert [t.tolist() for t in data.times_s] == [[3.5], [3.0], [0.5, 2.75], [1.25]]
    assert data.region == ["x", "x", "gc", "bla"]


def test_a_comma_inside_text_is_no_decimal_mark(tmp_path):
    (tmp_path / "e.csv").write_text("time_s;odor\n1,5;a,b\n2,5;c\n")
    table = read_table(tmp_path / "e.csv")
    assert table == {"time_s": ["1.5", "2.5"], "odor": ["a,b", "c"]}


def test_parquet_and_npz_hold_the_same_spikes(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    columns = {"unit_id": [r[0] for r in ROWS], "time_s": [r[1] for r in ROWS], "region": [r[2] for r in ROWS]}
    pandas.DataFrame(columns).to_parquet(tmp_path / "s.parquet")
    np.savez(tmp_path / "s.npz", **{name: np.array(column) for name, column in columns.items()})
    (tmp_path / "s.csv").write_text(text(","))
    first = read_spike_table(tmp_path / "s.csv", request())
    for name in ("s.parquet", "s.npz"):
        other = read_spike_table(tmp_path / name, request())
        assert other.unit_id == first.unit_id
        assert other.region == first.region
        for a, b in zip(first.times_s, other.times_s):
            np.testing.assert_array_equal(a, b)


def test_events_keep_the_ids_that_the_table_gives_them(tmp_path):
    (tmp_path / "s.csv").write_text(text(","))
    (tmp_path / "e.csv").write_text("trial,time_s,stimulus\n7,1.0,a\n8,nan,a\n12,2.0,b\n")
    data = read_spike_table(tmp_path / "s.csv", request(events=str(tmp_path / "e.csv")))
    assert data.trial_id == [7, 12]
    (tmp_path / "e.csv").write_text("time_s,stimulus\n1.0,a\nnan,a\n2.0,b\n")
    assert read_spike_table(tmp_path / "s.csv", request(events=str(tmp_path / "e.csv"))).trial_id == [0, 2]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "unit_id,time_s\n1,\n2,1.0\n", "1 time\\(s\\) are empty"),
        ("b.csv", "unit_id,time_s\n1,2.0,3\n", "line 2 has 3 cells, the first line has 2"),
        ("c.csv", "unit_id,time_s,time_s\n1,2.0,3\n", "'time_s' stands there twice"),
        ("d.csv", "unit_id,time_s,time_ms\n1,2.0,3\n", "times stand in time_s and time_ms"),
        ("e.csv", "unit_id,time_s\n,2.0\n", "1 spike\\(s\\) without a unit_id"),
        ("f.csv", "unit_id,time_s\n1,inf\n", "no finite number"),
        ("g.csv", b"\xff\xfe\x00", "not readable as a table of text"),
        ("h.parquet", b"PAR1 cut", "not readable as a parquet table"),
        ("i.npz", b"PK\x03\x04 cut", "not readable as an .npz without pickles"),
        ("j.npz", b"", "not readable as an .npz without pickles"),
        ("k.csv", "unit_id,time_s\n1," + "9" * 600_000 + "\n", "finite number|these are no seconds|not readable"),
        ("l.csv", "cluster,t\n1,2\n", "no column 'unit_id'; it has cluster, t"),
        ("m.csv", "unit_id,time\n1,2\n", "no column 'time_s'; it has unit_id, time; expected time_s"),
    ],
)
def test_a_broken_table_is_one_line(tmp_path, name, content, said):
    with pytest.raises(InputError, match=said) as caught:
        read_spike_table(write(tmp_path / name, content), request())
    assert "\n" not in str(caught.value)


def test_npz_of_other_kinds_is_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", unit_id=np.arange(4), time_s=np.ones((2, 2)))
    np.savez(tmp_path / "b.npz", unit_id=np.arange(4), time_s=np.array([1, "x", None, {}], object))
    np.savez(tmp_path / "c.npz", unit_id=np.arange(4), time_s=np.ones(3))
    np.savez(tmp_path / "d.npz", unit_id=np.arange(4), time_s=np.array(["1", "x", "3", "4"]))
    for name, said in (
        ("a", "has shape .2, 2., expected one axis"),
        ("b", "not readable as an .npz without pickles"),
        ("c", "columns of different lengths"),
        ("d", "time_s holds something that is no number"),
    ):
        with pytest.raises(InputError, match=said):
            read_spike_table(tmp_path / f"{name}.npz", request())


def test_a_header_that_claims_more_than_the_file_holds_asks_for_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }"
        header += b" " * (118 - len(header) - 1) + b"\n"
        archive.writestr("time_s.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64)
    with pytest.raises(InputError, match=r"'time_s.npy' claims 8e\+11 bytes"):
        read_spike_table(tmp_path / "a.npz", request())


def test_infer_says_so_when_no_unit_has_spikes_in_the_windows(tmp_path, run_command):
    with open(tmp_path / "s.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("unit_id", "time_s"), *[(1, 100 + 10 * i) for i in range(60)]])
    with open(tmp_path / "e.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("time_s", "odor"), *[(104 + 10 * i, "ab"[i % 2]) for i in range(50)]])
    chosen = ["--events", tmp_path / "e.csv", "--output", tmp_path / "r.h5", "--cv-folds", 2]
    done = run_command("glm_rates", "infer", tmp_path / "s.csv", *chosen)
    assert done.returncode == 2
    assert "no unit has 2 spikes in the windows of 50 trials; nothing can be fitted" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "r.h5").exists()


def test_info_takes_what_the_kind_needs_and_nothing_else(run_command, tmp_path):
    table = tmp_path / "spikes.csv"
    table.write_text("unit_id,time_samples\n1,30000\n1,60000\n2,45000\n")
    assert run_command("glm_rates", "info", table).returncode == 2
    done = run_command("glm_rates", "info", table, "--sampling-rate", 30000, "--json")
    assert json.loads(done.stdout)["results"]["last_s"] == 2.0
    done = run_command("glm_rates", "info", table, "--intervals", "trials")
    assert done.returncode == 2
    assert "--intervals says nothing of a spike table" in done.stderr
