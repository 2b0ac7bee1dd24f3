"""nemos with our solver, our problem with nemos' solver, and model files that stock nemos opens."""

import numpy as np
import pytest

from glm_rates.model import effects, nemos_bridge
from glm_rates.model import population as model
from glm_rates.model.kernels import Window

nemos = pytest.importorskip("nemos")
WINDOW = Window(60, 180)


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def test_nemos_models_run_our_solver_and_agree_with_lbfgs():
    nemos_bridge.register()
    rng = np.random.default_rng(0)
    features, counts = rng.normal(size=(400, 4)), rng.poisson(1.0, (400, 3)).astype(float)
    mask = np.ones((4, 3))
    mask[0, 1] = 0
    fits = []
    for name, settings in (("BatchedNewton", {}), ("LBFGS", {"tol": 1e-13, "maxiter": 2000})):
        glm = nemos.glm.PopulationGLM(
            regularizer="Ridge", regularizer_strength=0.05, solver_name=name, feature_mask=mask, solver_kwargs=settings
        )
        fits.append(glm.fit(features, counts))
    np.testing.assert_allclose(fits[0].coef_, np.asarray(fits[1].coef_) * mask, atol=1e-6)
    np.testing.assert_allclose(fits[0].intercept_, fits[1].intercept_, atol=1e-6)


def test_our_solver_refuses_models_it_cannot_fit():
    nemos_bridge.register()
    glm = nemos.glm.GLM(
        observation_model="Bernoulli", regularizer="Ridge", regularizer_strength=0.1, solver_name="BatchedNewton"
    )
    with pytest.raises(ValueError, match="BatchedNewton fits Poisson models"):
        glm.fit(np.ones((10, 1)), np.arange(10) % 2)


def test_nemos_lbfgs_reaches_our_objective_on_the_same_ridge(make_trials):
    trials, _ = make_trials(n_units=4, n_trials=5)
    settings = model.Settings(prior="ridge", penalty=1e-2, include_coupling=True)
    made = model.make_design(trials, WINDOW, settings)
    problem = model.ridge_problem(made, 1e-2)
    ours = model.solve(problem)
    theirs = nemos_bridge.solve_with_nemos(problem)
    np.testing.assert_allclose(ours.objective, theirs.objective, atol=1e-9)
    np.testing.assert_allclose(ours.coef, theirs.coef, atol=1e-6)


def test_a_saved_model_predicts_the_same_in_stock_nemos(learned, tmp_path):
    made, fit = learned
    nemos_bridge.save_model(tmp_path / "m.npz", fit.coef, made.n_shared, len(made.shared))
    loaded = nemos.load_model(tmp_path / "m.npz")
    features, _ = nemos_bridge.full_design(model.ridge_problem(made, 0.0))
    np.testing.assert_allclose(np.asarray(loaded.predict(features)).T, effects.predict(made, fit), rtol=1e-9)
    assert "LBFGS" in loaded.solver_name


def test_the_file_written_without_nemos_is_the_one_nemos_writes(learned, tmp_path, monkeypatch):
    made, fit = learned
    assert nemos_bridge.version("nemos") == nemos_bridge.LAYOUT_OF
    nemos_bridge.save_model(tmp_path / "ours.npz", fit.coef, made.n_shared, len(made.shared))
    monkeypatch.setattr(nemos_bridge, "LAYOUT_OF", "another version")
    nemos_bridge.save_model(tmp_path / "theirs.npz", fit.coef, made.n_shared, len(made.shared))
    ours, theirs = (np.load(tmp_path / name, allow_pickle=False) for name in ("ours.npz", "theirs.npz"))
    assert set(ours.files) == set(theirs.files)
    for name in theirs.files:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
