"""Which weights does one recording allow, and did such a network make it at all?"""

from __future__ import annotations

from ..config import InferConfig
from ..console import Result, Run
from ..files.asked import read_asked


def run(config: InferConfig, run: Run) -> Result:
    """Read and check everything, then judge and infer."""
    asked = read_asked(config)
    from .infer_one import infer_one  # loads torch: after all that was typed was found good

    return infer_one(config, run, asked)
