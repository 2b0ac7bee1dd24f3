"""What was the animal seeing and doing on each frame? Trials and wheel, put on the frames of the common clock, causally."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PHASES = ("none", "before stimulus", "stimulus", "after feedback")


class Trials(NamedTuple):
    """Trials of one task, times in s of the session's clock."""

    start: np.ndarray
    stop: np.ndarray
    stimulus_on: np.ndarray
    stimulus_off: np.ndarray
    kind: list[str]  #: stimulus type of each trial, such as "left 0.25"


class Wheel(NamedTuple):
    """Position of a wheel at times of its own."""

    times: np.ndarray  #: s, ascending
    position: np.ndarray  #: rad


class Behaviour(NamedTuple):
    """What a session says of behaviour, by its own clocks."""

    trials: tuple[Trials, ...] = ()
    wheels: tuple[Wheel, ...] = ()


class Covariates(NamedTuple):
    """One value a frame."""

    wheel_rad_s: np.ndarray  #: velocity since the frame before
    stimulus: np.ndarray  #: 0 none, else 1 + index in ``names``
    names: list[str]  #: stimulus types, such as "left 0.25"
    phase: np.ndarray  #: index in ``PHASES``
    last_stimulus_s: float  #: end of the last stimulus, NaN without trials

    def until(self, n: int) -> Covariates:
        """Return the first ``n`` frames."""
        return self._replace(wheel_rad_s=self.wheel_rad_s[:n], stimulus=self.stimulus[:n], phase=self.phase[:n])


def covariates(behaviour: Behaviour, clock: np.ndarray) -> Covariates:
    """Return the covariates of a session on its clock; zeros where nothing is known."""
    none = np.zeros(len(clock), int)
    c = Covariates(np.zeros(len(clock)), none, [], none, float("nan"))
    for trials in behaviour.trials:
        c = with_trials(c, trials, clock)
    for wheel in behaviour.wheels:
        c = c._replace(wheel_rad_s=c.wheel_rad_s + wheel_velocity(wheel, clock))
    return c


def wheel_velocity(wheel: Wheel, clock: np.ndarray) -> np.ndarray:
    """Return the wheel's mean velocity between a frame and the one before, rad/s, from positions at or before each frame."""
    if not len(wheel.position):
        return np.zeros(len(clock))
    at = np.searchsorted(wheel.times, clock, side="right") - 1
    place = np.where(at >= 0, wheel.position[np.maximum(at, 0)], wheel.position[0])
    return np.diff(place, prepend=place[:1]) / np.diff(clock, prepend=clock[0] - np.median(np.diff(clock)))


def with_trials(c: Covariates, t: Trials, clock: np.ndarray) -> Covariates:
    """Return covariates with the stimuli and phases of a task added; a trial with an unknown time is left out."""
    names = sorted({*c.names, *t.kind})
    stimulus = np.array([0, *(1 + names.index(n) for n in c.names)])[c.stimulus]
    phase = c.phase.copy()
    for kind, begin, on, off, stop in zip(t.kind, t.start, t.stimulus_on, t.stimulus_off, t.stop):
        if not np.isfinite([begin, on, off, stop]).all():
            continue
        first, shown, gone, last = np.searchsorted(clock, (begin, on, off, stop))
        phase[first:shown], phase[shown:gone], phase[gone:last] = 1, 2, 3
        stimulus[shown:gone] = 1 + names.index(kind)
    ends = t.stimulus_off[np.isfinite(t.stimulus_off)]
    last_stimulus = np.fmax(c.last_stimulus_s, ends.max()) if len(ends) else c.last_stimulus_s
    return c._replace(stimulus=stimulus, names=names, phase=phase, last_stimulus_s=float(last_stimulus))
