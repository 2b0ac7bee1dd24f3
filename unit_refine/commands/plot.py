"""``plot``: a model (and new units, if given) in, figures out."""

from __future__ import annotations

from ..config import PlotConfig
from ..console import Result, Run
from ..files.save_model import staging
from ..show import pages


def run(config: PlotConfig, run: Run) -> Result:
    """Draw a model's figures, or the metrics of units."""
    with staging(config.output) as part:
        names = sorted(path.name for path in pages.plot(part, config).values())
    outputs = {name.partition(".")[0]: config.output / name for name in names}
    line = f"{config.output}: {', '.join(names)}"
    return Result(outputs, {"n_figures": len(names)}, line, record=config.output)
