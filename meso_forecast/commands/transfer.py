"""``transfer``: train on some animals, serve another after 5, 10, 20 minutes of its session."""

from __future__ import annotations

import itertools
import logging
import warnings
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.made_up import copies
from ..activity.windows import TEST, gather, observed_runs, window_origins
from ..answer import Answer, answer
from ..config import TransferConfig
from ..console import Result, Run
from ..files.recording import Recording
from ..fit.feasible import refuse_impossible
from ..fit.options import refuse_unread
from ..fit.registry import check_windows, fit_named, open_checked, options_of
from ..model.forecaster import with_spread
from ..score.scores import Scores, block_length, compare, score
from ..score.transfer import animals
from ..show.report import Section, write_report

log = logging.getLogger(__package__)
TWINS = 0.7  #: share of the cells that repeat one of another file with the same clock, from which both are one session
TWIN_FRAMES = 5000  #: frames that are looked at for it
OPPONENTS = ("scratch", "stack", "ar-drift", "persistence")


def run(config: TransferConfig, run: Run) -> Result:
    """Hold out each animal once."""
    refuse_unread(config, ["informer"])
    recordings = [open_checked(path, config.context, config.horizon) for path in config.recordings]
    refuse_twins(recordings)
    names = [r.subject or r.path.stem for r in recordings]
    unknown = [r.path.name for r in recordings if not r.subject]
    if unknown:
        log.warning("%s: which animal it is of is not known; each such file counts as an animal", ", ".join(unknown))
    if len(set(names)) < 2:
        raise InputError(
            f"recordings of {len(set(names))} animal; two are needed, one to train on and one to hold out."
        )
    for r in recordings:
        check_minutes(r, config)
    refuse_impossible(config, ["informer"], [config.context])
    if config.dry_run:
        return Result(
            {}, {"animals": sorted(set(names))}, f"would hold out each of {len(set(names))} animals; nothing written"
        )
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(names):
        others = [r.panel for r, n in zip(recordings, names) if n != name]
        teacher = fit_named("informer", others, config)[0].point
        for r in (r for r, n in zip(recordings, names) if n == name):
            rows += [served(config, teacher, r, name, minutes) for minutes in config.minutes]
    found, result = pooled(config, rows)
    results = {"rows": rows, "pooled": found, "answer": result, "verdict": result.sentence}
    hdf5io.write_csv(config.output / "transfer.csv", rows)
    write_page(config, run, results)
    return Result({"report": config.output / "report.html"}, results, result.sentence, record=config.output)


def refuse_twins(recordings: list[Recording]) -> None:
    """Refuse a session that stands there twice, such as preprocessed in two ways: what is held out would be learned from.

    Raises
    ------
    InputError : which two.
    """
    for a, b in itertools.combinations(recordings, 2):
        if len(a.times) != len(b.times) or not np.allclose(a.times, b.times):
            continue
        start, stop = max(
            observed_runs(a.panel.usable & b.panel.usable).tolist(), key=lambda run: run[1] - run[0], default=(0, 0)
        )
        rows, n = slice(start, min(stop, start + TWIN_FRAMES)), a.panel.x.shape[1]
        twins = [c for c in copies(np.hstack([a.panel.x[rows], b.panel.x[rows]]), 0) if c.of < n <= c.cell]
        if len(twins) > TWINS * min(n, b.panel.x.shape[1]):
            raise InputError(f"{a.path} and {b.path} are of the same session; give each session once.")


def check_minutes(recording: Recording, config: TransferConfig) -> None:
    """Refuse a recording that has not as many minutes before its test part, or minutes that hold too few windows.

    Raises
    ------
    InputError : which recording, and how long it is.
    """
    from ..fit.adapt import limited

    for minutes in config.minutes:
        try:
            less = recording._replace(panel=limited(recording.panel, minutes))
            check_windows(less, config.context, config.horizon)
        except InputError as error:
            raise InputError(f"--minutes {minutes:g}: {error}") from None
        except ValueError as error:
            raise InputError(f"{recording.path}: {error}. Give other --minutes.") from None


def served(config: TransferConfig, teacher, recording: Recording, animal: str, minutes: float) -> dict[str, Any]:
    """Return errors on one held-out session after so many minutes of it: adapted, from scratch, and of simple forecasters."""
    from ..fit.adapt import TRAVELS, adapt, limited

    context, horizon, p = config.context, config.horizon, recording.panel
    panel = limited(p, minutes)
    origins = window_origins(p.usable, p.label, TEST, context, horizon)
    y = gather(p.x, origins, 1, horizon)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        point = adapt(teacher.shared[TRAVELS], panel, context, horizon, options_of(config))
    fits = {"adapted": with_spread(point, panel, context, horizon)}
    fits |= {k: fit_named("informer" if k == "scratch" else k, [panel], config)[0] for k in OPPONENTS}
    scores: dict[str, Scores] = {k: score(y, f.forecast(panel, origins)) for k, f in fits.items()}
    row: dict[str, Any] = {"animal": animal, "session": recording.path.stem, "minutes": minutes}
    row |= {f"mse_{k}": float(s.mse.mean()) for k, s in scores.items()}
    for k in OPPONENTS:
        c = compare(scores["adapted"], scores[k], block_length(context, horizon, len(origins)))
        row |= {f"skill_{k}": c.skill, f"error_{k}": (c.high - c.low) / 2 / 1.96}
    log.info(
        "%s after %g min: adapted %.4f, from scratch %.4f", animal, minutes, row["mse_adapted"], row["mse_scratch"]
    )
    return row


def pooled(config: TransferConfig, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Answer]:
    """Return the random-effects mean over animals after each number of minutes, and the answer after the fewest."""
    found = [{"minutes": m, "against": k, **animals(rows, k, m)._asdict()} for m in config.minutes for k in OPPONENTS]
    first = next(row for row in found if row["minutes"] == min(config.minutes) and row["against"] == "scratch")
    what = f"informer adapted from other animals after {first['minutes']:g} minutes"
    return found, answer(
        what, "training from scratch", first["mean"], first["low"], first["high"],
        f"of its squared error, mean over {first['n']} animals",
    )  # fmt: skip


def write_page(config: TransferConfig, run: Run, results: dict[str, Any]) -> None:
    """Write the report."""
    table = [
        {"minutes of the new session": row["minutes"], "against": row["against"], "less error": f"{row['mean']:+.1%}",
         "95 % interval over animals": f"{row['low']:+.1%} to {row['high']:+.1%}", "sd between animals": f"{row['between_sd']:.1%}"}
        for row in results["pooled"]
    ]  # fmt: skip
    each = [
        {"animal": row["animal"], "session": row["session"], "minutes": row["minutes"],
         **{f"MSE, {k} (z²)": row[f"mse_{k}"] for k in ("adapted", *OPPONENTS)}} for row in results["rows"]
    ]  # fmt: skip
    last = results["pooled"][0]
    write_report(
        config.output / "report.html", title="From other animals to a new one",
        question="How much do other animals tell about a new one, after some minutes of its session?", verdict=results["verdict"],
        headline={"animals": last["n"], "sessions": len({row["session"] for row in results["rows"]})},
        sections=[
            Section("Over animals", "Random-effects mean of the animals' skills. The networks that neurons share are those of the other"
                    " animals; an embedding for each neuron, the stack and the weights are fitted on the new session.", table),
            Section("Session by session", "Mean squared error on the same test windows.", each),
        ],
        warnings=run.warnings, provenance=run.provenance(config),
    )  # fmt: skip
