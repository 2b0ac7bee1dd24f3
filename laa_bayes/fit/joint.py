"""What do several sweeps of one cell say together? One membrane behind one electrode; each sweep with its own start and noise.

Cells drift: in pA each sweep has a small current of its own beside the stimulus (``I_0``: leak or holding that changed), and the
standard deviations are the larger of the posterior's and of a jackknife over sweeps (Tukey 1958), which sees what the model does not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from hdf5io.errors import InputError

from ..config import PARAMETERS, UNITS, InferConfig, Prior
from ..neuron.recording import Recording
from ..posterior import exact, likelihood, rivals
from ..posterior.importance import Refined
from ..posterior.likelihood import Joint, Observation, Spec
from ..posterior.rivals import Rival
from ..posterior.summary import Posterior
from .infer import facts_of, judge, make_problem, mv_per_mohm_per_unit, prepare, recording_for_facts

DRIFT = ("I_0", Prior(distribution="normal", center=0.0, sd=10.0))  #: pA; a cell of 6 nS rests 1.7 mV elsewhere
CLIMB = exact.Climb(48, 60)  #: starts and steps: half of the starts from the passive membrane's mode
JACKKNIFE_STEPS = 40
log = logging.getLogger("laa_bayes")


def infer_together(recordings: Sequence[Recording], config: InferConfig) -> list[Posterior]:
    """Return the posterior of each sweep under one membrane: their draws of membrane and R_s are the same draws.

    Every sweep has its own initial voltage, noise sd and noise correlation. The refinement is that of a single recording; verdict and
    checks are each sweep's own.

    Raises
    ------
    InputError
        Windows of different lengths, units that do not fit, fewer than two sweeps.
    """
    cuts = [prepare(recording, config, None) for recording in recordings]
    lengths = sorted({len(cut.v_mv) for cut, _, _ in cuts})
    if len(cuts) < 2 or len(lengths) > 1:
        told = (
            "have windows of " + ", ".join(str(n) for n in lengths) + " samples" if cuts[1:] else "are fewer than two"
        )
        raise InputError(
            f"{cuts[0][0].source.split(':sweep')[0]}: the sweeps to fit together {told}. Name others (--sweeps), or --window sub-threshold or "
            "t0:t1."
        )
    problems = [make_problem(cut, priors, config, None) for cut, _, priors in cuts]
    singles = [spec for spec, _ in problems]
    single = singles[len(singles) // 2]
    if cuts[0][0].current_unit == "pA":
        single = single._replace(nuisance=(*single.nuisance, DRIFT))
    spec, observed = Joint(single, len(cuts)), stacked([one for _, one in problems])
    rng = np.random.default_rng(config.seed)
    log.info("%d sweeps together: %d coordinates, %d starts of %d steps", len(cuts), len(spec.names), *CLIMB[:2])
    starts = starts_of(spec, observed, rng)
    refined = exact.refine(spec, observed, config.refine, rng, config.draws, starts, None, CLIMB)
    models = rivals.compare(spec, observed, refined.optimum, rng, CLIMB.n_steps)
    for name in {"laa", rivals.favoured(models)}:
        over_sweeps = jackknife(models[name], observed)
        larger = {n: max(sd, over_sweeps[n]) for n, sd in models[name].sd.items()}
        models[name] = models[name]._replace(sd=larger)
    units = {name: UNITS[cuts[0][1]][name] for name in PARAMETERS}
    per_unit = mv_per_mohm_per_unit(cuts[0][0], config.area_um2)
    found = []
    for i, (place, (cut, _, _), (_, one)) in enumerate(zip(spec.places(), cuts, problems, strict=True)):
        facts = facts_of(single, one, recording_for_facts(recordings[i], config, cut), config.area_um2)
        each = {name: part_of(model, i) for name, model in models.items()}
        verdict = judge(each[rivals.favoured(models)], one, facts, None, config.seed)
        own = own_part(refined, place)
        found.append(Posterior(single, one, cut, units, own, None, own.w, verdict, each, per_unit))
    return found


def jackknife(model: Rival, observed: Observation) -> dict[str, float]:
    """Return the standard deviations of a model's parameters by leaving out each sweep in turn, from its mode on."""
    assert isinstance(model.spec, Joint)
    n, places = model.spec.n_sweeps, model.spec.places()
    less = Joint(model.spec.single, n - 1)
    values = []
    for i in range(n):
        kept, start = [j for j in range(n) if j != i], np.zeros((1, len(less.names)))
        for place, j in zip(less.places(), kept, strict=True):
            start[0, place] = model.w[places[j]]
        mode = likelihood.fit(less, start, Observation(*(np.asarray(x)[kept] for x in observed)), JACKKNIFE_STEPS)
        values.append(rivals.values_of(less, mode.w))
    return {name: float(np.sqrt((n - 1) * np.var([float(one[name][0]) for one in values]))) for name in values[0]}


def stacked(observed: Sequence[Observation]) -> Observation:
    """Return the observations of sweeps of one length along a first axis."""
    v, current = (np.stack([getattr(one, name) for one in observed]) for name in ("v_mv", "current"))
    drop = np.stack([np.broadcast_to(one.mv_per_mohm, v.shape[1:]) for one in observed])
    return Observation(v, current, np.array([float(np.max(one.noise_mv)) for one in observed]), drop)


def starts_of(spec: Joint, observed: Observation, rng: np.random.Generator) -> np.ndarray:
    """Return starts: prior draws, half of them with membrane, electrode and noise of the passive membrane's mode."""
    starts = rng.standard_normal((CLIMB.n_starts, len(spec.names)))
    simple = rivals.changed(spec, rivals.passive)
    found = likelihood.fit(
        simple, rng.standard_normal((CLIMB.n_starts // 2, len(simple.names))), observed, CLIMB.n_steps
    )
    mode = found.w[int(np.argmin(np.where(np.isfinite(found.cost), found.cost, np.inf)))]
    starts[: CLIMB.n_starts // 2, [spec.names.index(name) for name in simple.names]] = mode
    return starts


def own_part(refined: Refined, place: np.ndarray) -> Refined:
    """Return the draws and modes of one sweep's coordinates."""
    apart = None if refined.disagreement is None else refined.disagreement[place]
    return refined._replace(
        w=refined.w[:, place], optimum=refined.optimum[place], modes=refined.modes[:, place], disagreement=apart
    )


def part_of(model: Rival, i: int) -> Rival:
    """Return a model at the coordinates of sweep ``i``; its scores stay those of all sweeps."""
    assert isinstance(model.spec, Joint)
    single: Spec = model.spec.single
    return model._replace(spec=single, w=model.w[model.spec.places()[i]])
