"""Do the samplers reach a posterior that is known, whatever they start from?"""

import numpy as np
import pytest

from laa_bayes.posterior import exact, importance
from laa_bayes.posterior.likelihood import Optimum


def test_modes_are_weighted_by_their_laplace_evidence():
    """Two modes of equal height count as their volumes; of equal volume, as their heights."""
    w, wide, narrow = np.zeros((2, 2)), np.eye(2), np.eye(2) * 4.0
    mixture = importance.laplace_mixture(Optimum(w, np.zeros(2), np.stack([wide, narrow])))
    assert np.allclose(mixture.weight, [0.8, 0.2])
    mixture = importance.laplace_mixture(Optimum(w, np.array([0.0, np.log(3)]), np.stack([wide, wide])))
    assert np.allclose(mixture.weight, [0.75, 0.25])


def test_tempering_ends_at_the_target_and_not_at_the_start_of_its_bridge(monkeypatch):
    """The target is a mixture of two correlated normals away from the wide t that the particles come from."""
    mean, cov = np.array([1.5, -1.0]), np.array([[0.5, 0.3], [0.3, 0.4]])
    precision = np.linalg.inv(cov)

    def target(spec, w, observed):
        return -0.5 * np.einsum("ni,ij,nj->n", w - mean, precision, w - mean)

    monkeypatch.setattr(exact, "log_posteriors", target)
    start = Optimum(np.zeros((1, 2)), np.zeros(1), np.eye(2)[None])
    particles = exact.temper(None, None, start, np.random.default_rng(0), 4000, n_moves=6)
    assert np.abs(particles.mean(axis=0) - mean).max() < 0.05
    assert np.abs(np.cov(particles.T) - cov).max() < 0.05


def test_a_precision_too_stiff_to_invert_has_a_root_all_the_same():
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    stiff = np.stack(
        [rotation @ np.diag(scales) @ rotation.T for scales in ([1e17, 1e9, 4.0, 1.0], [9.0, 4.0, 2.0, 1.0])]
    )
    found = importance.roots(stiff)
    assert found[1] @ found[1].T == pytest.approx(np.linalg.inv(stiff[1]))
    assert np.linalg.eigvalsh(found[0] @ found[0].T).max() <= 1.0 + 1e-9  # no direction is wider than the prior
    assert np.all(np.diagonal(found, axis1=1, axis2=2) > 0)
    assert np.all(np.triu(found, 1) == pytest.approx(0.0))


def test_the_evidence_is_the_integral_of_likelihood_and_prior(monkeypatch):
    """The prior of coordinates is a standard normal, whose constant `log_posteriors` leaves out; a Gaussian target is integrated by hand."""
    mean, cov = np.array([0.3, -0.2, 0.1]), np.diag([0.5, 0.2, 0.05])

    def target(spec, w, observed):
        return 1.7 - 0.5 * np.einsum("ni,ij,nj->n", w - mean, np.linalg.inv(cov), w - mean)

    monkeypatch.setattr(importance, "log_posteriors", target)
    expected = 1.7 + 0.5 * np.log(np.linalg.det(cov))
    optimum, rng = Optimum(mean[None], np.full(1, 1.7), np.diag([2.5, 4.0, 15.0])[None]), np.random.default_rng(0)
    value, error, k = importance.evidence(None, None, optimum, rng)
    assert abs(value - expected) < 4 * error + 1e-3
    assert error < 0.05
    assert k < 0.7
    proposal = importance.laplace_mixture(optimum)
    draws = proposal.sample(4000, rng)
    refined = importance.weigh(None, None, draws, proposal.log_density(draws), rng, 500, optimum)
    assert abs(refined.log_evidence - expected) < 4 * error + 1e-3
