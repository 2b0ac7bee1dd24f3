"""How is a session preprocessed into a file? Block by block; nothing of the test part enters what is fitted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io import Dataset
from hdf5io.errors import InputError

from ..activity import preprocess as pre
from ..activity.covariates import PHASES, Covariates, covariates, inputs_of
from ..activity.made_up import copies
from ..activity.observed import MANY_GAPS, Observed, observed, warmed
from ..activity.reading import BLOCK, Rules, require_signal
from ..activity.split import SplitRule, split_label
from ..activity.survey import Survey, floor_of, survey
from ..activity.traces import Traces
from ..activity.windows import PARTS, frame_interval, observed_runs
from .behaviour_clock import on_clock
from .recording import SCHEMA
from .session import MesoscopeSession

log = logging.getLogger(__package__)
LEAST_FRAMES = 200
MOST_PAUSES = 50
MOST_MADE_UP = 0.2  #: of the frames; more were made by resampling, and none would be left
COPY_FRAMES, MOST_LATER = 400, 8
DECONVOLVED = "deconvolved activity was computed from frames before and after each one"


def write_recording(
    session: MesoscopeSession, output: Path, rules: Rules, rule: SplitRule, provenance=None, overwrite: bool = False
) -> dict[str, Any]:
    """Preprocess a session into a file, block by block, and return what was found.

    Raises
    ------
    InputError : what is wrong with the session, by file and dataset.
    """
    clock, c, label, cells = checked(session, rules, rule)
    dt_s = frame_interval(clock)
    o = observed(cells, clock)
    say_gaps(o, cells)
    found, seen, notes = [], np.zeros_like(o.good), notes_of(session, rules)
    for i, f in enumerate(cells):
        warm = warmed(o.pause[:, i], pre.warm_up(f, rules, len(clock), dt_s))
        found.append(surveyed(f, rules, label == 0, o, i, warm, notes))
        seen[:, i] = o.good[:, i] & warm
        for complaint in pre.complaints(f, rules, o.pause[:, i], dt_s):
            log.warning(complaint)
    cells, found, dropped = without_traps(cells, found)
    signal = signal_of(session, rules)
    attrs = {
        "eid": session.eid,
        "subject": session.subject,
        "date": session.date,
        "lab": session.lab,
        "dt_s": dt_s,
        "signal": signal,
    }
    with hdf5io.create(output, SCHEMA, attrs=attrs, provenance=provenance, overwrite=overwrite) as file:
        scale, low = write_activity(file, cells, found, rules, label, o, seen, dt_s)
        hdf5io.write_datasets(file, describe(session, cells, found, scale, seen, label, clock, c, signal))
        notes += copied(file["activity"], seen, file["neurons/uuid"].asstr()[:])
        file.attrs["notes"] = "\n".join(notes)
    for note in notes:
        log.warning("%s", note)
    return {
        "n_frames": len(clock), "n_neurons": int(sum(len(f.rois) for f in cells)), "n_fovs": len(cells), "dt_s": dt_s,
        "observed_fraction": float(seen.all(1).mean()), "dropped": dropped, "skipped_fovs": session.skipped,
        "frames": {name: int((label == value).sum()) for name, value in PARTS.items()},
        "not_observed": {f.name: counts for f, counts in zip(cells, o.counts)}, "pauses": o.pauses[:MOST_PAUSES],
        "n_pauses": len(o.pauses), "n_trials_types": len(c.names), "behaviour": inputs_of(c)[1], "baseline_below_floor": low,
        "notes": notes, "n_notes": len(notes), "signal": signal,
    }  # fmt: skip


def checked(
    session: MesoscopeSession, rules: Rules, rule: SplitRule
) -> tuple[np.ndarray, Covariates, np.ndarray, list[Traces]]:
    """Return the common clock, the covariates on it, the part of each frame and the cells of each FOV: all that needs no trace.

    Raises
    ------
    InputError : what the options ask for is not in the session.
    """
    clock, c = clock_of(session, rule)
    label = split_label(rule, c, len(clock))
    cells = [f.traces(f.cells(rules.least_probability), frame) for f, frame in zip(session.fovs, session.frames(clock))]
    for f in cells:
        require_signal(f, rules)
    return clock, c, label, cells


def signal_of(session: MesoscopeSession, rules: Rules) -> str:
    """Return what the activity is before it is scaled, in words."""
    if rules.signal == "deconvolved":
        return "deconvolved"
    return session.kept_or("dF/F" if rules.signal == "dff" else f"F - {rules.neucoeff:g} Fneu")


def clock_of(session: MesoscopeSession, rule: SplitRule) -> tuple[np.ndarray, Covariates]:
    """Return the common clock and the covariates on it, cut after the last stimulus where that is wanted."""
    clock = session.clock()
    if len(clock) < LEAST_FRAMES:
        raise InputError(
            f"{session.eid or session.fovs[0].where}: the FOVs have {len(clock)} frames in common; {LEAST_FRAMES} are needed."
            " Do their clocks agree?"
        )
    c = covariates(on_clock(session.behaviour(), clock), clock)
    if not rule.cut_after_last_stimulus:
        return clock, c
    if not np.isfinite(c.last_stimulus_s):
        raise InputError("--cut-after-last-stimulus: this session has no trials table.")
    n = int(np.searchsorted(clock, c.last_stimulus_s))
    if n < LEAST_FRAMES:
        raise InputError(f"--cut-after-last-stimulus: {n} frames are left; {LEAST_FRAMES} are needed.")
    return clock[:n], c.until(n)


def say_gaps(o: Observed, cells: list[Traces]) -> None:
    """Log pauses and frames that are not used."""
    for p in o.pauses[:3]:
        log.info(
            "%s: a pause of %.1f s after %.1f s; no window or baseline crosses it",
            p["fov"],
            p["length_s"],
            p["after_s"],
        )
    if len(o.pauses) > 3:
        log.info("%d pauses in all", len(o.pauses))
    for f, counts in zip(cells, o.counts):
        reasons = ", ".join(f"{n} {why}" for why, n in counts.items() if n)
        if reasons:
            log.info("%s: frames that are not used: %s", f.where, reasons)
        if counts["after a gap"] > MANY_GAPS * len(f.frame):
            log.warning(
                "%s: %d steps of the clock are longer than 1.5 frames; is it regular?", f.where, counts["after a gap"]
            )


def surveyed(
    c: Traces, rules: Rules, train: np.ndarray, o: Observed, fov: int, warm: np.ndarray, notes: list[str]
) -> Survey:
    """Return the survey of a FOV; frames that turn out to be empty or made up become unobserved in ``o``, and are counted."""
    found, empty, made = survey(c, rules, train, o.good[:, fov], o.good[:, fov] & warm)
    if made.sum() > MOST_MADE_UP * o.good[:, fov].sum():
        share = made.sum() / o.good[:, fov].sum()
        notes.append(
            f"{c.where}: {share:.0%} of the frames repeat the one before or lie on straight lines between others: the traces were resampled"
            " to a higher rate, and such frames tell of later ones. Forecasts look better than they are; give the frames as recorded"
        )
        made[:] = False
    o.counts[fov] |= {"empty": int(empty.sum()), "made up": int(made.sum())}
    for frames, why in (
        (empty, "empty (no finite value, or one number in all cells)"),
        (made, "interpolated, or repeat the one before,"),
    ):
        if frames.any():
            log.warning("%s: %d frames are %s and count as not observed", c.where, frames.sum(), why)
    if not (empty | made).any():
        return found
    o.good[empty | made, fov] = False
    return survey(c, rules, train, o.good[:, fov], o.good[:, fov] & warm)[0]


def notes_of(session: MesoscopeSession, rules: Rules) -> list[str]:
    """Return what whoever reads a forecast's skill must know of how the activity was made."""
    said = (
        [DECONVOLVED]
        if rules.signal == "deconvolved"
        else list(dict.fromkeys(f.ahead for f in session.fovs if f.ahead))
    )
    return [f"{text}. What seems to be forecast may have been known" for text in said]


def copied(data: h5py.Dataset, seen: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return a note where cells repeat others, in the longest stretch of observed frames (at most ``COPY_FRAMES``)."""
    start, stop = max(observed_runs(np.asarray(seen.all(1))).tolist(), key=lambda run: run[1] - run[0], default=(0, 0))
    found = copies(data[start : min(stop, start + COPY_FRAMES)], MOST_LATER) if stop - start > MOST_LATER + 50 else []
    said = []
    for kind, why in (
        (False, "the same cell twice, which counts twice"),
        (True, "who knows the one foretells the other by copying"),
    ):
        pairs = [c for c in found if bool(c.later) == kind]
        if pairs:
            c = pairs[0]
            said.append(
                f"{len(pairs)} cells repeat another cell's trace{' some frames later' if kind else ''} (such as {names[c.cell]} that of"
                f" {names[c.of]}): {why}"
            )
    return said


def without_traps(
    cells: list[Traces], found: list[Survey]
) -> tuple[list[Traces], list[Survey], dict[str, dict[str, int]]]:
    """Return cells and surveys without neurons that have no scale or values that are not finite, and how many were dropped."""
    dropped, kept_cells, kept_found = {}, [], []
    for c, s in zip(cells, found):
        bad = s.constant | s.broken
        constant, broken = int(s.constant.sum()), int(s.broken.sum())
        if bad.all():
            raise InputError(f"{c.where}: all {len(bad)} cells are constant or not finite in the training part.")
        if bad.any():
            dropped[c.name] = {"constant": constant, "not finite": broken}
            log.warning(
                "%s: %d ROIs that are (almost) constant in the training part and %d with values that are not finite are left out",
                c.where, constant, broken,
            )  # fmt: skip
        kept_cells.append(c._replace(rois=c.rois[~bad]))
        kept_found.append(Survey(*(np.asarray(v)[~bad] for v in s)))
    return kept_cells, kept_found, dropped


def write_activity(
    file: h5py.File, cells: list[Traces], found: list[Survey], rules: Rules, label: np.ndarray, o: Observed, seen: np.ndarray, dt_s: float
) -> tuple[pre.Scale, int]:  # fmt: skip
    """Write ``/activity`` in two passes over blocks of frames (dF/F, then the scale of the training part).

    Returns
    -------
    scale : of every neuron.
    low : in how many neurons the baseline lies below the floor in more than a tenth of the frames.
    """
    edges = np.cumsum([0, *(len(f.rois) for f in cells)])
    data = file.create_dataset("activity", (len(label), edges[-1]), "float32", track_times=False)
    data.attrs.update(
        units="z" if rules.normalise == "zscore" else rules.normalise,
        description="activity of each neuron; NaN where its FOV was not observed",
    )
    data.dims[0].label, data.dims[1].label = "time", "neuron"
    scales, low = [], 0
    for i, (c, s) in enumerate(zip(cells, found)):
        columns, counted = slice(int(edges[i]), int(edges[i + 1])), pre.Counted(len(c.rois))
        for rows, x in pre.blocks(c, rules, s, o.good[:, i], o.pause[:, i], seen[:, i], dt_s, counted):
            data[rows, columns] = x
        scale = pre.fit_scale(data, columns, pre.training_rows(label, seen[:, i]), rules.normalise)
        for start in range(0, len(label), BLOCK):
            rows = slice(start, min(start + BLOCK, len(label)))
            data[rows, columns] = ((data[rows, columns] - scale.offset) / scale.scale).astype(np.float32)
        scales.append(scale)
        some = int((counted.share() > 0.1).sum())
        low += some
        if some:
            log.info(
                "%s: in %d of %d cells the baseline F0 is below the floor in more than a tenth of the frames: there dF/F is dF over a"
                " constant. Give --signal fluorescence, or a smaller --neucoeff", c.where, some, len(c.rois),
            )  # fmt: skip
    return pre.Scale(*(np.concatenate(v) for v in zip(*scales))), low


def describe(session, cells, found, scale, seen, label, clock, c: Covariates, signal: str) -> dict[str, Dataset]:
    """Return all datasets but the activity."""
    n = [len(f.rois) for f in cells]
    pick = lambda name: np.concatenate([np.asarray(getattr(f, name))[c.rois] for f, c in zip(session.fovs, cells)])  # noqa: E731
    hot = np.eye(len(c.names) + 1, dtype=np.uint8)[c.stimulus][:, 1:]
    inputs, input_names = inputs_of(c)
    return {
        "observed": Dataset(seen.astype(np.uint8), "", "1 where the FOV's frame is good", ("time", "fov")),
        "timestamps": Dataset(clock, "s", "common clock", ("time",)),
        "split": Dataset(label, "", "0 training, 1 validation, 2 test", ("time",)),
        "neurons/fov": Dataset(np.repeat(np.arange(len(cells)), n), "", "index of the FOV", ("neuron",)),
        "neurons/fov_names": Dataset(np.array([f.name for f in cells]), "", "names of the FOVs", ("fov",)),
        "neurons/roi": Dataset(np.concatenate([f.rois for f in cells]), "", "index of the ROI in its FOV", ("neuron",)),
        "neurons/region": Dataset(pick("region"), "", "Allen CCF 2017 region id, 0 unknown", ("neuron",)),
        "neurons/region_name": Dataset(pick("region_name").astype(str), "", "region as the file names it", ("neuron",)),
        "neurons/position": Dataset(pick("position"), "um or pixel", "ml, ap, dv (or x, y, 0)", ("neuron", "axis")),
        "neurons/uuid": Dataset(pick("uuids").astype(str), "", "ROI uuid", ("neuron",)),
        "neurons/red": Dataset(pick("red").astype(np.uint8), "", "1 where labelled in the red channel", ("neuron",)),
        "neurons/delay": Dataset(pick("roi_delay"), "s", "scan time of the ROI after the frame's start", ("neuron",)),
        "normalization/offset": Dataset(scale.offset, signal, "subtracted; from the training part", ("neuron",)),
        "normalization/scale": Dataset(scale.scale, signal, "divided by; from the training part", ("neuron",)),
        "normalization/floor": Dataset(np.concatenate([floor_of(s) for s in found]), "a.u.", "least baseline", ("neuron",)),
        "covariates/wheel": Dataset(c.wheel_rad_s, "rad/s", "wheel velocity since the frame before", ("time",)),
        "covariates/stimulus": Dataset(c.stimulus.astype(np.int16), "", "0 none, else 1 + index in stimulus_names", ("time",)),
        "covariates/stimulus_one_hot": Dataset(hot, "", "one column a stimulus type", ("time", "stimulus")),
        "covariates/stimulus_names": Dataset(np.array(c.names or [""]), "", "stimulus types", ("stimulus",)),
        "covariates/inputs": Dataset(inputs, "", "behaviour that forecasters may see, each by its name", ("time", "input")),
        "covariates/input_names": Dataset(np.array(input_names or [""]), "", "names of the inputs", ("input",)),
        "covariates/phase": Dataset(c.phase.astype(np.int8), "", "; ".join(f"{i} {p}" for i, p in enumerate(PHASES)), ("time",)),
    }  # fmt: skip
