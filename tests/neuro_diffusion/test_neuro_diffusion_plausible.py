"""Recordings whose columns, cells or tables are not what they look like: copies, trials of several lengths, times that fall, text."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from hdf5io.errors import InputError
from neuro_diffusion.files.asked import anatomy_of
from neuro_diffusion.files.recordings import Rates, read_activity

K, T, N = 3, 40, 5
STEPS = np.random.default_rng(0).normal(0, 0.1, (K, T, N))
Y = np.tanh(STEPS.cumsum(1)).astype(np.float32)
FRAME = pd.DataFrame(Y[0], columns=[f"n{i}" for i in range(N)])


def test_a_copy_of_a_neuron_is_refused_and_two_silent_neurons_are_not(tmp_path):
    FRAME.assign(n9=FRAME.n1).to_csv(tmp_path / "copy.csv", index=False)
    with pytest.raises(InputError, match="columns 2 and 6 hold the same values"):
        read_activity(tmp_path / "copy.csv")
    FRAME.assign(n8=0.0, n9=0.0).to_csv(tmp_path / "silent.csv", index=False)
    assert read_activity(tmp_path / "silent.csv").y.shape == (1, T, N + 2)


def test_columns_are_counted_with_those_that_were_not_recorded(tmp_path):
    FRAME.assign(n1=np.nan, n9=FRAME.n3).to_csv(tmp_path / "copy.csv", index=False)
    with pytest.raises(InputError, match="columns 4 and 6 hold the same values"):
        read_activity(tmp_path / "copy.csv")


@pytest.mark.parametrize("name", ["background", "neuropil", "running", "animal", "pupil_1"])
def test_a_column_named_for_no_neuron_is_refused(tmp_path, name):
    FRAME.assign(**{name: Y[1, :, 0]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=f"column '{name}' is named for no neuron"):
        read_activity(tmp_path / "a.csv")


def test_times_that_are_not_sorted_are_refused(tmp_path):
    timed = FRAME.assign(time=np.arange(T) * 0.1)
    timed.sample(frac=1, random_state=0).to_csv(tmp_path / "mixed.csv", index=False)
    timed[::-1].to_csv(tmp_path / "backwards.csv", index=False)
    for name, falls in (("mixed", 20), ("backwards", T - 1)):
        with pytest.raises(InputError, match=f"times fall at {falls} of {T} rows. Sort the rows"):
            read_activity(tmp_path / f"{name}.csv")


def cells(trials):
    """Return MATLAB's row of cells."""
    found = np.empty((1, len(trials)), object)
    found[0, :] = trials
    return found


def test_cells_of_several_lengths_are_never_passed_over_for_an_average(tmp_path):
    uneven = cells([y[: T - k] for k, y in enumerate(Y)])
    savemat(tmp_path / "cells.mat", {"trials": uneven})
    with pytest.raises(InputError, match="'trials' has 3 cells of shapes 38 x 5, 39 x 5, 40 x 5; all must be as long"):
        read_activity(tmp_path / "cells.mat")
    savemat(tmp_path / "both.mat", {"trials": uneven, "psth": Y.mean(0)})
    with pytest.raises(InputError, match=r"2 arrays could be the activity .trials .3, 40, 5., psth"):
        read_activity(tmp_path / "both.mat")
    np.testing.assert_allclose(read_activity(tmp_path / "both.mat", "psth").y[0], Y.mean(0), atol=1e-6)


def test_a_struct_array_of_trials_is_read_in_order_beside_its_times(tmp_path):
    trials = np.array([(y, np.arange(T) * 0.1) for y in Y], dtype=[("rates", "O"), ("t", "O")])
    savemat(tmp_path / "s.mat", {"trial": trials})
    with pytest.raises(InputError, match="2 arrays could be the activity"):
        read_activity(tmp_path / "s.mat")
    np.testing.assert_allclose(read_activity(tmp_path / "s.mat", "trial/rates").y, Y)
    savemat(tmp_path / "one.mat", {"data": {"rates": Y[0], "t": np.arange(T) * 0.1}})
    np.testing.assert_allclose(read_activity(tmp_path / "one.mat").y[0], Y[0])


def matlab_73(path: Path, trials: list[np.ndarray]) -> Path:
    """Write a cell array of trials and a text as MATLAB 7.3 does: references, first index fastest, letters as numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for k, y in enumerate(trials):
            refs[str(k)] = y.T
            refs[str(k)].attrs["MATLAB_class"] = np.bytes_("double")
        file["trials"] = np.array([[refs[str(k)].ref] for k in range(len(trials))], h5py.ref_dtype)
        file["trials"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["note"] = np.frombuffer(b"spontaneous activity", np.uint8).astype(np.uint16).reshape(-1, 2)
        file["note"].attrs["MATLAB_class"] = np.bytes_("char")
    with path.open("r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file")
    return path


def test_cells_of_matlab_7_3_are_read_or_named_and_text_is_no_array(tmp_path):
    np.testing.assert_allclose(read_activity(matlab_73(tmp_path / "even.mat", list(Y))).y, Y)
    with pytest.raises(InputError, match="'trials' has 3 cells of shapes 38 x 5, 39 x 5, 40 x 5; all must be as long"):
        read_activity(matlab_73(tmp_path / "uneven.mat", [y[: T - k] for k, y in enumerate(Y)]))


def test_a_table_of_pandas_with_a_trial_beside_rates_is_converted_first(tmp_path):
    stacked = pd.concat([pd.DataFrame(y).add_prefix("n").assign(trial=k) for k, y in enumerate(Y)])
    stacked.to_hdf(tmp_path / "a.h5", key="d")
    with pytest.raises(InputError, match="columns of several kinds"):
        read_activity(tmp_path / "a.h5")
    pd.read_hdf(tmp_path / "a.h5", "d").to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(read_activity(tmp_path / "a.csv").y, Y, atol=1e-6)


def test_anatomy_is_not_joined_by_a_name_that_two_neurons_have(tmp_path):
    pd.DataFrame(np.ones((N, N)), FRAME.columns, FRAME.columns).to_csv(tmp_path / "w.csv")
    names = ("n0", "n0", "n2", "n3", "n4")
    with pytest.raises(InputError, match="several neurons are named n0"):
        anatomy_of(tmp_path / "w.csv", Rates(Y, np.ones(N, bool), names, True))
