"""The solver against independent ones, and what it says when it cannot converge."""

import numpy as np
import pytest
from scipy.optimize import minimize

from glm_rates.model import solver


def problem_of(n_units=4, n_rows=600, n_shared=5, n_own=3, strength=1e-2, seed=0):
    rng = np.random.default_rng(seed)
    shared = np.concatenate([np.ones((n_rows, 1)), rng.normal(size=(n_rows, n_shared - 1))], axis=1)
    own = rng.normal(size=(n_units, n_rows, n_own))
    true = rng.normal(0, 0.3, (n_units, n_shared + n_own))
    penalty = np.full(true.shape, strength)
    penalty[:, 0] = 0
    empty = solver.Problem(shared, own, np.zeros((n_units, n_rows)), penalty)
    return empty._replace(counts=rng.poisson(np.exp(empty.predict(true))).astype(float))


def scipy_optimum(problem, unit):
    """Slow oracle: BFGS on one unit's objective written out."""
    columns = np.concatenate([problem.shared, problem.own[unit]], axis=1)

    def objective(w):
        eta = columns @ w
        value = np.mean(np.exp(eta) - problem.counts[unit] * eta) + 0.5 * np.sum(problem.penalty[unit] * w**2)
        gradient = columns.T @ (np.exp(eta) - problem.counts[unit]) / len(eta) + problem.penalty[unit] * w
        return value, gradient

    return minimize(objective, np.zeros(columns.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-10})


@pytest.mark.parametrize("method", ["newton", "pcg"])
def test_every_method_reaches_the_optimum_of_a_general_optimiser(method):
    problem = problem_of()
    found = solver.solve(problem, method=method)
    for unit in range(4):
        oracle = scipy_optimum(problem, unit)
        assert abs(found.objective[unit] - oracle.fun) < 1e-12
        np.testing.assert_allclose(found.coef[unit], oracle.x, atol=1e-6)
    assert found.converged.all()
    assert found.grad_norm.max() <= 1e-8


def test_sklearn_newton_cholesky_finds_the_same_coefficients():
    linear_model = pytest.importorskip("sklearn.linear_model")
    problem = problem_of(n_own=0, n_shared=8, strength=3e-3)
    found = solver.solve(problem)
    for unit in range(4):
        model = linear_model.PoissonRegressor(alpha=3e-3, solver="newton-cholesky", tol=1e-12, max_iter=200)
        model.fit(problem.shared[:, 1:], problem.counts[unit])
        np.testing.assert_allclose(found.coef[unit], [model.intercept_, *model.coef_], atol=1e-8)


def test_statsmodels_finds_the_same_unpenalised_coefficients():
    sm = pytest.importorskip("statsmodels.api")
    problem = problem_of(strength=0.0)
    found = solver.solve(problem)
    for unit in range(4):
        columns = problem.unit_columns(unit)
        fit = sm.GLM(problem.counts[unit], columns, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=100)
        np.testing.assert_allclose(found.coef[unit], fit.params, atol=1e-6)


def test_columns_with_a_root_are_the_multiplied_columns():
    """The root is applied to weights and gradients, never to the rows; the optimum is that of the multiplied design."""
    problem = problem_of()
    rng = np.random.default_rng(1)
    root = np.eye(8)
    root[1:5, 1:5] += 0.2 * rng.normal(size=(4, 4))
    root[5:, 5:] += 0.2 * rng.normal(size=(3, 3))
    multiplied = problem._replace(shared=problem.shared @ root[:5, :5], own=problem.own @ root[5:, 5:])
    plain = solver.solve(multiplied, method="newton")
    identity = lambda units, vectors: vectors  # noqa: E731
    for method in ("newton", "pcg"):
        found = solver.solve(problem._replace(root=root), method=method, precondition=identity)
        np.testing.assert_allclose(found.coef, plain.coef, atol=1e-7)
    coarse = solver.solve(problem._replace(root=root), tolerance=1e-5, precondition=identity, method="pcg", coarse=True)
    np.testing.assert_allclose(coarse.coef, plain.coef, atol=1e-3)


def test_newton_and_pcg_agree_on_many_columns():
    problem = problem_of(n_units=6, n_rows=400, n_shared=60, strength=1e-2)
    a, b = (solver.solve(problem, method=m) for m in ("newton", "pcg"))
    np.testing.assert_allclose(a.coef, b.coef, atol=1e-7)


@pytest.mark.parametrize(("n_shared", "chosen", "other"), [(10, "newton", "pcg"), (60, "pcg", "newton")])
def test_the_automatic_method_is_newton_for_few_columns_and_conjugate_gradients_for_many(n_shared, chosen, other):
    problem = problem_of(n_units=3, n_rows=200, n_shared=n_shared, strength=1e-2)
    found = {m: solver.solve(problem, method=m).coef for m in ("auto", chosen, other)}
    assert np.array_equal(found["auto"], found[chosen])
    assert not np.array_equal(found["auto"], found[other])


def test_an_infinite_penalty_holds_a_coefficient_at_zero():
    problem = problem_of()
    problem.penalty[1, 2] = np.inf
    for method in ("newton", "pcg"):
        found = solver.solve(problem, method=method)
        assert found.coef[1, 2] == 0
        assert found.coef[0, 2] != 0


def test_without_penalty_the_mean_rate_is_the_mean_count():
    problem = problem_of(strength=0.0)
    found = solver.solve(problem)
    np.testing.assert_allclose(np.exp(problem.predict(found.coef)).mean(axis=1), problem.counts.mean(axis=1), rtol=1e-8)


def test_the_offset_enters_the_predictor():
    problem = problem_of()
    shifted = solver.solve(problem._replace(offset=np.full(problem.counts.shape, 0.7)))
    plain = solver.solve(problem)
    np.testing.assert_allclose(shifted.coef[:, 0], plain.coef[:, 0] - 0.7, atol=1e-7)
    np.testing.assert_allclose(shifted.coef[:, 1:], plain.coef[:, 1:], atol=1e-7)


def test_too_few_steps_are_reported_as_not_converged():
    found = solver.solve(problem_of(), max_newton=1)
    assert not found.converged.any()
    assert found.grad_norm.min() > 1e-8


def test_a_singular_unpenalised_design_still_fits():
    problem = problem_of(strength=0.0)
    shared = np.concatenate([problem.shared, problem.shared[:, 1:2]], axis=1)
    doubled = problem._replace(shared=shared, penalty=np.zeros((4, shared.shape[1] + 3)))
    found, plain = solver.solve(doubled, method="newton"), solver.solve(problem)
    np.testing.assert_allclose(found.objective, plain.objective, atol=1e-10)
