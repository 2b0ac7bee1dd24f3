"""Many stimuli share structure: the arrow's inverse and everything made of it are those of the dense matrix."""

import numpy as np
import pytest

from glm_rates.model import effects, stimuli
from glm_rates.model import population as model
from glm_rates.model.kernels import Window

WINDOW = Window(60, 180)


def test_the_inverse_of_an_arrow_is_the_inverse(make_trials):
    trials, _ = make_trials(n_units=4, n_trials=3, n_tastes=9)
    design = model.make_design(trials, WINDOW, model.Settings())
    groups = stimuli.groups_of(design)
    assert groups.columns.shape == (9, 11)
    assert sorted([*groups.rest, *groups.columns.ravel()]) == list(range(design.n_coef))
    weight = np.random.default_rng(0).gamma(2, 1, design.counts.shape[1])
    whole = np.concatenate([design.shared, design.own[1]], axis=1)
    gram = stimuli.weighted_gram(design.shared, design.own[1], weight, groups)
    np.testing.assert_allclose(gram, (whole.T * weight) @ whole, atol=1e-9)
    gram[np.diag_indices_from(gram)] += 1.0
    np.testing.assert_allclose(stimuli.arrow_inverse(gram, groups), np.linalg.inv(gram), atol=1e-9)
    kept = np.delete(np.arange(len(gram)), groups.rest[[1, 3]])
    part = gram[np.ix_(kept, kept)]
    np.testing.assert_allclose(stimuli.arrow_inverse(part, groups, kept), np.linalg.inv(part), atol=1e-9)


@pytest.mark.parametrize("coupling", [False, True])
def test_a_fit_of_many_stimuli_is_the_dense_one(make_trials, monkeypatch, coupling):
    trials, _ = make_trials(n_units=6, n_trials=4, n_tastes=10)
    settings, found = model.Settings(include_coupling=coupling), []
    for many in (99, 8):
        monkeypatch.setattr(stimuli, "MANY", many)
        design = model.make_design(trials, WINDOW, settings)
        fit = model.fit_design(design, settings)
        found.append((fit.coef, effects.log_rate_sd(design, fit), fit.covariance[2].matrix))
    for dense, arrow in zip(*found):
        np.testing.assert_allclose(arrow, dense, atol=2e-6)


def test_few_stimuli_stay_dense(make_trials):
    trials, _ = make_trials(n_units=4, n_trials=3, n_tastes=4)
    assert stimuli.groups_of(model.make_design(trials, WINDOW, model.Settings())) is None
