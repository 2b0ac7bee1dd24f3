"""What was the animal seeing and doing on each frame? Trials, wheel, licks, cameras, put on the frames of the common clock, causally.

Every value of a frame comes from times at or before the frame's own, by the clock of what was recorded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PHASES = ("none", "before stimulus", "stimulus", "after feedback")
MOST_STIMULI = 16  #: types with an input each; with more there is one for all
STALE_S = 1.0  #: a value that is older is not known any more


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
    position: np.ndarray
    unit: str = "rad"  #: or "m", a distance on a wheel of unknown radius; empty where it is not known


class Signal(NamedTuple):
    """Something that was recorded of the animal by a clock of its own: motion energy of a camera, pupil, running speed, licks."""

    name: str
    times: np.ndarray  #: s, ascending
    values: np.ndarray | None  #: None: these are times of events, such as licks
    unit: str = ""


class Behaviour(NamedTuple):
    """What a session says of behaviour, by its own clocks."""

    trials: tuple[Trials, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    signals: tuple[Signal, ...] = ()


class Covariates(NamedTuple):
    """One value a frame."""

    wheel_rad_s: np.ndarray  #: velocity since the frame before
    stimulus: np.ndarray  #: 0 none, else 1 + index in ``names``
    names: list[str]  #: stimulus types, such as "left 0.25"
    phase: np.ndarray  #: index in ``PHASES``
    last_stimulus_s: float  #: end of the last stimulus, NaN without trials
    signals: np.ndarray = np.zeros((0, 0))  #: (time, signal), NaN where it is not known
    signal_names: tuple[str, ...] = ()
    has_wheel: bool = False

    def until(self, n: int) -> Covariates:
        """Return the first ``n`` frames."""
        cut = {name: getattr(self, name)[:n] for name in ("wheel_rad_s", "stimulus", "phase", "signals")}
        return self._replace(**cut)


def covariates(behaviour: Behaviour, clock: np.ndarray) -> Covariates:
    """Return the covariates of a session on its clock; zeros where nothing is known."""
    none = np.zeros(len(clock), int)
    c = Covariates(np.zeros(len(clock)), none, [], none, float("nan"))
    for trials in behaviour.trials:
        c = with_trials(c, trials, clock)
    columns: dict[str, np.ndarray] = {}
    for wheel in behaviour.wheels:
        velocity = wheel_velocity(wheel, clock)
        if wheel.unit == "rad":
            c = c._replace(wheel_rad_s=c.wheel_rad_s + velocity, has_wheel=True)
        else:
            name = f"wheel velocity ({wheel.unit}/s)" if wheel.unit else "wheel velocity (unit not known)"
            columns[name] = columns.get(name, 0) + velocity
    columns |= {name.replace("velocity", "speed"): np.abs(v) for name, v in columns.items()}
    columns |= {signal.name: since_frame(signal, clock) for signal in behaviour.signals}
    signals = np.stack([*columns.values()], axis=1) if columns else np.zeros((len(clock), 0))
    return c._replace(signals=signals, signal_names=tuple(columns))


def since_frame(s: Signal, clock: np.ndarray) -> np.ndarray:
    """Return a signal's mean (events: their rate in Hz) after the frame before and up to each frame, (time,).

    Where no value fell in between, the last one counts for ``STALE_S``; NaN where none is known.
    """
    before = np.r_[clock[0] - np.median(np.diff(clock)), clock[:-1]]
    if s.values is None:
        at = np.searchsorted(s.times, np.stack([before, clock]), side="right")
        return (at[1] - at[0]) / (clock - before)
    known = np.isfinite(s.values)
    times, values = s.times[known], s.values[known]
    if not len(times):
        return np.full(len(clock), np.nan)
    first, last = np.searchsorted(times, np.stack([before, clock]), side="right")
    total, n = np.r_[0, np.cumsum(values)], last - first
    at = np.maximum(last - 1, 0)
    fresh = (last > 0) & (clock - times[at] <= STALE_S)
    return np.where(n > 0, (total[last] - total[first]) / np.maximum(n, 1), np.where(fresh, values[at], np.nan))


def inputs_of(c: Covariates) -> tuple[np.ndarray, list[str]]:
    """Return what forecasters may see of behaviour, (time, input), and the name of each; nothing that does not vary.

    Wheel velocity and speed, signals, phases of the trial, stimuli.
    """
    columns = {"wheel velocity": c.wheel_rad_s, "wheel speed": np.abs(c.wheel_rad_s)} if c.has_wheel else {}
    columns |= dict(zip(c.signal_names, c.signals.T))
    columns |= {f"trial: {name}": c.phase == i for i, name in enumerate(PHASES) if i}
    columns |= {
        f"stimulus {name}" if name != "any" else "stimulus": v for name, v in stimuli_of(c.stimulus, c.names).items()
    }
    kept = {name: v for name, v in columns.items() if np.isfinite(v).any() and np.nanmax(v) > np.nanmin(v)}
    return np.stack([*kept.values()], axis=1).astype(np.float32) if kept else np.zeros((len(c.phase), 0), np.float32), [
        *kept
    ]


def stimuli_of(stimulus: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Return whether each type of stimulus is on, (time,) bool by name; whether ``any`` is where there are many types."""
    if not names:
        return {}
    if len(names) > MOST_STIMULI:
        return {"any": stimulus > 0}
    return {name: stimulus == i for i, name in enumerate(names, 1)}


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
