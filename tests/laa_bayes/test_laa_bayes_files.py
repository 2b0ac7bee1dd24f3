"""Are recordings read as they were written? Every format and unit, windows, resampling, and what must be refused."""

import datetime
import logging

import h5py
import numpy as np
import pytest

from hdf5io import InputError
from laa_bayes import config
from laa_bayes import simulate as simulations
from laa_bayes.files import recordings
from laa_bayes.files.request import Request
from laa_bayes.fit import infer
from laa_bayes.network import trained
from laa_bayes.neuron import recording
from laa_bayes.posterior import summary, typicality

AREA_UM2 = 15_400.0  # 1.54e-4 cm2


def table(path, header, columns, delimiter=","):
    np.savetxt(path, np.column_stack(columns), delimiter=delimiter, header=header, comments="", fmt="%.17g")
    return path


def write_nwb(path, v_mv, current_pa, dt_ms):
    """Write a real NWB file with a voltage in scaled, offset volts and its stimulus."""
    pynwb = pytest.importorskip("pynwb")
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    nwb = pynwb.NWBFile("test", "laa", start)
    electrode = nwb.create_icephys_electrode(name="e", description="d", device=nwb.create_device("amplifier"))
    common = {
        "rate": 1e3 / dt_ms,
        "electrode": electrode,
        "gain": 1.0,
        "sweep_number": np.uint64(4),
        "starting_time": 0.25,
    }
    nwb.add_acquisition(
        pynwb.icephys.CurrentClampSeries(name="v", data=(v_mv + 60) * 10, conversion=1e-4, offset=-0.06, **common)
    )
    nwb.add_stimulus(pynwb.icephys.CurrentClampStimulusSeries(name="i", data=current_pa, conversion=1e-12, **common))
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
    return path


def write_hdf5(path, time_s, v_mv, current_na):
    with h5py.File(path, "w") as file:
        for name, values, unit in (("time", time_s, "s"), ("voltage", v_mv, "mV"), ("current", current_na, "nA")):
            file[name] = values
            file[name].attrs["units"] = unit
    return path


@pytest.fixture
def formats(tmp_path, noisy_trace):
    """Return the same trace in every format, in different units: name -> (path, needs an area)."""
    t, v, density = noisy_trace
    pa = density * AREA_UM2 * 1e-8 * 1e6
    return {
        "csv density": (table(tmp_path / "a.csv", "time_ms,voltage_mV,current_uA_cm2", (t, v, density)), False),
        "csv V s nA": (table(tmp_path / "b.csv", "time_s,voltage_V,current_nA", (t / 1e3, v / 1e3, pa / 1e3)), True),
        "tsv brackets": (table(tmp_path / "c.tsv", "Time (ms)\tV [mV]\tI (pA)", (t, v, pa), "\t"), True),
        "hdf5": (write_hdf5(tmp_path / "d.h5", t / 1e3, v, pa / 1e3), True),
        "nwb": (write_nwb(tmp_path / "e.nwb", v, pa, 1.0), True),
    }


def test_the_same_trace_in_every_format_and_unit_gives_the_same_posterior_means(formats):
    means = {}
    for name, (path, needs_area) in formats.items():
        area = AREA_UM2 if needs_area else None
        options = config.InferConfig(
            model="none", recording=path, area_um2=area, prior="default", noise="known", grid_ms=1.0, draws=500
        )
        means[name] = summary.summary(infer.infer(recordings.read_recording(path), options, None))["mean"]
    reference = means.pop("csv density")
    for found in means.values():
        assert found == pytest.approx(reference, rel=1e-4)


def test_nwb_conversion_and_offset_are_applied(formats, noisy_trace):
    found = recordings.read_recording(formats["nwb"][0])
    assert found.v_mv == pytest.approx(noisy_trace[1], abs=1e-9)
    assert (found.dt_ms, found.t0_ms, found.current_unit) == (1.0, 250.0, "pA")


def test_a_headerless_table_needs_named_columns(tmp_path, noisy_trace):
    path = tmp_path / "bare.csv"
    np.savetxt(path, np.column_stack(noisy_trace), delimiter=",")
    with pytest.raises(InputError, match="Name the columns with units: --columns"):
        recordings.read_recording(path)
    found = recordings.read_recording(path, Request(columns=("time_ms", "voltage_mV", "current_uA_cm2")))
    assert found.v_mv == pytest.approx(noisy_trace[1])


BAD = {
    "no unit": ("time_ms,voltage,current_pA", lambda t, v, i: (t, v, i), "'voltage' has no unit"),
    "unknown unit": ("time_ms,voltage_kV,current_pA", lambda t, v, i: (t, v, i), "unknown unit 'kV'"),
    "missing column": ("time_ms,voltage_mV,speed_pA", lambda t, v, i: (t, v, i), "no column for current"),
    "missing value": (
        "time_ms,voltage_mV,current_pA",
        lambda t, v, i: (t, np.where(t == 7, np.nan, v), i),
        "1 missing values in the voltage",
    ),
    "irregular time": (
        "time_ms,voltage_mV,current_pA",
        lambda t, v, i: (t + 0.3 * (t == 9), v, i),
        "time is not uniform",
    ),
    "time and voltage swapped": ("voltage_mV,time_ms,current_pA", lambda t, v, i: (t, v, i), "time does not increase"),
    "a rich current in place of the voltage": (
        "time_ms,current_uA_cm2,voltage_mV",
        lambda t, v, i: (t, v, i),
        "Are voltage and current swapped",
    ),
    "voltage and current swapped": (
        "time_ms,current_pA,voltage_mV",
        lambda t, v, i: (t, v, np.sign(i)),
        "Are voltage and current swapped",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_table_is_refused_with_the_reason(name, tmp_path, noisy_trace):
    header, change, reason = BAD[name]
    path = table(tmp_path / "bad.csv", header, change(*noisy_trace))
    with pytest.raises(InputError, match=reason):
        recordings.read_recording(path)


def test_empty_damaged_and_unknown_files_are_refused(tmp_path):
    for name, content, reason in (
        ("a.csv", "", "empty"),
        ("b.csv", "time_ms,voltage_mV,current_pA\n", "header and no rows"),
        ("c.abf", "nonsense", "not readable as an ABF file"),
        ("d.nwb", "nonsense", "not a readable HDF5"),
        ("e.npz", "nonsense", "not readable as an npz file"),
        ("f.xyz", "nonsense", "unknown format"),
        ("g.csv", "time_ms,voltage_mV,current_pA\n1,2\n", "row 1 has 2 values"),
    ):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(InputError, match=reason):
            recordings.read_recording(path)


def test_a_unit_that_looks_wrong_only_warns(tmp_path, noisy_trace, caplog):
    t, v, i = noisy_trace
    with caplog.at_level(logging.WARNING, logger="laa_bayes"):
        logging.getLogger("laa_bayes").propagate = True
        recordings.read_recording(table(tmp_path / "w.csv", "time_ms,voltage_mV,current_pA", (t, v + 60, i)))
    assert "is unusual; is the unit right?" in caplog.text


def step_recording(n_spikes=0):
    t = np.arange(0, 600, 0.05)
    v = np.where(t < 200, -65.0, -55.0)
    for k in range(n_spikes):
        v[int((250 + 40 * k) / 0.05)] = 30.0
    return recording.Recording(v, np.where((t >= 200) & (t < 500), 100.0, 0.0), "pA", 0.05, 0.0, "test")


def test_the_sub_threshold_window_runs_from_20_ms_before_to_100_ms_after_the_step():
    cut = recording.apply_window(step_recording(), "sub-threshold")
    assert (cut.t0_ms, round(len(cut.v_mv) * cut.dt_ms)) == (180.0, 120)


def test_the_first_spike_window_ends_4_ms_before_the_spike():
    cut = recording.apply_window(step_recording(3), "first-spike")
    assert (cut.t0_ms, cut.time_ms[-1]) == pytest.approx((140.0, 246.0), abs=0.1)


def test_windows_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="no current step"):
        recording.apply_window(step_recording(3), "sub-threshold")
    with pytest.raises(InputError, match="0 spikes"):
        recording.apply_window(step_recording(), "first-spike")
    with pytest.raises(InputError, match="expected all, auto, sub-threshold"):
        recording.apply_window(step_recording(), "middle")
    with pytest.raises(InputError, match="lasts from 0"):
        recording.apply_window(step_recording(), "100:9000")


def test_resampling_removes_what_the_grid_cannot_hold_and_keeps_the_charge():
    t = np.arange(0, 200, 0.05)
    slow, fast = np.sin(2 * np.pi * t / 50), np.sin(2 * np.pi * t / 0.31)
    current = np.where((t >= 50.2) & (t < 120.4), 7.0, 0.0)
    found = recording.resample(recording.Recording(slow + fast, current, "pA", 0.05, 0.0, "test"), 0.5)
    inner = slice(20, -20)
    assert found.v_mv[inner] == pytest.approx(np.sin(2 * np.pi * found.time_ms / 50)[inner], abs=0.01)
    assert found.current.sum() * 0.5 == pytest.approx(current.sum() * 0.05)
    with pytest.raises(InputError, match="cannot be refined"):
        recording.resample(found, 0.1)


def rc_step(sag_mv=0.0):
    """Return a membrane of 90 pF and 5 nS behind 15 MOhm of electrode under a step of -50 pA, with a slow depolarising sag."""
    t = np.arange(0, 220, 0.25)
    after = np.maximum(t - 20, 0.0)
    current = np.where(t >= 20, -50.0, 0.0)
    v = -65 + 0.015 * current - 50 / 5.0 * (1 - np.exp(-after / 18.0)) + sag_mv * (1 - np.exp(-after / 150))
    return recording.Recording(v, current, "pA", 0.25, 0.0, "test")


def test_the_textbook_fit_finds_tau_and_conductance_of_an_rc_membrane_behind_an_electrode():
    found = recording.textbook_fit(rc_step())
    assert (found["tau_ms"], found["g_L"], found["C_m"]) == pytest.approx((18.0, 5.0, 90.0), rel=0.01)
    assert 1 / found["g_input"] == pytest.approx(1 / 5.0 + 0.015, rel=0.01)  # nS and GOhm: the electrode is in series
    flat = rc_step()
    assert recording.textbook_fit(flat._replace(current=0 * flat.current)) is None


def test_the_textbook_fit_stops_at_the_peak_of_a_sagging_response():
    found = recording.textbook_fit(rc_step(sag_mv=3.0))
    assert found["tau_ms"] == pytest.approx(18.0, rel=0.25)
    assert found["rise_63_ms"] < found["tau_ms"] + 2.0


def test_a_current_in_pa_becomes_a_density_through_the_area():
    found = recording.as_density(step_recording(), 10_000.0)  # 1e-4 cm2: 100 pA are 1 uA/cm2
    assert found.current.max() == pytest.approx(1.0)


def test_a_network_trained_on_a_recordings_current_applies_to_that_recording_only(tmp_path):
    cell = step_recording()
    header, columns = "time_ms,voltage_mV,current_pA", (cell.time_ms, cell.v_mv, cell.current)
    path = table(tmp_path / "cell.csv", header, columns)
    options = config.TrainConfig(output="m", prior="lumped", protocol_from=path, window="sub-threshold")
    network = trained.TrainedModel(None, simulations.recipe(options, 1000, 0, 1000), None, None, {})
    for window, applies in (("sub-threshold", True), ("0:120", False)):
        request = config.InferConfig(model="m", recording=path, window=window)
        cut, system, _ = infer.prepare(recordings.read_recording(path), request, network)
        assert (system, cut.dt_ms) == ("lumped", 0.25)
        assert infer.network_applies(network, cut) is applies
    with pytest.raises(InputError, match="Use --prior lumped, or give --area-um2"):
        simulations.recipe(config.TrainConfig(output="m", protocol_from=path), 1000, 0, 1000)


@pytest.mark.slow
def test_noise_series_resistance_and_capacitance_of_a_simulated_electrode_are_recovered():
    from laa_bayes.neuron import simulator

    rng, dt = np.random.default_rng(4), 0.25
    current = np.where((np.arange(480) >= 80), -100.0, 0.0)
    v = simulator.simulate(np.array([[120.0, 6.0, -65.0, 5.0, -30.0, 300.0]]), current, dt)[0]
    noise = np.zeros(480)
    for i in range(1, 480):
        noise[i] = 0.95 * noise[i - 1] + 0.05 * rng.standard_normal()
    trace = recording.Recording(v + 0.018 * current + noise, current, "pA", dt, 0.0, "simulated cell")
    posterior = infer.infer(trace, config.InferConfig(model="none", recording="x.csv"), None)
    found = summary.summary(posterior)
    assert summary.coverage_90(posterior) == pytest.approx((0.9, 0.9), abs=0.1)
    for name, value in (("C_m", 120.0), ("g_L", 6.0)):
        assert abs(found["mean"][name] - value) < 3.5 * found["sd"][name]
        assert found["sd"][name] < 0.1 * value
    assert found["nuisance"]["R_s"]["mean"] == pytest.approx(18.0, abs=1.5)
    assert found["nuisance"]["phi"]["mean"] == pytest.approx(0.95, abs=0.04)
    assert found["activation_supported"] is False
    assert not any(found["identified"][name] for name in ("k", "G_act"))
    assert found["verdict"] == "typical"


def facts_before_any_fit(path):
    found, options = recordings.read_recording(path), config.InferConfig(model="none", recording=path)
    cut, _, its_priors = infer.prepare(found, options, None)
    spec, observed = infer.make_problem(cut, its_priors, options, infer.known_noise(cut, options, None, False))
    return infer.facts_of(spec, observed, infer.recording_for_facts(found, options, cut), None)


@pytest.mark.real
def test_every_spiking_allen_step_is_misspecified_before_anything_is_fitted(real_data):
    for path in sorted((real_data("laa_bayes") / "allen").glob("*.npz")):
        facts = facts_before_any_fit(path)
        assert any("upward crossings under constant current" in fact for fact in facts)
        assert typicality.judge([], facts).verdict == "misspecified"


@pytest.mark.real
@pytest.mark.slow
def test_a_spiking_allen_step_stays_misspecified_after_the_fits(real_data):
    path = real_data("laa_bayes") / "allen" / "allen_518290966_57.npz"
    result = infer.infer(recordings.read_recording(path), config.InferConfig(model="none", recording=path), None)
    assert result.typicality.verdict == "misspecified"
    assert set(facts_before_any_fit(path)) <= set(result.typicality.facts)


@pytest.mark.real
def test_abf_sweeps_are_read_with_their_protocol(real_data):
    found = recordings.read_recording(real_data("laa_bayes") / "abf" / "171116sh_0018.abf", Request(sweep=1))
    assert (found.dt_ms, found.current_unit, found.current.min()) == (0.05, "pA", -100.0)
    assert len(recording.step_onsets(found)) == 5
    with pytest.raises(InputError, match="the file has 17 sweeps"):
        recordings.read_recording(real_data("laa_bayes") / "abf" / "171116sh_0018.abf", Request(sweep=99))
