"""Is a clock that the rest of a file contradicts refused, in every format that states it twice, and is the clock that was used said?"""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files import clock, recordings
from laa_bayes.files.request import Request

_spec = importlib.util.spec_from_file_location("exporters", Path(__file__).with_name("test_laa_bayes_exporters.py"))
exporters = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exporters)
DT, N, T, step, membrane = (getattr(exporters, name) for name in ("DT", "N", "T", "step", "membrane"))
COLUMNS = [T, membrane(step(-50)), step(-50)]


def read(path, **request):
    return recordings.read_recording(path, Request(**request))


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("Sampling rate: 20 kHz", 0.05),
        ("sample frequency (Hz) = 10000", 0.1),
        ("Sampling Interval [us]: 50", 0.05),
        ("sampled at 8 channels\nsample period 0.2 ms", 0.2),
        ("Interval=\t1.0E-4 s", 0.1),
        ("sampling rate 25000 samples/s", 0.04),
    ],
)
def test_a_sentence_on_sampling_is_understood(text, ms):
    assert [found for _, found in clock.intervals_in(text)] == [pytest.approx(ms)]


@pytest.mark.parametrize(
    "text", ["filter 10 kHz", "sampling rate unknown", "sampling rate 20", "interval between sweeps 5 s", "Resampled"]
)
def test_what_is_no_sentence_on_sampling_says_nothing(text):
    assert not list(clock.intervals_in(text))


@pytest.mark.parametrize("mark", ["# ", "", '"'])
def test_a_line_above_a_table_that_contradicts_its_times_is_refused(mark, tmp_path):
    header = ("Time (ms)", "Vm (mV)", "Im (pA)")
    right = exporters.table(tmp_path / "a.csv", header, COLUMNS, above=f"{mark}Sampling rate: 10 kHz\n")
    assert read(right).notes[0] == "clock: a sample every 0.1 ms (10 kHz), 400 ms"
    wrong = exporters.table(tmp_path / "b.csv", header, COLUMNS, above=f"{mark}Sampling rate: 20 kHz\n")
    with pytest.raises(InputError, match=r"says 'Sampling rate: 20 kHz', its times are 0\.1 ms apart"):
        read(wrong)


def test_labcharts_interval_is_compared_with_its_times(tmp_path):
    rows = "\n".join(f"{t / 1e3:.6g}\t{v:.6g}\t{i:.6g}" for t, v, i in zip(*COLUMNS, strict=True))
    head = "Interval=\t{} s\nChannelTitle=\tVm\tIm\nUnitName=\tmV\tpA\n"
    (tmp_path / "a.txt").write_text(head.format("1.0E-4") + rows)
    assert read(tmp_path / "a.txt").dt_ms == pytest.approx(0.1)
    (tmp_path / "b.txt").write_text(head.format("2.0E-4") + rows)
    with pytest.raises(InputError, match=r"its own text says 'Interval= 2\.0E-4 s'"):
        read(tmp_path / "b.txt")


def test_of_several_statements_one_has_to_agree(tmp_path):
    header = ("Time (ms)", "Vm (mV)", "Im (pA)")
    both = "# Sampling rate: 20 kHz\n# sampling rate: 10 kHz, after decimation\n"
    assert read(exporters.table(tmp_path / "a.csv", header, COLUMNS, above=both)).dt_ms == pytest.approx(DT)


def test_sweeps_of_an_axon_text_file_that_last_beyond_the_next_start_are_refused(tmp_path):
    header = ("Time (ms)", "Trace #1 (mV)", "Trace #1 (pA)", "Trace #2 (mV)", "Trace #2 (pA)")
    columns = [T, *2 * COLUMNS[1:]]
    for apart, good in ((400, True), (250, False)):
        above = f'ATF\t1.0\n2\t5\n"AcquisitionMode=Episodic Stimulation"\n"SweepStartTimesMS=0.000,{apart}.000"\n'
        path = exporters.table(tmp_path / "a.atf", header, columns, sep="\t", above=above)
        if good:
            assert read(path, sweep=1).dt_ms == pytest.approx(DT)
            continue
        with pytest.raises(InputError, match="sweeps of 400 ms by their times, which begin 250 ms apart"):
            read(path)


@pytest.mark.parametrize(
    ("name", "right", "wrong"), [("fs", 10.0, 5.0), ("sampling_rate_hz", 1e4, 10.0), ("sample_interval_us", 100, 50)]
)
def test_a_number_that_is_named_as_a_rate_and_is_not_that_of_the_times_is_refused(name, right, wrong, tmp_path):
    arrays = dict(zip(("t_ms", "v_mV", "i_pA"), COLUMNS, strict=True))
    for value, good in ((right, True), (wrong, False)):
        np.savez(tmp_path / "a.npz", **arrays, **{name: value})
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file.update(arrays)
            file.attrs[name] = value
        with h5py.File(tmp_path / "c.h5", "w") as file:
            file.update(arrays | {name: value})
        for path in (tmp_path / "a.npz", tmp_path / "b.h5", tmp_path / "c.h5"):
            if good:
                assert read(path).dt_ms == pytest.approx(DT)
                continue
            with pytest.raises(InputError, match=f"'{name}' is {wrong:g}, the times are 0.1 ms apart"):
                read(path)


def test_a_simulators_own_step_is_told_and_not_refused(tmp_path, caplog):
    np.savez(tmp_path / "a.npz", t_ms=T, v_mV=COLUMNS[1], i_pA=COLUMNS[2], dt=0.025)
    assert read(tmp_path / "a.npz").dt_ms == pytest.approx(DT)
    assert "is it the step of a simulator?" in caplog.text


def nwb(path, rate=1e4, timestamps=None, unit="seconds", start=0.0):
    """Write one response and its stimulus, with a rate, with timestamps, or with both."""
    with h5py.File(path, "w") as file:
        for group, kind, values, what in (
            ("acquisition/v", "CurrentClampSeries", COLUMNS[1] / 1e3, "volts"),
            ("stimulus/presentation/i", "CurrentClampStimulusSeries", step(-50) * 1e-12, "amperes"),
        ):
            series = file.create_group(group)
            series.attrs["neurodata_type"] = kind
            series["data"] = values
            series["data"].attrs["unit"] = what
            if rate is not None:
                series["starting_time"] = start
                series["starting_time"].attrs.update(rate=rate, unit=unit)
            if timestamps is not None:
                series["timestamps"] = timestamps
                series["timestamps"].attrs["unit"] = unit
    return path


def test_an_nwb_series_with_a_rate_and_timestamps_has_to_have_one_clock(tmp_path):
    assert read(nwb(tmp_path / "a.nwb")).dt_ms == pytest.approx(DT)
    assert read(nwb(tmp_path / "b.nwb", timestamps=T / 1e3)).dt_ms == pytest.approx(DT)
    with pytest.raises(InputError, match="'v' has 10000 samples a second by its timestamps and 20000 by its rate"):
        read(nwb(tmp_path / "c.nwb", rate=2e4, timestamps=T / 1e3))
    with pytest.raises(InputError, match="begins 3 s apart by the two"):
        read(nwb(tmp_path / "d.nwb", timestamps=T / 1e3, start=3.0))


def test_nwb_times_in_another_unit_than_the_formats_are_refused(tmp_path):
    assert read(nwb(tmp_path / "a.nwb", rate=None, timestamps=T / 1e3, unit="s")).dt_ms == pytest.approx(DT)
    with pytest.raises(InputError, match="'v' states its timestamps in 'ms', the format has seconds"):
        read(nwb(tmp_path / "b.nwb", rate=None, timestamps=T, unit="ms"))
    with pytest.raises(InputError, match="'v' states its starting_time in 'milliseconds'"):
        read(nwb(tmp_path / "c.nwb", unit="milliseconds"))


def test_a_wavesurfer_sweep_that_lasts_longer_than_it_was_asked_to_is_refused(tmp_path):
    path = exporters.wavesurfer(tmp_path / "a.h5")
    for asked, good in ((0.4, True), (1.0, True), (np.inf, True), (0.2, False)):  # longer: it was stopped
        with h5py.File(path, "r+") as file:
            file["header"].pop("SweepDuration", None)
            file["header/SweepDuration"] = np.array([[asked]])
        if good:
            assert read(path).dt_ms == pytest.approx(0.1)
            continue
        with pytest.raises(
            InputError, match=r"a sweep of 0\.4 s by the sampling rate of the header, which asked for 0\.2 s"
        ):
            read(path)


def test_spikes_longer_than_those_of_neurons_are_told(tmp_path, caplog):
    v = np.full(N, -65.0)
    for at in (1100, 1700, 2300):
        v[at : at + 20], v[at + 20 : at + 30] = 20.0, -75.0
    for factor, told in ((1.0, False), (20.0, True)):
        v_mv = v + 0.05 * np.random.default_rng(0).standard_normal(N)
        exporters.table(tmp_path / "a.csv", ("Time (ms)", "Vm (mV)", "Im (pA)"), [factor * T, v_mv, step(100)])
        read(tmp_path / "a.csv")
        assert ("3 spikes last 40 ms above -20 mV by the clock of the file" in caplog.text) == told
