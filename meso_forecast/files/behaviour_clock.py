"""Does behaviour fit the clock of the imaging? What does not is left out and told: it would be zeros, or come from another moment.

A wheel, camera or table of trials by another clock (hours away, in ms, in samples) shares no time with the imaging, or almost none of its
own. Recordings of one thing that overlap in time are one recording that stands in two folders; the first one counts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from ..activity.covariates import Behaviour, Signal, Trials, Wheel, wheel_velocity

log = logging.getLogger(__package__)
LEAST_SHARE = 1 / 200  #: of the time of behaviour that lies in the imaging; less, and it is in ms
COVERED = 0.5  #: of the imaging; who covers less is told
SLACK_S = 1.0  #: events that much before and after their trial still belong to it
FASTEST_RAD_S = 100.0  #: of a wheel; faster is told
TURNS = {2 * np.pi: 1.0, 360.0: np.pi / 180}  #: what a turn measures, and what makes radians of it
UNITS = {  #: of a wheel's position: what it is in and by how much
    **dict.fromkeys(("rad", "rads", "radian", "radians"), ("rad", 1.0)),
    **dict.fromkeys(("deg", "degs", "degree", "degrees", "°"), ("rad", np.pi / 180)),
    **dict.fromkeys(("turn", "turns", "revolution", "revolutions", "rotations", "cycles"), ("rad", 2 * np.pi)),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), ("m", 1.0)),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), ("m", 1e-2)),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), ("m", 1e-3)),
    **dict.fromkeys(("inch", "inches"), ("m", 0.0254)),
}
NO_WORDS = ("m", "turn", "turns", "rotations", "cycles")  #: mean something else in a sentence
OTHER_LENGTHS = re.compile(
    r"[\d.]+[ -]?[a-z°]+|\bper \w+"
)  #: of the wheel ("6.2 cm", "per revolution"), not of its position


def on_clock(behaviour: Behaviour, clock: np.ndarray) -> Behaviour:
    """Return the part of behaviour that fits the common clock, each thing once."""
    trials = [t for t in behaviour.trials if fits("trials", np.r_[t.start, t.stop], clock)]
    wheels = [w for w in apart("wheel", behaviour.wheels) if fits("wheel", w.times, clock)]
    if any(w.unit != "rad" for w in wheels):
        log.warning(
            "wheel: its position is no angle, or its unit is not said; its velocity is given in the units of the file"
        )
    if wheels:
        fits("wheel", np.concatenate([w.times for w in wheels]), clock, sampled=True)
    for wheel in wheels:
        speed = np.percentile(np.abs(wheel_velocity(wheel, clock)), 99)
        if speed > FASTEST_RAD_S and wheel.unit == "rad":
            log.warning(
                "wheel: faster than %.3g rad/s in a hundredth of the frames: are its positions in radians?", speed
            )
    names = dict.fromkeys(s.name for s in behaviour.signals)
    signals = [joined([s for s in behaviour.signals if s.name == name]) for name in names]
    signals = [s for s in signals if fits(s.name, s.times, clock, sampled=s.values is not None)]
    return Behaviour(tuple(trials), tuple(wheels), tuple(signals))


def fits(what: str, times: np.ndarray, clock: np.ndarray, sampled: bool = False) -> bool:
    """Return whether something was recorded by the clock of the imaging; where not, and where it covers little of it, that is told."""
    times = times[np.isfinite(times)]
    if not len(times):
        return True
    start, stop, begin, end = float(times.min()), float(times.max()), float(clock[0]), float(clock[-1])
    shared = min(stop, end) - max(start, begin)
    if shared < 0 or shared < LEAST_SHARE * (stop - start):
        log.warning(
            "left out, the traces do not need it: %s lasts from %.6g to %.6g s, the imaging from %.6g to %.6g s: another clock, or in ms?",
            what, start, stop, begin, end,
        )  # fmt: skip
        return False
    if sampled and shared < COVERED * (end - begin):
        log.warning("%s covers %.6g to %.6g s of an imaging from %.6g to %.6g s", what, start, stop, begin, end)
    return True


def apart(what: str, found: Sequence[Any]) -> list[Any]:
    """Return recordings of one thing, by time, without those that overlap an earlier one (the same in another folder)."""
    kept: list[Any] = []
    for item in sorted((f for f in found if len(f.times)), key=lambda f: (f.times[0], -f.times[-1])):
        if kept and item.times[0] < kept[-1].times[-1]:
            log.warning("%s: stands in the session twice for the same time; one of the two is taken", what)
            continue
        kept.append(item)
    return kept


def joined(signals: Sequence[Signal]) -> Signal:
    """Return recordings of one signal, such as those of several tasks one after the other, as one."""
    if len(signals) == 1:
        return signals[0]
    parts = apart(signals[0].name, signals) or list(signals[:1])
    values = None if parts[0].values is None else np.concatenate([p.values for p in parts])
    return parts[0]._replace(times=np.concatenate([p.times for p in parts]), values=values)


def within(times: np.ndarray | None, start: np.ndarray, stop: np.ndarray, what: str) -> np.ndarray | None:
    """Return times of events in trials, None (which is told) where most lie outside: they are by another clock or from each trial's start."""
    if times is None or not np.isfinite(times).any():
        return times
    known = np.isfinite(times)
    if np.mean((times >= start - SLACK_S) & (times <= stop + SLACK_S), where=known) > 0.5:
        return times
    log.warning("trials: most times of '%s' lie outside of their trials; the trials' own times are taken instead", what)
    return None


def wheel_from(times: np.ndarray, position: np.ndarray, unit: str = "rad") -> Wheel:
    """Return a wheel without unknown positions; an angle that starts anew after each turn goes on, and is in radians."""
    known = np.isfinite(position)
    times, position = times[known], position[known]
    span = np.ptp(position) if len(position) else 0.0
    for turn, radians in TURNS.items():
        if unit != "m" and 0.9 * turn < span <= turn and (np.abs(np.diff(position)) > turn / 2).any():
            if unit != "rad" or radians != 1:
                log.warning("wheel: its position starts anew after %.4g: taken as an angle whose turn is that", turn)
            return Wheel(times, np.unwrap(position, period=turn) * radians)
    return Wheel(times, position, unit)


def unit_of(unit: str, said: str, where: str) -> tuple[str, float]:
    """Return what a wheel's position is in ("rad", "m" or "", not known) and what makes that of its numbers.

    Parameters
    ----------
    unit : as the file gives it.
    said : what else the file says of the position, its description.

    Raises
    ------
    InputError : the two contradict each other, or the description itself.

    >>> unit_of("cm", "", "wheel")
    ('m', 0.01)
    """
    own = UNITS.get(unit.lower().strip())
    words = set(re.split("[^a-z°]+", OTHER_LENGTHS.sub(" ", said.lower()))) - set(NO_WORDS)
    told = {UNITS[word] for word in words if word in UNITS}
    if (own is not None and told and own not in told) or (own is None and len(told) > 1):
        raise InputError(
            f"{where}: the wheel's unit is '{unit}', its description says {', '.join(sorted(words & set(UNITS)))}; which is right is not known."
        )
    return own or (told.pop() if told else ("", 1.0))


def trials_from(
    start: np.ndarray, stop: np.ndarray, on: np.ndarray | None, off: np.ndarray | None, kinds: list[str]
) -> Trials:
    """Return trials; a stimulus whose times are not known lasts as long as its trial."""
    on, off = within(on, start, stop, "stimulus on"), within(off, start, stop, "stimulus off")
    return Trials(
        start, stop, start if on is None else on, stop if off is None else np.where(np.isfinite(off), off, stop), kinds
    )
