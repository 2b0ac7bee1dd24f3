"""How do all methods do on held-out networks, over a grid of conditions?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from ..config import BenchmarkConfig, HeldOutConfig
from ..console import Result, Run, log
from ..files import dataset, model_folder
from ..model.model import differences
from ..rate_network.activity import Regime
from ..score import benchmark as conditions
from ..show import pages


def run(config: BenchmarkConfig, run: Run) -> Result:
    """Score every combination of trials, noise and observed fraction."""
    grid = itertools.product(config.observed, config.noise, config.trials)
    return score(config, run, [conditions.Condition(K, spread, part) for part, spread, K in grid])


def score(config: HeldOutConfig, run: Run, grid: Sequence[conditions.Condition]) -> Result:
    """Score a model on the test networks of a data set under each condition."""
    model = model_folder.load_model(config.model, "diffusion", conditional=True)
    others = {}
    if config.regression is not None:
        others["regression"] = model_folder.load_model(config.regression, "regression")
    if config.prior is not None:
        others["pigdm"] = model_folder.load_model(config.prior, "diffusion")
    W = dataset.load_weights(config.data, "test", config.n_networks)
    if len(W) < config.n_networks:
        log.warning("the test split has %d networks, %d were asked for.", len(W), config.n_networks)
    if config.dry_run:
        line = f"would score {len(W)} networks under {len(grid)} conditions"
        return Result({}, {"n_networks": len(W), "n_conditions": len(grid)}, line)
    found = dataset.load_settings(config.data)
    regime, n_time, cells = model.spec.regime, config.n_time or model.spec.n_time, []
    if found is None:
        log.warning("the data set does not say how its networks run; those of the model's training are taken.")
    else:
        regime = Regime.of(found.dt, found.tau, found.noise_std, found.h0_std)
        n_time = config.n_time or found.n_time
    for line in differences(
        model.spec, regime, n_time, W.shape[-1], max(c.trials for c in grid), [c.noise for c in grid]
    ):
        log.warning("%s", line)
    for i, condition in enumerate(grid):
        g = torch.Generator().manual_seed(config.seed * 1000 + i)
        cells.append(
            conditions.benchmark_cell(model, W, condition, config.n_samples, n_time, g, others, config.solver, regime)
        )
        row = cells[-1].row
        log.info("K %d, noise %g, observed %g: ridge %.3f, oracle %.3f, ep %.3f, diffusion %.3f",
                 *condition, row["ridge"], row["oracle ridge"], row["ep"], row["diffusion"])  # fmt: skip
    rows, outputs = [cell.row for cell in cells], {}
    if config.output is not None:
        outputs = pages.save(
            config.output, cells, regime.a, n_time, run.provenance(config), run.warnings, config.figure_format
        )
    helped = sum(r["gain over oracle ridge"] > 2 * r["gain over oracle ridge se"] for r in rows)
    over_ep = sum(r["gain over ep"] > 2 * r["gain over ep se"] for r in rows)
    line = (
        f"{len(W)} held-out networks: diffusion beats oracle ridge by 2 standard errors in {helped} of {len(rows)} conditions, "
        f"expectation propagation in {over_ep}"
    )
    structure = str(dataset.load_metadata(config.data)["config"].get("structure", "connectome"))
    results = {
        "n_networks": len(W),
        "rows": list(conditions.long_rows(rows, structure, W.shape[-1])),
        "table": rows,
        "dynamics": [cell.behaviour for cell in cells],
    }
    return Result(outputs, results, line, record=config.output)
