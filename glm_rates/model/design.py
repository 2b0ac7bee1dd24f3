"""What does each bin of each trial know about the stimulus, the unit's own past and its neighbours' past?

Counts are convolved with raised-cosine log kernels *within each trial over its full length* and only then cut to the
analysis window: no history crosses a trial edge, and the real bins before the window are used. The kernels are those of
nemos' ``RaisedCosineLogConv`` (Pillow et al. 2008), orthonormalised, because with few bins they are rank-deficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from .kernels import Kernels, Window, convolve_trials

NO_OBSERVATION = -700.0  # log rate of a bin that is no observation: exp of it is 0 beside any rate
EFFECT_OF = {"stimulus": "stimulus", "deviation": "stimulus", "coupling": "coupling", "history": "history"}


class Trials(NamedTuple):
    """Binned spikes of one population."""

    counts: np.ndarray  # (trial, bin, unit)
    taste: np.ndarray  # (trial,) index of the trial's taste
    onset: np.ndarray  # (trial,) bin of stimulus onset
    laser: np.ndarray  # (trial, bin) 1 where the laser is on
    observed: np.ndarray | None = None  # (trial, bin, unit) the unit was recorded; None: everywhere
    counted: np.ndarray | None = None  # (trial, bin) the bin belongs to this trial; None: all do
    covariates: np.ndarray | None = None  # (trial, lead + bin, signal) what else was measured
    time: np.ndarray | None = None  # (trial,) when it was, or its place in the recording; None: the order of the rows


class Design(NamedTuple):
    """Linear predictor ``eta[n] = shared @ coef[n, :P] + own[n] @ coef[n, P:]``; rows are (trial, bin in window)."""

    shared: np.ndarray  # (row, P); column 0 is the constant
    own: np.ndarray  # (unit, row, K): each unit's own history; K may be 0
    counts: np.ndarray  # (unit, row)
    columns: dict[str, slice]  # block name -> columns among the P + K coefficients
    row_trial: np.ndarray  # (row,)
    kernels: dict[str, Kernels]
    valid: np.ndarray | None = None  # (unit, row) the bin is an observation of the unit; None: all are
    sources: np.ndarray | None = None  # (source x k, row) float32: coupling columns, kept apart (`screened`)
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]] = MappingProxyType(
        {}
    )  # covariate -> (points, effect per weight (point, q))

    @property
    def n_shared(self) -> int:
        """P, the number of columns that all units share."""
        return self.shared.shape[1]

    @property
    def mask(self) -> np.ndarray | float:
        """What is added to the predictor so that bins that are no observations say nothing: (unit, row), or 0."""
        return 0.0 if self.valid is None else np.where(self.valid, 0.0, NO_OBSERVATION)

    @property
    def n_valid(self) -> np.ndarray:
        """Number of observations of each unit: (unit,)."""
        return np.full(len(self.counts), self.counts.shape[1]) if self.valid is None else self.valid.sum(axis=1)

    @property
    def n_coef(self) -> int:
        """P + K, the number of coefficients of one unit."""
        return self.shared.shape[1] + self.own.shape[2]

    def rows(self, keep: np.ndarray) -> Design:
        """The same design restricted to the trials flagged in ``keep`` (trial,)."""
        chosen = keep[self.row_trial]
        return self._replace(
            shared=self.shared[chosen],
            own=self.own[:, chosen],
            counts=self.counts[:, chosen],
            row_trial=self.row_trial[chosen],
            valid=None if self.valid is None else self.valid[:, chosen],
            sources=None if self.sources is None else self.sources[:, chosen],
        )

    def in_canonical_order(self) -> Design:
        """The same rows with trials sorted by what they hold, so that no sum depends on the order they came in."""
        rows = [np.flatnonzero(self.row_trial == trial) for trial in np.unique(self.row_trial)]
        rows.sort(key=lambda at: (self.counts[:, at].tobytes(), self.shared[at].tobytes()))
        order = np.concatenate(rows)
        return self._replace(
            shared=self.shared[order],
            own=self.own[:, order],
            counts=np.ascontiguousarray(self.counts[:, order]),
            row_trial=self.row_trial[order],
            valid=None if self.valid is None else self.valid[:, order],
            sources=None if self.sources is None else self.sources[:, order],
        )

    def only(self, terms: tuple[str, ...]) -> Design:
        """The nested design with these effects; constant, taste offset and laser stay."""
        effects = {b: b if b in self.curves else EFFECT_OF.get(b) for b in self.columns}
        blocks = [b for b, effect in effects.items() if effect is None or effect in terms]
        shared = [b for b in blocks if b != "history"]
        own = self.own if "history" in blocks else self.own[:, :, :0]
        return self._replace(
            shared=np.hstack([self.shared[:, self.columns[b]] for b in shared]),
            own=own,
            columns=_consecutive({b: self.columns[b].stop - self.columns[b].start for b in blocks}),
            sources=self.sources if "coupling" in terms else None,
            curves={name: curve for name, curve in self.curves.items() if name in terms},
        )

    @property
    def all_columns(self) -> dict[str, slice]:
        """Blocks of a unit's coefficients, with the coupling also where its columns are kept apart."""
        if self.sources is None:
            return self.columns
        widths = {b: at.stop - at.start for b, at in self.columns.items()}
        history = widths.pop("history", None)
        widths["coupling"] = len(self.sources)
        return _consecutive(widths if history is None else {**widths, "history": history})


def _consecutive(widths: dict[str, int]) -> dict[str, slice]:
    stops = np.cumsum(list(widths.values()))
    return {name: slice(int(stop) - width, int(stop)) for (name, width), stop in zip(widths.items(), stops)}


def stimulus_features(trials: Trials, window: Window, kernels: Kernels) -> np.ndarray:
    """Kernels laid down at each trial's stimulus onset, cut to the window: (trial, bin in window, kernel)."""
    lag = np.arange(window.start, window.stop)[None, :] - trials.onset[:, None] - kernels.first_lag
    inside = (lag >= 0) & (lag < len(kernels.values))
    return kernels.values[np.where(inside, lag, 0)] * inside[..., None]


def _taste_blocks(features: np.ndarray, taste: np.ndarray, n_tastes: int) -> np.ndarray:
    """Copy the columns of ``features`` (row, k) once for each taste, zero where the row has another taste."""
    member = taste[:, None] == np.arange(n_tastes)
    return (member[:, :, None] * features[:, None, :]).reshape(len(features), -1)


def build_design(
    trials: Trials,
    window: Window,
    kernels: dict[str, Kernels],
    terms: tuple[str, ...] = ("stimulus", "history", "coupling"),
    laser: bool = False,
    apart: bool = False,
    extra: dict[str, np.ndarray] | None = None,
) -> Design:
    """Design of one population: constant, taste offset, stimulus, taste deviation, laser, coupling, own history.

    Parameters
    ----------
    trials, window :
        Binned spikes over whole trials, and the bins that are modelled.
    kernels :
        ``{"stimulus", "history", "coupling"}`` as far as ``terms`` needs them.
    terms :
        Effects in the model; with several tastes the taste offset is always there.
    laser :
        Add a regressor that is 1 while the laser is on.
    apart :
        Keep the coupling columns apart, in single precision (`Design.sources`).
    extra :
        Columns (trial, bin in window, q) of further effects, by name.
    """
    n_trials, _, n_units = trials.counts.shape
    n_window = window.stop - window.start
    n_rows, n_tastes = n_trials * n_window, int(trials.taste.max()) + 1
    row_trial = np.repeat(np.arange(n_trials), n_window)
    blocks = {"constant": np.ones((n_rows, 1))}
    if n_tastes > 1:
        blocks["offset"] = _taste_blocks(blocks["constant"], trials.taste[row_trial], n_tastes)
    if "stimulus" in terms:
        blocks["stimulus"] = stimulus_features(trials, window, kernels["stimulus"]).reshape(n_rows, -1)
        if n_tastes > 1:
            blocks["deviation"] = _taste_blocks(blocks["stimulus"], trials.taste[row_trial], n_tastes)
    if laser:
        blocks["laser"] = trials.laser[:, window.start : window.stop].reshape(n_rows, 1)
    blocks |= {name: columns.reshape(n_rows, -1) for name, columns in (extra or {}).items()}
    sources = None
    if "coupling" in terms:
        past = convolve_trials(filled_counts(trials), kernels["coupling"], window, np.float32 if apart else float)
        if apart:
            sources = np.ascontiguousarray(past.reshape(n_rows, -1).T)
        else:
            blocks["coupling"] = past.reshape(n_rows, -1)
    own = np.zeros((n_units, n_rows, 0))
    if "history" in terms:
        past = convolve_trials(trials.counts, kernels["history"], window)
        own = np.ascontiguousarray(past.reshape(n_rows, n_units, -1).transpose(1, 0, 2))
    widths = {name: block.shape[1] for name, block in blocks.items()}
    if "history" in terms:
        widths["history"] = own.shape[2]
    counts, valid = _observed_counts(trials, window, len(kernels["history"].values) if "history" in kernels else 0)
    shared = np.hstack(list(blocks.values()))
    return Design(shared, own, counts, _consecutive(widths), row_trial, kernels, valid, sources)


def _observed_counts(trials: Trials, window: Window, reach: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Counts (unit, row), 0 where a bin is no observation of the unit, and which ones are."""
    n_units = trials.counts.shape[2]
    counts = np.ascontiguousarray(trials.counts[:, window.start : window.stop].reshape(-1, n_units).T, float)
    valid = observations(trials, window, reach)
    if valid is None:
        return counts, None
    valid = np.ascontiguousarray(valid.reshape(-1, n_units).T)
    return np.where(valid, counts, 0.0), valid


def observations(trials: Trials, window: Window, reach: int) -> np.ndarray | None:
    """Which bins of the window are observations of which unit: (trial, bin, unit), or None where all are.

    The unit was recorded in the bin and in all ``reach`` bins before it (as far as the trial holds them), so that its history is
    known, and the bin belongs to the trial.
    """
    if trials.observed is None and trials.counted is None:
        return None
    shape = (len(trials.counts), window.stop - window.start, trials.counts.shape[2])
    valid = np.ones(shape, bool)
    if trials.observed is not None:
        lost = np.cumsum(np.pad(~trials.observed, ((0, 0), (1, 0), (0, 0))), axis=1, dtype=np.int32)
        bins = np.arange(window.start, window.stop)
        valid = lost[:, bins + 1] == lost[:, np.maximum(bins - reach, 0)]
    if trials.counted is not None:
        valid = valid & trials.counted[:, window.start : window.stop, None]
    return valid


def scored_counts(trials: Trials, window: Window, reach: int) -> np.ndarray:
    """Counts in the window, NaN where a bin is no observation of the unit: (trial, bin, unit)."""
    counts = trials.counts[:, window.start : window.stop].astype(float)
    valid = observations(trials, window, reach)
    return counts if valid is None else np.where(valid, counts, np.nan)


def filled_counts(trials: Trials) -> np.ndarray:
    """Counts with each unit's mean where it was not recorded: what its neighbours may expect of it there."""
    if trials.observed is None:
        return trials.counts
    seen = np.maximum(trials.observed.sum(axis=(0, 1)), 1)
    mean = np.where(trials.observed, trials.counts, 0).sum(axis=(0, 1)) / seen
    return np.where(trials.observed, trials.counts, mean)
