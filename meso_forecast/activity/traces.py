"""What are the traces of a field of view, to whoever works on them? Arrays that are read a block of frames at a time."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Readable(Protocol):
    """A (time, roi) array that lies somewhere."""

    def read(self, start: int, stop: int, rois: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return frames ``start .. stop - 1`` of some ROIs, (time, roi) float32."""


class Traces(NamedTuple):
    """The cells of one field of view (FOV) on the common clock."""

    name: str  #: of the FOV
    where: str  #: for messages: file and FOV
    fluorescence: Readable
    neuropil: Readable | None
    deconvolved: Readable | None
    times: np.ndarray  #: (frame of the FOV,) s
    bad_frames: np.ndarray  #: (frame of the FOV,) bool
    processed: bool  #: the activity is used as it is
    rois: np.ndarray  #: (neuron,) the cells, as columns of the arrays
    frame: np.ndarray  #: (time,), frame of this FOV at each time of the common clock
