"""How do our fits and nemos meet? Our solver inside nemos' models, nemos' solver on our problems, and files nemos can load.

``nemos.glm.PopulationGLM(solver_name="BatchedNewton")`` runs `solver.solve` after `register` was called. Saved models carry
``solver_name="LBFGS"``, so that ``nemos.load_model`` opens them where this package is not installed.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from .solver import Problem, Solution, solve

LAYOUT_OF = "0.2.8"  # the nemos version whose file layout `save_model` knows


class BatchedNewton:
    """nemos solver: Newton-PCG over all neurons of a Poisson GLM with ridge or no penalty."""

    def __init__(
        self,
        unregularized_loss,
        regularizer,
        regularizer_strength,
        has_aux,
        init_params=None,
        tol: float = 1e-9,
        maxiter: int = 50,
        method: str = "auto",
    ):
        self.model = unregularized_loss.__self__
        kind = type(self.model.observation_model).__name__
        link = getattr(self.model.inverse_link_function, "__name__", "?")
        if (
            kind != "PoissonObservations"
            or link != "exp"
            or type(regularizer).__name__ not in ("Ridge", "UnRegularized")
        ):
            raise ValueError(
                f"BatchedNewton fits Poisson models with exp link and Ridge or no penalty; got {kind}, {link}, {regularizer}"
            )
        self.strength = 0.0 if type(regularizer).__name__ == "UnRegularized" else regularizer_strength
        self.tol, self.maxiter, self.method = tol, maxiter, method
        self.solution: Solution | None = None

    def init_state(self, init_params, *args):
        """No state before the run."""
        return None

    def update(self, params, state, *args):
        """One call solves the whole problem: Newton has no use for minibatches."""
        return self.run(params, *args)

    def run(self, init_params, *args):
        """Solve for all neurons; ``args`` are the design (time, feature) and the counts (time,) or (time, neuron)."""
        import jax.numpy as jnp

        features, counts = np.asarray(args[0], float), np.asarray(args[1], float)
        shape = np.shape(init_params.coef)
        counts = counts.reshape(len(counts), -1).T
        n_units = len(counts)
        strength = 0.0 if self.strength is None else self.strength
        strength = getattr(strength, "coef", strength)
        penalty = np.broadcast_to(
            np.asarray(strength, float).reshape(np.shape(strength) or (1, 1)), (shape[0], n_units)
        )
        penalty = penalty.T  # nemos' loss is the mean over time, summed over neurons
        mask = getattr(self.model, "feature_mask", None)
        if mask is not None:
            penalty = np.where(np.asarray(mask).T > 0, penalty, np.inf)
        shared = np.concatenate([np.ones((len(features), 1)), features], axis=1)
        problem = Problem(shared, np.zeros((n_units, len(features), 0)), counts, np.pad(penalty, ((0, 0), (1, 0))))
        self.solution = solve(problem, method=self.method, tolerance=self.tol, max_newton=self.maxiter)
        coef = jnp.asarray(self.solution.coef[:, 1:].T.reshape(shape))
        intercept = jnp.asarray(self.solution.coef[:, 0].reshape(np.shape(init_params.intercept)))
        return type(init_params)(coef=coef, intercept=intercept), self.solution, None

    @classmethod
    def get_accepted_arguments(cls) -> set[str]:
        """Names of the solver's own settings."""
        return {"tol", "maxiter", "method"}

    def get_optim_info(self, state):
        """Number of Newton steps and whether every neuron converged."""
        from nemos.solvers import OptimizationInfo

        done = bool(state.converged.all())
        return OptimizationInfo(float(state.objective.mean()), int(state.n_newton), done, not done)


def register() -> None:
    """Make ``solver_name="BatchedNewton"`` known to nemos (once)."""
    import nemos

    if "BatchedNewton" not in nemos.solvers.list_available_algorithms():
        nemos.solvers.register("BatchedNewton", BatchedNewton, backend="glm_rates")
    nemos.regularizer.Ridge.allow_solver("BatchedNewton")
    nemos.regularizer.UnRegularized.allow_solver("BatchedNewton")


def full_design(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """One design for all neurons, without the constant: features (row, F) and feature mask (F, neuron)."""
    n_units, n_rows, n_own = problem.own.shape
    own = problem.own.transpose(1, 0, 2).reshape(n_rows, n_units * n_own)
    n_shared = problem.shared.shape[1]
    mask = np.zeros((n_shared - 1 + n_units * n_own, n_units))
    mask[: n_shared - 1] = np.isfinite(problem.penalty[:, 1:n_shared]).T
    for unit in range(n_units):
        at = n_shared - 1 + unit * n_own
        mask[at : at + n_own, unit] = np.isfinite(problem.penalty[unit, n_shared:])
    return np.concatenate([problem.shared[:, 1:], own], axis=1), mask


def spread_coef(coef: np.ndarray, n_shared: int) -> np.ndarray:
    """Our (unit, P + K) coefficients in the layout of `full_design`: (F, neuron)."""
    n_units, n_own = len(coef), coef.shape[1] - n_shared
    out = np.zeros((n_shared - 1 + n_units * n_own, n_units))
    out[: n_shared - 1] = coef[:, 1:n_shared].T
    for unit in range(n_units):
        at = n_shared - 1 + unit * n_own
        out[at : at + n_own, unit] = coef[unit, n_shared:]
    return out


def solve_with_nemos(problem: Problem, tolerance: float = 1e-12, max_iterations: int = 5000) -> Solution:
    """Solve a ridge problem without offset by nemos' own ``PopulationGLM`` and LBFGS."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from nemos.glm import PopulationGLM

    features, mask = full_design(problem)
    n_units, n_coef = problem.penalty.shape
    n_shared = problem.shared.shape[1]
    strength = spread_coef(np.where(np.isfinite(problem.penalty), problem.penalty, 0.0), n_shared)
    model = PopulationGLM(
        regularizer="Ridge",
        regularizer_strength=strength,
        solver_name="LBFGS",
        feature_mask=mask,
        solver_kwargs={"tol": tolerance, "maxiter": max_iterations},
    )
    model.fit(features, problem.counts.T)
    weights = np.asarray(model.coef_) * mask
    coef = np.zeros((n_units, n_coef))
    coef[:, 0] = np.asarray(model.intercept_)
    coef[:, 1:n_shared] = weights[: n_shared - 1].T
    n_own = n_coef - n_shared
    for unit in range(n_units):
        at = n_shared - 1 + unit * n_own
        coef[unit, n_shared:] = weights[at : at + n_own, unit]
    return solve(problem, coef, max_newton=0)  # objective and gradient at nemos' answer


def save_model(path: Path, coef: np.ndarray, n_shared: int, n_rows: int) -> None:
    """Save a population as a nemos ``PopulationGLM`` (.npz without pickles) that ``nemos.load_model`` opens.

    The features are those of `full_design`: shared columns, then every unit's own history. Importing nemos and jax takes
    longer than most fits, so the layout of the pinned nemos is written out (a test holds it equal to nemos' own file); under
    any other version nemos writes it.

    Parameters
    ----------
    path :
        File to write.
    coef : (unit, P + K)
        Column 0 is the constant; zero: not in the unit's model.
    n_shared :
        P, the constant included.
    n_rows :
        Number of bins that were fitted.
    """
    weights, mask = spread_coef(coef, n_shared), spread_coef(coef != 0, n_shared)
    degrees = n_rows - (coef != 0).sum(axis=1)
    if version("nemos") != LAYOUT_OF:
        _save_through_nemos(path, weights, coef[:, 0], mask, degrees)
        return
    params = {f"item::strkey:{name}": value for name, value in {
        "feature_mask": mask, "inverse_link_function": "jax.numpy.exp", "regularizer_strength": np.nan, "solver_kwargs": np.nan,
        "solver_name": "LBFGS[optax+optimistix]", "aux_": np.nan, "coef_": weights, "dof_resid_": degrees, "intercept_": coef[:, 0],
        "scale_": np.ones(len(coef)), "model_class": "nemos.glm.glm.PopulationGLM"}.items()}  # fmt: skip
    for name, kind in {"observation_model": "observation_models.PoissonObservations", "regularizer": "regularizer.UnRegularized"}.items():  # fmt: skip
        params[f"dict::strkey:{name}::item::strkey:class"] = f"nemos.{kind}"
    for package in ("jax", "jaxlib", "scipy", "scikit-learn", "nemos"):
        params[f"dict::strkey:save_metadata::item::strkey:{package}"] = version(package)
    np.savez(path, **params)


def _save_through_nemos(path: Path, weights: np.ndarray, intercept: np.ndarray, mask: np.ndarray, degrees: np.ndarray):
    import jax
    import jax.numpy as jnp
    from nemos.glm import PopulationGLM

    jax.config.update("jax_enable_x64", True)
    model = PopulationGLM(solver_name="LBFGS", feature_mask=mask)
    model.coef_, model.intercept_ = jnp.asarray(weights), jnp.asarray(intercept)
    model.dof_resid_, model.scale_ = jnp.asarray(degrees), jnp.ones(len(intercept))
    model.save_params(path)
