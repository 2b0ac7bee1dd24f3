"""Folders and results that were damaged on the way: one line, exit 2, whatever the kind."""

import contextlib
import json
import shutil

import h5py
import numpy as np
import pytest

from glm_rates.files import exchange, stored
from glm_rates.files.describe import describe
from hdf5io.errors import InputError


@pytest.fixture(scope="module")
def extracted(tmp_path_factory, run_command, recording):
    folder = tmp_path_factory.mktemp("glm") / "exchange"
    done = run_command("glm_rates", "extract", recording, "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def objects(path):
    np.save(path, np.array([{}, None], object), allow_pickle=True)


def gone(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def other_axes(path):
    np.save(path, np.load(path)[..., None])


def text(path):
    np.save(path, np.full(np.load(path).shape, "x"))


def huge(path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 10, 5), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64)


@pytest.mark.parametrize("name", ["counts", "taste", "laser"])
@pytest.mark.parametrize("spoil", [cut, objects, gone, empty, other_axes, text, huge])
def test_a_damaged_array_of_an_exchange_folder_is_one_line(extracted, tmp_path, spoil, name):
    folder = tmp_path / "copy"
    shutil.copytree(extracted, folder)
    spoil(folder / f"extract.{name}.npy")
    with pytest.raises(InputError, match=r"copy/extract"):
        exchange.load(folder, "extract")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 50_000, "not readable as a folder of glm-rates"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "contract None, expected"),
        ('{"contract": 2}', "'arrays' is no list of names"),
        ('{"contract": 2, "arrays": ["counts"]}', "no 'tastes'. Run the extraction again"),
    ],
)
def test_a_damaged_description_of_an_exchange_folder_is_one_line(extracted, tmp_path, content, said):
    shutil.copytree(extracted, tmp_path / "copy")
    (tmp_path / "copy" / "extract.json").write_text(content)
    with pytest.raises(InputError, match=said):
        exchange.load(tmp_path / "copy", "extract")


def external(h5, name):
    del h5[name]
    h5[name] = h5py.ExternalLink("nowhere.h5", "/x")


def itself(h5, name):
    del h5[name]
    h5[name] = h5py.SoftLink("/" + name)


def group(h5, name):
    del h5[name]
    h5.create_group(name)


def scalar(h5, name):
    del h5[name]
    h5[name] = 1.0


def no_dataspace(h5, name):
    del h5[name]
    h5[name] = h5py.Empty("f8")


@pytest.mark.parametrize(
    "name", ["stacked/pred_firing_hz", "stacked/trial_index", "units/region", "ks_curve", "populations/gc"]
)
@pytest.mark.parametrize("spoil", [external, itself, group, scalar, no_dataspace])
def test_damaged_results_are_one_line(inferred, tmp_path, spoil, name):
    path = tmp_path / "r.h5"
    with h5py.File(inferred[0] / "simulated.h5") as source, h5py.File(path, "w") as target:
        for key in source["glm_output"]:
            source.copy("glm_output/" + key, target)
        target.attrs.update(source["glm_output"].attrs)
        spoil(target, name)
    with contextlib.suppress(InputError):  # one line; an optional part that is odd may stop nothing
        assert len(stored.read_results(path).regions) == 5


@pytest.mark.parametrize("attribute", ["params", "meta"])
@pytest.mark.parametrize("content", ["{", "[]", "{}", "[" * 50_000])
def test_damaged_attributes_of_results_are_one_line(inferred, tmp_path, attribute, content):
    shutil.copy(inferred[0] / "simulated.h5", tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "a") as h5:
        h5["glm_output"].attrs[attribute] = content
    with pytest.raises(InputError, match=r"r\.h5"):
        stored.read_results(tmp_path / "r.h5")
    with pytest.raises(InputError, match=r"r\.h5"):
        describe(tmp_path / "r.h5")


def test_info_names_every_input_and_output(inferred, extracted, recording, tmp_path, run_command):
    assert describe(recording)[0] == "blech_clust directory"
    assert describe(extracted)[0] == "exchange folder of glm-rates extract"
    assert describe(inferred[0] / "simulated.h5")[0] == "results of glm-rates infer"
    assert describe(inferred[0] / "glm_output")[0] == "tables and models of glm-rates infer"
    done = run_command("glm_rates", "info", inferred[0] / "simulated.h5", "--json")
    assert json.loads(done.stdout)["results"]["n_units"] == 5
    (tmp_path / "x.bin").write_bytes(b"nothing")
    done = run_command("glm_rates", "info", tmp_path / "x.bin")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_one_of_two_files_is_named(recording, tmp_path, run_command):
    folder = tmp_path / "two"
    shutil.copytree(recording, folder)
    shutil.copy(folder / "simulated.h5", folder / "second.h5")
    refused = run_command("glm_rates", "check", folder)
    assert refused.returncode == 2
    assert "or --h5 NAME" in refused.stderr
    assert run_command("glm_rates", "check", folder, "--h5", "second.h5").returncode == 0
    done = run_command("glm_rates", "extract", folder, "--h5", "second.h5", "--output", tmp_path / "x")
    assert done.returncode == 0, done.stderr
