"""``info``: a model folder in, what it is, what it needs, whether it is safe and still answers as it did, out."""

from __future__ import annotations

from ..config import InfoConfig
from ..console import Result, Run
from ..files import load_model


def run(config: InfoConfig, run: Run) -> Result:
    results = load_model.describe(config.model, config.class_names, config.max_memory)
    drift = results["probe_set_change"]
    if drift is None:
        probe = "no probe set"
    elif results["reproduces"]:
        probe = f"probe set reproduced (change {drift:.1e})"
    else:
        probe = f"probe set NOT reproduced: {', '.join(results['differs'])}"
    line = f"{config.model}: {' / '.join(results['classes'])}, {len(results['metric_names'])} metrics, only allowed types, {probe}"
    return Result({}, results, line, exit_code=0 if results["reproduces"] in (True, None) else 3)
