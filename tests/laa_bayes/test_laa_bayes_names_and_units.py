"""Tables whose names or units hide that the numbers are not the quantity in that unit: refused, and ordinary names are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files.recordings import read_recording
from laa_bayes.files.request import Request
from laa_bayes.files.units import SCALED, name_and_unit, unit_key

DT_MS = 0.1


def cell(current: np.ndarray) -> np.ndarray:
    """Return the voltage (mV) of a passive cell (100 pF, 5 nS, rest at -70 mV) with 0.1 mV of noise."""
    v = np.empty(len(current))
    x = -70.0
    for k, i in enumerate(current):
        v[k] = x
        x += DT_MS * (-5.0 * (x + 70) + i) / 100
    return v + np.random.default_rng(0).normal(0, 0.1, len(v))


TIME = np.arange(5000) * DT_MS
CURRENT = np.where((TIME >= 100) & (TIME < 300), -50.0, 0.0)
NOISY = CURRENT + np.random.default_rng(1).normal(0, 2, 5000)


def table(folder: Path, header: str, *columns: np.ndarray) -> Path:
    """Write a table of columns under a header line."""
    path = folder / "cell.csv"
    np.savetxt(path, np.stack(columns, axis=1), fmt="%.6g", delimiter=",", header=header, comments="")
    return path


@pytest.mark.parametrize("sign", [1, -1])
def test_swapped_columns_are_refused_where_the_current_was_recorded_with_noise(tmp_path: Path, sign: int) -> None:
    path = table(tmp_path, "time_ms,current_pA,voltage_mV", TIME, cell(sign * CURRENT), sign * NOISY)
    with pytest.raises(InputError, match="swapped"):
        read_recording(path, Request())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_noisy_current_in_its_own_column_is_read(tmp_path: Path, sign: int) -> None:
    v = cell(sign * CURRENT)
    recording = read_recording(table(tmp_path, "time_ms,voltage_mV,current_pA", TIME, v, sign * NOISY), Request())
    assert np.allclose(recording.v_mv, v, atol=1e-3)
    assert np.allclose(recording.current, sign * NOISY, atol=1e-3)


@pytest.mark.parametrize("name", ["Vm (-mV)", "Vm (\N{MINUS SIGN}mV)", "Vm [/mV]"])
def test_a_unit_with_a_sign_before_it_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="unknown unit"):
        read_recording(table(tmp_path, f"time (ms),{name},I (pA)", TIME, -cell(CURRENT), CURRENT), Request())


@pytest.mark.parametrize("unit", ["mV", " mV ", "[mV]", "(mV)", '"mV"', "m V"])
def test_the_usual_spellings_of_a_unit_are_one(unit: str) -> None:
    assert unit_key(unit) == "mv"


@pytest.mark.parametrize("name", ["Vm x10 (mV)", "Vm *10 (mV)", "Vm 10x (mV)", "Vm /10 (mV)", "Vm x10 gain (mV)"])
def test_a_factor_in_the_name_of_a_column_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="names a factor"):
        read_recording(table(tmp_path, f"time (ms),{name},I (pA)", TIME, cell(CURRENT) * 2, CURRENT), Request())


@pytest.mark.parametrize(
    "name", ["Vm (mV)", "V_x1", "IN 0", "IN 10 (mV)", "Vm_10 (mV)", "10_Vm", "Vmx10y", "voltage_mV"]
)
def test_ordinary_names_have_no_factor(name: str) -> None:
    assert SCALED.search(name_and_unit(name)[0]) is None


@pytest.mark.parametrize("name", ["Vm (mV)", "V1 (mV)", "Vm [mV]", "voltage_mV", "Vm / mV", "IN 0 (mV)"])
def test_ordinary_names_are_read_as_they_stand(tmp_path: Path, name: str) -> None:
    v = cell(CURRENT)
    recording = read_recording(table(tmp_path, f"time (ms),{name},I (pA)", TIME, v, CURRENT), Request())
    assert np.allclose(recording.v_mv, v, atol=1e-3)
