"""Are files of other writers read as they meant them, and refused by one line where they do not say what they mean?"""

import io
import itertools
import re
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import hdf5io
from neuro_diffusion.files.connectomes import load_connectome, read_connectome
from neuro_diffusion.files.identify import describe
from neuro_diffusion.files.recordings import load_activity
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.rate_network.weights import sample_weight_matrix

M = np.array([[0, 2.0, 0, 0], [1, 0, 3, 0], [0, 0, 0, 4], [5, 0, 0, 0]])  # row = postsynaptic
NAMES = ["AVA", "PVC", "RIM", "AIB"]
EDGES = [(j, i, M[i, j]) for i in range(4) for j in range(4) if M[i, j]]


def matlab73(path, **arrays):
    """Write arrays as MATLAB 7.3 does: last axis first, a class attribute, a user block that names the program."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    return path


# --- connectomes -------------------------------------------------------------------------------------------------------------


def text_of(kind):
    """Return the text that a common program writes of the matrix."""
    frame = io.StringIO()
    if kind == "pandas square":
        print("", *NAMES, sep=",", file=frame)
        for name, row in zip(NAMES, M):
            print(name, *row, sep=",", file=frame)
    elif kind == "pandas numbered square":
        print("", *range(4), sep=",", file=frame)
        for i, row in enumerate(M):
            print(i, *row, sep=",", file=frame)
    elif kind == "numbered header":
        print(*range(4), sep=",", file=frame)
        for row in M:
            print(*row, sep=",", file=frame)
    elif kind == "swapped columns of a square":
        order = [2, 0, 3, 1]
        print("", *[NAMES[i] for i in order], sep=",", file=frame)
        for name, row in zip(NAMES, M):
            print(name, *row[order], sep=",", file=frame)
    elif kind == "post first":
        print("post,pre,weight", *[f"{i},{j},{w}" for j, i, w in EDGES], sep="\n", file=frame)
    elif kind == "weight first":
        print("n_synapses,target,source", *[f"{w},{i},{j}" for j, i, w in EDGES], sep="\n", file=frame)
    elif kind == "pandas index":
        print(",pre,post,weight", *[f"{n},{j},{i},{w}" for n, (j, i, w) in enumerate(EDGES)], sep="\n", file=frame)
    elif kind == "index without header":
        print(*[f"{n},{j},{i},{w}" for n, (j, i, w) in enumerate(EDGES)], sep="\n", file=frame)
    elif kind == "other columns":
        print("pre_id,post_id,neuropil,syn_count", *[f"{j},{i},MB,{w}" for j, i, w in EDGES], sep="\n", file=frame)
    elif kind == "networkx weighted":
        print("# written by networkx", *[f"{j} {i} {w}" for j, i, w in EDGES], sep="\n", file=frame)
    elif kind == "networkx data":
        print(*[f"{j} {i} {{'weight': {w}}}" for j, i, w in EDGES], sep="\n", file=frame)
    elif kind == "tabs":
        print("source\ttarget\tweight", *[f"{j}\t{i}\t{w}" for j, i, w in EDGES], sep="\n", file=frame)
    elif kind == "graphml":
        print(
            '<?xml version="1.0"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
            '<key id="d0" for="edge" attr.name="weight" attr.type="double"/><graph edgedefault="directed">',
            *[f'<node id="{i}"/>' for i in range(4)],
            *[f'<edge source="{j}" target="{i}"><data key="d0">{w}</data></edge>' for j, i, w in EDGES],
            "</graph></graphml>", sep="\n", file=frame,
        )  # fmt: skip
    return frame.getvalue()


@pytest.mark.parametrize("kind", [
    "pandas square", "pandas numbered square", "numbered header", "swapped columns of a square", "post first", "weight first",
    "pandas index", "index without header", "other columns", "networkx weighted", "networkx data", "tabs", "graphml",
])  # fmt: skip
def test_what_other_programs_write_of_a_connectome_is_read_in_its_own_orientation(tmp_path, kind):
    (tmp_path / "c.txt").write_text(text_of(kind))
    found = load_connectome(tmp_path / "c.txt")
    np.testing.assert_array_equal(found.matrix, M)
    assert list(found.names) == (NAMES if "square" in kind and "numbered" not in kind else list("0123"))


def test_the_orientation_of_a_matrix_is_told_by_its_writer_not_by_the_suffix(tmp_path):
    with h5py.File(tmp_path / "python.mat", "w") as file:
        file["W"] = M
    with h5py.File(tmp_path / "labelled.h5", "w") as file:
        file["W"] = M.T
        for axis, name in enumerate(("pre", "post")):
            file["W"].dims[axis].label = name
    from scipy.io import savemat
    from scipy.sparse import csr_matrix, save_npz

    savemat(tmp_path / "five.mat", {"W": M})
    savemat(tmp_path / "sparse.mat", {"W": csr_matrix(M)})
    save_npz(tmp_path / "sparse.npz", csr_matrix(M))
    np.save(tmp_path / "m.npy", M.astype(np.int16))
    np.savez(tmp_path / "m.npz", W=M, names=np.array(NAMES))
    matlab73(tmp_path / "matlab.h5", W=M)
    for name in ("python.mat", "labelled.h5", "five.mat", "sparse.mat", "sparse.npz", "m.npy", "m.npz", "matlab.h5"):
        np.testing.assert_array_equal(read_connectome(tmp_path / name), M, err_msg=name)
    np.testing.assert_array_equal(read_connectome(tmp_path / "m.npy", rows="pre"), M.T)


def test_an_edge_list_without_weights_counts_its_lines(tmp_path):
    (tmp_path / "c.csv").write_text("a,b\nb,c\na,b\nc,a\nb,a\n")
    found = load_connectome(tmp_path / "c.csv")
    assert found.names == ("a", "b", "c")
    assert found.matrix.tolist() == [[0, 1, 1], [2, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pre,partner,weight\n1,2,3\n2,1,4\n", "an edge list needs 'pre' and 'post'"),
        ("pre,post,left,right\n1,2,3,4\n2,1,4,4\n", "which of left, right is the weight"),
        ("source,pre,target\n1,2,3\n2,1,4\n", "could all be 'pre'"),
        (",a,b\na,0,1\nc,2,0\n", "expected the same neurons"),
        ("<html></html>", "no GraphML"),
        ("<!DOCTYPE x><graphml/>", "document type definition"),
        ("<graphml><graph>", "not readable as GraphML"),
    ],
)
def test_connectomes_that_leave_a_doubt_are_refused(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(hdf5io.InputError, match=message):
        read_connectome(tmp_path / "c.csv")


# --- activity ----------------------------------------------------------------------------------------------------------------

K, T, N = 4, 60, 8


@pytest.fixture(scope="module")
def rates():
    """Return (K, T, N) noisy rates of a network."""
    g = torch.Generator().manual_seed(0)
    x = simulate_rate_network(sample_weight_matrix(N, 1.3, seed=0), torch.randn(K, N, generator=g), T, 0.1, 1.0)
    return (x + 0.02 * torch.randn(x.shape, generator=g)).numpy().astype(np.float64)


def table(rows, header=None, separator=","):
    lines = [separator.join(map(str, header))] if header else []
    return "\n".join([*lines, *(separator.join(map(repr, map(float, row))) for row in rows)]) + "\n"


def same(path, expected, **options):
    found = load_activity(path, **options)
    np.testing.assert_allclose(
        found.y.numpy(), np.atleast_3d(expected) if expected.ndim == 3 else expected[None], atol=1e-6
    )
    return found


def test_matlab_arrays_are_turned_back(tmp_path, rates):
    from scipy.io import savemat

    same(matlab73(tmp_path / "a.mat", activity=rates), rates)
    same(matlab73(tmp_path / "b.mat", activity=rates[0]), rates[0])
    savemat(tmp_path / "c.mat", {"activity": rates})
    same(tmp_path / "c.mat", rates)


@pytest.mark.parametrize("step", [1.0, 0.02, 1 / 30])
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("named", [True, False])
def test_a_column_of_times_is_no_neuron(tmp_path, rates, step, place, named):
    time = step * np.arange(T)[:, None]
    columns = [time, rates[0]] if place == "first" else [rates[0], time]
    names = [f"n{i}" for i in range(N)]
    header = (["time_s", *names] if place == "first" else [*names, "time_s"]) if named else None
    (tmp_path / "x.csv").write_text(table(np.hstack(columns), header))
    found = same(tmp_path / "x.csv", rates[0])
    assert found.names == (tuple(names) if named else ())
    np.savez(tmp_path / "x.npz", x=np.hstack(columns))
    same(tmp_path / "x.npz", rates[0])


def test_a_column_of_trials_parts_the_table(tmp_path, rates):
    rows = [[k, t, *rates[k, t]] for k in range(K) for t in range(T)]
    (tmp_path / "x.csv").write_text(table(rows, ["trial", "time", *[f"c{i}" for i in range(N)]]))
    same(tmp_path / "x.csv", rates)


def test_neurons_in_rows_are_asked_for_and_read_when_told(tmp_path, rates):
    np.save(tmp_path / "x.npy", rates[0].T)
    np.savez(tmp_path / "x.npz", x=rates.swapaxes(1, 2))
    (tmp_path / "x.csv").write_text(table(rates[0].T))
    for name, expected, asked in (
        ("x.npy", rates[0], "Give --rows neurons if so"),
        ("x.npz", rates, "--axes trial,neuron,time"),
        ("x.csv", rates[0], "Give --rows neurons if so"),
    ):
        with pytest.raises(hdf5io.InputError, match=asked):
            load_activity(tmp_path / name)
        same(tmp_path / name, expected, rows="neurons")
    np.save(tmp_path / "y.npy", rates[0])
    same(tmp_path / "y.npy", rates[0])


@pytest.mark.parametrize("axes", list(itertools.permutations(("trial", "time", "neuron"))))
def test_axes_that_the_user_names_are_put_in_order(tmp_path, rates, axes):
    order = [("trial", "time", "neuron").index(name) for name in axes]
    np.save(tmp_path / "x.npy", rates.transpose(order))
    same(tmp_path / "x.npy", rates, axes=axes)
    if axes[1] != "time":  # time is told by the values: they change least along it
        with pytest.raises(hdf5io.InputError, match="--axes"):
            load_activity(tmp_path / "x.npy")
    with pytest.raises(hdf5io.InputError, match="name each axis once"):
        load_activity(tmp_path / "x.npy", axes=("time", "neuron"))


def test_two_axes_that_the_user_names(tmp_path, rates):
    np.save(tmp_path / "x.npy", rates[0].T)
    (tmp_path / "x.csv").write_text(table(rates[0].T))
    np.save(tmp_path / "spks.npy", rates[0])  # not as suite2p writes it
    np.save(tmp_path / "iscell.npy", np.ones((N, 2)))
    for name, axes in (("x.npy", ("neuron", "time")), ("x.csv", ("neuron", "time")), ("spks.npy", ("time", "neuron"))):
        same(tmp_path / name, rates[0], axes=axes)


def test_white_noise_of_more_neurons_than_steps_is_asked_about(tmp_path):
    x = 0.3 * np.random.default_rng(0).standard_normal((30, 50))
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(hdf5io.InputError, match="--rows time or --rows neurons"):
        load_activity(tmp_path / "x.npy")
    same(tmp_path / "x.npy", x, rows="time")


def test_suite2p_writes_a_row_a_roi(tmp_path, rates):
    np.save(tmp_path / "spks.npy", rates[0].T)
    np.save(tmp_path / "iscell.npy", np.ones((N, 2)))
    same(tmp_path / "spks.npy", rates[0])


def test_axes_that_are_named_are_put_in_order(tmp_path, rates):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rates"] = rates.transpose(2, 0, 1)
        for axis, name in enumerate(("neuron", "trial", "time")):
            file["rates"].dims[axis].label = name
    same(tmp_path / "x.h5", rates)


def test_whole_numbers_are_numbers(tmp_path):
    x = (
        np.digitize(np.random.default_rng(0).random((T, N)) + np.linspace(0, 1, T)[:, None], [0.7, 1.3]).astype(
            np.int16
        )
        - 1
    )
    np.savez(tmp_path / "x.npz", signs=x)
    same(tmp_path / "x.npz", x.astype(float), rows="time")


def test_a_trial_with_gaps_is_left_out_and_frames_without_data_part_a_trial(tmp_path, rates, caplog):
    gappy = rates.copy()
    gappy[1, 7, 2] = np.nan
    np.save(tmp_path / "gap.npy", gappy)
    same(tmp_path / "gap.npy", rates[[0, 2, 3]])
    frames = rates[0].copy()
    frames[30] = np.nan
    np.save(tmp_path / "frames.npy", frames)
    found = load_activity(tmp_path / "frames.npy")
    np.testing.assert_allclose(found.y.numpy(), np.stack([rates[0, :29], rates[0, 31:60]]), atol=1e-6)
    gone = rates.copy()
    gone[2] = np.nan
    np.save(tmp_path / "gone.npy", gone)
    same(tmp_path / "gone.npy", rates[[0, 1, 3]])


def test_one_line_a_value_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text(table([[i % 3, i // 3, 0.1] for i in range(60)], ["neuron", "time", "rate"]))
    with pytest.raises(hdf5io.InputError, match="one line a value"):
        load_activity(tmp_path / "x.csv")


def damaged(kind, folder, rates):
    """Return the path of one kind of damaged file."""
    path = folder / "x.h5"
    if kind == "empty":
        (folder / "x.npz").write_bytes(b"")
        return folder / "x.npz"
    if kind == "cut npz":
        np.savez(folder / "x.npz", activity=rates)
        (folder / "x.npz").write_bytes((folder / "x.npz").read_bytes()[:-300])
        return folder / "x.npz"
    if kind == "claims":
        np.save(folder / "x.npy", rates)
        text = (folder / "x.npy").read_bytes()
        (folder / "x.npy").write_bytes(re.sub(rb"\(4, 60, 8\), }   ", b"(4000000, 60000, 8), }", text, count=1))
        return folder / "x.npy"
    if kind == "objects":
        np.save(folder / "x.npy", np.array([{}, 1], object), allow_pickle=True)
        return folder / "x.npy"
    with h5py.File(path, "w") as file:
        if kind == "no dataspace":
            file["activity"] = h5py.Empty("f")
        elif kind == "group":
            file.create_group("activity")
        elif kind == "compound":
            file["activity"] = np.zeros((T, N), [("a", float), ("b", float)])
        elif kind == "scalar":
            file["activity"] = 1.0
        elif kind == "nowhere":
            file["activity"] = h5py.SoftLink("/no/such/array")
        elif kind == "itself":
            file["activity"] = h5py.SoftLink("/activity")
        elif kind == "elsewhere":
            file["activity"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "four axes":
            file["activity"] = np.zeros((2, 3, T, N))
        elif kind == "sparse claim":
            file.create_dataset("activity", (10**9, 10), "f4", chunks=(1000, 10))
    return path


@pytest.mark.parametrize("kind", [
    "empty", "cut npz", "claims", "objects", "no dataspace", "group", "compound", "scalar", "nowhere", "itself", "elsewhere", "four axes",
    "sparse claim",
])  # fmt: skip
def test_a_damaged_recording_is_one_line(tmp_path, rates, kind):
    path = damaged(kind, tmp_path, rates)
    for array in (None, "activity") if path.suffix == ".h5" else (None,):
        for read in (lambda a=array: load_activity(path, a), lambda a=array: describe(path, a)):
            with pytest.raises(hdf5io.InputError) as error:
                read()
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("gexf", "<?xml version='1.0'?><gexf version='1.2'><graph><nodes/></graph></gexf>"),
        ("gml", "graph [\n  directed 1\n  node [\n    id 0\n  ]\n]\n"),
        ("gml", 'Creator "igraph"\nVersion 1\ngraph\n[\n]\n'),
        ("pajek", '*Vertices 2\n1 "a"\n2 "b"\n*Arcs\n1 2 3\n'),
        ("pajek", "*network g\n*vertices 2\n"),
    ],
)
def test_other_formats_of_graphs_are_refused_with_the_line_that_converts_them(tmp_path, kind, text):
    (tmp_path / "g.txt").write_text(text)
    with pytest.raises(hdf5io.InputError, match=f"read_{kind}"):
        load_connectome(tmp_path / "g.txt")


@pytest.mark.parametrize(
    ("head", "converter"),
    [
        (b"PAR1", "read_parquet"),
        (b"ARROW1\0\0", "read_feather"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "read_excel"),
        (b'{"directed": true, "nodes": []}', "node_link_graph"),
        (b"[[0, 1], [1, 0]]", "savetxt"),
    ],
)
def test_tables_that_are_not_text_are_refused_with_the_line_that_converts_them(tmp_path, head, converter):
    (tmp_path / "t").write_bytes(head + b"\0" * 64 if head[:1] not in b"{[" else head)
    for read in (load_connectome, load_activity):
        with pytest.raises(hdf5io.InputError, match=converter):
            read(tmp_path / "t")


def test_a_workbook_is_told_from_an_npz_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as book:
        book.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(hdf5io.InputError, match="read_excel"):
        load_connectome(tmp_path / "t.xlsx")


@pytest.mark.parametrize("index", [True, False])
def test_a_mask_of_true_and_false_is_a_matrix_of_ones_and_zeros(tmp_path, index):
    mask, names = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]], bool), ["a", "b", "c"]
    pd.DataFrame(mask, names if index else None, names).to_csv(tmp_path / "m.csv", index=index)
    assert np.array_equal(load_connectome(tmp_path / "m.csv").matrix, mask)


def test_ids_that_a_table_of_floats_holds_are_those_of_whole_numbers(tmp_path):
    (tmp_path / "e.csv").write_text("pre,post,weight\n720575,720576.0,2\n720576,720575.0,3\n")
    assert load_connectome(tmp_path / "e.csv").names == ("720575", "720576")
    assert load_connectome(tmp_path / "e.csv").matrix.tolist() == [[0, 3], [2, 0]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("7.2e+17,7.1e+17,2", "rounded"),
        (",b,2", "names no neuron"),
        ("nan,b,2", "names no neuron"),
    ],
)
def test_an_edge_whose_neurons_are_not_known_is_refused(tmp_path, lines, message):
    (tmp_path / "e.csv").write_text(f"pre,post,weight\na,b,1\n{lines}\n")
    with pytest.raises(hdf5io.InputError, match=message):
        load_connectome(tmp_path / "e.csv")


def test_gap_junctions_among_synapses_and_rows_of_sums_are_refused(tmp_path):
    (tmp_path / "e.csv").write_text("pre,post,type,weight\na,b,chemical,1\nb,c,electrical,2\n")
    with pytest.raises(hdf5io.InputError, match="no direction"):
        load_connectome(tmp_path / "e.csv")
    (tmp_path / "s.csv").write_text(",a,b,sum\na,0,1,1\nb,2,0,2\nsum,2,1,3\n")
    with pytest.raises(hdf5io.InputError, match="Leave sums out"):
        load_connectome(tmp_path / "s.csv")


def test_a_column_beside_the_neurons_is_no_neuron(tmp_path, rates):
    frame = pd.DataFrame(rates[0])
    frame.add_prefix("n").assign(velocity=0.1 * frame[0]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(hdf5io.InputError, match="'velocity' is named for no neuron"):
        load_activity(tmp_path / "a.csv")
    np.save(tmp_path / "m.npy", np.column_stack([rates[0], rates[0].mean(1)]))
    with pytest.raises(hdf5io.InputError, match="is the mean of the others"):
        load_activity(tmp_path / "m.npy")
