"""How do all methods do on held-out networks? What `benchmark` and `evaluate` share, once all was read and found good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdf5io.errors import InputError

from ..answer import Answer, answer
from ..config import HeldOutConfig
from ..console import Result, Run, log
from ..files import dataset, model_folder
from ..model.model import WeightModel, differences
from ..model.propagation import Family, family_of, in_words
from ..rate_network.activity import Regime
from ..score import benchmark as conditions
from ..score.evaluate import mean_and_error, t_95
from ..show import pages
from ..show.words import METHODS

CHOOSE = 64  #: training networks on which the best baseline is chosen


def score(config: HeldOutConfig, run: Run, grid: Sequence[conditions.Condition]) -> Result:
    """Score a model on the test networks of a data set under each condition."""
    model = model_folder.load_model(config.model, "diffusion", conditional=True)
    others = {}
    if config.regression is not None:
        others["regression"] = model_folder.load_model(config.regression, "regression")
    if config.prior is not None:
        others["pigdm"] = model_folder.load_model(config.prior, "diffusion")
    W = dataset.load_weights(config.data, "test", config.n_networks)
    if len(W) < 2:
        raise InputError(
            f"{config.data}: one network in the test split; at least 2 are needed. Build a larger data set."
        )
    if len(W) < config.n_networks:
        log.warning("the test split has %d networks, %d were asked for.", len(W), config.n_networks)
    if config.dry_run:
        line = f"would score {len(W)} networks under {len(grid)} conditions"
        return Result({}, {"n_networks": len(W), "n_conditions": len(grid)}, line)
    regime, n_time = how_they_run(config, model, W, grid)
    family, cells = model.spec.family or Family(), []
    for i, condition in enumerate(grid):
        g = torch.Generator().manual_seed(config.seed * 1000 + i)
        cells.append(
            conditions.benchmark_cell(model, W, condition, config.n_samples, n_time, g, others, config.solver, regime)
        )
        row = cells[-1].row
        log.info("K %d, noise %g, observed %g: ridge %.3f, oracle %.3f, ep %.3f, diffusion %.3f",
                 *condition, row["ridge"], row["oracle ridge"], row["ep"], row["diffusion"])  # fmt: skip
    rows, outputs = [cell.row for cell in cells], {}
    best = conditions.baseline_of(
        model, dataset.load_weights(config.data, "train", CHOOSE), grid, n_time, regime, others
    )
    ours = "combined" if model.spec.gate else "diffusion"
    final = answer_of(conditions.gain_of(cells, ours, best), ours, best)
    further = narrower(final, len(W))
    if config.output is not None:
        outputs = pages.save(
            config.output, cells, regime.a, n_time, run.provenance(config), run.warnings, config.figure_format,
            answer=final, further=further,
        )  # fmt: skip
    line = f"{len(W)} held-out networks, {len(rows)} conditions: {final.sentence}"
    structure = str(dataset.load_metadata(config.data)["config"].get("structure", "connectome"))
    results = {
        "n_networks": len(W),
        "ep_family": {**family._asdict(), "in words": in_words(family)},
        "answer": final,
        "further": further,
        "rows": list(conditions.long_rows(rows, structure, W.shape[-1])),
        "table": rows,
        "dynamics": [cell.behaviour for cell in cells],
    }
    return Result(outputs, results, line, record=config.output)


def how_they_run(
    config: HeldOutConfig, model: WeightModel, W: Tensor, grid: Sequence[conditions.Condition]
) -> tuple[Regime, int]:
    """Return how the networks of a data set run, and for how many steps; warn where that, or their weights, are not what the model knows."""
    found = dataset.load_settings(config.data)
    regime, n_time = model.spec.regime, config.n_time or model.spec.n_time
    if found is None:
        log.warning("the data set does not say how its networks run; those of the model's training are taken.")
    else:
        regime = Regime.of(found.dt, found.tau, found.noise_std, found.h0_std)
        n_time = config.n_time or found.n_time
    trials, noise = max(c.trials for c in grid), [c.noise for c in grid]
    for line in differences(model.spec, regime, n_time, W.shape[-1], trials, noise):
        log.warning("%s", line)
    if (model.spec.family or Family()).dale and not family_of(W).dale:
        log.warning(
            "EP is told Dale's law, which the model's training networks keep and these test networks do not: `infer` would ask the evidence."
        )
    return regime, n_time


def answer_of(gain: Tensor, ours: str, best: str) -> Answer:
    """Return whether our estimate beats the best baseline: ``gain`` (B) in correlation, its interval over networks."""
    mean, error = mean_and_error(gain)
    shut = "no" if not bool(gain.any()) else ""  # the gate is shut: ours is the baseline itself
    half = t_95(int(torch.isfinite(gain).sum())) * error
    return answer(
        METHODS[ours],
        METHODS[best],
        mean,
        mean - half,
        mean + half,
        "in correlation with the true weights",
        verdict=shut,
    )


def narrower(found: Answer, n: int) -> list[dict[str, Any]]:
    """Return what more held-out networks would make of the answer's interval; nothing where it has none."""
    now = (found.high - found.low) / 2
    if not now > 0:
        return []
    return [
        {"measurement": f"{(k - 1) * n} more held-out networks", "now": now, "then": now * t_95(k * n) / t_95(n) / k**0.5,
         "unit": found.unit}
        for k in (2, 4)
    ]  # fmt: skip
