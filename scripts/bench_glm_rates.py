"""How fast are the ridge fits of glm_rates, against whom, and to what accuracy?

    python scripts/bench.py glm_rates [--units 40] [--scaling] [--quick]

One gustatory-like recording is simulated (4 tastes x 30 trials, bins of 25 ms, window 1500-4500 ms). Every competitor gets the
same design, the same ridge and one BLAS thread; times are CPU seconds of this process. The objective gap is to the best found.
Competitors that need minutes are run on fewer fits and scaled up to all of them; the table says how many were run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402 (after the thread settings)

from glm_rates import config, design, model, simulate, solver  # noqa: E402

STRENGTH = 1e-3
WINDOW = design.Window(60, 180)


def problems(n_units: int, n_trials: int, coupling: bool, bin_ms: int = 25) -> list[solver.Problem]:
    """One ridge problem for each taste."""
    chosen = config.SimulateConfig(output="unused", n_units=n_units, n_trials=n_trials)
    session = simulate.simulate(chosen, np.random.default_rng(0))
    settings = model.Settings(prior="ridge", penalty=STRENGTH, coupling=coupling, bin_ms=bin_ms, n_stimulus=5)
    out = []
    for counts in session.counts:
        taste = np.zeros(n_trials, int)
        trials = design.Trials(counts, taste, np.full(n_trials, 80), np.zeros(counts.shape[:2]))
        out.append(model.ridge_problem(model.make_design(trials, WINDOW, settings), STRENGTH))
    return out


def cpu(function, *arguments):
    """(CPU seconds, result)."""
    begin = time.process_time()
    result = function(*arguments)
    return time.process_time() - begin, result


def columns_of(problem: solver.Problem, unit: int) -> np.ndarray:
    """Design of one unit without the constant and without left-out columns."""
    keep = np.isfinite(problem.penalty[unit])
    return np.concatenate([problem.shared, problem.own[unit]], axis=1)[:, keep][:, 1:]


def objective(problem: solver.Problem, unit: int, intercept: float, coef: np.ndarray) -> float:
    """The common objective at somebody's answer."""
    eta = columns_of(problem, unit) @ coef + intercept
    return float(np.mean(np.exp(eta) - problem.counts[unit] * eta) + 0.5 * STRENGTH * (coef**2).sum())


def ours(problem, method):
    """All units at once; objectives by unit."""
    return solver.solve(problem, method=method).objective


def nemos_loop(problem, units):
    """The usual loop: one ``nemos.glm.GLM`` with LBFGS a unit."""
    from nemos.glm import GLM

    out = []
    for unit in units:
        glm = GLM(
            regularizer="Ridge",
            regularizer_strength=STRENGTH,
            solver_name="LBFGS",
            solver_kwargs={"tol": 1e-10, "maxiter": 5000},
        )
        glm.fit(columns_of(problem, unit), problem.counts[unit])
        out.append(objective(problem, unit, float(np.asarray(glm.intercept_).item()), np.asarray(glm.coef_)))
    return np.array(out)


def nemos_population(problem, units):
    """One masked ``nemos.glm.PopulationGLM`` with LBFGS."""
    from glm_rates.nemos_bridge import solve_with_nemos

    return solve_with_nemos(problem, 1e-10, 5000).objective


def sklearn_loop(problem, units):
    """``PoissonRegressor(solver="newton-cholesky")`` a unit."""
    from sklearn.linear_model import PoissonRegressor

    out = []
    for unit in units:
        glm = PoissonRegressor(alpha=STRENGTH, solver="newton-cholesky", tol=1e-9, max_iter=100)
        glm.fit(columns_of(problem, unit), problem.counts[unit])
        out.append(objective(problem, unit, glm.intercept_, glm.coef_))
    return np.array(out)


def statsmodels_loop(problem, units):
    """``statsmodels`` Poisson GLM with an L2 penalty a unit."""
    import statsmodels.api as sm

    out = []
    for unit in units:
        x = sm.add_constant(columns_of(problem, unit))
        alpha = np.full(x.shape[1], STRENGTH)
        alpha[0] = 0
        fit = sm.GLM(problem.counts[unit], x, family=sm.families.Poisson()).fit_regularized(
            alpha=alpha, L1_wt=0.0, maxiter=500
        )
        out.append(objective(problem, unit, fit.params[0], fit.params[1:]))
    return np.array(out)


COMPETITORS = {
    "nemos GLM loop": ("nemos", nemos_loop, 4),
    "nemos PopulationGLM": ("nemos", nemos_population, None),
    "sklearn newton-cholesky": ("sklearn", sklearn_loop, 10**9),
    "statsmodels": ("statsmodels", statsmodels_loop, 4),
}


def compare(n_units: int, coupling: bool, quick: bool) -> None:
    """Print the table of one setting."""
    made = problems(n_units, 30, coupling)
    n_fits = n_units * len(made)
    print(
        f"\n{n_fits} ridge fits: {n_units} units x {len(made)} tastes, {'coupled' if coupling else 'uncoupled'}, {made[0].penalty.shape[1]} columns, {made[0].counts.shape[1]} rows"
    )
    solver.solve(made[0])
    rows, best = {}, np.stack([ours(p, "auto") for p in made])
    for method in ("newton", "pcg"):
        if method == "newton" and n_units > 100 and coupling:
            continue
        seconds, found = zip(*[cpu(ours, p, method) for p in made])
        rows[f"glm_rates {method}"] = (sum(seconds), n_fits, np.abs(np.stack(found) - best).max())
    reference = min(row[0] for row in rows.values())
    for name, (package, function, most) in COMPETITORS.items():
        try:
            __import__(package)
        except ImportError:
            print(f"  {name}: absent ({package} is not installed)")
            continue
        if (quick and package != "sklearn") or (name == "nemos PopulationGLM" and n_units > 100):
            print(f"  {name}: not run ({'--quick' if quick else 'minutes with so many units'})")
            continue
        units = range(n_units if most is None else min(most, n_units))
        tastes = made if package == "sklearn" else made[:1]
        seconds, found = zip(*[cpu(function, p, units) for p in tastes])
        done = len(tastes) * len(units)
        gap = max(np.abs(f - best[k, : len(f)]).max() for k, f in enumerate(found))
        rows[name] = (sum(seconds) * n_fits / done, done, gap)
    print(f"  {'solver':26s} {'CPU s, all fits':>15s} {'fits run':>9s} {'objective gap':>14s} {'ratio':>9s}")
    for name, (seconds, done, gap) in rows.items():
        print(f"  {name:26s} {seconds:15.3f} {done:9d} {gap:14.1e} {seconds / reference:8.1f}x")


def gemm_rate(n_rows: int, n_columns: int, n_units: int) -> float:
    """GFLOP/s of the float32 product that dominates a Hessian-vector product."""
    a, b = np.ones((n_units, n_columns), np.float32), np.ones((n_rows, n_columns), np.float32)
    a @ b.T
    seconds, _ = cpu(lambda: [a @ b.T for _ in range(10)])
    return 2 * n_rows * n_columns * n_units * 10 / seconds / 1e9


def scaling() -> None:
    """Print how the cost of one coupled taste grows, and the achieved GFLOP/s."""
    print("\none taste, coupled, Newton-PCG")
    print(
        f"  {'units':>6s} {'trials':>6s} {'columns':>8s} {'CPU s':>8s} {'products':>9s} {'GFLOP/s':>8s} {'GEMM alone':>11s}"
    )
    for n_units, n_trials in ((20, 30), (40, 30), (80, 30), (200, 30), (40, 60), (40, 120)):
        problem = problems(n_units, n_trials, True)[0]
        seconds, found = cpu(lambda p=problem: solver.solve(p, method="pcg"))
        n_rows, n_columns = problem.shared.shape
        flop = 4.0 * n_rows * n_columns * n_units * (found.n_products + 1.5 * found.n_newton) + n_rows * n_columns**2
        rate = gemm_rate(n_rows, n_columns, n_units)
        print(
            f"  {n_units:6d} {n_trials:6d} {problem.penalty.shape[1]:8d} {seconds:8.3f} {found.n_products:9d} {flop / seconds / 1e9:8.1f} {rate:11.1f}"
        )


def main(argv: list[str] | None = None) -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="*", default=[40])
    parser.add_argument("--scaling", action="store_true", help="how cost grows with units and trials")
    parser.add_argument("--quick", action="store_true", help="only scikit-learn as competitor")
    chosen = parser.parse_args(argv)
    for n_units in chosen.units:
        for coupling in (True, False):
            compare(n_units, coupling, chosen.quick)
    if chosen.scaling:
        scaling()


if __name__ == "__main__":
    main()
