"""Is the answer what the likelihoods say, is its interval that of new noise, and do further sweeps narrow what they are said to narrow?"""

import numpy as np
import pytest

from laa_bayes import config
from laa_bayes.neuron import simulator
from laa_bayes.posterior import answers, likelihood, rivals, summary
from laa_bayes.score import held_out

CELL = (90.0, 6.0, -68.0, 6.0, -50.0, 0.0)
CURRENT = np.where(np.arange(240) >= 40, -50.0, 0.0)


def observations(rng, n):
    """Return n sweeps of a passive cell on a .5 ms grid behind 10 MOhm, with AR(1) noise."""
    v = simulator.simulate(np.array([CELL]), CURRENT, 0.5)[0] + 0.01 * CURRENT
    noise = 0.1 * rng.standard_normal((n, 240))
    for i in range(1, 240):
        noise[:, i] += 0.7 * noise[:, i - 1]
    return [likelihood.Observation(v + one, CURRENT, 1.0, 1e-3 * CURRENT) for one in noise]


def passive_spec():
    return rivals.passive(likelihood.recording_spec(config.PRIORS["lumped"], 0.5, 2.0**-3, True))


def fitted(spec, observed):
    rng = np.random.default_rng(0)
    start = np.zeros((1, len(spec.names)))
    return rivals.rival(spec, start, observed, 40, rng)


def test_further_sweeps_narrow_as_predicted():
    spec, sweeps = passive_spec(), observations(np.random.default_rng(3), 4)
    one = fitted(spec, sweeps[0])
    units = summary.units_of_models(config.UNITS["lumped"])
    rows = answers.further({"passive": one}, sweeps[0], "passive", units)
    assert [row["measurement"] for row in rows][:2] == [
        "1 more sweep under this current",
        "3 more sweeps under this current",
    ]
    assert {(row["of"], row["unit"]) for row in rows} == {("C_total", "pF")}
    assert rows[0]["now"] == pytest.approx(1.96 * one.sd["C_total"])
    assert rows[2]["then"] < rows[2]["now"]
    for row, n in zip(rows, (2, 4), strict=False):
        stacked = likelihood.Observation(
            *(
                np.stack([np.broadcast_to(x, np.shape(sweeps[0][i])) for x in column])
                for i, column in enumerate(zip(*sweeps[:n], strict=True))
            )
        )
        many = fitted(likelihood.Joint(spec, n), stacked)
        assert many.n_sweeps == n
        assert row["then"] == pytest.approx(1.96 * many.sd["C_total"], rel=0.2)


def test_the_interval_of_the_answer_is_the_spread_over_new_noise():
    """Two fixed curves, one of them true: the log likelihood ratio scatters over noise as its stated variance."""
    rng, shift = np.random.default_rng(0), 0.3 * np.sin(np.arange(400) / 9)
    mine = rng.standard_normal((4000, 400))
    other = (mine + shift) / 1.05
    ratio = 0.5 * np.sum(other**2 - mine**2, axis=1)
    stated = np.mean([answers.variance_of_ratio(a, b) for a, b in zip(mine[:200], other[:200], strict=True)])
    assert stated == pytest.approx(ratio.var(), rel=0.1)


def test_the_answer_is_half_of_the_difference_in_bic_and_misspecified_comes_first():
    spec, observed = passive_spec(), observations(np.random.default_rng(1), 1)[0]
    good = fitted(spec, observed)
    worse = good._replace(bic=good.bic + 40.0, w=good.w + 0.005 * np.eye(len(good.w))[1])
    models = {"laa": worse, "passive": good}
    units = summary.units_of_models(config.UNITS["lumped"])
    told = answers.answer_of([models], [observed], "passive", units)
    assert (told.verdict, told.against, told.gain) == ("yes", "laa", 20.0)
    assert told.low < 20.0 < told.high
    told = answers.answer_of(
        [models], [observed], "passive", units, "misspecified, no model here explains the trace (no current)"
    )
    assert told.sentence.startswith(
        "misspecified, no model here explains the trace (no current); the passive model beats laa"
    )


@pytest.mark.parametrize(
    ("more", "error", "verdict"), [(3.5, 0.2, "cannot tell"), (0.9, 0.2, "yes"), (3.5, 2.0, "yes"), (-3.5, 0.2, "yes")]
)
def test_an_evidence_that_prefers_another_model_than_bic_is_no_victory(more, error, verdict):
    spec, observed = passive_spec(), observations(np.random.default_rng(1), 1)[0]
    good = fitted(spec, observed)._replace(evidence_error=0.2)
    simpler = good._replace(bic=good.bic + 40.0, log_evidence=good.log_evidence + more, evidence_error=error)
    nearer = good._replace(bic=good.bic + 30.0, log_evidence=good.log_evidence - 9.0)
    models = {"laa + two-compartment": good, "two-compartment": simpler, "laa": nearer}
    told = answers.answer_of(
        [models], [observed], "laa + two-compartment", summary.units_of_models(config.UNITS["lumped"])
    )
    assert (told.verdict, told.against) == (verdict, "two-compartment" if verdict == "cannot tell" else "laa")
    assert rivals.not_excluded(models) == (["two-compartment"] if verdict == "cannot tell" else [])
    if verdict == "cannot tell":
        c = f"{good.values['C_total']:.3g} ± {good.sd['C_total']:.2g}"
        assert told.sentence.endswith(
            f"; the evidence prefers two-compartment by 3.5 ± 0.3; C_total is {c} pF by the one, {c} by the other"
        )


def test_sweeps_that_were_not_fitted_decide_against_the_rival_that_the_fitted_ones_chose():
    errors = {
        "passive": np.array([1.0, 1.2, 0.9]),
        "laa": np.array([0.5, 0.6, 0.5]),
        "quasi-active h": np.array([0.1, 0.1, 0.1]),
    }
    told = answers.answer_held_out(errors, "passive", "laa")
    assert (told.against, told.verdict) == ("passive", "yes")
    assert told.gain == pytest.approx(0.5)
    assert held_out.pooled({"laa": np.array([])}) == {"laa": None}
    assert held_out.pooled(errors)["laa"] == pytest.approx(np.sqrt((0.25 + 0.36 + 0.25) / 3))


def test_sweeps_that_are_fitted_one_by_one_answer_by_their_sum():
    each = [
        {name: {"bic": x, "log_evidence": -x / 2} for name, x in (("passive", a), ("laa", b))}
        for a, b in ((10.0, 0.0), (0.0, 2.0), (30.0, 0.0))
    ]
    told = answers.answer_of_sweeps(each)
    assert told.against == "passive"
    assert told.gain == pytest.approx((5 - 1 + 15) / 3)
    assert told.verdict == "cannot tell"
    assert answers.answer_of_sweeps(each[:1]).verdict == "cannot tell"
    same = [{n: x | {"log_evidence": x["bic"] / 2} for n, x in each[2].items()} for _ in range(3)]
    told = answers.answer_of_sweeps(same)
    assert (told.gain, told.low, told.verdict, told.against) == (15.0, 15.0, "cannot tell", "passive")
    assert told.sentence.endswith("the evidence prefers passive by 15.0 a sweep")
