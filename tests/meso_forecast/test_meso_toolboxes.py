"""Are traces of CNMF-E, EXTRACT, MIN1PIPE and Minian read as these toolboxes save them, or refused by what to do?"""

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast.config import PreprocessConfig
from meso_forecast.files.sources import open_source

T, N = 300, 5
X = np.random.default_rng(0).standard_normal((T, N)).cumsum(0)
S = np.random.default_rng(1).poisson(0.1, (T, N)).astype(float)


def opened(path, **given):
    return open_source(PreprocessConfig(source=str(path), output="x", **given)).fovs[0]


def saved(path, version, content):
    """Write a MATLAB file: version 5, or 7.3 with axes the other way round, structs as groups."""
    if version == 5:
        from scipy.io import savemat

        savemat(path, content, do_compression=True)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(group, items):
            for name, value in items.items():
                if isinstance(value, dict):
                    put(group.create_group(name), value)
                else:
                    group[name] = np.atleast_2d(value).T

        put(file, content)
    return path


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize(
    ("content", "ahead"),
    [
        ({"neuron": {"C_raw": X.T, "C": X.T * 2, "S": S.T, "Fs": 5.0}}, False),
        ({"neuron": {"C_raw": np.zeros((0, 0)), "C": X.T, "S": S.T, "Fs": 5.0}}, True),
        ({"C_raw": X.T, "S": S.T, "Fs": 5.0}, False),
        ({"sigfn": X.T, "spkfn": S.T, "roifn": np.ones((9, N)), "Params": {"Fsi_new": 5.0}}, True),
    ],
)
def test_cells_by_time_of_matlab_s_toolboxes(tmp_path, version, content, ahead):
    fov = opened(saved(tmp_path / "x.mat", version, content))
    assert np.allclose(fov.fluorescence.read(0, T), X, atol=1e-5)
    assert np.allclose(fov.deconvolved.read(0, T), S)
    assert np.allclose(np.diff(fov.times), 0.2)
    assert fov.processed
    assert bool(fov.ahead) == ahead


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize("turned", [False, True])
def test_extract_s_weights_are_time_by_cell_unless_its_masks_say_otherwise(tmp_path, version, turned):
    output = {"temporal_weights": X.T if turned else X, "spatial_weights": np.ones((3, 4, N))}
    fov = opened(saved(tmp_path / "x.mat", version, {"output": output}), fs_hz=5.0)
    assert np.allclose(fov.fluorescence.read(0, T), X, atol=1e-5)
    with pytest.raises(InputError, match="give --fs-hz"):
        opened(tmp_path / "x.mat")


def test_matrices_the_wrong_way_round_and_unknown_variables_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'C_raw' has shape \(300, 5\); \(cell, time\) is expected"):
        opened(saved(tmp_path / "x.mat", 5, {"neuron": {"C_raw": X}}), fs_hz=5.0)
    with pytest.raises(InputError, match=r"no traces that are known: .* the file has 'mine'"):
        opened(saved(tmp_path / "y.mat", 5, {"mine": X}), fs_hz=5.0)


def test_an_object_of_a_class_is_refused_with_what_to_type_in_matlab(tmp_path):
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["neuron"] = np.zeros((1, 6), np.uint32)
        file["neuron"].attrs["MATLAB_object_decode"] = 3
    with pytest.raises(InputError, match=r"object of a class.*s = struct\(neuron\)"):
        opened(tmp_path / "x.mat", fs_hz=5.0)


@pytest.mark.parametrize("frame_first", [False, True])
def test_minian_s_netcdf_is_unpacked_with_its_labels_and_its_frames(tmp_path, frame_first, caplog):
    with h5py.File(tmp_path / "x.nc", "w") as file:
        stored = np.round(X / 0.01).astype("i2")
        file["C"] = stored if frame_first else stored.T
        file["C"].attrs.update(scale_factor=0.01, add_offset=1.0)
        file["S"] = S if frame_first else S.T
        file["unit_id"], file["unit_labels"] = np.arange(N) * 3, np.array([0, -1, 2, 2, 5])
        file["frame"] = np.r_[np.arange(200), np.arange(250, 350)]
    fov = opened(tmp_path / "x.nc", fs_hz=5.0)
    assert np.allclose(fov.fluorescence.read(0, T), X + 1, atol=0.0051)
    assert np.allclose(fov.deconvolved.read(0, T), S)
    assert fov.cells().tolist() == [0, 2, 3, 4]
    assert fov.uuids.tolist() == ["0", "3", "6", "9", "12"]
    assert np.flatnonzero(np.diff(fov.times) > 0.3).tolist() == [199]
    assert "several units have one label" in caplog.text
    with pytest.raises(InputError, match="give --fs-hz"):
        opened(tmp_path / "x.nc")


def test_a_zarr_store_and_netcdf_3_are_refused_with_what_to_type(tmp_path):
    (tmp_path / "minian" / "C.zarr").mkdir(parents=True)
    with pytest.raises(InputError, match="a zarr store, which is not read"):
        opened(tmp_path / "minian", fs_hz=5.0)
    (tmp_path / "x.nc").write_bytes(b"CDF\x01" + bytes(99))
    with pytest.raises(InputError, match="format='NETCDF4'"):
        opened(tmp_path / "x.nc", fs_hz=5.0)
