"""Are lines above the numbers of a table, clocks of dates and columns of words read as their programs meant them, or refused by name?"""

import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast.config import PreprocessConfig
from meso_forecast.files.sources import open_source

T, N = 300, 4
X = np.random.default_rng(0).standard_normal((T, N)).cumsum(0).round(4)
CLOCK = (np.arange(T) * 0.2).round(3)
CELLS = [f"C{i}" for i in range(N)]


def opened(path, **given):
    return open_source(PreprocessConfig(source=str(path), output="x", **given)).fovs[0]


def table(path, head, rows, sep=",", encoding="utf-8"):
    lines = [h if isinstance(h, str) else sep.join(h) for h in head] + [sep.join(str(v) for v in row) for row in rows]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def check(fov, clock=CLOCK, x=X):
    assert fov.n_time == len(x)
    assert np.allclose(fov.times - fov.times[0], clock - clock[0], atol=1e-6)
    assert np.allclose(fov.fluorescence.read(0, fov.n_time), x)


@pytest.mark.parametrize(
    ("statuses", "cells", "told"),
    [
        ("accepted rejected undecided accepted", [0, 3], None),
        ("undecided undecided undecided undecided", [0, 1, 2, 3], "accepts none"),
        ("undecided rejected undecided undecided", [0, 2, 3], "accepts none"),
    ],
)
def test_cells_that_inscopix_calls_rejected_are_never_used(tmp_path, statuses, cells, told, caplog):
    head = [" , " + ", ".join(CELLS), "Time(s)/Cell Status, " + ", ".join(statuses.split())]
    path = table(tmp_path / "x.csv", head, np.c_[CLOCK, X], sep=", ")
    fov = opened(path)
    check(fov)
    assert fov.cells().tolist() == cells
    assert (told or "") in caplog.text


def test_all_cells_rejected_is_no_recording(tmp_path):
    head = [[" ", *CELLS], ["Time(s)/Cell Status", *["rejected"] * N]]
    with pytest.raises(InputError, match="no ROI of 4 is a cell"):
        opened(table(tmp_path / "x.csv", head, np.c_[CLOCK, X])).cells()


@pytest.mark.parametrize("unit", ["s", "(s)", "[ms]", "ms"])
def test_a_line_of_units_below_the_names_is_no_frame_and_tells_the_clock_s_unit(tmp_path, unit):
    clock = CLOCK * (1000 if "ms" in unit else 1)
    fov = opened(table(tmp_path / "x.csv", [["Time", *CELLS], [unit, *["dF/F"] * N]], np.c_[clock, X]))
    check(fov)
    assert fov.uuids.tolist() == CELLS


@pytest.mark.parametrize(("name", "unit"), [("time_s", "ms"), ("Time", "frames")])
def test_a_unit_that_contradicts_the_name_or_is_no_time_is_refused(tmp_path, name, unit):
    with pytest.raises(InputError, match=f"the clock '{name}' has the unit '{unit}'"):
        opened(table(tmp_path / "x.csv", [[name, *CELLS], [unit, *["dF/F"] * N]], np.c_[CLOCK, X]))


@pytest.mark.parametrize("index", ["time", None])
@pytest.mark.parametrize("levels", [("plane", "cell"), (None, None)])
def test_pandas_levels_of_names_are_no_frames(tmp_path, index, levels):
    import pandas as pd

    columns = pd.MultiIndex.from_tuples([(0, 0), (0, 1), (1, 0), (1, 1)], names=levels)
    frame = pd.DataFrame(X, columns=columns, index=pd.Index(CLOCK if index else range(T), name=index))
    frame.to_csv(tmp_path / "x.csv")
    fov = opened(tmp_path / "x.csv", fs_hz=5.0)
    check(fov)
    assert len(set(fov.uuids)) == N
    frame.to_csv(tmp_path / "y.csv", index=False)
    check(opened(tmp_path / "y.csv", fs_hz=5.0))


def test_several_measures_of_a_cell_are_refused_by_name(tmp_path):
    names = [f"roi{i}_{kind}" for i in range(2) for kind in ("F", "Fneu")]
    with pytest.raises(InputError, match=r"several measures of each cell \(f, fneu\)"):
        opened(table(tmp_path / "x.csv", [names], X), fs_hz=5.0)
    levels = [["measure", "F", "F", "Fneu", "Fneu"], ["roi", "0", "1", "0", "1"]]
    with pytest.raises(InputError, match=r"several measures of each cell \(f, fneu\)"):
        opened(table(tmp_path / "y.csv", levels, np.c_[np.arange(T), X]), fs_hz=5.0)


def test_poses_of_deeplabcut_are_no_activity(tmp_path):
    head = [["scorer", *["net"] * 3], ["bodyparts", *["nose"] * 3], ["coords", "x", "y", "likelihood"]]
    with pytest.raises(InputError, match="a table of poses"):
        opened(table(tmp_path / "x.csv", head, np.c_[np.arange(T), X[:, :3]]), fs_hz=5.0)


def test_the_names_that_numpy_writes_as_a_comment_are_names(tmp_path):
    np.savetxt(tmp_path / "x.csv", np.c_[CLOCK, X], delimiter=",", header="time," + ",".join(CELLS))
    fov = opened(tmp_path / "x.csv")
    check(fov)
    assert fov.uuids.tolist() == CELLS


@pytest.mark.parametrize(
    "head", [["# made by a program", "# frame rate, 5"], ["% two, commas", ""], ["sep=,"], ["#a", "", "#b"]]
)
def test_comments_above_and_below_the_numbers_are_no_frames(tmp_path, head):
    path = table(tmp_path / "x.csv", [*head, ["time", *CELLS]], np.c_[CLOCK, X])
    with path.open("a") as handle:
        handle.write("# the end\n")
    check(opened(path))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("sep", ["\t", ";", ","])
def test_tables_of_spreadsheets_are_read_in_their_encoding(tmp_path, encoding, sep):
    path = table(tmp_path / "x.txt", [["Time (µs)", *CELLS]], np.c_[(CLOCK * 1e6), X], sep, encoding)
    check(opened(path))


@pytest.mark.parametrize("sep", ["\t", ";", "  "])
def test_decimal_commas_are_read_with_any_separator_but_the_comma(tmp_path, sep):
    rows = [[f"{v:.4f}".replace(".", ",") for v in row] for row in np.c_[CLOCK, X]]
    check(opened(table(tmp_path / "x.csv", [["time", *CELLS]], rows, sep)))


@pytest.mark.parametrize("form", ["iso", "blank", "zone", "day", "midnight"])
@pytest.mark.parametrize("name", ["time", "date", "DateTime", "when"])
def test_dates_and_times_of_day_are_a_clock(tmp_path, form, name):
    import pandas as pd

    start = "2024-05-17 23:59:50" if form in ("midnight", "iso") else "2024-05-17 09:00:00"
    stamps = pd.Timestamp(start) + pd.to_timedelta(CLOCK, "s")
    texts = {
        "iso": [s.isoformat() for s in stamps], "blank": [str(s) for s in stamps], "zone": [s.isoformat() + "+01:00" for s in stamps],
        "day": [s.strftime("%H:%M:%S.%f") for s in stamps], "midnight": [s.strftime("%H:%M:%S.%f") for s in stamps],
    }[form]  # fmt: skip
    check(opened(table(tmp_path / "x.csv", [[name, *CELLS]], [[t, *row] for t, row in zip(texts, X)])))


def test_another_form_of_a_date_is_refused_by_name(tmp_path):
    rows = [[f"05/17/2024 09:{k // 300:02d}:{k / 5 % 60:04.1f}", *row] for k, row in enumerate(X)]
    with pytest.raises(InputError, match=r"'time' holds '05/17/2024 09:00:00\.0'; expected seconds"):
        opened(table(tmp_path / "x.csv", [["time", *CELLS]], rows))


def test_truth_values_and_words_beside_activity_are_left_out_and_said(tmp_path, caplog):
    rows = [[t, *x, k % 7 < 3, "grating" if k % 9 < 4 else "grey"] for k, (t, x) in enumerate(zip(CLOCK, X))]
    fov = opened(table(tmp_path / "x.csv", [["time", *CELLS, "is_running", "stimulus"]], rows))
    check(fov)
    assert fov.uuids.tolist() == CELLS
    assert "'is_running'" in caplog.text
    assert "'stimulus'" in caplog.text


def test_a_word_that_nothing_explains_is_refused_by_column(tmp_path):
    rows = [[*x, "a" if k % 9 < 4 else "b"] for k, x in enumerate(X)]
    with pytest.raises(InputError, match=r"column 'kind' holds text \('a'\)"):
        opened(table(tmp_path / "x.csv", [[*CELLS, "kind"]], rows), fs_hz=5.0)


@pytest.mark.parametrize(
    ("column", "said"),
    [("iscell", "1 0 0 1"), ("is_cell", "True False False True"), ("accepted", "yes no no yes"), ("exclude", "0 1 1 0"),
     ("exclude", "False True True False"), ("mask_type", "soma axon artifact soma"), ("status", "accepted rejected undecided accepted"),
     ("excluded", "no yes yes no"), ("is_rejected", "0 1 1 0")],
)  # fmt: skip
@pytest.mark.parametrize("named", [True, False])
def test_rows_of_cells_say_which_they_are(tmp_path, column, said, named):
    head = [["roi", column, *map(str, range(T))]]
    rows = [[f"neuron {i}" if named else i, word, *x] for i, (word, x) in enumerate(zip(said.split(), X.T))]
    fov = opened(table(tmp_path / "x.csv", head, rows), fs_hz=5.0)
    check(fov)
    assert fov.cells().tolist() == [0, 3]
    if named:
        assert fov.uuids.tolist() == [f"neuron {i}" for i in range(N)]


def test_a_word_that_says_neither_cell_nor_no_cell_is_refused(tmp_path):
    rows = [[i, word, *x] for i, (word, x) in enumerate(zip(["yes", "no", "perhaps", "yes"], X.T))]
    with pytest.raises(InputError, match="'is_cell' holds 'perhaps'"):
        opened(table(tmp_path / "x.csv", [["roi", "is_cell", *map(str, range(T))]], rows), fs_hz=5.0)


def test_a_line_that_says_which_columns_are_cells_is_no_frame(tmp_path):
    path = table(tmp_path / "x.csv", [["time", *CELLS], ["iscell", "1", "0", "0", "1"]], np.c_[CLOCK, X])
    fov = opened(path)
    check(fov)
    assert fov.cells().tolist() == [0, 3]


def test_r_writes_no_name_for_its_column_of_names(tmp_path):
    rows = [[f'"{k + 1}"', *x] for k, x in enumerate(X)]
    check(opened(table(tmp_path / "x.csv", [[f'"{c}"' for c in CELLS]], rows), fs_hz=5.0))


def test_a_separator_at_the_end_of_each_line_makes_no_cell(tmp_path):
    rows = [[*x, ""] for x in X]
    check(opened(table(tmp_path / "x.csv", [[*CELLS, ""]], rows), fs_hz=5.0))
    check(opened(table(tmp_path / "y.csv", [], rows), fs_hz=5.0))


@pytest.mark.parametrize("whole", [True, False])
def test_tables_without_names_keep_their_first_frame(tmp_path, whole):
    x = (X * 100).round() if whole else X
    rows = x.astype(int) if whole else x
    check(opened(table(tmp_path / "x.csv", [], rows), fs_hz=5.0), x=x)


@pytest.mark.parametrize("index", ["clock", "numbers", "dates", "durations"])
def test_parquet_tables_are_read_as_text_tables_are(tmp_path, index):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=CELLS).assign(running=CLOCK > 3, stimulus="grey")
    if index == "clock":
        frame.insert(0, "time", CLOCK)
    elif index != "numbers":
        length = pd.to_timedelta(CLOCK, "s")
        frame.index = pd.Index(pd.Timestamp("2024-05-17") + length if index == "dates" else length, name="time")
    frame.to_parquet(tmp_path / "x.parquet")
    fov = opened(tmp_path / "x.parquet", fs_hz=5.0 if index == "numbers" else None)
    check(fov)
    assert fov.uuids.tolist() == CELLS
    (tmp_path / "y.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:900])
    with pytest.raises(InputError, match="not readable as a parquet table"):
        opened(tmp_path / "y.parquet")


def test_levels_of_names_in_parquet_are_names(tmp_path):
    pd = pytest.importorskip("pandas")
    columns = pd.MultiIndex.from_product([["p0", "p1"], ["a", "b"]])
    pd.DataFrame(X, columns=columns).to_parquet(tmp_path / "x.parquet")
    fov = opened(tmp_path / "x.parquet", fs_hz=5.0)
    check(fov)
    assert fov.uuids.tolist() == ["p0/a", "p0/b", "p1/a", "p1/b"]


def test_a_first_frame_of_zeros_is_a_frame(tmp_path):
    x = X - X[0]
    rows = [["0" if v == 0 else v for v in row] for row in x]
    check(opened(table(tmp_path / "x.csv", [], rows), fs_hz=5.0), x=x)
    check(opened(table(tmp_path / "y.csv", [CELLS], rows), fs_hz=5.0), x=x)
