"""Is behaviour that does not fit the clock of the imaging left out and told, and is each thing counted once?"""

import shutil

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from meso_forecast import simulate
from meso_forecast.activity.covariates import Behaviour, Signal, Wheel, covariates, wheel_velocity
from meso_forecast.files.behaviour import alf_behaviour
from meso_forecast.files.behaviour_clock import on_clock, unit_of, wheel_from

CLOCK = np.arange(0, 200, 0.2)
TIMES = np.arange(0, 200, 0.05)


@pytest.mark.parametrize(("scale", "shift"), [(1, 7200), (1, -7200), (1000, 0)], ids=["hours later", "earlier", "ms"])
@pytest.mark.parametrize("what", ["wheel", "licks", "pupil"])
def test_behaviour_by_another_clock_is_left_out_and_told(what, scale, shift, caplog):
    times = TIMES * scale + shift
    signals = () if what == "wheel" else (Signal(what, times, None if what == "licks" else np.sin(times)),)
    found = on_clock(Behaviour((), (Wheel(times, np.sin(times)),) if what == "wheel" else (), signals), CLOCK)
    assert found == Behaviour()
    assert f"{what} lasts from" in caplog.text


def test_behaviour_of_part_of_the_imaging_stays_and_is_told(caplog):
    half = TIMES[TIMES < 90]
    found = on_clock(Behaviour((), (), (Signal("pupil", half, np.sin(half)),)), CLOCK)
    assert len(found.signals) == 1
    assert "pupil covers 0 to" in caplog.text


def test_a_wheel_that_stands_in_two_folders_counts_once_and_parts_one_after_the_other_both():
    wheel = Wheel(TIMES, np.sin(TIMES))
    first, second = (Wheel(TIMES[i], np.sin(TIMES[i])) for i in (TIMES < 100, TIMES >= 100))
    whole = covariates(Behaviour((), (wheel,)), CLOCK).wheel_rad_s
    twice = covariates(on_clock(Behaviour((), (wheel, wheel)), CLOCK), CLOCK).wheel_rad_s
    parts = covariates(on_clock(Behaviour((), (first, second)), CLOCK), CLOCK).wheel_rad_s
    assert np.array_equal(twice, whole)
    assert np.allclose(np.delete(parts, 500), np.delete(whole, 500), atol=1e-9)


def test_a_signal_of_two_tasks_is_one():
    parts = [Signal("licks", np.array([10.0, 20.0]), None), Signal("licks", np.array([110.0]), None)]
    (licks,) = on_clock(Behaviour((), (), tuple(parts)), CLOCK).signals
    assert licks.times.tolist() == [10, 20, 110]


@pytest.mark.parametrize("turn", [2 * np.pi, 360.0])
def test_an_angle_that_starts_anew_after_a_turn_goes_on_in_radians(turn):
    wheel = wheel_from(TIMES, np.mod(TIMES * turn / 10, turn))
    assert wheel.unit == "rad"
    assert np.allclose(wheel_velocity(wheel, CLOCK)[1:], 2 * np.pi / 10, rtol=0.3)


@pytest.mark.parametrize(
    ("unit", "said", "expected"),
    [
        ("radians", "Initial angular position was zero.", ("rad", 1.0)),
        ("rad", "The wheel diameter is 6.2 cm, 4096 ticks per revolution", ("rad", 1.0)),
        ("rad", "turns of the wheel by the mouse, in m", ("rad", 1.0)),
        ("degrees", "", ("rad", np.pi / 180)),
        ("revolutions", "", ("rad", 2 * np.pi)),
        ("cm", "distance on a wheel of 20 cm", ("m", 0.01)),
        ("unknown", "position in radians", ("rad", 1.0)),
        ("a.u.", "encoder", ("", 1.0)),
        ("", "", ("", 1.0)),
        ("meters", "angle in radians", None),
        ("cm", "in mm", None),
        ("n/a", "radians, or cm", None),
    ],
)
def test_a_wheel_s_unit_is_read_or_the_contradiction_named(unit, said, expected):
    if expected is None:
        with pytest.raises(InputError, match="which is right is not known"):
            unit_of(unit, said, "x.nwb: 'wheel'")
    else:
        assert unit_of(unit, said, "x.nwb") == expected


def test_a_distance_or_a_number_without_a_unit_is_never_an_angle(caplog):
    for unit, name in (("m", "wheel velocity (m/s)"), ("", "wheel velocity (unit not known)")):
        found = covariates(on_clock(Behaviour((), (Wheel(TIMES, 0.2 * TIMES, unit),)), CLOCK), CLOCK)
        assert not found.has_wheel
        assert not found.wheel_rad_s.any()
        assert found.signal_names == (name, name.replace("velocity", "speed"))
        assert np.allclose(found.signals[1:, 0], 0.2, rtol=0.3)
    assert "given in the units of the file" in caplog.text


@pytest.mark.parametrize(("factor", "kept"), [(1.0, 1), (3.1, 0), (180 / np.pi, 0)])
def test_positions_in_cm_or_degrees_beside_a_velocity_in_radians_are_left_out_by_name(tmp_path, factor, kept, caplog):
    (tmp_path / "alf").mkdir()
    for name, values in (("position", factor * np.sin(TIMES)), ("timestamps", TIMES), ("velocity", np.cos(TIMES))):
        np.save(tmp_path / f"alf/_ibl_wheel.{name}.npy", values)
    assert len(alf_behaviour(tmp_path).wheels) == kept
    assert ("one of the two is not in radians" in caplog.text) == (not kept)


def test_an_unknown_position_of_the_wheel_is_no_jump_to_zero():
    position = 50 + np.sin(TIMES)
    position[1000:1010] = np.nan
    assert np.abs(wheel_velocity(wheel_from(TIMES, position), CLOCK)).max() < 5


def test_stimuli_from_the_start_of_each_trial_and_frames_without_a_time_in_alf(tmp_path, caplog):
    session = simulate.simulate_session(tmp_path / "one", 1, 12, 600, seed=2)
    task, clock = session / "alf/task_00", 5 + np.arange(600) * 0.205
    table = pd.read_parquet(task / "_ibl_trials.table.pqt")
    table["stimOn_times"] -= table["intervals_0"]
    table.to_parquet(task / "_ibl_trials.table.pqt")
    times = np.arange(5, 120, 1 / 60)
    times[-4:] = np.nan
    np.save(session / "alf/leftCamera.ROIMotionEnergy.npy", np.ones(len(times)))
    np.save(session / "alf/_ibl_leftCamera.times.npy", times)
    shutil.copy(task / "_ibl_wheel.position.npy", session / "alf")
    shutil.copy(task / "_ibl_wheel.timestamps.npy", session / "alf")
    found = on_clock(alf_behaviour(session), clock)
    assert len(found.wheels) == 1
    assert len(found.signals[0].times) == len(times) - 4
    assert covariates(found, clock).stimulus.astype(bool).mean() < 0.4
    assert "lie outside of their trials" in caplog.text
