"""Is preprocessing causal, fitted on the training part only, and the same in blocks as at once?"""

import tracemalloc

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast import simulate
from meso_forecast.activity.baseline import Baseline
from meso_forecast.activity.covariates import covariates
from meso_forecast.activity.reading import BLOCK, Rules
from meso_forecast.activity.split import SplitRule
from meso_forecast.activity.survey import survey
from meso_forecast.activity.windows import window_origins
from meso_forecast.files import recording, write_recording
from meso_forecast.files.behaviour import alf_behaviour
from meso_forecast.files.fov import Trace, make_fov
from meso_forecast.files.session import MesoscopeSession

N_TIME, N_ROIS = 2600, 6
RULES = [
    Rules(),
    Rules(baseline="percentile", smooth_s=0.5),
    Rules(baseline="training", normalise="percentile"),
    Rules(signal="fluorescence"),
]


def written(folder, f, fneu, rules, name="s", bad=None, **split):
    """Preprocess one FOV of arrays; return (activity, opened recording, found)."""
    np.save(folder / f"{name}_F.npy", f)
    np.save(folder / f"{name}_N.npy", fneu)
    given = {} if bad is None else {"bad_frames": bad}
    trace = Trace(path=folder / f"{name}_F.npy")
    fov = make_fov("FOV_00", trace, np.arange(len(f)) * 0.2, neuropil=Trace(path=folder / f"{name}_N.npy"), **given)
    path = folder / f"{name}.h5"
    found = write_recording.write_recording(
        MesoscopeSession(fovs=[fov], eid="x"), path, rules, SplitRule(**split), overwrite=True
    )
    with h5py.File(path) as file:
        return file["activity"][:], recording.open_recording(path), found


@pytest.fixture
def traces():
    """Return (F, Fneu): a positive trace with transients and drift."""
    rng = np.random.default_rng(0)
    drift = 1000 + 200 * np.sin(np.linspace(0, 6, N_TIME))[:, None]
    f = drift + 150 * np.abs(rng.standard_normal((N_TIME, N_ROIS))) + rng.normal(0, 20, (N_TIME, N_ROIS))
    return f.astype(np.float32), (0.3 * drift + rng.normal(0, 5, (N_TIME, N_ROIS))).astype(np.float32)


@pytest.mark.parametrize("rules", RULES)
def test_changing_later_frames_changes_no_earlier_activity(tmp_path, traces, rules):
    f, fneu = traces
    t = 2200  # in the test part
    before, _, _ = written(tmp_path, f, fneu, rules)
    changed = f.copy()
    changed[t + 1 :] = 5 * changed[t + 1 :] + 7
    after, _, _ = written(tmp_path, changed, fneu * 1, rules, "changed")
    np.testing.assert_array_equal(after[: t + 1], before[: t + 1])
    assert not np.array_equal(after[t + 1 :], before[t + 1 :])


@pytest.mark.parametrize("rules", RULES)
def test_changing_the_test_part_changes_no_fitted_statistic(tmp_path, traces, rules):
    f, fneu = traces
    written(tmp_path, f, fneu, rules)
    changed = f.copy()
    changed[int(0.8 * N_TIME) :] *= 3
    written(tmp_path, changed, fneu, rules, "changed")
    with h5py.File(tmp_path / "s.h5") as a, h5py.File(tmp_path / "changed.h5") as b:
        for name in ("offset", "scale", "floor"):
            np.testing.assert_array_equal(a[f"normalization/{name}"][:], b[f"normalization/{name}"][:])


@pytest.mark.parametrize("baseline", ["maximin", "percentile"])
def test_blocks_give_what_one_pass_gives(baseline):
    rng = np.random.default_rng(1)
    x, bad = rng.random((700, 3)), rng.random(700) < 0.05
    whole = Baseline(baseline, 64, 10.0)(x, bad)
    running = Baseline(baseline, 64, 10.0)
    parts = np.concatenate([running(x[i : i + 160], bad[i : i + 160]) for i in range(0, 700, 160)])
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-12)


def test_the_maximin_baseline_equals_the_slow_one():
    rng = np.random.default_rng(2)
    x, window = rng.random((300, 2)), 40
    fast = Baseline("maximin", window, 10.0)(x, np.zeros(300, bool))
    weights = (1 - 2 / window) ** np.arange(300)
    smooth = np.array([(weights[: t + 1, None] * x[t::-1]).sum(0) / weights[: t + 1].sum() for t in range(300)])
    lowest = np.array([smooth[max(0, t + 1 - window) : t + 1].min(0) for t in range(300)])
    slow = np.array([lowest[max(0, t + 1 - window) : t + 1].max(0) for t in range(300)])
    np.testing.assert_allclose(fast, slow, rtol=1e-9)


def test_training_activity_has_mean_0_and_sd_1(tmp_path, traces):
    _, opened, _ = written(tmp_path, *traces, Rules())
    train = opened.panel.x[opened.panel.usable & (opened.panel.label == 0)]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-4)


def test_percentile_scale_puts_training_activity_between_0_and_the_99_5th_percentile(tmp_path, traces):
    x, opened, _ = written(tmp_path, *traces, Rules(normalise="percentile"))
    train = x[opened.panel.usable & (opened.panel.label == 0)]
    np.testing.assert_allclose(train.min(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.percentile(train, 99.5, axis=0), 1, atol=0.02)


def test_a_negative_baseline_does_not_blow_up(tmp_path, traces):
    f, fneu = traces
    x, _, _ = written(tmp_path, f - f.mean(), fneu, Rules(normalise="none"))
    assert np.nanmax(np.abs(x)) < 100


def test_bad_frames_become_unobserved_and_no_window_holds_one(tmp_path, traces):
    bad = np.zeros(N_TIME, bool)
    bad[[5, 600, 601, 2300]] = True
    x, opened, _ = written(tmp_path, *traces, Rules(), bad=bad)
    seen = ~bad
    seen[:130] = False  # the running baseline's start
    assert np.isnan(x[~seen]).all()
    assert np.isfinite(x[seen]).all()
    origins = window_origins(opened.panel.usable, opened.panel.label, (0, 1, 2), 20, 5)
    frames = origins[:, None] + np.arange(-19, 6)
    assert len(frames) > 2000
    assert seen[frames].all()


def test_constant_and_broken_neurons_are_dropped_and_counted(tmp_path, traces):
    f, fneu = (a.copy() for a in traces)
    f[:, 1], fneu[:, 1] = 5, 0
    f[100, 2] = np.nan
    _, opened, found = written(tmp_path, f, fneu, Rules())
    assert found["dropped"] == {"FOV_00": {"constant": 1, "not finite": 1}}
    assert opened.panel.x.shape[1] == N_ROIS - 2
    assert np.isfinite(opened.panel.x[opened.panel.usable]).all()


def test_a_fov_of_constant_neurons_is_one_line(tmp_path):
    with pytest.raises(InputError, match="all 4 cells are constant"):
        written(tmp_path, np.ones((900, 4), np.float32), np.zeros((900, 4), np.float32), Rules())
    assert not (tmp_path / "s.h5").exists()


def test_nothing_is_written_when_the_neuropil_is_missing(tmp_path):
    np.save(tmp_path / "F.npy", np.random.default_rng(0).random((900, 4), np.float32))
    fov = make_fov("FOV_00", Trace(path=tmp_path / "F.npy"), np.arange(900) * 0.2)
    with pytest.raises(InputError, match="no neuropil traces"):
        write_recording.write_recording(MesoscopeSession(fovs=[fov]), tmp_path / "s.h5", Rules(), SplitRule())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["F.npy"]


def test_white_noise_stays_white(tmp_path):
    rng = np.random.default_rng(4)
    f = (1000 + 30 * rng.standard_normal((6000, 20))).astype(np.float32)
    _, opened, _ = written(tmp_path, f, np.zeros_like(f), Rules())
    x = opened.panel.x[opened.panel.usable]
    assert len(x) == 5700
    assert abs((x[1:] * x[:-1]).mean()) < 0.01


def test_the_activity_is_a_contiguous_map_with_units_and_provenance_group(tmp_path, traces):
    written(tmp_path, *traces, Rules())
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["activity"].id.get_offset() is not None
        assert file["activity"].chunks is None
        assert "provenance" in file
        assert all(
            "description" in file[k].attrs for k in ("activity", "observed", "timestamps", "split", "neurons/uuid")
        )
    assert isinstance(recording.open_recording(tmp_path / "s.h5").panel.x, np.memmap)


def test_covariates_are_known_when_they_are_used(tmp_path):
    folder = simulate.simulate_session(tmp_path, 1, 20, 900, seed=2)
    clock = MesoscopeSession.from_path(folder).clock()
    c = covariates(alf_behaviour(folder), clock)
    assert c.names
    assert set(np.unique(c.stimulus)) == set(range(len(c.names) + 1))
    assert (c.phase[c.stimulus > 0] == 2).all()
    wheel = folder / "alf" / "task_00" / "_ibl_wheel.position.npy"
    position, times = np.load(wheel), np.load(wheel.with_name("_ibl_wheel.timestamps.npy"))
    position[times > clock[500]] += 1000
    np.save(wheel, position)
    again = covariates(alf_behaviour(folder), clock).wheel_rad_s
    np.testing.assert_array_equal(again[:501], c.wheel_rad_s[:501])


def test_held_out_stimuli_are_only_in_the_test_part(tmp_path):
    folder = simulate.simulate_session(tmp_path, 1, 20, 1500, seed=2)
    opened = MesoscopeSession.from_path(folder)
    names = covariates(alf_behaviour(folder), opened.clock()).names
    rule = SplitRule("stimulus", held_out=(names[0],))
    write_recording.write_recording(opened, tmp_path / "s.h5", Rules(), rule)
    panel = recording.open_recording(tmp_path / "s.h5").panel
    assert (panel.label[panel.stimulus == 1] == 2).all()
    assert (panel.label[panel.stimulus != 1] != 2).all()
    with pytest.raises(InputError, match="this session's stimuli are"):
        write_recording.write_recording(opened, tmp_path / "t.h5", Rules(), rule._replace(held_out=("up 3",)))


def test_cutting_after_the_last_stimulus_removes_the_passive_tail(tmp_path):
    folder = simulate.simulate_session(tmp_path, 1, 20, 1500, seed=2)
    opened = MesoscopeSession.from_path(folder)
    rule = SplitRule(cut_after_last_stimulus=True)
    found = write_recording.write_recording(opened, tmp_path / "s.h5", Rules(), rule)
    last = covariates(alf_behaviour(folder), opened.clock()).last_stimulus_s
    assert found["n_frames"] < 1500
    assert recording.open_recording(tmp_path / "s.h5").times[-1] < last


def test_a_recording_is_surveyed_block_by_block_and_no_block_is_kept(tmp_path):
    n_time, n = 30 * BLOCK, 640
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((n_time, n), dtype=np.float32))
    fov = MesoscopeSession.from_matrix(tmp_path / "x.npy", 5.0, "rows").fovs[0]
    traces, every = fov.traces(np.arange(n), np.arange(n_time)), np.ones(n_time, bool)
    tracemalloc.start()
    survey(traces, Rules(), every, every, every)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.9 * 4 * n_time * n
