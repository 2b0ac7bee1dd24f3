"""Are text tables, clocks and CaImAn's flags what their programs meant? Each table as the program writes it, or with the trap in it."""

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast.config import PreprocessConfig
from meso_forecast.files.session import MesoscopeSession
from meso_forecast.files.sources import open_source

T, N = 300, 4
X = np.random.default_rng(0).standard_normal((T, N)).cumsum(0).round(4)
CLOCK = np.arange(T) * 0.2
CELLS = [f"C{i}" for i in range(N)]


def table(path, head, rows):
    lines = [",".join(h) for h in head] + [",".join(str(v) for v in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def opened(path, **given):
    return open_source(PreprocessConfig(source=str(path), output="x", **given)).fovs[0]


def activity(fov):
    return fov.fluorescence.read(0, fov.n_time)


@pytest.mark.parametrize("name", ["time_ms", "Time (ms)"])
def test_a_clock_in_milliseconds_is_read_as_such_where_its_name_says_so(tmp_path, name):
    fov = opened(table(tmp_path / "ms.csv", [[name, *CELLS]], np.c_[CLOCK * 1000, X]))
    assert np.allclose(fov.times, CLOCK)
    assert np.allclose(activity(fov), X)


def test_a_clock_in_milliseconds_that_does_not_say_so_is_refused(tmp_path):
    with pytest.raises(InputError, match="200 s between frames: is it in ms"):
        opened(table(tmp_path / "ms.csv", [["time", *CELLS]], np.c_[CLOCK * 1000, X]))
    with h5py.File(tmp_path / "ms.h5", "w") as file:
        file["activity_matrix"], file["timestamps"] = X, CLOCK * 1000
    with pytest.raises(InputError, match="'/timestamps' has 200 s between frames"):
        opened(tmp_path / "ms.h5")


@pytest.mark.parametrize(("name", "first"), [("frame", 0), (" ", 1), ("", 0), ("Slice", 1)])
def test_a_column_that_numbers_the_frames_is_no_neuron(tmp_path, name, first):
    fov = opened(table(tmp_path / "f.csv", [[name, *CELLS]], np.c_[np.arange(T) + first, X]), fs_hz=5)
    assert np.allclose(activity(fov), X)
    assert fov.uuids.tolist() == CELLS


def test_a_clock_without_a_name_is_refused_in_tables_and_arrays(tmp_path):
    with pytest.raises(InputError, match="'column 0' rises in equal steps"):
        opened(table(tmp_path / "h.csv", [], np.c_[CLOCK, X]), fs_hz=5)
    np.save(tmp_path / "h.npy", np.c_[CLOCK, X])
    with pytest.raises(InputError, match="column 0 rises from frame to frame"):
        opened(tmp_path / "h.npy", fs_hz=5)


def test_pandas_names_of_columns_are_no_first_frame(tmp_path):
    for index in (False, True):
        head = [[*([""] if index else []), *map(str, range(N))]]
        rows = np.c_[np.arange(T), X] if index else X
        fov = opened(table(tmp_path / f"p{index}.csv", head, rows), fs_hz=5)
        assert fov.n_time == T
        assert np.allclose(activity(fov), X)


def test_fiji_s_measures_are_not_neurons_but_the_means(tmp_path):
    names = [" ", *(f"{kind}{i}" for i in range(1, N + 1) for kind in ("Area", "Mean", "Min", "Max"))]
    rows = [[k + 1, *(v for x in X[k] for v in (90, x, x - 1, x + 1))] for k in range(T)]
    fov = opened(table(tmp_path / "Results.csv", [names], rows), fs_hz=5)
    assert np.allclose(activity(fov), X)
    assert fov.uuids.tolist() == [f"Mean{i}" for i in range(1, N + 1)]


def test_cells_that_inscopix_calls_accepted_are_cells(tmp_path):
    head = [[" ", *CELLS], ["Time(s)/Cell Status", " accepted", " rejected", " undecided", " accepted"]]
    fov = opened(table(tmp_path / "traces.csv", head, np.c_[CLOCK, X]))
    assert np.allclose(fov.times, CLOCK)
    assert fov.cells().tolist() == [0, 3]
    assert np.allclose(activity(fov), X)


def test_one_row_for_each_cell_and_frame_is_refused(tmp_path):
    rows = [(c, k, X[k, c]) for c in range(N) for k in range(T)]
    with pytest.raises(InputError, match="one row for each cell and frame"):
        opened(table(tmp_path / "long.csv", [["roi", "frame", "dff"]], rows), fs_hz=5)


def test_ids_of_cells_in_a_table_of_rows_are_no_frame(tmp_path):
    fov = opened(table(tmp_path / "rows.csv", [["roi", *map(str, range(T))]], np.c_[np.arange(N), X.T]), fs_hz=5)
    assert fov.n_time == T
    assert np.allclose(activity(fov), X)


def test_flags_of_components_are_cells_and_a_wrong_number_of_flags_is_refused(tmp_path):
    path = tmp_path / "c.hdf5"
    with h5py.File(path, "w") as file:
        file["estimates/C"], file["params/data/fr"] = X.T, 5.0
        file["estimates/idx_components"] = np.array([True, False, True, False])
    assert opened(path).cells().tolist() == [0, 2]
    with h5py.File(path, "a") as file:
        del file["estimates/idx_components"]
        file["estimates/idx_components"] = np.array([True, False])
    with pytest.raises(InputError, match="has 2 flags, there are 4 components"):
        opened(path)


def clocks():
    """Return clocks as they stand among neurons: even, jittered, with a missing value, frame numbers that skip."""
    t, rng = np.arange(400) * 0.2, np.random.default_rng(0)
    lost = t.copy()
    lost[200] = np.nan
    return {
        "even": t,
        "jittered": t + 0.02 * rng.standard_normal(400),
        "lost": lost,
        "skips": np.cumsum(1 + (rng.random(400) < 0.1)),
    }


@pytest.mark.parametrize("kind", ["even", "jittered", "lost", "skips"])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_a_clock_in_any_column_is_no_neuron(tmp_path, kind, place):
    x = np.insert(np.random.default_rng(1).standard_normal((400, 5)), place, clocks()[kind], axis=1)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=f"column {place} rises from frame to frame"):
        MesoscopeSession.from_matrix(tmp_path / "x.npy", fs_hz=5, time_axis="rows")
    np.save(tmp_path / "y.npy", x.T)
    with pytest.raises(InputError, match=f"row {place} rises"):
        MesoscopeSession.from_matrix(tmp_path / "y.npy", fs_hz=5, time_axis="columns")
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header=",".join(f"c{i}" for i in range(6)), comments="")
    with pytest.raises(InputError, match=f"'c{place}' rises"):
        MesoscopeSession.from_matrix(tmp_path / "x.csv", fs_hz=5, time_axis="rows")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["activity_matrix"], file["timestamps"] = x.astype(np.float32), np.arange(400) * 0.2
    with pytest.raises(InputError, match=f"column {place} rises"):
        MesoscopeSession.from_activity_file(tmp_path / "x.h5")


def test_a_clock_with_a_missing_value_is_refused_and_one_that_counts_frames_is_told(tmp_path, caplog):
    x = np.random.default_rng(1).standard_normal((400, 5))
    np.savetxt(tmp_path / "x.csv", np.c_[clocks()["lost"], x], delimiter=",", header="time,a,b,c,d,e", comments="")
    with pytest.raises(InputError, match="not finite and increasing"):
        MesoscopeSession.from_matrix(tmp_path / "x.csv")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["activity_matrix"], file["timestamps"] = x.astype(np.float32), np.arange(400)
    MesoscopeSession.from_activity_file(tmp_path / "x.h5")
    assert "counts frames" in caplog.text


TRACES = np.random.default_rng(3).random((400, 3))


def table_of(path, names, columns, sep=","):
    rows = [sep.join(names), *(sep.join(f"{v:.6f}" for v in row) for row in np.column_stack([*columns, TRACES]))]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "unit_s"),
    [("time [s]", 1), ("Timestamp (s)", 1), ("relative_time", 1), ("t (sec)", 1), ("frame time", 1), ("Time Stamp (ms)", 1e-3),
     ("timestamp_us", 1e-6), ("Time (min)", 60)],
)  # fmt: skip
def test_a_clock_is_read_in_the_unit_that_its_name_says(name, unit_s, tmp_path):
    clock = np.arange(400) / 5 / unit_s
    fov = opened(table_of(tmp_path / "x.csv", [name, "a", "b", "c"], [clock]))
    assert fov.times == pytest.approx(np.arange(400) / 5, abs=1e-4)
    assert fov.n_rois == 3


@pytest.mark.parametrize("name", ["stimulus", "Trial", "x", "running_speed"])
def test_what_is_no_activity_by_its_name_is_no_neuron(name, tmp_path, caplog):
    path = table_of(tmp_path / "x.csv", [name, "a", "b", "c"], [np.arange(400) // 40 % 2])
    fov = opened(path, fs_hz=5.0)
    assert fov.uuids.tolist() == ["a", "b", "c"]
    assert "left out" in caplog.text


def test_positions_before_the_frames_of_each_cell_are_no_frames(tmp_path):
    rows = [",".join(["x", "y", *map(str, range(400))])]
    rows += [",".join(["3", "4", *(f"{v:.6f}" for v in cell)]) for cell in TRACES.T]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    fov = opened(tmp_path / "x.csv", fs_hz=5.0)
    assert fov.fluorescence.read(0, 400) == pytest.approx(TRACES, abs=1e-5)


def test_several_blanks_part_columns_once(tmp_path):
    (tmp_path / "x.txt").write_text("\n".join("   ".join(f"{v:.6f}" for v in row) for row in TRACES))
    fov = opened(tmp_path / "x.txt", fs_hz=5.0)
    assert fov.fluorescence.read(0, 400) == pytest.approx(TRACES, abs=1e-5)


def test_a_clock_in_minutes_is_doubted(tmp_path, caplog):
    opened(table_of(tmp_path / "x.csv", ["time", "a", "b", "c"], [np.arange(400) / 300]))
    assert "Is it in minutes?" in caplog.text


def test_a_matlab_file_of_version_4_is_called_so(tmp_path):
    (tmp_path / "x.mat").write_bytes(bytes(400))
    with pytest.raises(InputError, match="MATLAB file of version 4, or damaged"):
        opened(tmp_path / "x.mat")


def test_a_table_that_a_spreadsheet_marked_with_its_encoding_has_its_first_column(tmp_path):
    path = table(tmp_path / "x.csv", [["time", *CELLS]], np.c_[CLOCK, X])
    path.write_bytes("\ufeff".encode() + path.read_bytes())
    fov = opened(path)
    assert np.allclose(fov.times, CLOCK)
    assert fov.uuids.tolist() == CELLS


@pytest.mark.parametrize("head", [True, False])
def test_a_table_with_decimal_commas_is_read(tmp_path, head):
    rows = [";".join(f"{v:.4f}".replace(".", ",") for v in row) for row in (np.c_[CLOCK, X] if head else X)]
    (tmp_path / "x.csv").write_text("\n".join([";".join(["time", *CELLS])] * head + rows) + "\n")
    fov = opened(tmp_path / "x.csv", fs_hz=5.0)
    assert np.allclose(fov.times, CLOCK)
    assert np.allclose(activity(fov), X)


def test_packed_integers_are_unpacked_and_their_missing_value_is_missing(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = np.round(X / 0.01).astype("i2")
        stored[7, 2] = -32768
        file["activity_matrix"], file["timestamps"] = stored, CLOCK
        file["activity_matrix"].attrs.update(scale_factor=0.01, add_offset=2.0, _FillValue=np.int16(-32768))
    fov = opened(tmp_path / "x.h5")
    expected = np.round(X / 0.01) * 0.01 + 2
    expected[7, 2] = np.nan
    np.testing.assert_allclose(activity(fov), expected, atol=1e-5)
