"""Is behaviour in an NWB file what its exporter meant? Each layout as it is written, beside the one that is easily taken for it."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from meso_forecast.activity.covariates import covariates, inputs_of
from meso_forecast.files.nwb_behaviour import nwb_behaviour

pynwb = pytest.importorskip("pynwb")
behavior = pynwb.behavior

CLOCK = np.arange(0.205, 19.9, 0.2)
STAMPS = np.arange(0, 20.0, 0.01)
RAMP = 3.0 * STAMPS  # a wheel that turns by 3 rad/s


class Nwb:
    """A file being written."""

    def __init__(self):
        self.file = pynwb.NWBFile("s", "id", datetime(2024, 5, 17, tzinfo=UTC))
        self.module = self.file.create_processing_module("behavior", "behaviour")

    def series(self, name, data, place=None, **clock):
        one = pynwb.TimeSeries(name=name, data=data, unit="a.u.", **(clock or {"timestamps": STAMPS[: len(data)]}))
        (self.module if place is None else place).add(one)

    def contain(self, kind, name, *series):
        box = kind(name=name)
        self.module.add(box)
        add = (
            getattr(box, "add_timeseries", None) or getattr(box, "add_spatial_series", None) or box.add_interval_series
        )
        for one in series:
            add(one)

    def read(self, path):
        with pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(self.file)
        return nwb_behaviour(path)


@pytest.fixture
def nwb():
    return Nwb()


def named(found):
    return {s.name: s for s in found.signals}


def test_a_file_without_behaviour_has_none(nwb, tmp_path):
    assert nwb.read(tmp_path / "x.nwb") == ((), (), ())


def position(data):
    return behavior.SpatialSeries(
        name="WheelPosition", data=data, reference_frame="start", timestamps=STAMPS, unit="rad"
    )


def test_a_wheel_is_read_from_its_position_whatever_stands_beside_it(nwb, tmp_path):
    nwb.contain(behavior.CompassDirection, "CompassDirection", position(RAMP))
    nwb.series("WheelVelocity", np.full(2000, 99.0))
    nwb.series("WheelTorque", np.full(2000, 99.0))
    found = nwb.read(tmp_path / "x.nwb")
    assert [s.name for s in found.signals] == []
    assert covariates(found, CLOCK).wheel_rad_s[1:] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("stored", "unit", "conversion"), [(np.rad2deg(RAMP), "degrees", 1.0), (RAMP * 1000, "rad", 1e-3)]
)
def test_the_unit_and_the_conversion_of_a_wheel_s_position_count(stored, unit, conversion, nwb, tmp_path):
    place = {"name": "WheelPosition", "reference_frame": "start", "timestamps": STAMPS}
    one = behavior.SpatialSeries(data=stored, unit=unit, conversion=conversion, **place)
    nwb.contain(behavior.CompassDirection, "CompassDirection", one)
    found = nwb.read(tmp_path / "x.nwb")
    assert covariates(found, CLOCK).wheel_rad_s[1:] == pytest.approx(3.0)


@pytest.mark.parametrize(("unit", "wheels"), [("meters", 0), ("radians", 1), ("unknown", 1)])
def test_a_wheel_whose_unit_is_pynwb_s_default_though_it_is_an_angle_is_left_out_and_told(
    unit, wheels, nwb, tmp_path, caplog
):
    """A SpatialSeries is in meters unless its exporter says otherwise."""
    place = {"name": "WheelPosition", "reference_frame": "start", "timestamps": STAMPS, "description": "in radians"}
    nwb.contain(behavior.Position, "Position", behavior.SpatialSeries(data=RAMP, unit=unit, **place))
    found = nwb.read(tmp_path / "x.nwb")
    assert [w.unit for w in found.wheels] == ["rad"] * wheels
    assert ("which is right is not known" in caplog.text) == (not wheels)


def test_a_velocity_or_torque_is_never_taken_for_a_position(nwb, tmp_path):
    nwb.series("wheel_speed", np.full(2000, 3.0))
    nwb.series("wheel_torque", RAMP)
    found = nwb.read(tmp_path / "x.nwb")
    assert found.wheels == ()
    assert covariates(found, CLOCK).signals[:, 0] == pytest.approx(3.0)
    assert list(named(found)) == ["wheel velocity"]


LICKS = np.array([1.05, 1.15, 3.31, 3.35, 3.39])
RATE = np.zeros(len(CLOCK))
RATE[[5, 16]] = [2 / 0.2, 3 / 0.2]  # frames at 1.205 s and 3.405 s, since the ones before


def lick_events(nwb):
    one = pynwb.TimeSeries(name="licks", data=np.ones(5), unit="n.a.", timestamps=LICKS[::-1].copy())
    nwb.contain(behavior.BehavioralEvents, "BehavioralEvents", one)


def lick_intervals(nwb):
    stamps = np.c_[LICKS, LICKS + 0.01].reshape(-1)
    one = behavior.IntervalSeries(name="lick_contacts", data=np.tile(np.int8([1, -1]), 5), timestamps=stamps)
    nwb.contain(behavior.BehavioralEpochs, "BehavioralEpochs", one)


def lick_acquisition(nwb):
    nwb.file.add_acquisition(pynwb.TimeSeries(name="lick_times", data=np.ones(5), unit="n.a.", timestamps=LICKS))


@pytest.mark.parametrize("write", [lick_events, lick_intervals, lick_acquisition])
def test_licks_are_counted_once_each_by_their_onsets(write, nwb, tmp_path):
    write(nwb)
    found = nwb.read(tmp_path / "x.nwb")
    assert covariates(found, CLOCK).signals[:, 0] == pytest.approx(RATE)
    assert found.signals[0].name.startswith("licks")


@pytest.mark.parametrize("clock", [{"timestamps": STAMPS}, {"rate": 100.0, "starting_time": 0.0}])
def test_a_lick_sensor_is_a_signal_and_not_a_lick_at_every_sample(clock, nwb, tmp_path):
    touched = ((STAMPS >= 1) & (STAMPS < 2)).astype(float)
    nwb.series("lick_sensor", touched, **clock)
    values = covariates(nwb.read(tmp_path / "x.nwb"), CLOCK).signals[:, 0]
    assert values[CLOCK > 2.3] == pytest.approx(0)
    assert values[(CLOCK > 1.25) & (CLOCK < 1.95)] == pytest.approx(1)


def test_pupil_running_and_motion_energy_are_found_where_exporters_put_them(nwb, tmp_path):
    pupil = pynwb.TimeSeries(name="pupil_diameter", data=np.full(2000, 5.0), unit="px", timestamps=STAMPS)
    nwb.contain(behavior.PupilTracking, "PupilTracking", pupil)
    running = nwb.file.create_processing_module("running", "running")
    nwb.series("running_speed", np.full(2000, 7.0), running)
    nwb.series("dx", np.full(2000, 8.0), running)
    nwb.series("LeftCameraMotionEnergy", np.full(2000, 9.0))
    nwb.series("pupil_diameter_smoothed", np.full(2000, 6.0))
    nwb.file.add_acquisition(
        pynwb.TimeSeries(name="speed_filtered_running", data=np.full(2000, 4.0), unit="cm/s", timestamps=STAMPS)
    )
    found = named(nwb.read(tmp_path / "x.nwb"))
    assert {name: float(s.values[0]) for name, s in found.items()} == {
        "pupil": 5.0,
        "running speed": 7.0,
        "running speed (dx)": 8.0,
        "motion energy": 9.0,
    }


def test_an_unfiltered_signal_is_not_a_filtered_one(nwb, tmp_path):
    nwb.series("running_speed_unfiltered", np.full(2000, 7.0))
    assert list(named(nwb.read(tmp_path / "x.nwb"))) == ["running speed"]


def test_the_area_of_a_tracked_pupil_is_read_from_its_ellipses(nwb, tmp_path):
    nwb.read(tmp_path / "x.nwb")
    with h5py.File(tmp_path / "x.nwb", "a") as file:
        group = file.create_group("acquisition/EyeTracking/pupil_tracking")
        group["data"], group["area"], group["timestamps"] = np.ones((2000, 2)), np.full(2000, 5.0), STAMPS
    assert float(named(nwb_behaviour(tmp_path / "x.nwb"))["pupil"].values[0]) == 5.0


def test_what_is_odd_is_left_out_told_and_stops_nothing(nwb, tmp_path, caplog):
    nwb.series("pupil_diameter", np.full(2000, 5.0), timestamps=STAMPS[::-1].copy())
    nwb.series("running_speed", np.full(2000, 7.0))
    assert list(named(nwb.read(tmp_path / "x.nwb"))) == ["running speed"]
    assert "its clock does not fit or does not ascend" in caplog.text


def trials(nwb, shift):
    """Five trials of 2 s, a stimulus from 0.5 to 1.0 s in each, told from ``shift`` times the trial's start."""
    for name in ("stim_on_time", "stim_off_time", "stimulus_type"):
        nwb.file.add_trial_column(name, name)
    for i in range(5):
        start = 5.0 + 2 * i
        nwb.file.add_trial(start, start + 2, stim_on_time=shift * start + 0.5, stim_off_time=shift * start + 1.0,
                           stimulus_type=f"type {i % 2}")  # fmt: skip


def test_stimuli_are_on_between_their_times(nwb, tmp_path):
    trials(nwb, 1)
    values, names = inputs_of(covariates(nwb.read(tmp_path / "x.nwb"), CLOCK))
    on = values[:, [n.startswith("stimulus") for n in names]].sum(axis=1)
    inside = (CLOCK >= 5) & (CLOCK < 15) & ((CLOCK - 5) % 2 >= 0.5) & ((CLOCK - 5) % 2 < 1.0)
    assert np.array_equal(on > 0, inside)
    assert {"stimulus type 0", "stimulus type 1"} <= set(names)


def test_times_from_the_start_of_each_trial_are_not_taken_for_times_of_the_session(nwb, tmp_path, caplog):
    trials(nwb, 0)
    values, names = inputs_of(covariates(nwb.read(tmp_path / "x.nwb"), CLOCK))
    on = values[:, [n.startswith("stimulus") for n in names]].sum(axis=1)
    assert not on[CLOCK < 4.9].any()
    assert "lie outside of their trials" in caplog.text


@pytest.mark.parametrize("kinds", [("hit", "miss"), ("correct_left", "error_right"), ("CR", "FA")])
def test_how_a_trial_ends_is_no_stimulus_that_is_known_from_its_start(nwb, tmp_path, kinds, caplog):
    nwb.file.add_trial_column("trial_type", "as its exporter calls it")
    nwb.file.add_trial_column("orientation", "degrees")
    for i in range(5):
        nwb.file.add_trial(5.0 + 2 * i, 7.0 + 2 * i, trial_type=kinds[i % 2], orientation=90.0 * (i % 3))
    (found,) = nwb.read(tmp_path / "x.nwb").trials
    assert found.kind == ["0.0", "90.0", "180.0", "0.0", "90.0"]
    assert "'trial_type' is left out, it tells how they end" in caplog.text


def test_types_that_are_known_when_a_trial_begins_are_its_stimuli(nwb, tmp_path):
    nwb.file.add_trial_column("trial_type", "as its exporter calls it")
    for i in range(4):
        nwb.file.add_trial(5.0 + 2 * i, 7.0 + 2 * i, trial_type=("go", "nogo", "catch", "image_hitchhiker")[i])
    (found,) = nwb.read(tmp_path / "x.nwb").trials
    assert found.kind == ["go", "nogo", "catch", "image_hitchhiker"]


def test_a_speed_that_stands_unfiltered_beside_is_filtered(nwb, tmp_path):
    """As the Allen Institute writes it: a zero-phase filter, and no description."""
    running = nwb.file.create_processing_module("running", "Running speed processing module")
    nwb.series("speed", np.full(2000, 4.0), running)
    nwb.series("speed_unfiltered", np.full(2000, 7.0), running)
    found = nwb.read(tmp_path / "x.nwb")
    assert {name: s.values[0] for name, s in named(found).items()} == {"running speed (speed_unfiltered)": 7.0}


def test_a_filter_that_only_the_description_tells_is_one(nwb, tmp_path):
    """As IBL's converters write them: a velocity and a position that were smoothed."""
    for name, text in (("TimeSeriesWheelVelocity", "The velocity after passing a Butterworth low-pass filter."),
                       ("running_speed", "raw, not smoothed")):  # fmt: skip
        one = pynwb.TimeSeries(name=name, data=np.full(2000, 7.0), unit="rad/s", timestamps=STAMPS, description=text)
        nwb.module.add(one)
    text = "Uniformly sampled at 1000 Hz via linear interpolation, then lowpass filtered."
    place = behavior.SpatialSeries(name="WheelPosition", data=RAMP, unit="rad", reference_frame=text, rate=100.0)
    nwb.module.add(place)
    found = nwb.read(tmp_path / "x.nwb")
    assert found.wheels == ()
    assert list(named(found)) == ["running speed"]
