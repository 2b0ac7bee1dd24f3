"""Are files of other exporters read as they mean? Each layout as it is written, with a sibling that holds its trap."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files import checks, recordings
from laa_bayes.files.request import Request, request_of
from laa_bayes.neuron.recording import Recording

_spec = importlib.util.spec_from_file_location("abf_files", Path(__file__).with_name("abf_files.py"))
abf_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(abf_files)

DT, N = 0.1, 4000
T = DT * np.arange(N)


def step(pa):
    return np.where((T >= 100) & (T < 300), float(pa), 0.0)


def membrane(current, seed=0, r_s=0.0):
    """Return the voltage of 100 pF and 5 nS at -70 mV, .05 mV of noise."""
    v, decay = np.empty(N), np.exp(-DT * 5 / 100)
    v[0] = -70.0
    for i in range(N - 1):
        v[i + 1] = -70 + current[i] / 5 + (v[i] + 70 - current[i] / 5) * decay
    return v + 1e-3 * r_s * current + 0.05 * np.random.default_rng(seed).standard_normal(N)


def read(path, sweep=0, **request):
    return recordings.read_recording(path, Request(sweep, **request))


def table(path, header, columns, sep=",", above=""):
    rows = (sep.join(f"{x:.8g}" for x in row) for row in zip(*columns, strict=True))
    path.write_text(above + "\n".join([sep.join(header), *rows]) + "\n")
    return path


# --- tables ------------------------------------------------------------------------------------------------------------------


def test_numbered_electrodes_are_paired_by_their_number_and_not_by_place(tmp_path):
    columns = [T, membrane(step(-50)), step(100), membrane(step(100)), step(-50)]
    path = table(tmp_path / "a.csv", ("t (ms)", "V1 (mV)", "I2 (pA)", "V2 (mV)", "I1 (pA)"), columns)
    with pytest.raises(InputError, match=r"2 voltage columns: 'V1 \(mV\)', 'V2 \(mV\)'"):
        recordings.n_sweeps(path)
    assert (read(path, channel="V1").current.min(), read(path, channel="V2").current.max()) == (-50.0, 100.0)
    one = table(
        tmp_path / "b.csv",
        ("t (s)", "Membrane Voltage (V)", "Injected Current (A)"),
        [T / 1e3, columns[1] / 1e3, step(-50) * 1e-12],
    )
    assert read(one).current.min() == pytest.approx(-50.0)  # fmt: skip


def test_text_above_the_header_is_skipped(tmp_path):
    above = "Cell: 12\nDate, 2020-01-01\nBridge balance: 12 MOhm\n\n"
    path = table(
        tmp_path / "a.csv", ("Time (ms)", "Vm (mV)", "Im (pA)"), [T, membrane(step(-50)), step(-50)], above=above
    )
    assert read(path).current.min() == -50.0


def patchmaster(path, sweeps):
    text = "Series_1_1\n\n"
    for i, pa in enumerate(sweeps):
        text += f'Sweep_1_1_{i + 1},  10:20:3{i}.123\n"Index", "Time[s]", "I-mon[A]", "V-mon[V]"\n'
        rows = zip(T / 1e3, step(pa) * 1e-12, membrane(step(pa)) / 1e3, strict=True)
        text += "".join(f"{k}, {a:.6e}, {b:.6e}, {c:.6e}\n" for k, (a, b, c) in enumerate(rows)) + "\n"
    path.write_text(text)
    return path


def test_sweeps_below_one_another_are_sweeps(tmp_path):
    """PatchMaster's export, a column of sweep numbers, and a time that begins again."""
    heka = patchmaster(tmp_path / "a.asc", (-50, 100))
    currents = np.concatenate([step(-50), step(100)])
    both = [np.tile(T, 2), np.concatenate([membrane(step(-50)), membrane(step(100))]), currents]
    again = table(tmp_path / "b.csv", ("t (ms)", "Vm (mV)", "Im (pA)"), both)
    long = table(tmp_path / "c.csv", ("sweep", "t (ms)", "Vm (mV)", "Im (pA)"), [np.repeat([3, 5], N), *both])
    for path in (heka, again, long):
        assert recordings.n_sweeps(path) == 2
        assert len(read(path, 1).v_mv) == N
        assert (read(path, 0).current.min(), read(path, 1).current.max()) == pytest.approx((-50.0, 100.0))
    disordered = np.tile(T, 2)
    disordered[2000:2010] = 0.0
    path = table(tmp_path / "d.csv", ("t (ms)", "Vm (mV)", "Im (pA)"), [disordered, *both[1:]])
    with pytest.raises(InputError, match="time does not increase"):
        read(path)


def lab_chart(columns, *, units="UnitName=\tmV\tnA\n"):
    head = f"Interval=\t0.0001 s\nTimeFormat=\tStartOfBlock\nChannelTitle=\tVm\tIm\nRange=\t200.0 mV\t1.0 nA\n{units}"
    rows = ["\t".join(f"{x:.6g}" for x in row) for row in zip(*columns, strict=True)]
    return head + "\n".join([*rows[:50], rows[50] + "\t#* drug washed in", *rows[51:]]) + "\n"


@pytest.mark.parametrize("units", ["UnitName=\tmV\tnA\n", ""])
def test_blocks_of_labchart_are_sweeps_in_the_units_of_their_preamble(units, tmp_path):
    blocks = ([T / 1e3, membrane(step(pa)), step(pa) / 1e3] for pa in (-50, 100))
    path = tmp_path / "a.txt"
    path.write_text("".join(lab_chart(block, units=units) for block in blocks))
    assert recordings.n_sweeps(path) == 2
    assert (read(path, 0).current.min(), read(path, 1).current.max()) == pytest.approx((-50.0, 100.0))
    assert (read(path, 1).dt_ms, len(read(path, 1).v_mv)) == (pytest.approx(DT), N)
    path.write_text(lab_chart([membrane(step(-50)), step(-50) / 1e3], units=units))
    with pytest.raises(InputError, match="a LabChart export of 2 titles, 2 units and 2 columns; time and one column"):
        read(path)


@pytest.mark.parametrize("mark", ["# ", "#", "%"])
def test_a_header_that_is_marked_as_a_comment_is_one(mark, tmp_path):
    header = (f"{mark}t (ms)", "Vm (mV)", "Im (pA)")
    path = table(tmp_path / "a.txt", header, [T, membrane(step(-50)), step(-50)], above="# time, voltage of cell 3\n")
    assert read(path).current.min() == -50.0


def test_what_is_held_or_commanded_is_not_what_was_recorded(tmp_path):
    v, i = membrane(step(-50)), step(-50)
    held = table(tmp_path / "a.csv", ("t (ms)", "Vm (mV)", "I_hold (pA)"), [T, v, 0 * T - 20])
    with pytest.raises(InputError, match=r"which current belongs to 'Vm \(mV\)'\? Name one of 'I_hold \(pA\)'"):
        read(held)
    with pytest.raises(InputError, match="no column for voltage"):
        read(table(tmp_path / "b.csv", ("t (ms)", "V_cmd (mV)", "Im (pA)"), [T, v, i]))
    both = table(tmp_path / "c.csv", ("t (ms)", "Vm (mV)", "Stim-1 (pA)", "I-mon (pA)"), [T, v, i, i + 2])
    with pytest.raises(InputError, match=r"Name one of 'Stim-1 \(pA\)', 'I-mon \(pA\)'"):
        read(both)
    assert read(both, current_from="Stim-1").current.min() == -50.0


def test_a_current_of_unusual_size_is_confirmed_or_scaled(tmp_path):
    path = table(tmp_path / "a.csv", ("t (ms)", "Vm (mV)", "Im (nA)"), [T, membrane(step(-50)), step(-50)])
    with pytest.raises(
        InputError, match=r"the current reaches 50 nA .* Is it in pA\? Then multiply it: --current-scale"
    ):
        read(path)
    assert read(path, current_scale=1.0).current.min() == -50000.0
    scaled = read(path, current_scale=1e-3)
    assert scaled.current.min() == -50.0
    assert scaled.notes[-1] == "current multiplied by 0.001"
    alone = table(tmp_path / "b.csv", ("t (ms)", "Im (nA)"), [T, step(-50)])
    with pytest.raises(InputError, match=r"b\.csv: the current reaches 50 nA"):
        read(path, current_file=alone)
    assert read(path, current_file=alone, current_scale=1e-3).current.min() == -50.0
    with pytest.raises(InputError, match="--current-scale 0: a finite factor"):
        request_of(SimpleNamespace(current_scale=0.0))


def test_a_resistance_that_no_cell_has_is_a_wrong_unit_but_a_brief_strong_pulse_is_none(tmp_path, caplog):
    header, v = ("t (ms)", "Vm (mV)", "Im (nA)"), membrane(step(-50))
    small = table(tmp_path / "a.csv", header, [T, v, step(-50) / 10])  # pA that are called nA
    with pytest.raises(InputError, match=r"moves by \S+ mV, the current by 5000 pA, \S+ MOhm: is the current in pA"):
        read(small)
    assert read(small, current_scale=1e-3).current.min() == -5.0
    pulse = np.where((T >= 100) & (T < 100.5), 5000.0, 0.0)
    assert read(table(tmp_path / "b.csv", header, [T, membrane(pulse), pulse / 1e3])).current.max() == 5000.0
    assert "is the current in nA?" not in caplog.text
    read(table(tmp_path / "c.csv", ("t (ms)", "Vm (mV)", "Im (pA)"), [T, membrane(step(-150)), step(-150) / 200]))
    assert "is the current in nA?" in caplog.text


# --- what cannot be a current clamp -----------------------------------------------------------------------------------------------


def clamp(r_s=10.0, tau=0.1):
    """Return voltage and current of a cell under voltage clamp: the current overshoots, the voltage follows within ``tau`` ms."""
    command, v, at, voltage, current = np.where((T >= 100) & (T < 300), -60.0, -70.0), -70.0, -70.0, [], []
    for target in command:
        voltage.append(at)
        total = 0.0
        for _ in range(20):
            i = (at - v) / r_s * 1e3
            v, at, total = v + 0.005 * (i - 5 * (v + 70)) / 100, at + 0.005 * (target - at) / tau, total + i
        current.append(total / 20)
    rng = np.random.default_rng(1)
    return np.array(voltage) + 0.1 * rng.standard_normal(N), np.array(current) + 5 * rng.standard_normal(N)


def test_a_voltage_clamp_is_refused_in_a_table_too(tmp_path):
    path = table(tmp_path / "a.csv", ("t (ms)", "Vm (mV)", "Im (pA)"), [T, *clamp()])
    with pytest.raises(InputError, match="a voltage clamp, to which this model does not apply"):
        read(path)


@pytest.mark.parametrize("r_s", [0.0, 50.0])
def test_a_current_clamp_is_no_voltage_clamp_even_behind_a_large_resistance(r_s):
    noise = 3 * np.random.default_rng(0).standard_normal(N)
    assert not checks.is_clamped(Recording(membrane(step(-200), r_s=r_s), step(-200) + noise, "pA", DT, 0.0, "a"))


def test_a_current_in_an_impossible_unit_is_refused(tmp_path):
    path = table(tmp_path / "a.csv", ("t (ms)", "Vm (mV)", "Im (A)"), [T, membrane(step(-50)), step(-50)])
    with pytest.raises(InputError, match=r"the current reaches 5e\+13 pA"):
        read(path)
    small = table(tmp_path / "b.csv", ("t (ms)", "Vm (mV)", "Im (pA)"), [T, membrane(step(-50)), step(-50) * 1e-12])
    with pytest.raises(InputError, match=r"the current reaches 5e-11 pA"):
        read(small)


# --- HDF5 and npz -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "factors", "reason"),
    [
        (("time_ms", "voltage_mV", "current_pA"), (1, 1e-3, 1), "Is it in volts"),
        (("time_ms", "voltage_mV", "current_pA"), (1, 1, 1e-3), "Is it in nA"),
        (("time_ms", "voltage_mV", "current_pA"), (1e-3, 1, 1), "Is it in seconds"),
        (("t (ms)", "v (mV)", "i_cap (pA)"), (1, 1, 1), "no column for current"),
        (("t (ms)", "v (mV)", "I_Na (pA)"), (1, 1, 1), "no column for current"),
    ],
)
def test_a_wrong_unit_or_an_ionic_current_is_refused(header, factors, reason, tmp_path):
    columns = [f * x for f, x in zip(factors, (T, membrane(step(-50)), step(-50)), strict=True)]
    with pytest.raises(InputError, match=reason):
        read(table(tmp_path / "a.csv", header, columns))


def test_a_table_stops_where_its_voltage_does(tmp_path):
    v = membrane(step(-50))
    for name, end in (("nan", np.nan), ("zero", 0.0)):  # a stopped sweep, or a shorter one among longer ones
        path = table(
            tmp_path / f"{name}.csv", ["Time (ms)", "Vm (mV)", "Im (pA)"], [T, np.where(T < 350, v, end), step(-50)]
        )
        assert len(read(path).v_mv) == len(read(path).current) == 3500
    gap = np.where(np.abs(T - 200) < 1, np.nan, v)
    with pytest.raises(InputError, match="missing values in the voltage, first at sample"):
        read(table(tmp_path / "gap.csv", ["Time (ms)", "Vm (mV)", "Im (pA)"], [T, gap, step(-50)]))


def test_words_in_a_column_that_nobody_needs_do_not_stop_the_rest(tmp_path):
    rows = [
        f"{t:.1f},{'NA' if t > 350 else a},{b},base" for t, a, b in zip(T, membrane(step(-50)), step(-50), strict=True)
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["time_ms,voltage_mV,current_pA,label", *rows]))
    assert (len(read(path).v_mv), read(path).current.min()) == (3501, -50.0)
    path.write_text(
        "\n".join(["time_ms,voltage_mV,current_pA", *(r.rpartition(",")[0].replace("-70", "rest", 1) for r in rows)])
    )
    with pytest.raises(InputError, match="not a number: 'rest"):
        read(path)


def test_named_columns_begin_below_a_preamble(tmp_path):
    lab_chart = "Interval=\t0.0001 s\nChannelTitle=\tVm\tIm\nRange=\t200.0 mV\t1.0 nA\n"
    path = tmp_path / "a.txt"
    columns = zip(T / 1e3, membrane(step(-50)), step(-50) / 1e3, strict=True)
    path.write_text(lab_chart + "\n".join("\t".join(f"{x:.6g}" for x in row) for row in columns))
    found = read(path, columns=("time_s", "voltage_mV", "current_nA"))
    assert (len(found.v_mv), found.dt_ms, found.current.min()) == pytest.approx((N, DT, -50.0))


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_sampling_interval_that_no_membrane_bears_is_refused(unit, tmp_path):
    time = T if unit == "s" else 1e3 * T
    with pytest.raises(InputError, match="a sample every 100 ms, by the unit of time"):
        read(
            table(tmp_path / "a.csv", [f"Time ({unit})", "Vm (mV)", "Im (pA)"], [time, membrane(step(-50)), step(-50)])
        )


def test_a_recorded_current_of_almost_nothing_only_warns(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(N)
    assert read(table(tmp_path / "a.csv", ("t (ms)", "V (mV)", "I (pA)"), [T, membrane(step(0)), noise])).current.any()


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("Vmon-2 (mV)", "Imon-1 (pA)"), True),
        (("Vm_A (mV)", "Im_B (pA)"), True),
        (("Vmon-1 (mV)", "Imon-1 (pA)"), False),
        (("Trace #1 (mV)", "Trace #2 (pA)"), False),
        (("Channel 1 (mV)", "Channel 2 (pA)"), False),
        (("IN 0 (mV)", "IN 1 (pA)"), False),
        (("V_soma (mV)", "I_stim (pA)"), False),
        (("Vm (mV)", "Im_1 (pA)"), False),
    ],
)
def test_a_lone_current_of_another_electrode_is_asked_about(names, asked, tmp_path):
    path = table(tmp_path / "a.csv", ("t (ms)", *names), [T, membrane(step(-50)), step(-50)])
    arrays = dict(
        zip(("t_ms", *(n.replace(" (", "_").rstrip(")") for n in names)), (T, membrane(step(-50)), step(-50)))
    )
    np.savez(tmp_path / "a.npz", **arrays)
    if not asked:
        assert read(path).current.min() == -50.0
        return
    with pytest.raises(InputError, match=re.escape(f"which current belongs to '{names[0]}'")):
        read(path)
    with pytest.raises(InputError, match="--current-from I"):
        read(tmp_path / "a.npz")
    assert read(path, current_from=names[1]).current.min() == -50.0
    assert read(tmp_path / "a.npz", current_from=list(arrays)[2]).current.min() == -50.0


def test_lettered_electrodes_are_paired_by_their_letter_and_units_follow_a_comma(tmp_path):
    columns = [T, membrane(step(-50)), step(100), membrane(step(100)), step(-50)]
    path = table(tmp_path / "a.csv", ("t (ms)", "Vm_A (mV)", "Im_B (pA)", "Vm_B (mV)", "Im_A (pA)"), columns)
    assert (read(path, channel="Vm_A").current.min(), read(path, channel="Vm_B").current.max()) == (-50.0, 100.0)
    beside = table(
        tmp_path / "b.txt", ("Time, s", "Voltage, mV", "Current, nA"), [T / 1e3, columns[1], step(-0.05)], "\t"
    )
    assert (read(beside).dt_ms, read(beside).current.min()) == pytest.approx((DT, -50.0))


def test_a_current_file_without_the_sweep_is_refused(tmp_path):
    header = ("t (ms)", "Sweep 1 (pA)", "Sweep 2 (pA)")
    currents = table(tmp_path / "i.csv", header, [T, step(-50), step(100)])
    header = ("t (ms)", *(f"Sweep {i} (mV)" for i in (1, 2, 3)))
    path = table(tmp_path / "v.csv", header, [T, *(membrane(step(x)) for x in (-50, 100, 150))])
    assert read(path, 1, current_file=currents).current.max() == 100.0
    with pytest.raises(InputError, match="--sweep 2, but the file has 2 currents"):
        read(path, 2, current_file=currents)


def test_vectors_as_matlab_writes_them_and_parts_that_nobody_needs_are_no_obstacle(tmp_path):
    v, i = membrane(step(-50)), step(-50)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values, unit in (("time", T, "ms"), ("voltage", v, "mV"), ("current", i, "pA")):
            file[name] = values[:, None]
            file[name].attrs["Units"] = np.array([unit.encode()])
    np.savez(tmp_path / "a.npz", t_ms=T, v_mV=v[None], i_pA=i, meta=np.array({"cell": 1}, dtype=object))
    for path in (tmp_path / "a.h5", tmp_path / "a.npz"):
        assert (recordings.n_sweeps(path), len(read(path).v_mv), read(path).current.min()) == (1, N, -50.0)


@pytest.mark.parametrize(
    ("name", "attribute", "reason"),
    [
        ("current_pA", {"units": "nA"}, "'current_pA' is in pA by its name and in nA by its attribute"),
        ("current_pA", {"gain": 20.0}, "'current_pA' has an attribute 'gain'"),
        ("voltage_mV", {"offset": 5.0}, "'voltage_mV' has an attribute 'offset'"),
    ],
)
def test_attributes_that_leave_the_samples_open_are_refused(name, attribute, reason, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["time_ms"], file["voltage_mV"], file["current_pA"] = T, membrane(step(-50)), step(-50)
        file["time_ms"].attrs["scale"] = 1.0
        file[name].attrs.update(attribute)
    with pytest.raises(InputError, match=reason):
        read(tmp_path / "a.h5")


def test_as_many_currents_as_voltages_are_expected(tmp_path):
    two, three = np.stack([membrane(step(pa)) for pa in (-50, 100)]), np.stack([step(pa) for pa in (-50, 0, 100)])
    np.savez(tmp_path / "a.npz", t_ms=T, v_mV=two, i_pA=three)
    with pytest.raises(InputError, match="'i_pA' has 3 sweeps, the voltage 2: which belong together"):
        read(tmp_path / "a.npz", 1)
    np.savez(tmp_path / "b.npz", t_ms=T, v_mV=two, i_pA=three[0])  # one protocol for all
    assert read(tmp_path / "b.npz", 1).current.min() == -50.0


def test_matrices_hold_sweeps_along_the_axis_that_is_not_time(tmp_path):
    v, i = (np.array([f(step(pa)) for pa in (-50, 100)]) for f in (membrane, lambda x: x))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["time_ms"], file["voltage_mV"], file["current_pA"] = T, v, i
    np.savez(tmp_path / "b.npz", t_ms=T, v_mV=v.T, i_pA=i.T)
    for path in (tmp_path / "a.h5", tmp_path / "b.npz"):
        assert recordings.n_sweeps(path) == 2
        assert (read(path, 0).current.min(), read(path, 1).current.max()) == (-50.0, 100.0)
        with pytest.raises(InputError, match="has 2 sweeps"):
            read(path, 2)
    np.savez(tmp_path / "c.npz", t_ms=T[:20], v_mV=v[:, :20].repeat(10, 0), i_pA=step(5)[:20])
    with pytest.raises(InputError, match=r"shape \(20, 20\), there are 20 times: which axis is time\?"):
        read(tmp_path / "c.npz")


def wavesurfer(path, active=(1, 1, 0)):
    with h5py.File(path, "w") as file:
        header = file.create_group("header")
        header["VersionString"], header["AcquisitionSampleRate"] = np.bytes_("0.97"), np.array([[1e4]])
        header["AIChannelNames"] = np.array([b"V", b"I", b"light"])
        header["AIChannelUnits"] = np.array([b"mV", b"pA", b"V"])
        header["AIChannelScales"] = np.array([[0.01], [0.0005], [1.0]])
        header["IsAIChannelActive"] = np.array([[x] for x in active], "u1")
        header["AIScalingCoefficients"] = np.array([[0, 3e-5, 0, 0], [1e-3, 3e-5, 0, 0]])[: sum(active)]
        for number, pa in ((2, 100), (10, 200), (1, -50)):
            volts = np.array([membrane(step(pa)) * 0.01, step(pa) * 0.0005 - 1e-3])[: sum(active)]
            file[f"sweep_{number:04d}/analogScans"] = np.round(volts / 3e-5).astype("i2")
    return path


def test_wavesurfer_counts_become_the_channels_units(tmp_path):
    path = wavesurfer(tmp_path / "a.h5")
    assert recordings.n_sweeps(path) == 3
    first = read(path)
    assert first.dt_ms == pytest.approx(0.1)
    assert first.current[2000] == pytest.approx(-50.0, abs=0.1)
    assert first.v_mv[2900] == pytest.approx(-80.0, abs=0.3)
    assert read(path, 2).current[2000] == pytest.approx(200.0, abs=0.1)  # by number, not by the order of names
    alone = wavesurfer(tmp_path / "b.h5", active=(1, 0, 0))
    with pytest.raises(InputError, match="no channel recorded a current, and commands are not kept: --current-file"):
        read(alone)


# --- NWB --------------------------------------------------------------------------------------------------------------------------


def nwb1(path, version=None, stated=(-50.0, 100.0), si=True):
    """Write a file of version 1 as the Allen Institute did: early ones hold SI units and a conversion that misleads."""
    with h5py.File(path, "w") as file:
        file["nwb_version"] = b"NWB-1.0.5"
        if version:
            file["general/generated_by"] = np.array([b"name", b"pipeline", b"version", version])
        for number, pa, amplitude in ((10, -50, stated[0]), (9, 100, stated[1])):
            parts = (
                ("acquisition/timeseries", membrane(step(pa)) * 1e-3, 1e-3, b"Volts", b"CurrentClampSeries"),
                ("stimulus/presentation", step(pa) * 1e-12, 1e-12, b"Amps", b"CurrentClampStimulusSeries"),
            )
            for group, values, conversion, unit, kind in parts:
                series = file.create_group(f"{group}/Sweep_{number}")
                series["data"] = values if si else values / conversion
                series["data"].attrs.update(conversion=conversion, unit=unit)
                series["starting_time"] = float(number)
                series["starting_time"].attrs["rate"] = 1e4
                series.attrs["ancestry"] = np.array([b"TimeSeries", b"PatchClampSeries", kind])
                series["electrode_name"] = b"Electrode 1"
            series["aibs_stimulus_name"], series["aibs_stimulus_amplitude_pa"] = b"Long Square", amplitude
            file[f"acquisition/timeseries/Sweep_{number}/bias_current"] = -10e-12
    return path


@pytest.mark.parametrize(("version", "si"), [(None, True), (b"1.0.4", True), (b"1.1.0", False)])
def test_version_1_files_are_read_by_their_pipelines_rule(version, si, tmp_path):
    path = nwb1(tmp_path / "a.nwb", version, si=si)
    assert recordings.n_sweeps(path) == 2
    first, second = read(path, 0), read(path, 1)
    assert (first.current.max(), second.current.min()) == pytest.approx((90.0, -60.0))
    assert first.v_mv[2900] == pytest.approx(-50.0, abs=0.3)
    assert any("bias current -10 pA" in note for note in first.notes)


def mies(path, bias=-40.0, unit="pA", notebook=True, begins=0.0):
    """Write a sweep as MIES does: every number an array of one, the amplifier's settings in pA, MOhm and pF."""
    with h5py.File(path, "w") as file:
        if notebook:
            file.create_group("general/labnotebook/ITC18USB_Dev_0")
        file.create_group("general/intracellular_ephys/electrode_0")
        for name, values, conversion, told, kind in (
            ("acquisition/data_00003_AD0", membrane(step(-50)), [1e-3], "volts", "CurrentClampSeries"),
            ("stimulus/presentation/data_00003_DA0", begins + step(-50), [1e-12], "amperes", "CurrentClampStimulusSeries"),
        ):  # fmt: skip
            series = file.create_group(name)
            series["data"], series["starting_time"] = values.astype("f4"), [12.0]
            series["data"].attrs.update(conversion=conversion, unit=np.array([told], h5py.string_dtype()))
            series["starting_time"].attrs["rate"] = [1e4]
            series["electrode"] = h5py.SoftLink("/general/intracellular_ephys/electrode_0")
            series.attrs.update(neurodata_type=np.array([kind], h5py.string_dtype()), sweep_number=np.array([3], "u8"))
        response = file["acquisition/data_00003_AD0"]
        for name, value, its in (("bias_current", bias, unit), ("bridge_balance", 12.0, unit and "MOhm")):
            response[name] = np.array([value], "f4")
            if its:
                response[name].attrs["unit"] = its
    return path


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"unit": None},
        {"unit": None, "notebook": False},  # converted by ipfx
        {"bias": -0.04, "unit": "nA"},
        {"bias": -40e-12, "unit": None, "notebook": False},  # as the format has it
    ],
)
def test_the_bias_current_is_in_the_unit_of_its_exporter(told, tmp_path):
    found = read(mies(tmp_path / "a.nwb", **told))
    assert (found.current[0], found.current.min(), found.dt_ms) == pytest.approx((-40.0, -90.0, 0.1))
    assert "bridge balance 12 MOhm: R_s is what it left" in found.notes


def test_a_bias_current_that_no_cell_gets_is_refused_by_name(tmp_path):
    with pytest.raises(
        InputError, match=r"'data_00003_AD0' has bias_current -0.04, which is -4e\+10 pA.*--current-file"
    ):
        read(mies(tmp_path / "a.nwb", bias=-0.04, unit=None, notebook=False))


def test_a_stimulus_that_begins_at_the_bias_current_holds_it_already(tmp_path):
    found = read(mies(tmp_path / "a.nwb", begins=-40.0))
    assert (found.current[0], found.current.min()) == pytest.approx((-40.0, -90.0))
    assert any("holds it already" in note for note in found.notes)


def test_a_stimulus_of_another_size_than_its_series_states_is_refused(tmp_path):
    path = nwb1(tmp_path / "a.nwb", b"1.1.0", stated=(-50e3, 100e3), si=False)
    with pytest.raises(
        InputError, match=r"reaches 100 pA, its amplitude is stated as 100000 pA: its conversion is wrong"
    ):
        read(path)


def test_a_column_of_samples_and_a_plain_stimulus_series_are_read(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        for name, values, unit, kind in (
            ("acquisition/v", membrane(step(-50)) * 1e-3, "volts", "CurrentClampSeries"),
            ("stimulus/presentation/i", step(-50) * 1e-12, "amperes", "TimeSeries"),
            ("stimulus/presentation/ttl", step(1), "a.u.", "TimeSeries"),
        ):
            series = file.create_group(name)
            series["data"], series["starting_time"] = values[:, None], 0.0
            series["data"].attrs["unit"], series["starting_time"].attrs["rate"] = unit, 1e4
            series.attrs["neurodata_type"] = kind
    assert read(tmp_path / "a.nwb").current.min() == pytest.approx(-50.0)


# --- stimulus files of ABF, formats of others -----------------------------------------------------------------------------------------


def played(tmp_path, **changes):
    sweeps = -65.0 + np.random.default_rng(0).standard_normal((2, 6400, 1))
    output = abf_files.output(enabled=True, source=2, path="C:\\stim\\Wave.ATF", **changes)
    return abf_files.write_abf2(tmp_path / "a.abf", sweeps, [(0, "IN 0", "mV")], [output])


def atf(path, levels, unit="pA", n=6400):
    titles = ['"Time (s)"', *(f'"Trace #{i + 1} ({unit})"' for i in range(len(levels)))]
    rows = ("\t".join([f"{i * 5e-5:.5f}", *(str(x if i >= 1000 else 0.0) for x in levels)]) for i in range(n))
    path.write_text(f'ATF\t1.0\n1\t{len(titles)}\n"Comment="\n' + "\t".join(titles) + "\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("levels", "changes", "expected"),
    [((30.0,), {}, (30.0, 30.0)), ((30.0, 40.0), {}, (30.0, 40.0)), ((30.0, 40.0), {"file_sweep": 2}, (40.0, 40.0)),
     ((30.0,), {"scale": 2.0, "offset": 5.0}, (65.0, 65.0))],
)  # fmt: skip
def test_a_stimulus_file_beside_the_recording_is_played(levels, changes, expected, tmp_path):
    atf(tmp_path / "wave.atf", levels)
    path = played(tmp_path, **changes)
    assert tuple(read(path, i).current[2000] for i in range(2)) == pytest.approx(expected)
    assert read(path).current[0] == pytest.approx(changes.get("offset", 0.0))


@pytest.mark.parametrize(
    ("stimulus", "changes", "reason"),
    [({"levels": (1.0, 2.0, 3.0)}, {}, "has 3 sweeps, the recording 2"), ({"levels": (1.0,)}, {"file_sweep": -1}, "is not told"),
     ({"levels": (1.0,), "unit": "nA"}, {}, "is in 'nA', output 'Cmd 0' in pA"), ({"levels": (1.0,), "n": 3200}, {}, "3200 samples")],
)  # fmt: skip
def test_a_stimulus_file_that_leaves_something_open_is_refused(stimulus, changes, reason, tmp_path):
    atf(tmp_path / "wave.atf", **stimulus)
    with pytest.raises(InputError, match=f"{reason}.*--current-file"):
        read(played(tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "content", "maker", "line"),
    [
        ("a.dat", b"DAT2\0\0", "HEKA", "pip install x-to-nwb, then x-to-nwb a.dat, which writes a.nwb"),
        ("a.pxp", b"IgorP", "Igor (packed experiment)", 'Save Vm as "Vm.ibw"; Save Im as "Im.ibw"'),
        ("a.itx", b"IGOR", "Igor (text)", 'LoadWave/T "a.itx"; Save Vm as "Vm.ibw"'),
        ("a.smrx", b"S64", "Spike2 (64 bit)", "neo.io.CedIO('a.smrx').read_segment().analogsignals; n.savetxt('a.csv'"),
        ("a.edr", b"VER=", "WinEDR", "neo.io.WinEdrIO('a.edr').read_segment().analogsignals; n.savetxt('a.csv'"),
        ("a.mat", b"MATL", "MATLAB", "writetable(table(t, v, i, 'VariableNames', {'time (s)', 'voltage (mV)', 'current (pA)'}), 'a.csv')"),
        ("a.adicht", b"CFWB", "LabChart", "File, Export, LabChart Text File, with times"),
    ],
)  # fmt: skip
def test_formats_that_are_not_read_are_named_with_the_line_that_converts_them(name, content, maker, line, tmp_path):
    (tmp_path / name).write_bytes(content * 20)
    with pytest.raises(InputError, match=re.escape(f"{maker}'s own format is not read. Convert it: ")) as told:
        read(tmp_path / name)
    assert line in str(told.value)


def test_packed_integers_are_unpacked(tmp_path):
    """netCDF's scale_factor and add_offset, as xarray packs a trace into 16 bits."""
    v = membrane(step(100))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, values, unit in (("time", T, "ms"), ("current", step(100), "pA")):
            file[name] = values
            file[name].attrs["units"] = unit
        file["voltage"] = np.round((v + 60) / 0.001).astype("i2")
        file["voltage"].attrs.update(units="mV", scale_factor=0.001, add_offset=-60.0)
    np.testing.assert_allclose(read(tmp_path / "x.h5").v_mv, v, atol=6e-4)
