"""Does every reader of every pipeline end in one line on files that something has broken?

Good inputs are made once, then damaged by fixed seeds in the ways that disks, programs and people damage files. A reader may accept
what is left (exit 0), refuse it (2), or find it inconsistent (3); anything else, a traceback above all, is a fault. Faults that
were found stay in `KEPT`. ``-m slow`` tries more.
"""

import contextlib
import importlib
import io
import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

ALLOWED = (0, 2, 3)
QUICK, LONG = 14, 700  #: damaged inputs of each kind of input

# --- good inputs ---------------------------------------------------------------------------------------------------------------


def run(package, *words):
    """Run a command in this process; return exit code and stderr."""
    program, console = importlib.import_module(f"{package}.cli").app, importlib.import_module(f"{package}.console")
    options = importlib.import_module(f"{package}.options")
    from typer.main import get_command

    verb, *rest = map(str, words)
    typed = options.tidy_arguments(program.verbs[verb], rest)
    context = get_command(program.app).commands[verb].make_context(verb, typed)
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in context.params.items()}
    own = {name: given.pop(name) for name in options.OWN if name in given}
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = console.execute(program, verb, given, **own)
    return code, errors.getvalue()


def blech(folder):
    run("glm_rates", "simulate", "--output", folder / "x", "--n-units", "3", "--n-trials", "4", "--n-tastes", "2")
    return folder / "x"


def spike_table(folder):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"unit_id": rng.integers(0, 3, 900), "time_s": np.sort(rng.uniform(0, 90, 900))})
    table.to_csv(folder / "x.csv", index=False)
    return folder / "x.csv"


def spike_parquet(folder):
    pd.read_csv(spike_table(folder)).to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def nwb(folder):
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    rng = np.random.default_rng(0)
    for i in range(3):
        file.add_unit(spike_times=np.sort(rng.uniform(0, 90, 300)), id=i)
    for i in range(10):
        file.add_trial(start_time=4.0 + 8 * i, stop_time=8.0 + 8 * i)
    with NWBHDF5IO(folder / "x.nwb", "w") as handle:
        handle.write(file)
    return folder / "x.nwb"


def alf(folder):
    run("meso_forecast", "simulate", "--output", folder / "one", "--n-fovs", "1", "--n-rois", "12", "--n-frames", "500")
    return next((folder / "one").rglob("alf")).parent


def session(folder):
    run("meso_forecast", "preprocess", alf(folder), "--output", folder / "x.h5")
    return folder / "x.h5"


def suite2p(folder):
    rng, plane = np.random.default_rng(0), folder / "plane0"
    plane.mkdir()
    for name in ("F", "Fneu", "spks"):
        np.save(plane / f"{name}.npy", rng.uniform(100, 200, (8, 600)).astype(np.float32))
    np.save(plane / "iscell.npy", np.tile([1.0, 0.9], (8, 1)))
    return plane


def metrics(folder):
    run(
        "unit_refine",
        "simulate",
        "--kind",
        "tables",
        "--n-recordings",
        "2",
        "--n-units",
        "60",
        "--output",
        folder / "u",
    )
    return folder / "u" / "recording1_metrics.csv"


def labels(folder):
    metrics(folder)
    return folder / "u" / "recording1_cluster_group.tsv"


def unit_model(folder):
    table = metrics(folder)
    truth = folder / "u" / "recording1_cluster_group.tsv"
    words = [
        "train",
        table,
        "--labels",
        truth,
        "--output",
        folder / "m",
        "--classifiers",
        "RandomForestClassifier",
        "--allow-small",
    ]
    code, errors = run("unit_refine", *words)
    assert code == 0, errors
    return folder / "m"


def trace_csv(folder):
    run("laa_bayes", "trace", "--k", "6", "--noise-mv", "2", "--output", folder / "x.csv")
    return folder / "x.csv"


def trace_h5(folder):
    run("laa_bayes", "trace", "--k", "6", "--noise-mv", "2", "--output", folder / "x.h5")
    return folder / "x.h5"


def trace_npz(folder):
    t = np.arange(0, 100, 0.1)
    np.savez(folder / "x.npz", time_ms=t, voltage_mV=-65 + 0 * t, current_pA=(t > 20) * 1.0)
    return folder / "x.npz"


def bank(folder):
    run("laa_bayes", "simulate", "--n", "200", "--shard-size", "100", "--duration-ms", "60", "--output", folder / "b")
    return folder / "b"


def exchange(folder):
    run("glm_rates", "extract", blech(folder), "--output", folder / "e", "--blech-clust-env", "none")
    return folder / "e"


def predictions(folder):
    ids = np.arange(40)
    quality, sure = np.array(["good", "mua", "noise"])[ids % 3], np.linspace(0.3, 1, 40)
    columns = {"unit_id": ids, "predicted_quality": quality, "prediction_confidence": sure, "abstained": sure < 0.4}
    pd.DataFrame(columns).to_csv(folder / "x.csv", index=False)
    return folder / "x.csv"


def curation(folder):
    run("unit_refine", "export-curation", predictions(folder), "--output", folder / "c.json")
    return folder / "c.json"


def networks(folder):
    words = ["build-dataset", "--output", folder / "d", "--num_networks", "30", "--N", "6", "--T", "20", "--seed", "0"]
    run("neuro_diffusion", *words)
    return folder / "d"


def activity_h5(folder):
    run("neuro_diffusion", "simulate", "--output", folder / "x.h5", "--N", "6")
    return folder / "x.h5"


def activity_npy(folder):
    np.save(folder / "x.npy", np.random.default_rng(0).uniform(-0.5, 0.5, (4, 60, 6)))
    return folder / "x.npy"


def edges(folder):
    (folder / "x.csv").write_text(
        "pre,post,weight\n" + "".join(f"{i},{(i + 1) % 9},{i / 10 - 0.4}\n" for i in range(9))
    )
    return folder / "x.csv"


#: name -> (package, maker, commands; X is the damaged input, OUT a fresh output)
INPUTS = {
    "blech": ("glm_rates", blech, [("info", "X"), ("check", "X"), ("extract", "X", "--output", "OUT", "--blech-clust-env", "none")]),
    "spike_table": ("glm_rates", spike_table, [("info", "X"), ("extract", "X", "--output", "OUT")]),
    "spike_parquet": ("glm_rates", spike_parquet, [("info", "X"), ("extract", "X", "--output", "OUT")]),
    "nwb": ("glm_rates", nwb, [("info", "X"), ("extract", "X", "--output", "OUT")]),
    "alf": ("meso_forecast", alf, [("info", "X"), ("preprocess", "X", "--output", "OUT.h5", "--dry-run")]),
    "session": ("meso_forecast", session, [("info", "X"), ("compare", "X", "--output", "OUT", "--dry-run")]),
    "suite2p": ("meso_forecast", suite2p, [("info", "X"), ("preprocess", "X", "--fs-hz", "10", "--output", "OUT.h5", "--dry-run")]),
    "metrics": ("unit_refine", metrics, [("info", "X"), ("convert-metrics", "X", "--output", "OUT.csv")]),
    "labels": ("unit_refine", labels, [("info", "X")]),
    "unit_model": ("unit_refine", unit_model, [("info", "X")]),
    "exchange": ("glm_rates", exchange, [("info", "X"), ("fit", "X", "--output", "OUT.h5", "--dry-run")]),
    "predictions": ("unit_refine", predictions, [("info", "X"), ("export-curation", "X", "--output", "OUT.json")]),
    "curation": ("unit_refine", curation, [("info", "X")]),
    "bank": ("laa_bayes", bank, [("info", "X"), ("train", "--bank", "X", "--batch-size", "64", "--output", "OUT", "--dry-run")]),
    "trace_csv": ("laa_bayes", trace_csv, [("info", "X"), ("plot", "X", "--output", "OUT.png")]),
    "trace_h5": ("laa_bayes", trace_h5, [("info", "X"), ("plot", "X", "--output", "OUT.png")]),
    "trace_npz": ("laa_bayes", trace_npz, [("info", "X"), ("plot", "X", "--output", "OUT.png")]),
    "networks": ("neuro_diffusion", networks, [("info", "X")]),
    "activity_h5": ("neuro_diffusion", activity_h5, [("info", "X"), ("plot", "X", "--output", "OUT.png")]),
    "activity_npy": ("neuro_diffusion", activity_npy, [("info", "X")]),
    "edges": ("neuro_diffusion", edges, [("info", "X"), ("import-connectome", "X", "--output", "OUT", "--n-networks", "3", "--N", "4")]),
}  # fmt: skip


#: seeds that once ended in a traceback or in exit 1
KEPT = {
    "blech": [127, 185, 275, 602],
    "activity_h5": [2201],
    "predictions": [1078, 1092, 1105],
    "curation": [8],
    "metrics": [280],
    "unit_model": [1204],
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return ``path(name)``: an input that its reader takes, made once."""
    made = {}

    def path(name):
        if name not in made:
            made[name] = INPUTS[name][1](tmp_path_factory.mktemp(name))
        return made[name]

    return path


# --- damage --------------------------------------------------------------------------------------------------------------------


def datasets_of(path):
    names = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return names


def damage_hdf5(path, rng):
    """Change what one dataset of an HDF5 file is, or the bytes of the file; return in words what was done."""
    names, kind = datasets_of(path), rng.integers(12)
    if kind >= 10 or not names:
        return damage_bytes(path, rng)
    name = names[rng.integers(len(names))]
    with h5py.File(path, "r+") as file:
        old = file[name]
        shape, data = old.shape, old[()] if old.size and old.size < 1e6 else np.zeros(3)
        del file[name]
        if kind == 0:
            file[name] = h5py.SoftLink("/nowhere")
        elif kind == 1:
            file[name] = h5py.SoftLink("/" + name)
        elif kind == 2:
            file[name] = h5py.ExternalLink("none.h5", "/x")
        elif kind == 3:
            file.create_group(name)
        elif kind == 4:
            file.create_dataset(name, data=h5py.Empty("f8"))
        elif kind == 5:
            file.create_dataset(name, data=1.0)
        elif kind == 6:
            file.create_dataset(name, data=np.array(["text"] * 3, "S4"))
        elif kind == 7:
            file.create_dataset(name, data=np.zeros(3, [("a", "f8"), ("b", "i4")]))
        elif kind == 8:
            file.create_dataset(
                name, data=np.asarray(data)[None] if np.asarray(data).dtype.kind in "iuf" else np.zeros((2, 2, 2, 2))
            )
        else:
            large = (100_000_000, *(shape[1:] if shape and len(shape) > 1 else ()))
            file.create_dataset(name, shape=large, dtype="f8", chunks=(65536, *(min(n, 8) for n in large[1:])))
    return f"{name}: kind {kind}"


def damage_bytes(path, rng):
    """Cut a file, empty it, or change some of its bytes."""
    content, kind = bytearray(path.read_bytes()), rng.integers(4)
    if kind == 0:
        content = content[: rng.integers(len(content) + 1)]
    elif kind == 1:
        content = bytearray()
    else:
        for at in rng.integers(0, max(1, len(content)), 1 + rng.integers(20)):
            content[at : at + 1] = bytes([rng.integers(256)])
    path.write_bytes(content)
    return f"bytes, kind {kind}"


def damage_json(path, rng):
    """Give a JSON file another type, another value somewhere, or depth without end."""
    others = [
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        "[" * 20000,
        '{"a": ' * 5000 + "1" + "}" * 5000,
        "{",
        "[[1], {}]",
        "NaN",
        "1e999",
    ]
    kind = rng.integers(len(others) + 6)
    if kind < len(others):
        path.write_text(others[kind])
        return f"JSON {others[kind][:12]}"
    content = json.loads(path.read_text())
    if isinstance(content, dict) and content:
        key = sorted(content)[rng.integers(len(content))]
        content[key] = [None, 1, "text", [], {}, [[]], -1e300][rng.integers(7)]
        if rng.integers(3) == 0:
            del content[key]
        path.write_text(json.dumps(content))
        return f"JSON key {key}"
    return damage_bytes(path, rng)


def damage_text(path, rng):
    """Put into a table what does not belong there."""
    lines, kind = path.read_bytes().split(b"\n"), rng.integers(9)
    at = rng.integers(len(lines))
    if kind == 0:
        lines[at] = b"prose instead of numbers, as it happens"
    elif kind == 1:
        lines = lines[:1]
    elif kind == 2:
        lines[at] = b"\xff\xfe\x00broken"
    elif kind == 3:
        lines[at] = b"9" * 700_000
    elif kind == 4:
        lines[at] = lines[at] + b",1,2,3"
    elif kind == 5:
        lines[at] = lines[at].replace(b",", b";")
    elif kind == 6:
        lines = lines[1:]
    elif kind == 7:
        lines[at] = b",".join([b"nan"] * (lines[0].count(b",") + 1))
    else:
        return damage_bytes(path, rng)
    path.write_bytes(b"\n".join(lines))
    return f"text, kind {kind}, line {at}"


def damage_npy(path, rng):
    """Save another array under the name, claim a huge one, or break the bytes."""
    kind = rng.integers(9)
    if kind >= 6:
        return damage_bytes(path, rng)
    if kind == 5:
        header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }"
        raw = header.encode().ljust(118) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(80))
        return "npy that claims 1e11 values"
    others = [np.zeros(0), np.array(1.0), np.array(["text"] * 4), np.zeros((2, 2, 2, 2)), np.zeros(3, [("a", "f8")])]
    with open(path, "wb") as handle:
        np.save(handle, others[kind])
    return f"npy, kind {kind}"


DAMAGE = {".h5": damage_hdf5, ".hdf5": damage_hdf5, ".nwb": damage_hdf5, ".json": damage_json, ".npy": damage_npy}
TEXT = (".csv", ".tsv", ".txt", ".params", ".info", ".toml", ".yaml")


def damaged(source, target, seed):
    """Copy an input and damage one of its files; return the copy and what was done."""
    rng = np.random.default_rng(seed)
    if source.is_dir():
        shutil.copytree(source, target)
        files = sorted(p for p in target.rglob("*") if p.is_file() and p.suffix not in (".png", ".html"))
        path = files[rng.integers(len(files))]
        if rng.integers(12) == 0:
            path.unlink()
            if rng.integers(2):
                path.mkdir()
            return target, f"{path.name} gone"
    else:
        path = target = target.with_suffix(source.suffix)
        shutil.copyfile(source, path)
    if path.stat().st_size == 0:
        return target, "nothing"
    suffix = path.suffix.lower()
    is_json = suffix in (".params", ".info") or suffix == ".json"
    damage = damage_json if is_json else DAMAGE.get(suffix, damage_text if suffix in TEXT else damage_bytes)
    return target, f"{path.name}: {damage(path, rng)}"


def faults(name, source, folder, seeds):
    """Return what went wrong, as texts."""
    package, _, commands = INPUTS[name]
    found = []
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        try:
            broken, done = damaged(source, place / "x", seed)
        except (OSError, KeyError, RuntimeError, ValueError):  # the damage itself did not work out
            continue
        for words in commands:
            filled = [str(broken) if w == "X" else w.replace("OUT", str(place / "out")) for w in words]
            try:
                code, errors = run(package, *filled)
            except BaseException as error:
                found.append(f"seed {seed}, {words[0]}, {done}: {type(error).__name__}: {str(error)[:100]}")
                continue
            if code not in ALLOWED:
                found.append(f"seed {seed}, {words[0]}, {done}: exit {code}: {errors.strip()[-200:]}")
        shutil.rmtree(place)
    return found


@pytest.mark.parametrize("name", INPUTS)
def test_a_good_input_is_read(name, good, tmp_path):
    package, _, commands = INPUTS[name]
    for words in commands:
        code, errors = run(
            package, *[str(good(name)) if w == "X" else w.replace("OUT", str(tmp_path / "out")) for w in words]
        )
        assert code == 0, (words[0], errors)


@pytest.mark.parametrize("name", INPUTS)
def test_a_damaged_input_ends_in_one_line(name, good, tmp_path):
    found = faults(name, good(name), tmp_path, range(QUICK))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", KEPT)
def test_a_fault_that_was_found_stays_mended(name, good, tmp_path):
    found = faults(name, good(name), tmp_path, KEPT[name])
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_many_damaged_inputs_end_in_one_line(name, good, tmp_path):
    found = faults(name, good(name), tmp_path, range(QUICK, LONG))
    assert not found, "\n".join(found)
