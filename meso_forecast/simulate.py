"""What does a mesoscope session look like on disk? A simulated one, in ALF, with a truth to recover.

Latent oscillators and private calcium fluctuations drive cells; neuropil is a smooth field shared within a field of view (FOV);
every trace drifts. Files have the names, shapes and dtypes of a public session of the International Brain Laboratory; the ground
truth lies outside ``alf/``, in ``truth.npz``.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io

LAB, SUBJECT, DATE, NUMBER = "simlab", "SIM_001", "2024-05-17", "001"
LINES = 512
DT_S = 0.205
FRACTION_CELLS = 0.3
QC_NAMES = ((0, "ok"), (1, "PMT off"), (2, "galvos fault"), (3, "high signal"))
F_MEAN, F_SD = 1400.0, 830.0


class Truth(NamedTuple):
    """What made the traces."""

    latents: np.ndarray  #: (time, latent)
    calcium: list[np.ndarray]  #: one (time, roi) array a FOV, dF/F without noise
    is_cell: list[np.ndarray]


def latent_oscillators(n_time: int, n_latents: int, rng: np.random.Generator) -> np.ndarray:
    """Return damped noisy oscillators of unit variance, (time, latent); decay 0.6-12 s, 0.02-0.35 Hz."""
    taus, freqs = np.geomspace(0.6, 12, n_latents // 2), rng.uniform(0.02, 0.35, n_latents // 2)
    pole = np.exp(-DT_S / taus + 2j * np.pi * freqs * DT_S)
    drive = rng.standard_normal((n_time, n_latents // 2)) + 1j * rng.standard_normal((n_time, n_latents // 2))
    z = np.empty_like(drive)
    state = drive[0]
    for t in range(n_time):
        state = pole * state + np.sqrt(1 - np.abs(pole) ** 2) * drive[t]
        z[t] = state
    return np.concatenate([z.real, z.imag], axis=1)


def ar1(n_time: int, tau_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return AR(1) noise of unit variance with given time constants, (time, channel)."""
    phi = np.exp(-DT_S / np.asarray(tau_s))
    out = rng.standard_normal((n_time, len(phi)))
    for t in range(1, n_time):
        out[t] = phi * out[t - 1] + np.sqrt(1 - phi**2) * out[t]
    return out


def field_of_view(latents: np.ndarray, n_rois: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return one FOV's arrays: ``F, Fneu, spks`` (time, roi) float32, ``is_cell, probability``, ``calcium``, ``position`` (pixels)."""
    n_time, k = latents.shape
    is_cell = rng.permutation(n_rois) < round(FRACTION_CELLS * n_rois)
    loading = rng.standard_normal((k, n_rois)) * (rng.random((k, n_rois)) < 0.4)
    loading /= np.linalg.norm(loading, axis=0) + 1e-9
    shared = rng.beta(2, 3, n_rois)
    private = ar1(n_time, rng.uniform(0.3, 1.4, n_rois), rng)
    noise = rng.beta(2, 6, n_rois) * 0.9 + 0.04
    fluctuation = np.sqrt((1 - noise) * shared) * (latents @ loading) + np.sqrt((1 - noise) * (1 - shared)) * private
    calcium = 0.35 * (fluctuation * is_cell + 0.5 * fluctuation * ~is_cell)
    base = rng.gamma((F_MEAN / F_SD) ** 2, F_SD**2 / F_MEAN, n_rois) + 60
    drift = 1 + 0.08 * np.sin(np.linspace(0, 2 * np.pi * rng.uniform(0.2, 1), n_time))[:, None] * rng.standard_normal(
        n_rois
    )
    field = ar1(n_time, np.array([2.0]), rng)
    neuropil = base * 0.6 * drift * (1 + 0.05 * field)
    white = rng.standard_normal((n_time, n_rois)) * np.sqrt(noise)
    trace = base * drift * (1 + calcium + 0.24 * white) + 0.7 * (neuropil - neuropil.mean(0))
    spikes = np.maximum(np.diff(calcium, axis=0, prepend=calcium[:1]), 0) * base
    return {
        "F": trace.astype(np.float32), "Fneu": neuropil.astype(np.float32), "spks": spikes.astype(np.float32),
        "is_cell": is_cell, "probability": np.where(is_cell, rng.uniform(0.5, 1, n_rois), rng.uniform(0, 0.5, n_rois)),
        "calcium": calcium.astype(np.float32), "position": rng.integers(0, LINES, (n_rois, 2)),
    }  # fmt: skip


def trials_table(duration_s: float, rng: np.random.Generator):
    """Return a trials table with the columns of the IBL task; the last tenth of the session is passive (no trials)."""
    import pandas as pd

    starts = np.arange(20.0, max(21.0, 0.9 * duration_s - 6), 6.0)
    starts = starts + rng.uniform(0, 1, len(starts))
    n = len(starts)
    left = rng.random(n) < 0.5
    contrast = rng.choice([1.0, 0.25, 0.125, 0.0625, 0.0], n)
    on = starts + 0.5
    response = on + rng.gamma(4, 0.15, n)
    correct = rng.random(n) < 0.8
    return pd.DataFrame({
        "intervals_0": starts, "intervals_1": response + 1.5, "stimOn_times": on, "stimOff_times": response + 0.5,
        "goCue_times": on + 0.002, "response_times": response, "firstMovement_times": response - 0.1,
        "feedback_times": response, "choice": np.where(left == correct, 1.0, -1.0), "feedbackType": np.where(correct, 1.0, -1.0),
        "contrastLeft": np.where(left, contrast, np.nan), "contrastRight": np.where(left, np.nan, contrast),
        "probabilityLeft": np.full(n, 0.5), "rewardVolume": np.where(correct, 1.5, 0.0),
    })  # fmt: skip


def save(path: Path, values: np.ndarray) -> None:
    """Write one array whole or not at all."""
    with hdf5io.atomic(path) as part:
        np.save(part, values)


def write_fov(
    folder: Path, fov: dict[str, np.ndarray], times: np.ndarray, bad: np.ndarray, qc: np.ndarray, name: str, final: bool
) -> None:
    """Write one FOV's datasets under their ALF names."""
    folder.mkdir(parents=True, exist_ok=True)
    n, suffix = fov["F"].shape[1], "" if final else "_estimate"
    line, column = fov["position"].T
    rng = np.random.default_rng(abs(int(fov["F"][0, 0])))
    save(folder / "mpci.ROIActivityF.npy", fov["F"])
    save(folder / "mpci.ROINeuropilActivityF.npy", fov["Fneu"])
    save(folder / "mpci.ROIActivityDeconvolved.npy", fov["spks"])
    save(folder / "mpci.times.npy", times)
    save(folder / "mpci.badFrames.npy", bad)
    save(folder / "mpci.mpciFrameQC.npy", qc)
    table(folder / "mpciFrameQC.names.tsv", "qc_values\tqc_labels", QC_NAMES)
    save(folder / "mpciROIs.mpciROITypes.npy", fov["is_cell"].astype(np.int16))
    table(folder / "mpciROITypes.names.tsv", "roi_values\troi_labels", ((0, "no cell"), (1, "cell")))
    save(folder / "mpciROIs.cellClassifier.npy", fov["probability"].astype(np.float64))
    save(folder / "mpciROIs.stackPos.npy", np.c_[line, column, np.zeros(n, int)].astype(np.int64))
    place = np.c_[-2000 + 3 * column, -2500 + 3 * line, np.full(n, -300)] + 900 * (sum(map(ord, name)) % 5)
    save(folder / f"mpciROIs.mlapdv{suffix}.npy", place.astype(np.float64))
    save(folder / f"mpciROIs.brainLocationIds_ccf_2017{suffix}.npy", rng.choice([385, 593, 821], n).astype(np.int64))
    ids = [str(uuid.uuid3(uuid.NAMESPACE_URL, f"{name}/{i}")) for i in range(n)]
    table(folder / "mpciROIs.uuids.csv", "uuids", [(i,) for i in ids])
    save(folder / "mpciStack.timeshift.npy", np.arange(LINES) * (0.041 / LINES))


def table(path: Path, header: str, rows) -> None:
    """Write a small text table; tabs for ``.tsv``, commas for ``.csv``."""
    separator = "\t" if path.suffix == ".tsv" else ","
    path.write_text("\n".join([header, *(separator.join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")


def simulate_session(
    root: Path, n_fovs: int = 2, n_rois: int = 330, n_time: int = 3000, seed: int = 0, n_latents: int = 12
) -> Path:
    """Write ``root/<lab>/Subjects/<subject>/<date>/<number>/alf/FOV_XX/...`` and return the session folder.

    Parameters
    ----------
    root : the ONE cache to make; must not hold this session yet.
    n_fovs, n_rois : fields of view, and regions of interest in each (30 % of them cells).
    n_time : frames, at 0.205 s.
    seed : seed of everything.
    """
    rng = np.random.default_rng(seed)
    session = Path(root) / LAB / "Subjects" / SUBJECT / DATE / NUMBER
    latents = latent_oscillators(n_time, n_latents, rng)
    clock = np.arange(n_time) * DT_S + 5.0
    truth: dict[str, np.ndarray] = {"latents": latents.astype(np.float32)}
    for i in range(n_fovs):
        name, stream = f"FOV_{i:02d}", np.random.default_rng([seed, i + 1])
        fov = field_of_view(latents, n_rois, stream)
        bad = np.zeros(n_time, bool)
        for start in stream.integers(0, n_time - 10, max(1, n_time // 1500)):
            bad[start : start + stream.integers(1, 9)] = True
        qc = np.zeros(n_time, np.int64)
        if i == 0:
            qc[n_time // 3 : n_time // 3 + 4] = 3
        times = clock + 0.16 * i / max(1, n_fovs - 1) if n_fovs > 1 else clock
        write_fov(session / "alf" / name, fov, times, bad, qc, name, final=i % 2 == 1)
        truth |= {f"{name}/calcium": fov["calcium"], f"{name}/is_cell": fov["is_cell"]}
    write_task(session / "alf" / "task_00", clock[-1], rng)
    arrays: dict[str, Any] = {k.replace("/", "__"): v for k, v in truth.items()}
    with hdf5io.atomic(session / "truth.npz") as part:
        np.savez(part, **arrays)
    return session


def write_task(folder: Path, duration_s: float, rng: np.random.Generator) -> None:
    """Write the trials table and the wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "_ibl_trials.table.pqt") as part:
        trials_table(duration_s, rng).to_parquet(part)
    t = np.arange(0.0, duration_s, 0.05)
    velocity = ar1(len(t), np.array([1.0]), rng)[:, 0]
    save(folder / "_ibl_wheel.timestamps.npy", t)
    save(folder / "_ibl_wheel.position.npy", np.cumsum(velocity) * 0.05)
