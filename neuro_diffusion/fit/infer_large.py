"""Which weights does one recording of very many neurons allow? Ridge and expectation propagation in the space of time steps."""

from __future__ import annotations

import logging
import math
import time

import torch
from torch import Tensor

from ..model import large, propagation
from ..model.agreement import entry_correlation
from ..model.propagation import Family
from .infer import Inference, Recorded, Written, expected_correlation
from .settings import Choice

QUADRATURE = 2.0  #: a sweep of expectation propagation over ridge of a large network, in time
log = logging.getLogger("neuro_diffusion")


def infer_large(
    family: Family,
    recorded: Recorded,
    choice: Choice,
    n_samples: int,
    generator: torch.Generator,
    truth: Tensor | None = None,
) -> Inference:
    """Return ridge and expectation propagation of a recording of many neurons; the samples are those of the latter."""
    y, given = recorded.y, recorded.stimulus
    rows, variance = large.rows_of(y, choice.noise, choice.settings, given)
    began = time.process_time()
    base = large.ridge_of(rows, variance)
    sweeps = (propagation.GAIN_TURNS + propagation.SWEEPS) * (2 if len(y) > 1 else 1)
    total = (time.process_time() - began) * sweeps * QUADRATURE
    log.info("%d neurons: about %.0f s of a processor for expectation propagation.", len(base.mean), total)
    ep = large.propagate(rows, family)
    samples = large.draw(ep, rows, family, n_samples, generator)
    estimates = {"ridge": base.mean.float(), "ep": ep.mean[0]}
    spread = {"ridge": base.sd.float(), "ep": ep.sd[0]}
    heldout: dict[str, float] = {}
    if len(y) > 1:
        part, last = recorded.trials(slice(-1)), recorded.trials(slice(-1, None))
        fewer, variance = large.rows_of(part.y, choice.noise, choice.settings, part.stimulus)
        held = {"ridge": large.ridge_of(fewer, variance).mean, "ep": large.propagate(fewer, family).mean[0]}
        heldout = {
            name: float(large.heldout_rows(W.double(), last.y, choice.noise, choice.settings, last.stimulus).mean())
            for name, W in held.items()
        }
    rests, reason = bool(ep.converged[0]), "largest likelihood of the held-out trial"
    trusted = max(heldout, key=heldout.__getitem__, default="ep" if rests else "ridge")
    if not heldout:
        reason = "one trial leaves nothing to hold out" + ("" if rests else ", and EP did not come to rest")
    table = [
        {
            "method": name,
            "held-out log-likelihood per value": heldout.get(name, math.nan),
            "expected correlation": expected_correlation(W, spread[name]),
            **({"correlation with truth": float(entry_correlation(W, truth))} if truth is not None else {}),
        }
        for name, W in estimates.items()
    ]
    written = Written(samples, ep.sd[0], ep.present[0], rests, ep, family)
    return Inference(samples, "ep", estimates, base.sd.float(), written, choice.noise, table, trusted, reason, "ep", {})
