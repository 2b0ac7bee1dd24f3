"""What is the baseline of a trace at each frame, seen from that frame's past?"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.signal import lfilter

PERCENTILE_STEP = 16


class Baseline:
    """Causal baseline of blocks in order; keeps only what one window needs, and does not depend on how frames are blocked.

    The trace is smoothed by an exponential mean of half a window first: a faster one would follow the noise, and the jitter of the
    baseline, shared by neighbouring frames, would make white noise look predictable.
    """

    def __init__(self, kind: str, window: int, percentile: float, fixed: np.ndarray | None = None) -> None:
        self.kind, self.window, self.percentile, self.fixed = kind, window, percentile, fixed
        self.restart()

    def restart(self) -> None:
        """Forget what came before: a pause ends what the baseline may look back on."""
        self.frame = 0
        self.memory: dict[str, np.ndarray] = {}

    def __call__(self, block: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Return the baseline of each frame of the block, (time, neuron); bad frames do not enter it."""
        if self.kind == "training" and self.fixed is not None:
            return np.broadcast_to(self.fixed, block.shape)
        good = np.flatnonzero(~bad)
        before = self.memory.get("value", block[good[0] if len(good) else 0])
        filled = hold(block, bad, before)
        self.memory["value"] = filled[-1]
        if self.kind == "percentile":
            out = self.running(filled, "trace", None)
        else:
            out = self.running(
                self.running(self.smooth(filled), "trace", minimum_filter1d), "minimum", maximum_filter1d
            )
        self.frame += len(block)
        return out

    def smooth(self, block: np.ndarray) -> np.ndarray:
        """Return the exponential mean of the trace so far, without the bias of a start."""
        keep = 1 - 2 / self.window
        state = self.memory.get("mean", np.zeros(block.shape[1]))
        mean, _ = lfilter([1 - keep], [1, -keep], block.astype(float), axis=0, zi=keep * state[None])
        self.memory["mean"] = mean[-1]
        return mean / (1 - keep ** np.arange(self.frame + 1, self.frame + 1 + len(block)))[:, None]

    def running(self, block: np.ndarray, memory: str, filter1d) -> np.ndarray:
        """Return a running extreme (or a low percentile) over the last ``window`` frames."""
        past = self.memory.get(memory, block[:0])
        joined = np.concatenate([past, block])
        self.memory[memory] = joined[-(self.window + PERCENTILE_STEP) :]
        if filter1d is None:
            return causal_percentile(joined, len(past), self.frame, self.window, self.percentile)
        out = filter1d(joined, self.window, axis=0, mode="nearest", origin=(self.window - 1) // 2)
        return out[len(past) :]


def hold(block: np.ndarray, bad: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the block with bad frames replaced by the last good one (``before`` where there is none)."""
    last = np.maximum.accumulate(np.where(bad, -1, np.arange(len(block))))
    return np.where((last >= 0)[:, None], block[np.maximum(last, 0)], before)


def causal_percentile(x: np.ndarray, first: int, frame: int, window: int, percentile: float) -> np.ndarray:
    """Return the percentile of the last ``window`` frames of rows ``first ..``, computed at every 16th frame and held in between.

    ``frame`` is the number of row ``first`` in the recording, so that the held frames do not depend on the blocks.
    """
    frames = np.arange(frame, frame + len(x) - first)
    held = frames - frames % PERCENTILE_STEP
    rows = held - frame + first
    values = {r: np.percentile(x[max(0, r + 1 - window) : r + 1], percentile, axis=0) for r in np.unique(rows)}
    return np.stack([values[r] for r in rows])
