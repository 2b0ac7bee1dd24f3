"""Is time what was recorded: do pauses, bad frames and empty frames end windows and baselines, in every format?"""

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast import simulate
from meso_forecast.activity.observed import observed, segments, warmed
from meso_forecast.activity.reading import Rules
from meso_forecast.activity.split import SplitRule
from meso_forecast.activity.windows import frame_interval, window_origins
from meso_forecast.config import PreprocessConfig
from meso_forecast.files.recording import open_recording
from meso_forecast.files.session import MesoscopeSession
from meso_forecast.files.sources import open_source
from meso_forecast.files.write_recording import write_recording

CONTEXT, HORIZON = 48, 8


def fluorescence(n_time=1500, n=8, seed=0):
    rng = np.random.default_rng(seed)
    slow = np.cumsum(rng.standard_normal((n_time, n)), 0) * 3
    return (1000 + slow - slow.min(0) + 40 * np.abs(rng.standard_normal((n_time, n)))).astype(np.float32)


def preprocessed(session, folder, **rules):
    found = write_recording(session, folder / "r.h5", Rules(**rules), SplitRule(), overwrite=True)
    return found, open_recording(folder / "r.h5")


def opened(source, **given):
    return open_source(PreprocessConfig(source=str(source), output="x", **given))


def spans(recording):
    """Return the time that each window takes, in s."""
    p = recording.panel
    origins = window_origins(p.usable, np.zeros(len(p.usable), np.int8), 0, CONTEXT, HORIZON)
    return recording.times[origins + HORIZON] - recording.times[origins - CONTEXT + 1]


def activity_file(folder, f, times):
    with h5py.File(folder / "a.h5", "w") as file:
        file["activity_matrix"], file["timestamps"] = f, times
    return folder / "a.h5"


def suite2p(folder, f, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "F.npy", f.T)
    np.save(folder / "Fneu.npy", np.full(f.T.shape, 100, np.float32))
    np.save(folder / "iscell.npy", np.c_[np.ones(f.shape[1]), np.full(f.shape[1], 0.9)])
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return folder


@pytest.mark.parametrize("length", [0.5, 5.0, 600.0])
def test_no_window_crosses_a_pause_of_an_activity_file(tmp_path, length):
    times = np.arange(1500) * 0.2
    times[700:] += length
    found, recording = preprocessed(opened(activity_file(tmp_path, fluorescence(), times)), tmp_path)
    assert spans(recording).max() < (CONTEXT + HORIZON - 1) * 0.2 + 1e-6
    assert found["n_pauses"] == (length > 1)
    assert found["not_observed"]["FOV_00"]["after a gap"] == 1
    assert found["observed_fraction"] < 1


def test_no_window_crosses_a_pause_that_is_in_every_clock_of_a_session(tmp_path):
    folder = simulate.simulate_session(tmp_path / "one", 2, 40, 1200, seed=2)
    for fov in (folder / "alf").glob("FOV_*"):
        times = np.load(fov / "mpci.times.npy")
        times[600:] += 300
        np.save(fov / "mpci.times.npy", times)
    found, recording = preprocessed(opened(folder), tmp_path)
    assert found["n_pauses"] == 2
    assert spans(recording).max() < 13
    assert found["pauses"][0]["length_s"] == pytest.approx(300.2, abs=0.1)


def test_a_pause_of_one_field_of_view_makes_only_its_frames_unobserved(tmp_path):
    folder = simulate.simulate_session(tmp_path / "one", 2, 40, 1200, seed=2)
    fov = folder / "alf" / "FOV_00"
    keep = np.r_[0:600, 660:1200]
    for path in fov.glob("mpci.*.npy"):
        np.save(path, np.load(path)[keep])
    _, recording = preprocessed(opened(folder), tmp_path)
    assert spans(recording).max() < 12.5
    assert recording.observed[:, 1].sum() > recording.observed[:, 0].sum() + 50


def test_the_running_baseline_starts_anew_after_a_pause(tmp_path):
    """The level jumps over the pause; a baseline that crossed it would take a window to follow."""
    f = fluorescence()
    f[750:] += 4000
    times = np.arange(1500) * 0.2
    times[750:] += 900
    np.save(tmp_path / "F.npy", f.T)
    folder = suite2p(tmp_path / "s", f)
    session = MesoscopeSession.from_suite2p(folder, 5.0)
    session.fovs[0].times = times
    _, recording = preprocessed(session, tmp_path, neucoeff=0.0, window_s=30.0, normalise="none")
    with h5py.File(tmp_path / "r.h5") as file:
        x = file["activity"][:]
    assert np.isnan(x[750:755]).all()  # it warms up again
    assert np.nanmax(np.abs(x[750:])) < 0.5
    assert recording.panel.usable[1000]


def test_frames_without_a_value_are_not_observed_and_lose_no_cell(tmp_path):
    f = fluorescence()
    gone = f.copy()
    gone[700:703] = np.nan
    times = np.arange(1500) * 0.2
    folder = simulate.simulate_session(tmp_path / "one", 1, 40, 1500, seed=2)
    trace = folder / "alf/FOV_00/mpci.ROIActivityF.npy"
    alf = np.load(trace)
    alf[700:703] = np.nan
    np.save(trace, alf)
    sources = {
        "activity": (opened(activity_file(tmp_path, gone, times)), 8),
        "suite2p": (opened(suite2p(tmp_path / "s", gone), fs_hz=5.0), 8),
        "alf": (opened(folder), 12),
    }
    for name, (session, n) in sources.items():
        found, recording = preprocessed(session, tmp_path)
        assert found["n_neurons"] == n, name
        assert not recording.panel.usable[700:703].any(), name
        assert next(iter(found["not_observed"].values()))["empty"] == 3, name


def test_a_neuron_that_alone_lacks_a_value_is_still_left_out(tmp_path):
    f = fluorescence()
    f[500, 2] = np.nan
    found, _ = preprocessed(opened(activity_file(tmp_path, f, np.arange(1500) * 0.2)), tmp_path)
    assert found["dropped"]["FOV_00"] == {"constant": 0, "not finite": 1}


def test_frames_of_a_closed_shutter_are_not_observed(tmp_path):
    f = fluorescence()
    f[300:400] = 0
    found, recording = preprocessed(opened(suite2p(tmp_path / "s", f), fs_hz=5.0), tmp_path)
    assert found["not_observed"]["s"]["empty"] == 100
    assert not recording.panel.usable[300:400].any()


@pytest.mark.parametrize("where", ["ops", "plane", "two levels up", "flag"])
def test_suite2p_bad_frames_are_not_observed(tmp_path, where):
    bad = np.arange(300, 400)
    flags = np.isin(np.arange(1500), bad)
    f = fluorescence()
    f[bad] *= 0.3
    folder = suite2p(tmp_path / "day" / "suite2p" / "plane0", f)
    if where == "ops":
        np.save(folder / "ops.npy", {"fs": 5.0, "badframes": flags, "data_path": ["/nowhere"], "nonrigid": True})
    elif where == "plane":
        np.save(folder / "bad_frames.npy", bad)
    elif where == "two levels up":
        np.save(tmp_path / "day" / "bad_frames.npy", bad)
    else:
        np.save(tmp_path / "bad.npy", flags)
    given = {"bad_frames": tmp_path / "bad.npy"} if where == "flag" else {}
    found, recording = preprocessed(opened(folder, fs_hz=5.0, **given), tmp_path)
    assert found["not_observed"]["plane0"]["bad"] == 100
    assert not recording.panel.usable[300:400].any()


def test_a_list_of_bad_frames_beyond_the_recording_is_refused(tmp_path):
    folder = suite2p(tmp_path / "s", fluorescence(), bad_frames=np.array([10, 1500]))
    with pytest.raises(InputError, match=r"bad_frames.npy: expected frame numbers 0 to 1499"):
        opened(folder, fs_hz=5.0)


def test_suite2p_says_its_own_frame_rate_and_a_contradiction_is_told(tmp_path, caplog):
    folder = suite2p(tmp_path / "s", fluorescence(), ops={"fs": 7.5})
    assert np.median(np.diff(opened(folder).fovs[0].times)) == pytest.approx(1 / 7.5)
    assert np.median(np.diff(opened(folder, fs_hz=30.0).fovs[0].times)) == pytest.approx(1 / 30)
    assert "--fs-hz 30 is used, its settings say 7.5" in caplog.text


def test_nothing_in_a_pickle_is_run(tmp_path, caplog):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    flags = np.zeros(1500, bool)
    flags[5] = True
    folder = suite2p(tmp_path / "s", fluorescence(), ops={"x": Evil(), "fs": 5.0, "badframes": flags})
    assert opened(folder).fovs[0].bad_frames.sum() == 1
    assert not (tmp_path / "ran").exists()
    (folder / "ops.npy").write_bytes((folder / "ops.npy").read_bytes()[:120])
    assert opened(folder, fs_hz=5.0).fovs[0].bad_frames.sum() == 0
    assert "ops.npy: not readable" in caplog.text


def alf_with_times(tmp_path, change):
    folder = simulate.simulate_session(tmp_path / "one", 1, 30, 600, seed=2)
    fov = folder / "alf/FOV_00"
    np.save(fov / "mpci.times.npy", change(np.load(fov / "mpci.times.npy")))
    return folder


def test_too_many_times_are_refused_and_trimmed_only_when_asked(tmp_path):
    folder = alf_with_times(tmp_path, lambda t: np.r_[t, t[-1] + 0.205 * np.arange(1, 21)])
    for name in ("mpci.badFrames.npy", "mpci.mpciFrameQC.npy"):
        path = folder / "alf/FOV_00" / name
        np.save(path, np.r_[np.load(path), np.load(path)[-20:]])
    with pytest.raises(
        InputError, match=r"mpci.times has 620 frames, the traces 600. .*--trim-times drops the last 20"
    ):
        opened(folder)
    assert opened(folder, trim_times=True).fovs[0].n_time == 600


def test_twice_as_many_times_point_to_the_known_fault(tmp_path):
    folder = alf_with_times(tmp_path, lambda t: np.sort(np.r_[t, t + 0.1]))
    for name in ("mpci.badFrames.npy", "mpci.mpciFrameQC.npy"):
        (folder / "alf/FOV_00" / name).unlink()
    with pytest.raises(InputError, match=r"Twice as many: .*ibllib issue 916"):
        opened(folder, trim_times=True)


def test_an_empty_list_of_flags_says_nothing(tmp_path):
    folder = alf_with_times(tmp_path, lambda t: t)
    np.save(folder / "alf/FOV_00/mpci.mpciFrameQC.npy", np.zeros(0, np.int64))
    assert opened(folder).fovs[0].n_time == 600


def test_a_baseline_window_longer_than_the_recording_is_told(tmp_path, caplog):
    folder = suite2p(tmp_path / "s", fluorescence())
    preprocessed(opened(folder, fs_hz=30.0), tmp_path)
    assert "the baseline's window of 60 s is 1800 frames, the longest stretch without a pause has 1500" in caplog.text
    caplog.clear()
    preprocessed(opened(folder, fs_hz=30.0), tmp_path, window_s=10.0)
    assert "does not settle" not in caplog.text


def test_sparse_deconvolved_cells_that_are_silent_in_training_are_left_out(tmp_path):
    f = fluorescence()
    rng = np.random.default_rng(0)
    spikes = np.where(rng.random((1500, 8)) < 0.03, rng.exponential(20, (1500, 8)), 0).astype(np.float32)
    spikes[:, 1] = 0
    spikes[1400, 1] = 5
    spikes[:, 2] = 0
    spikes[[100, 1400], 2] = 0.001, 50  # one event
    folder = suite2p(tmp_path / "s", f, spks=spikes.T)
    found, recording = preprocessed(opened(folder, fs_hz=5.0), tmp_path, signal="deconvolved")
    assert found["dropped"]["s"] == {"constant": 2, "not finite": 0}
    assert np.abs(recording.panel.x[recording.panel.usable]).max() < 60
    assert recording.panel.usable.mean() > 0.95  # frames without any event are observed


def test_a_constant_cell_with_a_step_after_training_is_left_out(tmp_path):
    f = fluorescence()
    f[:, 3] = 500
    f[1200:, 3] = 900
    found, recording = preprocessed(opened(suite2p(tmp_path / "s", f), fs_hz=5.0), tmp_path)
    assert found["dropped"]["s"]["constant"] == 1
    assert np.abs(recording.panel.x[recording.panel.usable]).max() < 60


def test_segments_and_their_warm_up_equal_a_loop():
    pause = np.zeros(30, bool)
    pause[[10, 25]] = True
    assert [(s.start, s.stop) for s in segments(pause)] == [(0, 10), (10, 25), (25, 30)]
    ready = warmed(pause, 4)
    assert np.flatnonzero(~ready).tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 25, 26]


def test_a_regular_clock_with_jitter_has_no_gap(tmp_path):
    times = np.arange(1500) * 0.2 + np.random.default_rng(0).uniform(-0.03, 0.03, 1500)
    session = opened(activity_file(tmp_path, fluorescence(), times))
    clock = session.clock()
    cells = [f.traces(f.cells(), frame) for f, frame in zip(session.fovs, session.frames(clock))]
    assert observed(cells, clock).good.all()


def test_no_window_goes_from_one_folder_of_frames_to_the_next(tmp_path):
    """suite2p puts the frames of several folders one after another; only ``frames_per_folder`` tells."""
    x = fluorescence()
    n = max(x.shape)
    for name, counts in (("two", [n // 2, n - n // 2]), ("one", [n]), ("odd", [3, 4])):
        folder = suite2p(tmp_path / name, x, ops={"fs": 5.0, "frames_per_folder": np.array(counts)})
        (fov,) = open_source(PreprocessConfig(source=str(folder), output="x")).fovs
        steps = np.diff(fov.times)
        assert np.flatnonzero(steps > 1).tolist() == ([n // 2 - 1] if name == "two" else [])
        assert np.median(steps) == pytest.approx(0.2)


def test_a_clock_that_was_rounded_has_the_rate_of_its_mean_step(tmp_path):
    """30 Hz written with two digits: steps of .03 and .04 s. By the median it was 33 Hz, and the typed 30 was refused."""
    times = np.round(np.arange(400) / 30, 2)
    path = tmp_path / "x.csv"
    names = ",".join(["Time (s)", *(f"C{i}" for i in range(6))])
    np.savetxt(path, np.c_[times, np.random.default_rng(0).random((400, 6))], delimiter=",", header=names, comments="")
    for fs_hz in (None, 30.0):
        session = open_source(PreprocessConfig(source=str(path), output="x", fs_hz=fs_hz))
        assert 1 / frame_interval(session.clock()) == pytest.approx(30, rel=1e-3)
    with pytest.raises(InputError, match=r"its clock has 30 frames a second"):
        open_source(PreprocessConfig(source=str(path), output="x", fs_hz=33.3))
    kept = np.r_[times[:100], times[103:]]  # frames that were lost are not the rate
    assert 1 / frame_interval(kept) == pytest.approx(30, rel=2e-3)
