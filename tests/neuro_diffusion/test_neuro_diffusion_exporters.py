"""Do files of further programs keep their orientation, scale and count of neurons: R, Julia, xarray, NWB, Gephi, pandas, Excel, MATLAB?"""

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from hdf5io.errors import InputError
from neuro_diffusion.files.beside import load_stimulus, load_truth
from neuro_diffusion.files.connectomes import load_connectome
from neuro_diffusion.files.recordings import load_activity
from neuro_diffusion.rate_network.activity import generate_activity_trials
from neuro_diffusion.rate_network.weights import sample_weight_matrix

NAMES = list("ABCDE")
M = np.array(
    [[0, 2, 0, 0, 1], [1, 0, 3, 0, 0], [0, 0, 0, 4, 0], [5, 0, 0, 0, 0], [0, 6, 0, 7, 0]], float
)  # row = postsynaptic
EDGES = pd.DataFrame(
    [(NAMES[j], NAMES[i], M[i, j]) for i in range(5) for j in range(5) if M[i, j]],
    columns=["Source", "Target", "Weight"],
)
K, T, N = 3, 40, 7
RATES = generate_activity_trials(
    sample_weight_matrix(N, 1.2, seed=1), K, T, 0.1, 1.0, seed=2, observation_noise=0.02
).x.numpy()
COLUMNS = [f"n{i}" for i in range(N)]


def matlab73(path, write):
    """Write a MATLAB 7.3 file: a user block that names the program, then what ``write(file)`` puts in."""
    with h5py.File(path, "w", userblock_size=512) as file:
        write(file)
    with open(path, "r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))


def corner(path, name, turn):
    pd.DataFrame(M.T if turn else M, index=pd.Index(NAMES, name=name), columns=NAMES).to_csv(path)


def sparse73(path):
    def write(file):
        columns, group = scipy.sparse.csc_matrix(M), file.create_group("W")
        group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(5)
        group["data"], group["ir"], group["jc"] = (
            columns.data,
            columns.indices.astype("u8"),
            columns.indptr.astype("u8"),
        )

    matlab73(path, write)


def of_r(path, values):
    """Write what rhdf5 of R does: the first axis fastest, with its own attribute."""
    with h5py.File(path, "w") as file:
        file["W"] = values.T
        file["W"].attrs["rhdf5-NA.OK"] = np.int32(1)


def undirected(path):
    both = pd.DataFrame(
        {"Source": ["A", "B"], "Target": ["B", "C"], "Type": "Undirected", "Id": [0, 1], "Weight": [2, 3]}
    )
    both.to_csv(path, index=False)


def labelled(path, attribute):
    """Write GraphML as igraph (ids n0, n1, a key ``name``) and Gephi (a key ``label``) do."""
    keys = f'<key id="v" for="node" attr.name="{attribute}" attr.type="string"/><key id="w" for="edge" attr.name="weight"/>'
    nodes = "".join(f'<node id="n{i}"><data key="v">{name}</data></node>' for i, name in enumerate(NAMES))
    edges = "".join(
        f'<edge source="n{j}" target="n{i}"><data key="w">{M[i, j]}</data></edge>'
        for i in range(5)
        for j in range(5)
        if M[i, j]
    )
    path.write_text(
        f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{keys}<graph edgedefault="directed">{nodes}{edges}</graph></graphml>'
    )


def named_axes(path, pre_first):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("w", data=M.T if pre_first[0] else M)
        data.dims[0].label, data.dims[1].label = pre_first[1:]


def renamed(pre, post, weight, **how):
    """Return a writer of edges, the target first, under a tool's names."""
    there = EDGES.rename(columns={"Source": pre, "Target": post, "Weight": weight})[[post, pre, weight]]
    return lambda p: there.to_csv(p, index=False, **how)


CONNECTOMES = {
    "GraphML of igraph": (lambda p: labelled(p, "name"), M),
    "GraphML of Gephi": (lambda p: labelled(p, "label"), M),
    "scipy's coordinates": (lambda p: scipy.sparse.save_npz(p.open("wb"), scipy.sparse.coo_matrix(M)), M),
    "scipy's diagonals": (lambda p: scipy.sparse.save_npz(p.open("wb"), scipy.sparse.dia_matrix(M)), M),
    "axes neuron_pre, neuron_post": (lambda p: named_axes(p, (True, "neuron_pre", "neuron_post")), M),
    "axes from, to": (lambda p: named_axes(p, (True, "from", "to")), M),
    "axes receiver, sender": (lambda p: named_axes(p, (False, "receiver", "sender")), M),
    "presynaptic neuron in words": (renamed("Presynaptic neuron", "Postsynaptic neuron", "Synapses"), M),
    "from_node beside bars": (renamed("from_node", "to_node", "weight", sep="|"), M),
    "WormAtlas": (renamed("Origin", "Target", "Number of Connections", sep="\t"), M),
    "a corner that says pre": (lambda p: corner(p, "pre", True), M),
    "a corner that says post": (lambda p: corner(p, "post", False), M),
    "a corner that says from/to": (lambda p: corner(p, "from/to", True), M),
    "Gephi, directed": (lambda p: EDGES.assign(Type="Directed", Id=range(len(EDGES)), Label="").to_csv(p, index=False), M),
    "Gephi, undirected": (undirected, np.array([[0, 2, 0], [2, 0, 3], [0, 3, 0]])),
    "lines that end with a comma": (lambda p: p.write_text("\n".join(",".join(map(str, r)) + "," for r in M)), M),
    "decimal commas": (
        lambda p: p.write_text("\n".join(";".join(f"{v / 4:.2f}".replace(".", ",") for v in r) for r in M)), M / 4,
    ),
    "Excel's Unicode text": (
        lambda p: p.write_bytes(pd.DataFrame(M, NAMES, NAMES).to_csv(sep="\t").encode("utf-16")), M,
    ),
    "percent signs before comments": (lambda p: p.write_text("% made by hand\n" + pd.DataFrame(M, NAMES, NAMES).to_csv()), M),
    "a struct of MATLAB 5": (lambda p: scipy.io.savemat(p, {"net": {"W": M, "labels": NAMES}}), M),
    "a sparse matrix of MATLAB 7.3": (sparse73, M),
    "R": (lambda p: of_r(p, M), M),
    "numbers that are true or false": (lambda p: np.save(p.open("wb"), M > 0), M > 0),
    "Matrix Market": (lambda p: scipy.io.mmwrite(p.open("wb"), scipy.sparse.coo_matrix(M)), M),
    "Matrix Market, symmetric": (
        lambda p: scipy.io.mmwrite(p.open("wb"), scipy.sparse.coo_matrix(M + M.T), symmetry="symmetric"), M + M.T,
    ),
    "signs in a column of their own": (
        lambda p: EDGES.assign(sign=["exc" if s in "AC" else "inh" for s in EDGES.Source]).to_csv(p, index=False),
        M * [1, -1, 1, -1, -1],
    ),
    "a diagonal of NaN": (lambda p: np.save(p.open("wb"), M + np.diag([np.nan] * 5)), M),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONNECTOMES)
def test_a_connectome_keeps_its_direction_and_scale(tmp_path, kind):
    path = tmp_path / "c.dat"
    write, expected = CONNECTOMES[kind]
    write(path)
    found = load_connectome(path)
    order = np.argsort(found.names)
    np.testing.assert_allclose(found.matrix[np.ix_(order, order)], expected)


def test_as_many_edges_as_columns_are_asked_about(tmp_path):
    path = tmp_path / "three.txt"
    path.write_text("0 1 5\n1 2 3\n2 0 4\n")
    with pytest.raises(InputError, match="can be a matrix or edges"):
        load_connectome(path)
    path.write_text("0 1 5\n1 0 3\n2 4 0\n")  # nobody connects to itself: a matrix
    assert load_connectome(path).matrix.tolist() == [[0, 1, 5], [1, 0, 3], [2, 4, 0]]


def cells73(path):
    def write(file):
        kept, cells = file.create_group("#refs#"), file.create_dataset("activity", (K, 1), h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for k, trial in enumerate(RATES):
            kept[f"t{k}"] = trial.T
            cells[k, 0] = kept[f"t{k}"].ref

    matlab73(path, write)


def cells5(path):
    cells = np.empty((1, K), object)
    for k, trial in enumerate(RATES):
        cells[0, k] = trial
    scipy.io.savemat(path, {"activity": cells})


def xarrays(path):
    """Write what xarray does of packed rates (trial, neuron, time): scales that name the axes, a factor beside whole numbers."""
    with h5py.File(path, "w") as file:
        file["rates"] = np.round(RATES.transpose(0, 2, 1) / 1e-4).astype("i2")
        file["rates"].attrs["scale_factor"], file["rates"].attrs["add_offset"] = 1e-4, 0.0
        for axis, (name, size) in enumerate((("trial", K), ("neuron", N), ("time", T))):
            file[name] = np.arange(size, dtype=float)
            file[name].make_scale(name)
            file["rates"].dims[axis].attach_scale(file[name])


def nwb(path, data, conversion):
    """Write the part of an NWB file that holds a series: numbers beside the factor that makes rates of them."""
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["acquisition/rates/data"] = data
        file["acquisition/rates/data"].attrs["conversion"] = np.float32(conversion)


def numbered(path, name):
    whole = np.c_[np.repeat(np.arange(2), T), RATES[:2].reshape(-1, N)]
    pd.DataFrame(whole, columns=[name, *COLUMNS]).to_csv(path, index=False)


def lines(values, end="", separator=",", point="."):
    return "\n".join(separator.join(f"{v:.5f}".replace(".", point) for v in row) + end for row in values)


CLOCK = np.round(0.0217 * np.arange(T) + 0.05, 2)
LONG = RATES.reshape(-1, N)


def clocked(path, clock, name=None, last=None, header=True):
    """Write all trials one below the other beside a clock and no column of trials."""
    whole = pd.DataFrame(np.c_[clock, LONG], columns=[name, *COLUMNS])
    (whole if last is None else whole.assign(last=last)).to_csv(path, index=False, header=header)


def axes_of(path, *names):
    """Write (neuron, time, trial) with names of the axes."""
    with h5py.File(path, "w") as file:
        file["rates"] = RATES.transpose(2, 1, 0)
        for dim, name in zip(file["rates"].dims, names, strict=True):
            dim.label = name


TICKS = np.arange(T)
RECORDINGS = {
    "a clock that begins anew": (lambda p: clocked(p, np.tile(TICKS * 0.1, K), "time"), RATES),
    "a clock that jumps, in ms": (lambda p: clocked(p, (TICKS + 1000 * np.arange(K)[:, None]).ravel(), "Time [ms]"), RATES),
    "a clock without a name that begins anew": (lambda p: clocked(p, np.tile(TICKS * 0.01, K), header=False), RATES),
    "an index and a clock without names": (lambda p: np.savetxt(p, np.c_[TICKS, TICKS * 0.01, RATES[0]]), RATES[:1]),
    "a clock first and a count last": (lambda p: np.savetxt(p, np.c_[TICKS * 0.01, RATES[0], TICKS], delimiter=","), RATES[:1]),
    "axes unit_id, time_bin, trial": (lambda p: axes_of(p, "unit_id", "time_bin", "trial"), RATES),
    "axes neurons, timepoints, stimulus": (lambda p: axes_of(p, "neurons", "timepoints", "stimulus"), RATES),
    "bars": (lambda p: pd.DataFrame(RATES[0], columns=COLUMNS).to_csv(p, sep="|", index=False), RATES[:1]),
    "neurons in rows, times above": (
        lambda p: pd.DataFrame(RATES[0].T, pd.Index(COLUMNS, name="neuron"), [f"{t / 10:.1f}" for t in range(T)]).to_csv(p),
        RATES[:1],
    ),
    "Time (s)": (lambda p: pd.DataFrame(np.c_[CLOCK, RATES[0]], columns=["Time (s)", *COLUMNS]).to_csv(p, index=False), RATES[:1]),
    "a rounded clock without a name": (lambda p: p.write_text(lines(np.c_[CLOCK, RATES[0]])), RATES[:1]),
    "Trial #": (lambda p: numbered(p, "Trial #"), RATES[:2]),
    "rep": (lambda p: numbered(p, "rep"), RATES[:2]),
    "lines that end with a comma": (lambda p: p.write_text(lines(RATES[0], ",")), RATES[:1]),
    "decimal commas": (lambda p: p.write_text(lines(RATES[0], "", ";", ",")), RATES[:1]),
    "cells of MATLAB 5": (cells5, RATES),
    "cells of MATLAB 7.3": (cells73, RATES),
    "a struct of MATLAB 5": (lambda p: scipy.io.savemat(p, {"s": {"rates": RATES, "fs": 10.0}}), RATES),
    "R": (lambda p: of_r(p, RATES), RATES),
    "xarray": (xarrays, RATES),
    "NWB with a factor": (lambda p: nwb(p, RATES[0] / 2, 2.0), RATES[:1]),
    "NWB of whole numbers": (lambda p: nwb(p, np.round(RATES[0] * 1e4).astype("i2"), 1e-4), RATES[:1]),
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDINGS)
def test_a_recording_keeps_its_axes_scale_and_neurons(tmp_path, kind):
    path = tmp_path / "a.dat"
    write, expected = RECORDINGS[kind]
    write(path)
    found = load_activity(path)
    assert found.y.shape == expected.shape
    assert bool(found.observed.all())
    np.testing.assert_allclose(found.y.numpy(), expected, atol=2e-4)


def test_nwb_written_the_other_way_round_is_asked_about(tmp_path):
    nwb(tmp_path / "t.nwb", RATES[0].T, 1.0)
    with pytest.raises(InputError, match="--rows neurons"):
        load_activity(tmp_path / "t.nwb")
    assert load_activity(tmp_path / "t.nwb", rows="neurons").y.shape == (1, T, N)


def test_a_nameless_column_that_counts_trials_is_no_neuron(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(lines(np.c_[np.repeat([0, 1], T), RATES[:2].reshape(-1, N)]))
    with pytest.raises(InputError, match="column 1 counts 0 to 1"):
        load_activity(path)


def test_a_neuron_that_rises_to_a_fixed_point_is_a_neuron(tmp_path):
    rising = np.tanh(1 - np.exp(-np.arange(T) / 10))
    path = tmp_path / "a.csv"
    path.write_text(lines(np.c_[rising, RATES[0]]))
    assert load_activity(path).y.shape == (1, T, N + 1)


def test_an_archive_of_torch_is_one_line(tmp_path):
    import torch

    torch.save(torch.from_numpy(RATES), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"numpy\.save"):
        load_activity(tmp_path / "a.pt")


def test_a_number_beside_an_edge_that_is_not_named_weight_is_asked_about(tmp_path):
    EDGES.rename(columns={"Weight": "delay"}).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(InputError, match="which of delay is the weight"):
        load_connectome(tmp_path / "e.csv")


@pytest.mark.parametrize("between", ["\n", "# New slice\n"])
def test_blank_lines_and_slices_part_trials(tmp_path, between):
    blocks = ["".join(",".join(f"{v:.5f}" for v in row) + "\n" for row in trial) for trial in RATES]
    (tmp_path / "y.csv").write_text(between.join(blocks))
    np.testing.assert_allclose(load_activity(tmp_path / "y.csv").y.numpy(), RATES, atol=1e-5)
    (tmp_path / "z.csv").write_text(
        between.join([blocks[0], blocks[1][: len(blocks[1]) // 2].rsplit("\n", 1)[0] + "\n"])
    )
    with pytest.raises(InputError, match="all must be as long"):
        load_activity(tmp_path / "z.csv")


def test_a_column_of_events_is_no_neuron(tmp_path):
    table = pd.DataFrame(RATES[0], columns=COLUMNS)
    table.insert(3, "lick", (np.arange(T) % 7 == 3).astype(int))
    table.to_csv(tmp_path / "y.csv", index=False)
    with pytest.raises(InputError, match=r"column .lick. is named for no neuron"):
        load_activity(tmp_path / "y.csv")


def test_of_suite2p_only_cells_are_neurons(tmp_path):
    kept = np.array([1, 1, 0, 1, 0, 1, 1])
    np.save(tmp_path / "iscell.npy", np.stack([kept, np.full(N, 0.7)], 1))
    np.save(tmp_path / "spks.npy", RATES[0].T)
    np.testing.assert_array_equal(load_activity(tmp_path / "spks.npy").y[0].numpy(), RATES[0][:, kept > 0])
    np.save(tmp_path / "iscell.npy", np.ones((N + 1, 2)))
    with pytest.raises(InputError, match="knows 8"):
        load_activity(tmp_path / "spks.npy")


def test_the_stimuli_of_an_nwb_file_are_told_to_be_unused(tmp_path, caplog):
    with h5py.File(tmp_path / "y.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file["processing/ophys/DfOverF/RoiResponseSeries/data"] = RATES[0]
        file.create_group("stimulus/templates")
        file["stimulus/presentation/gratings/data"] = np.zeros(T)
    assert load_stimulus(None, tmp_path / "y.nwb", (1, T, N)) is None
    assert "'/stimulus' is not used" in caplog.text


def test_a_dropped_frame_parts_and_irregular_clocks_do_not(tmp_path, caplog):
    clock = np.delete(np.arange(2 * T + 1) * 0.1, T)
    table = pd.DataFrame(np.c_[clock, LONG[: 2 * T]], columns=["time", *COLUMNS])
    table.to_csv(tmp_path / "a.csv", index=False)
    assert load_activity(tmp_path / "a.csv").y.shape == (2, T, N)
    assert "jumps at row 41" in caplog.text
    jitter = table.assign(time=np.arange(2 * T) * 0.1 + np.random.default_rng(0).uniform(0, 0.04, 2 * T))
    jitter.to_csv(tmp_path / "b.csv", index=False)
    assert load_activity(tmp_path / "b.csv").y.shape == (1, 2 * T, N)
    table.assign(time=np.arange(2 * T) // 5).to_csv(
        tmp_path / "c.csv", index=False
    )  # whole seconds of a faster recording
    assert load_activity(tmp_path / "c.csv").y.shape == (1, 2 * T, N)


def test_rows_out_of_order_within_a_trial_and_spikes_are_refused(tmp_path):
    table = pd.DataFrame(np.c_[np.tile(TICKS, K), LONG], columns=["time", *COLUMNS]).assign(
        trial=np.repeat(np.arange(K), T)
    )
    table.iloc[::-1].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match="'time' goes back within a trial"):
        load_activity(tmp_path / "a.csv")
    np.save(tmp_path / "s.npy", LONG > 0.3)
    with pytest.raises(InputError, match="only the values 0, 1: spikes or events"):
        load_activity(tmp_path / "s.npy")


def test_true_weights_are_turned_where_their_axes_say_so(tmp_path):
    named_axes(tmp_path / "w.h5", (True, "pre", "post"))
    np.testing.assert_allclose(load_truth(tmp_path / "w.h5", 5).numpy(), M)
    named_axes(tmp_path / "v.h5", (False, "post", "pre"))
    np.testing.assert_allclose(load_truth(tmp_path / "v.h5", 5).numpy(), M)
    (tmp_path / "w.csv").write_text("1,2\n3,4\n")
    with pytest.raises(InputError, match="a text file; true weights"):
        load_truth(tmp_path / "w.csv", 2)
