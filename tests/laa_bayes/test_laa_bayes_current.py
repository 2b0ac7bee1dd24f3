"""Is the current the one that was injected? ABF protocols, NWB pairings and text exports in their exporters' layouts, each with its trap."""

import datetime
import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files import recordings
from laa_bayes.files.request import Request

_spec = importlib.util.spec_from_file_location("abf_files", Path(__file__).with_name("abf_files.py"))
abf_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(abf_files)
output, write_abf2 = abf_files.output, abf_files.write_abf2

N = 6400  #: samples of a sweep; the first holding is N / 64 = 100
VM, IM = (0, "IN 0", "mV"), (1, "IN 1", "pA")


def voltages(n_sweep=3, n_inputs=1):
    rng = np.random.default_rng(0)
    return -65.0 + rng.standard_normal((n_sweep, N, n_inputs))


def current(path, sweep=0, **request):
    return recordings.read_recording(path, Request(sweep, **request)).current


def test_a_ramp_runs_from_the_level_before_and_the_last_level_stays_between_sweeps(tmp_path):
    path = write_abf2(tmp_path / "a.abf", voltages(), [VM], [output(epochs=[(2, 0.0, 10.0, 6000, 0, 0, 0)], last=1)])
    first, second = current(path, 1), current(path, 2)
    assert (first[0], first[100], first[6099], first[-1]) == pytest.approx((0.0, 0.0, 10.0, 10.0))
    assert (second[0], second[100], second[6099], second[-1]) == pytest.approx((10.0, 10.0, 20.0, 20.0))
    returns = write_abf2(tmp_path / "b.abf", voltages(), [VM], [output(epochs=[(2, 0.0, 10.0, 6000, 0, 0, 0)])])
    assert current(returns, 2)[[0, 6099, -1]] == pytest.approx([0.0, 20.0, 0.0])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (3, lambda i: np.where((i % 200 < 50) & (i < 950), 40.0, 5.0)),
        (4, lambda i: np.where(i >= 800, 5.0, np.where(i % 200 < 50, 5 + 35 * (i % 200) / 49, 40 - 35 * (i % 200 - 50) / 149))),
        (5, lambda i: np.where(i >= 800, 5.0, 5 + 35 * (0.5 - 0.5 * np.cos(2 * np.pi * (i % 200) / 200)))),
        (7, lambda i: np.where(i % 200 < 25, 40.0, np.where(i % 200 < 50, -30.0, 5.0))),
    ],
)  # fmt: skip
def test_trains_of_every_shape_begin_at_the_level_before(kind, expected, tmp_path):
    epochs = [(1, 5.0, 0.0, 1000, 0, 0, 0), (kind, 40.0, 0.0, 950, 0, 200, 50)]
    found = current(write_abf2(tmp_path / "a.abf", voltages(), [VM], [output(epochs=epochs)]))
    assert found[1100:2050] == pytest.approx(expected(np.arange(950)))
    assert found[2050:] == pytest.approx(0.0)


def test_durations_and_levels_step_from_sweep_to_sweep_and_the_holding_is_the_outputs(tmp_path):
    path = write_abf2(
        tmp_path / "a.abf", voltages(), [VM], [output(holding=-20.0, epochs=[(1, 50.0, 10.0, 1000, 100, 0, 0)])]
    )
    found = current(path, 2)
    assert found[[0, 99, 100, 1299, 1300, -1]] == pytest.approx([-20.0, -20.0, 70.0, 70.0, -20.0, -20.0])


@pytest.mark.parametrize(
    ("version", "parameter", "repeats", "levels"),
    [
        ((0, 0, 6, 2), 22, 0, (7.0, 9.0, 9.0)),
        ((0, 0, 6, 2), 22, 1, (7.0, 9.0, 7.0)),
        ((0, 0, 9, 2), 62, 0, (7.0, 9.0, 9.0)),
    ],
)
def test_a_user_list_replaces_the_level_of_its_epoch(version, parameter, repeats, levels, tmp_path):
    epochs = [(1, 0.0, 0.0, 500, 0, 0, 0), (1, -200.0, 50.0, 1000, 0, 0, 0)]
    options = {"user_list": (0, parameter, repeats, "7,9"), "version": version}
    path = write_abf2(tmp_path / "a.abf", voltages(), [VM], [output(epochs=epochs)], **options)
    assert [current(path, i)[700] for i in range(3)] == pytest.approx(levels)


def test_what_cannot_be_rebuilt_is_refused_by_name_and_a_file_replaces_it(tmp_path):
    played = write_abf2(
        tmp_path / "a.abf", voltages(), [VM], [output(enabled=True, source=2, path="C:\\stim\\wave.atf")]
    )
    with pytest.raises(InputError, match=r"stimulus file 'C:\\stim\\wave.atf', which is not here. .*--current-file"):
        current(played)
    unknown = write_abf2(tmp_path / "b.abf", voltages(), [VM], [output(epochs=[(8, 5.0, 0.0, 500, 0, 0, 0)])])
    with pytest.raises(InputError, match="epoch A of output 'Cmd 0' has the unknown type 8"):
        current(unknown)
    free = write_abf2(tmp_path / "c.abf", voltages(1), [VM], [output(holding=5.0)], mode=3)
    with pytest.raises(InputError, match="gap-free"):
        current(free)
    stimulus = tmp_path / "wave.atf"
    rows = "\n".join(f"{i * 5e-5:.5f}\t{30.0 if i >= 1000 else 0.0}" for i in range(N))
    stimulus.write_text(f'ATF\t1.0\n1\t2\n"Comment="\n"Time (s)"\t"Trace #1 (pA)"\n{rows}\n')
    assert current(played, current_file=stimulus)[[999, 1000]] == pytest.approx([0.0, 30.0])


def test_a_voltage_clamp_is_refused_by_the_commands_unit_and_by_the_telegraph(tmp_path):
    steps = [(1, -80.0, 0.0, 1000, 0, 0, 0), (1, -60.0, 0.0, 1000, 0, 0, 0)]
    v = np.full((1, N, 2), -80.0)
    v[0, 1100:2100, 1] = -60.0
    v[..., 0] = 100 * np.random.default_rng(0).standard_normal((1, N))
    inputs = [(0, "Ipatch", "pA"), (1, "V command", "mV")]
    path = write_abf2(tmp_path / "a.abf", v, inputs, [output(unit="mV", holding=-80.0, epochs=steps)])
    with pytest.raises(InputError, match="voltage clamp: output 'Cmd 0' commands mV"):
        current(path)
    told = write_abf2(tmp_path / "b.abf", voltages(1), [VM], [output(epochs=steps)], clamp=[0])
    with pytest.raises(InputError, match="the amplifier says so"):
        current(told)
    assert len(current(write_abf2(tmp_path / "c.abf", voltages(1), [VM], [output(epochs=steps)], clamp=[1]))) == N
    idle = write_abf2(tmp_path / "d.abf", voltages(1), [VM], [output(epochs=steps)], clamp=[2])
    with pytest.raises(InputError, match=r"recorded at I = 0 .*the command did not reach the cell"):
        current(idle)


def test_a_recorded_current_that_is_not_the_command_is_asked_for(tmp_path):
    step = [(1, 50.0, 0.0, 3000, 0, 0, 0)]
    data = voltages(1, 2)
    data[..., 1] = 15.0  # the other headstage, in voltage clamp
    path = write_abf2(tmp_path / "a.abf", data, [VM, IM], [output(epochs=step), output(1, "Cmd 1", "mV")])
    with pytest.raises(InputError, match=r"2 currents for channel 'IN 0', which do not agree.*--current-from NAME"):
        current(path)
    assert current(path, current_from="Cmd 0")[[0, 200]] == pytest.approx([0.0, 50.0])
    data[..., 1] = 2.0 + 50.0 * (np.arange(N) >= 100) * (np.arange(N) < 3100)
    monitor = write_abf2(tmp_path / "b.abf", data, [VM, IM], [output(epochs=step), output(1, "Cmd 1", "mV")])
    assert current(monitor)[[0, 200]] == pytest.approx([2.0, 52.0])


def test_of_several_electrodes_the_named_one_is_read_with_the_output_of_its_number(tmp_path):
    inputs = [(0, "IN 0", "mV"), (1, "IN 1", "mV")]
    outputs = [
        output(epochs=[(1, 10.0, 0.0, 3000, 0, 0, 0)]),
        output(1, "Cmd 1", epochs=[(1, 20.0, 0.0, 3000, 0, 0, 0)]),
    ]
    path = write_abf2(tmp_path / "a.abf", voltages(1, 2), inputs, outputs)
    with pytest.raises(InputError, match=r"2 voltage channels: 'IN 0' \(0, mV\), 'IN 1' \(1, mV\). Name one"):
        current(path)
    assert current(path, channel="IN 0")[200] == 10.0
    assert current(path, channel="IN 1")[200] == 20.0
    turns = write_abf2(tmp_path / "b.abf", voltages(2, 2), inputs, outputs, alternates=1)
    assert [current(turns, i, channel="IN 0")[200] for i in range(2)] == [10.0, 0.0]
    assert [current(turns, i, channel="IN 1")[200] for i in range(2)] == [0.0, 20.0]


@pytest.mark.real
def test_recorded_files_have_the_current_that_their_headers_state(real_data):
    folder = real_data("laa_bayes") / "abf"
    ramp = [current(folder / "171116sh_0016.abf", i) for i in range(11)]
    assert [(c[0], c[-1]) for c in ramp] == [(10.0 * max(i - 1, 0), 10.0 * i) for i in range(11)]
    assert np.all(np.diff(ramp[5]) >= 0)
    with pytest.raises(InputError, match="2 voltage channels: 'IN 0'"):
        current(folder / "190619B_0003.abf")
    assert current(folder / "190619B_0003.abf", 1, channel="IN 0").min() == -60.0
    with pytest.raises(InputError, match="voltage clamp"):
        current(folder / "2015_09_10_0001.abf")


# --- NWB ---------------------------------------------------------------------------------------------------------------------


class Nwb:
    """Build an NWB file of current-clamp series with pynwb."""

    def __init__(self):
        self.pynwb = pytest.importorskip("pynwb")
        self.file = self.pynwb.NWBFile("test", "laa", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
        device = self.file.create_device("amplifier")
        self.electrodes = [
            self.file.create_icephys_electrode(name=f"e{i}", description="d", device=device) for i in (0, 1)
        ]

    def add(self, kind, name, data, electrode=0, rate=1000.0, start=0.0, **more):
        series = getattr(self.pynwb.icephys, kind)(
            name=name, data=data, rate=rate, starting_time=start, electrode=self.electrodes[electrode], gain=1.0, **more
        )
        if kind == "CurrentClampSeries":
            self.file.add_acquisition(series)
        else:
            self.file.add_stimulus(series, use_sweep_table=False)
        return series

    def sweep(self, i, pa, electrode=0, number=None, names=("v{}", "i{}"), **more):
        t = np.arange(1000)
        v = -0.065 + 1e-3 * np.sin(t / 50) - 0.0001 * i
        label = f"{i}" if electrode == 0 else f"{i}b"
        marks = {} if number is None else {"sweep_number": np.uint32(number)}
        response = self.add("CurrentClampSeries", names[0].format(label), v, electrode, start=2.0 * i, **marks, **more)
        step = 1e-12 * pa * (t >= 100)
        return response, self.add(
            "CurrentClampStimulusSeries", names[1].format(label), step, electrode, start=2.0 * i, **marks
        )

    def write(self, path):
        with self.pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(self.file)
        return path


def test_two_electrodes_of_one_sweep_number_keep_their_own_stimuli(tmp_path):
    nwb = Nwb()
    for i in range(3):
        nwb.sweep(i, 10.0 * i, 0, number=i)
        nwb.sweep(i, 100.0 * i, 1, number=i)
    path = nwb.write(tmp_path / "a.nwb")
    with pytest.raises(InputError, match=r"2 electrodes: 'e0', 'e1'\. Name one: --channel"):
        current(path, 1)
    assert current(path, 1, channel="e0")[500] == pytest.approx(10.0)
    assert current(path, 2, channel="e1")[500] == pytest.approx(200.0)


def test_two_responses_of_one_sweep_are_asked_for(tmp_path):
    nwb = Nwb()
    for i in range(2):
        nwb.sweep(i, 10.0 * (i + 1), number=i)
        nwb.add("CurrentClampSeries", f"monitor{i}", 1e-3 * np.arange(1000.0), start=2.0 * i, sweep_number=np.uint32(i))
    path = nwb.write(tmp_path / "a.nwb")
    with pytest.raises(
        InputError, match=r"two responses of electrode 'e0' in sweep 0: 'monitor0', 'v0'\. Name the voltage"
    ):
        current(path)
    assert current(path, channel="v1")[500] == pytest.approx(20.0)


def test_sweeps_go_by_number_and_time_not_by_the_order_of_names(tmp_path):
    nwb = Nwb()
    for i in range(11):
        nwb.sweep(i, 10.0 * i, names=("sweep_{}", "stim_{}"))
    path = nwb.write(tmp_path / "a.nwb")
    assert [current(path, i)[500] for i in (2, 10)] == pytest.approx([20.0, 100.0])


def test_the_table_of_intracellular_recordings_pairs_and_cuts_series(tmp_path):
    nwb = Nwb()
    pa = np.repeat([10.0, 20.0, 30.0], 500) * np.tile(np.arange(500) >= 100, 3)
    response = nwb.add("CurrentClampSeries", "all", -0.065 + 1e-3 * np.sin(np.arange(1500) / 9))
    stimulus = nwb.add("CurrentClampStimulusSeries", "command", 1e-12 * pa)
    for i in (2, 0, 1):
        nwb.file.add_intracellular_recording(
            electrode=nwb.electrodes[0], response=response, response_start_index=500 * i, response_index_count=500,
            stimulus=stimulus, stimulus_start_index=500 * i, stimulus_index_count=500,
        )  # fmt: skip
    path = nwb.write(tmp_path / "a.nwb")
    assert recordings.n_sweeps(path) == 3
    assert [(len(current(path, i)), current(path, i)[300]) for i in range(3)] == [(500, 10.0), (500, 20.0), (500, 30.0)]
    other = Nwb()
    (first, _), (second, _) = (
        (other.add("CurrentClampSeries", f"r{i}", -0.065 + 1e-3 * np.sin(np.arange(1000) / 9)), None) for i in range(2)
    )
    a, z = (
        other.add("CurrentClampStimulusSeries", n, 1e-12 * p * (np.arange(1000) >= 100))
        for n, p in (("z", 10), ("a", 20))
    )
    for response, stimulus in ((first, a), (second, z)):
        other.file.add_intracellular_recording(electrode=other.electrodes[0], response=response, stimulus=stimulus)
    crossed = other.write(tmp_path / "b.nwb")
    assert [current(crossed, i)[500] for i in range(2)] == pytest.approx([10.0, 20.0])


def test_nothing_that_tells_the_pairing_is_a_refusal(tmp_path):
    nwb = Nwb()
    for i in range(2):
        nwb.add("CurrentClampSeries", f"r{i}", -0.065 + 1e-3 * np.sin(np.arange(1000) / 9))
        nwb.add("CurrentClampStimulusSeries", f"s{i}", 1e-11 * (i + 1) * (np.arange(1000) >= 100))
    path = nwb.write(tmp_path / "a.nwb")
    with pytest.raises(InputError, match=r"2 stimuli \('s0', 's1'\) may belong to it.*--current-from"):
        current(path)
    assert current(path, 1, current_from="s1")[500] == pytest.approx(20.0)


def test_a_stimulus_without_an_electrode_is_nobodys_where_there_are_two(tmp_path):
    nwb = Nwb()
    nwb.sweep(0, 10.0, 0)
    nwb.add("CurrentClampSeries", "other", -0.065 + 1e-3 * np.sin(np.arange(1000) / 9), 1)
    path = nwb.write(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        del file["stimulus/presentation/i0/electrode"]
    with pytest.raises(InputError, match="its electrode has no stimulus"):
        current(path, channel="e1")
    assert current(path, channel="e1", current_from="i0")[500] == pytest.approx(10.0)


def test_a_conversion_of_zero_is_refused(tmp_path):
    nwb = Nwb()
    nwb.sweep(0, 10.0)
    path = nwb.write(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        file["stimulus/presentation/i0/data"].attrs["conversion"] = 0.0
    with pytest.raises(InputError, match="'i0' has conversion 0"):
        current(path)


def test_response_and_stimulus_are_put_on_one_clock(tmp_path):
    nwb = Nwb()
    nwb.add("CurrentClampSeries", "v", -0.065 + 1e-3 * np.sin(np.arange(5000) / 9), rate=5000.0, start=10.0)
    step = 1e-11 * (np.arange(8000) >= 1000)  # at 10 kHz, .1 s later: the step is at 200 ms of the response
    nwb.add("CurrentClampStimulusSeries", "i", step, rate=10_000.0, start=10.1)
    found = current(nwb.write(tmp_path / "a.nwb"))
    onsets = np.flatnonzero(np.diff(found)) + 1
    assert len(found) == 5000
    assert onsets.tolist() == [1000, 4500]
    apart = Nwb()
    apart.add("CurrentClampSeries", "v", -0.065 + 1e-3 * np.sin(np.arange(1000) / 9))
    apart.add("CurrentClampStimulusSeries", "i", step, start=50.0)
    with pytest.raises(InputError, match="begins 50000 ms after the response"):
        current(apart.write(tmp_path / "b.nwb"))


def test_bias_current_is_added_and_a_tail_of_nan_is_cut(tmp_path):
    nwb = Nwb()
    nwb.sweep(0, 30.0, bias_current=-40e-12, bridge_balance=12e6)
    path = nwb.write(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        file["acquisition/v0/data"][800:] = np.nan
    found = recordings.read_recording(path)
    assert len(found.v_mv) == len(found.current) == 800
    assert (found.current[0], found.current[500]) == pytest.approx((-40.0, -10.0))
    assert any("bridge balance 12 MOhm" in note for note in found.notes)
    with h5py.File(path, "r+") as file:
        file["acquisition/v0/data"][700:] = 0.0
    assert len(recordings.read_recording(path).v_mv) == 700
    with h5py.File(path, "r+") as file:
        file["acquisition/v0/data"][300] = np.nan
    with pytest.raises(InputError, match="1 missing values in the voltage"):
        recordings.read_recording(path)


@pytest.mark.parametrize("harm", ["dangling", "self", "scalar", "group", "text", "empty"])
def test_a_damaged_nwb_file_is_one_line(harm, tmp_path):
    nwb = Nwb()
    nwb.sweep(0, 30.0)
    path = nwb.write(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        series = file["acquisition/v0"]
        del series["data"]
        if harm == "dangling":
            series["data"] = h5py.SoftLink("/nowhere")
        elif harm == "self":
            series["data"] = h5py.SoftLink("/acquisition/v0/data")
        elif harm == "scalar":
            series["data"] = 1.0
        elif harm == "group":
            series.create_group("data")
        elif harm == "text":
            series["data"] = np.array([b"a", b"b"])
        else:
            series["data"] = h5py.Empty("f8")
    with pytest.raises(InputError, match="data"):
        current(path)


# --- tables ------------------------------------------------------------------------------------------------------------------


def lines(header, rows, delimiter="\t"):
    return "\n".join([delimiter.join(header), *(delimiter.join(row) for row in rows)]) + "\n"


ROWS = [(f"{i * 1e-4:.4f}", f"{-65 + 0.1 * (i % 7):.2f}", f"{-50.0 if i >= 50 else 0.0:.1f}") for i in range(200)]


@pytest.mark.parametrize(
    ("header", "delimiter", "comma", "encoding"),
    [
        (("Time (s)", "Trace #1 (mV)", "Trace #2 (pA)"), "\t", False, "utf-8"),
        (("Time (s)", "Trace #1 (mV)", "Trace #1 (pA)"), "\t", False, "utf-16"),
        ((["Zeit", "t (s)"][1], "Vm (mV)", "Im (pA)"), ";", True, "latin-1"),
        (('"Time (s)"', '"IN 0 (mV)"', '"Cmd 0 (pA)"'), ",", False, "utf-8"),
        (("time / s", "voltage / mV", "current / pA"), "\t", True, "utf-8-sig"),
    ],
)
def test_text_exports_of_every_dialect_are_read(header, delimiter, comma, encoding, tmp_path):
    rows = [tuple(c.replace(".", ",") for c in row) if comma else row for row in ROWS]
    path = tmp_path / "a.txt"
    path.write_bytes(lines(header, rows, delimiter).encode(encoding))
    found = recordings.read_recording(path)
    assert (found.dt_ms, found.current_unit) == (0.1, "pA")
    assert found.current[[49, 50]] == pytest.approx([0.0, -50.0])
    assert found.v_mv[1] == pytest.approx(-64.9)


def test_a_row_of_units_below_the_names_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(lines(("t", "Vm", "I"), [("s", "mV", "nA"), *ROWS], ","))
    found = recordings.read_recording(path, Request(current_scale=1.0))
    assert found.dt_ms == pytest.approx(0.1)
    assert found.current[60] == pytest.approx(-50_000.0)


def test_several_traces_are_sweeps_paired_by_number_and_never_guessed(tmp_path):
    header = ("Time (s)", "Trace #1 (mV)", "Trace #2 (mV)", "Trace #2 (pA)", "Trace #1 (pA)")
    rows = [(t, v, v, "7.0", "3.0") for t, v, _ in ROWS]
    path = tmp_path / "a.atf"
    path.write_text('ATF\t1.0\n2\t5\n"AcquisitionMode=Episodic Stimulation"\n"Comment="\n' + lines(header, rows))
    assert [current(path, i)[0] for i in range(2)] == [3.0, 7.0]
    two = tmp_path / "b.csv"
    two.write_text(
        lines(("time_ms", "voltage_soma_mV", "voltage_dendrite_mV", "current_pA"), [r[:4] for r in rows], ",")
    )
    with pytest.raises(InputError, match=r"2 voltage columns: .*Name one: --channel"):
        recordings.read_recording(two)


def test_decimal_commas_and_points_in_one_table_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    rows = [(t.replace(".", ","), v, i) for t, v, i in ROWS]
    path.write_text(lines(("time_s", "voltage_mV", "current_pA"), rows, ";"))
    with pytest.raises(InputError, match="with a decimal comma and with a point"):
        recordings.read_recording(path)


def test_two_candidates_in_a_file_of_arrays_are_asked_for(tmp_path):
    t, v, i = np.array(ROWS, float).T
    np.savez(tmp_path / "a.npz", t_s=t, v_mV=v, current_pA=i, i_nA=i)
    with pytest.raises(InputError, match=r"2 vectors for current: current_pA, i_nA\. Name one: --current-from"):
        recordings.read_recording(tmp_path / "a.npz")
    assert current(tmp_path / "a.npz", current_from="current_pA")[60] == -50.0
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:700])
    with pytest.raises(InputError, match="npz file"):
        recordings.read_recording(tmp_path / "cut.npz")


def with_clock(path, **fields):
    """Write fields of the protocol of an ABF 2 file."""
    raw = bytearray(path.read_bytes())
    block = raw[512 * int.from_bytes(raw[76:80], "little") :]
    abf_files.pack_named(block, abf_files.PROTOCOL, fields)
    path.write_bytes(raw[: len(raw) - len(block)] + block)
    return path


def test_an_interval_that_the_starts_of_the_sweeps_contradict_is_refused_or_told(tmp_path, caplog):
    def made(**fields):
        return with_clock(write_abf2(tmp_path / "a.abf", voltages(), [VM], [output(holding=50.0)]), **fields)

    assert recordings.read_recording(made(fSynchTimeUnit=50.0)).dt_ms == pytest.approx(0.05)
    with pytest.raises(InputError, match=r"sweeps of 640 ms at a sample every 0\.1 ms, which begin 320 ms apart"):
        recordings.read_recording(made(fSynchTimeUnit=50.0, fADCSequenceInterval=100.0))
    assert "unit of time" not in caplog.text
    recordings.read_recording(made(fSynchTimeUnit=50.0, fADCSequenceInterval=48.0))
    assert "48 us, which is no multiple of the file's unit of time (50 us)" in caplog.text
