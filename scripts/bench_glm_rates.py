"""How fast are the ridge fits of glm_rates, against whom, and to what accuracy?

    python scripts/bench.py glm_rates [--units 40 200] [--quick]
    python scripts/bench_glm_rates.py --coupling-scale
    python scripts/bench_glm_rates.py --held-out UNITS TRIALS FOLDS

One gustatory-like recording is simulated (30 trials a taste, bins of 25 ms, window 1500-4500 ms). Every competitor gets the same
design, the same ridge and one BLAS thread; times are CPU seconds of this process (user + system), imports not counted. The gaps
are to our exact Newton or PCG answer, whichever has the lower objective. Competitors that need minutes are run on fewer fits and
scaled up to all of them: the column "fits run" says on how many, and such lines are marked "extrapolated".
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402 (after the thread settings)
from scipy.stats import rankdata  # noqa: E402

from glm_rates import config, simulate  # noqa: E402
from glm_rates.fit.populations import Population, fit_population  # noqa: E402
from glm_rates.model import design, effects, kernels, population, solver  # noqa: E402
from glm_rates.score import evaluate  # noqa: E402

STRENGTH = 1e-3
N_TASTES = 4
SCALE = ((40, "full", 5, 0), (40, "screened", 5, 0), (100, "screened", 1, 0), (200, "screened", 1, 0), (600, "screened", 0, 0),
         (40, "full", 5, 1), (40, "screened", 5, 1), (200, "screened", 5, 0), (1000, "screened", 0, 0))  # fmt: skip


class Answer(NamedTuple):
    """What a solver found for some units."""

    objective: np.ndarray  # (unit,)
    coef: list[np.ndarray]  # per unit: constant first, left-out columns absent


def problems(n_units: int, n_trials: int, coupling: bool, n_tastes: int = 1, n_bins: int = 120) -> list[solver.Problem]:
    """One ridge problem for each taste; the window begins 500 ms before the stimulus."""
    chosen = config.SimulateConfig(output="unused", n_units=n_units, n_trials=n_trials, n_tastes=n_tastes)
    session = simulate.simulate(chosen, np.random.default_rng(0))
    settings = population.Settings(prior="ridge", penalty=STRENGTH, include_coupling=coupling, n_stimulus_funcs=5)
    window = kernels.Window(60, 60 + n_bins)
    out = []
    for counts in session.counts:
        trials = design.Trials(
            counts, np.zeros(n_trials, int), np.full(n_trials, 80), np.zeros((n_trials, counts.shape[1]))
        )
        out.append(population.ridge_problem(population.make_design(trials, window, settings), STRENGTH))
    return out


def cpu(function, *arguments):
    """(CPU seconds, result)."""
    begin = time.process_time()
    result = function(*arguments)
    return time.process_time() - begin, result


def columns_of(problem: solver.Problem, unit: int) -> np.ndarray:
    """Design of one unit without the constant and without left-out columns."""
    keep = np.isfinite(problem.penalty[unit])
    return problem.unit_columns(unit)[:, keep][:, 1:]


def answer(problem: solver.Problem, units, coefs) -> Answer:
    """The common objective at somebody's coefficients (constant first)."""
    objective = []
    for unit, coef in zip(units, coefs):
        eta = columns_of(problem, unit) @ coef[1:] + coef[0]
        loss = np.mean(np.exp(eta) - problem.counts[unit] * eta)
        objective.append(loss + 0.5 * STRENGTH * (coef[1:] ** 2).sum())
    return Answer(np.array(objective), list(coefs))


def ours(problem: solver.Problem, method: str) -> Answer:
    """All units at once."""
    found = solver.solve(problem, method=method)
    free = np.isfinite(problem.penalty)
    return Answer(found.objective, [c[keep] for c, keep in zip(found.coef, free)])


def nemos_loop(problem: solver.Problem, units) -> Answer:
    """The usual loop: one ``nemos.glm.GLM`` with LBFGS a unit."""
    from nemos.glm import GLM

    coefs = []
    for unit in units:
        settings = {"tol": 1e-10, "maxiter": 5000}
        glm = GLM(regularizer="Ridge", regularizer_strength=STRENGTH, solver_name="LBFGS", solver_kwargs=settings)
        glm.fit(columns_of(problem, unit), problem.counts[unit])
        coefs.append(np.concatenate([np.ravel(glm.intercept_), np.asarray(glm.coef_)]))
    return answer(problem, units, coefs)


def nemos_population(problem: solver.Problem, units) -> Answer:
    """One masked ``nemos.glm.PopulationGLM`` with LBFGS."""
    from glm_rates.model.nemos_bridge import solve_with_nemos

    found = solve_with_nemos(problem, 1e-10, 5000)
    return Answer(found.objective, [c[k] for c, k in zip(found.coef, np.isfinite(problem.penalty))])


def sklearn_loop(problem: solver.Problem, units) -> Answer:
    """``PoissonRegressor(solver="newton-cholesky")`` a unit."""
    from sklearn.linear_model import PoissonRegressor

    coefs = []
    for unit in units:
        glm = PoissonRegressor(alpha=STRENGTH, solver="newton-cholesky", tol=1e-9, max_iter=100)
        glm.fit(columns_of(problem, unit), problem.counts[unit])
        coefs.append(np.concatenate([[glm.intercept_], glm.coef_]))
    return answer(problem, units, coefs)


def statsmodels_loop(problem: solver.Problem, units) -> Answer:
    """``statsmodels`` Poisson GLM with an L2 penalty a unit (its ridge runs BFGS; warm-started, tight)."""
    import statsmodels.api as sm

    coefs = []
    for unit in units:
        x = np.column_stack([np.ones(problem.counts.shape[1]), columns_of(problem, unit)])
        alpha = np.full(x.shape[1], STRENGTH)
        alpha[0] = 0
        glm = sm.GLM(problem.counts[unit], x, family=sm.families.Poisson())
        fit = glm.fit_regularized(alpha=alpha, L1_wt=0.0, maxiter=2000, opt_kwds={"gtol": 1e-9})
        coefs.append(np.asarray(fit.params))
    return answer(problem, units, coefs)


# name -> (package, function, most fits run: coupled, uncoupled)
COMPETITORS = {
    "nemos GLM loop": ("nemos", nemos_loop, 3, 3),
    "nemos PopulationGLM": ("nemos", nemos_population, None, None),
    "sklearn newton-cholesky": ("sklearn", sklearn_loop, 160, 800),
    "statsmodels": ("statsmodels", statsmodels_loop, 1, 3),
}


class Row(NamedTuple):
    """One line of the table."""

    seconds: float  # scaled to all fits
    run: int
    objective_gap: float
    coef_gap: float


def gaps(found: list[Answer], best: list[Answer]) -> tuple[float, float]:
    """Largest excess of the objective and largest difference of a coefficient, over the fits that were run."""
    objective = max(np.abs(f.objective - b.objective[: len(f.objective)]).max() for f, b in zip(found, best))
    coef = max(np.abs(x - y).max() for f, b in zip(found, best) for x, y in zip(f.coef, b.coef))
    return objective, coef


def compare(n_units: int, coupling: bool, quick: bool) -> None:
    """Print the table of one setting."""
    made = problems(n_units, 30, coupling, N_TASTES)
    n_fits, large = n_units * len(made), n_units > 100
    kind = (
        f"{'coupled' if coupling else 'uncoupled'}, {made[0].penalty.shape[1]} columns, {made[0].counts.shape[1]} rows"
    )
    print(f"\n{n_fits} ridge fits: {n_units} units x {len(made)} tastes, {kind}", flush=True)
    solver.solve(made[0])
    rows, best = {}, [ours(p, "pcg") for p in made]
    if not (large and coupling):
        exact = [ours(p, "newton") for p in made]
        best = [e if e.objective.sum() < b.objective.sum() else b for e, b in zip(exact, best)]
    for method in ("newton", "pcg"):
        if method == "newton" and large and coupling:
            continue
        seconds, found = zip(*[cpu(ours, p, method) for p in made])
        rows[f"glm_rates {method}"] = Row(sum(seconds), n_fits, *gaps(list(found), best))
    for name, (package, function, *most) in COMPETITORS.items():
        try:
            __import__(package)
        except ImportError:
            print(f"  {name}: absent ({package} is not installed)")
            continue
        if quick and package != "sklearn":
            continue
        if large and (name == "nemos PopulationGLM" or (coupling and package != "sklearn")):
            print(f"  {name}: not run (minutes at this size)")
            continue
        rows[name] = time_competitor(function, made, most[0 if coupling else 1], best, n_fits)
    print_rows(rows, n_fits)


def check_against_statsmodels(n_fits: int = 4) -> None:
    """Print how far our unpenalised coefficients are from those of statsmodels' IRLS, where the design has full rank."""
    try:
        import statsmodels.api as sm
    except ImportError:
        print("\nstatsmodels: absent")
        return
    problem = problems(20, 30, True)[0]
    free = problem._replace(penalty=np.where(np.isfinite(problem.penalty), 0.0, np.inf))
    found, worst = ours(free, "newton"), 0.0
    for unit in range(n_fits):
        x = np.column_stack([np.ones(problem.counts.shape[1]), columns_of(problem, unit)])
        fit = sm.GLM(problem.counts[unit], x, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=100)
        worst = max(worst, np.abs(np.asarray(fit.params) - found.coef[unit]).max())
    print(
        f"\nunpenalised, {x.shape[1]} columns of full rank: largest difference of a coefficient from statsmodels {worst:.1e}"
    )


def time_competitor(function, made: list[solver.Problem], most: int | None, best: list[Answer], n_fits: int) -> Row:
    """Run a competitor on as many fits as its budget allows (None: all units of the first taste) and scale up."""
    n_units = len(made[0].counts)
    budget = n_units if most is None else min(most, n_fits)
    if n_units > 100 and best[0].coef[0].size > 100:
        budget = min(budget, 12)
    seconds, found, done = 0.0, [], 0
    for problem in made:
        if done >= budget:
            break
        units = range(min(n_units, budget - done))
        spent, part = cpu(function, problem, units)
        seconds, done = seconds + spent, done + len(units)
        found.append(part)
    return Row(seconds * n_fits / done, done, *gaps(found, best))


def print_rows(rows: dict[str, Row], n_fits: int) -> None:
    """Print the lines of one table; ratios are to our fastest method."""
    reference = min(row.seconds for name, row in rows.items() if name.startswith("glm_rates"))
    head = ("solver", "CPU s, all fits", "fits run", "objective gap", "coef gap", "ratio")
    print(f"  {head[0]:24s} {head[1]:>15s} {head[2]:>9s} {head[3]:>13s} {head[4]:>9s} {head[5]:>8s}")
    for name, row in rows.items():
        note = "" if row.run == n_fits else "  extrapolated"
        ratio = row.seconds / reference
        print(
            f"  {name:24s} {row.seconds:15.3f} {row.run:9d} {row.objective_gap:13.1e} {row.coef_gap:9.1e} {ratio:7.1f}x{note}"
        )
    sys.stdout.flush()


def product_rate(n_rows: int, n_columns: int, n_units: int) -> float:
    """GFLOP/s of a bare float32 GEMM of the shape that dominates a Hessian-vector product."""
    a, b = np.ones((n_units, n_columns), np.float32), np.ones((n_columns, n_rows), np.float32)
    a @ b
    repeats = max(3, int(2e9 / (2 * n_rows * n_columns * n_units)))
    seconds, _ = cpu(lambda: [a @ b for _ in range(repeats)])
    return 2 * n_rows * n_columns * n_units * repeats / seconds / 1e9


def square_rate(kind: type, n: int = 1500) -> float:
    """GFLOP/s of a square GEMM: what this core can do."""
    a: np.ndarray = np.ones((n, n), kind)
    a @ a
    seconds, _ = cpu(lambda: [a @ a for _ in range(3)])
    return 3 * 2 * n**3 / seconds / 1e9


def scaling() -> None:
    """Print how the cost of one coupled taste grows with units, trials and bins, and the achieved GFLOP/s."""
    print(
        f"\nsquare GEMM, one thread: {square_rate(np.float32):.0f} GFLOP/s float32, {square_rate(np.float64):.0f} float64"
    )
    print("one taste, coupled, Newton-PCG; products: gradients and Hessian-vector products a unit")
    head = ("units", "trials", "bins", "columns", "CPU s", "products", "GFLOP/s", "thin GEMM")
    print("  " + " ".join(f"{name:>9s}" for name in head))
    grids = {
        "units": [(n, 30, 120) for n in (20, 40, 80, 160)],
        "trials": [(40, n, 120) for n in (15, 30, 60, 120)],
        "bins": [(40, 30, n) for n in (50, 100, 200)],
    }
    for name, grid in grids.items():
        taken = []
        for n_units, n_trials, n_bins in grid:
            problem = problems(n_units, n_trials, True, 1, n_bins)[0]
            seconds, found = min(
                (cpu(lambda p=problem: solver.solve(p, method="pcg")) for _ in range(2)), key=lambda r: r[0]
            )
            n_rows, n_columns = len(problem.shared), problem.penalty.shape[1]
            rate = 4.0 * n_rows * n_columns * found.n_products / seconds / 1e9
            bare = product_rate(n_rows, problem.shared.shape[1], n_units)
            cells = (n_units, n_trials, n_bins, n_columns, seconds, found.n_products / n_units, rate, bare)
            print("  " + " ".join(f"{c:9d}" if isinstance(c, int) else f"{c:9.3g}" for c in cells), flush=True)
            taken.append(seconds)
        size = [g[list(grids).index(name)] for g in grid]
        power = np.polyfit(np.log(size), np.log(taken), 1)[0]
        print(f"  cost grows as {name}^{power:.2f}")


def coupled_population(n_units: int, seed: int = 0):
    """4 tastes x 30 trials with 15 % of the pairs of a region coupled: (trials, simulated session).

    Above 200 units the weights are scaled by sqrt(200 / units), so that a unit's input from all its sources varies as it does there.
    """
    chosen = config.SimulateConfig(output="unused", n_trials=30, n_tastes=N_TASTES).model_copy(
        update={"n_units": n_units}
    )
    drawn = simulate.draw_truth
    weaker = min(1.0, np.sqrt(200 / n_units))

    def draw(settings, rng):
        truth, region = drawn(settings, rng)
        return truth._replace(coupling=truth.coupling * weaker), region

    simulate.draw_truth = draw
    session = simulate.simulate(chosen, np.random.default_rng(seed))
    simulate.draw_truth = drawn
    flat = session.counts.reshape(-1, session.counts.shape[2], n_units)
    taste = np.repeat(np.arange(N_TASTES), 30)
    return design.Trials(flat, taste, np.full(len(flat), 80), np.zeros(flat.shape[:2])), session


def coupling_at(n_units: int, method: str, n_folds: int, seed: int = 0) -> None:
    """Print one line: CPU seconds, peak memory, AUC of edges of the fit of everything, and held-out bits of the first fold, or of all."""
    trials, session = coupled_population(n_units, seed)
    window, settings = kernels.Window(60, 180), population.Settings(include_coupling=True, coupling_method=method)
    one = Population("all", None, np.arange(n_units), np.arange(len(trials.counts)), trials)
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    seconds, found = cpu(fit_population, one, window, settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    edge, other = (session.truth.coupling != 0).any(axis=2), ~np.eye(n_units, dtype=bool)
    ranks = rankdata(found["edge_probability"][other])
    n_edges = edge[other].sum()
    auc = (ranks[edge[other]].mean() - (n_edges + 1) / 2) / (other.sum() - n_edges)
    print(f"  {n_units:5d} {method:9s} seed {seed}: {seconds:7.1f} CPU s, peak {peak:.2f} GB ({began:.2f} before), AUC {auc:.3f}, "
          f"mean count {trials.counts.mean():.3f}", flush=True)  # fmt: skip
    if not n_folds:
        return
    counts = trials.counts[:, window.start : window.stop]
    fold = evaluate.fold_of_trials(trials.taste, 5)
    seconds, parts = cpu(lambda: [evaluate.score_fold(trials, window, settings, 5, k) for k in range(n_folds)])
    seen = fold < n_folds
    n_spikes = counts.sum(axis=1).T[:, seen]
    total = {name: sum(p.log_likelihood[name] for p in parts)[:, seen] for name in parts[0].log_likelihood}
    truth = session.rate.reshape(trials.counts.shape)[:, window.start : window.stop]
    total["true rates"] = evaluate.log_likelihood(counts, truth, np.array(np.inf)).sum(axis=1).T[:, seen]
    bits = {n: evaluate.compare(t, total["homogeneous"], n_spikes, fold[seen]).pooled for n, t in total.items()}
    told = ", ".join(
        f"{name} {bits[name]:.4f}" for name in ("history+stimulus", "history+stimulus+coupling", "true rates")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"        {n_folds} fold(s), nested models: {seconds:.1f} CPU s, peak {peak:.2f} GB; held-out bits: {told}",
        flush=True,
    )


def coupling_scale() -> None:
    """Print the table of coupling among many units, each line by a process of its own."""
    print(
        "\ncoupling, 4 tastes x 30 trials, 14 400 rows, fit of everything (base fit included), then held-out folds",
        flush=True,
    )
    for n_units, method, n_folds, seed in SCALE:
        line = [sys.executable, __file__, "--coupling-at", str(n_units), method, str(n_folds), str(seed)]
        subprocess.run(line, check=True)


def our_rates(train: design.Design, test: design.Design, settings: population.Settings) -> np.ndarray:
    """Expected counts of the held-out rows, (unit, row), under the prior that the training rows teach."""
    return effects.predict(test, population.fit_design(train, settings, covariance=False))


def nemos_rates(train: design.Design, test: design.Design, settings: population.Settings) -> np.ndarray:
    """The same of nemos' PopulationGLM with LBFGS; its ridge strength predicts a quarter of the training trials best."""
    from glm_rates.model.nemos_bridge import solve_with_nemos

    inner = np.zeros(train.row_trial.max() + 1, bool)
    inner[np.unique(train.row_trial)[::4]] = True
    losses = []
    for strength in population.CV_GRID:
        found = solve_with_nemos(population.ridge_problem(train.rows(~inner), strength), 1e-6, 1000)
        held = train.rows(inner)
        eta = population.ridge_problem(held, strength).predict(found.coef)
        losses.append(float((np.exp(np.minimum(eta, 30)) - held.counts * eta).sum()))
    best = population.CV_GRID[int(np.argmin(losses))]
    found = solve_with_nemos(population.ridge_problem(train, best), 1e-6, 1000)
    return np.exp(population.ridge_problem(test, best).predict(found.coef))


def held_out(n_units: int, n_trials: int, n_folds: int) -> None:
    """Print held-out bits per spike and CPU seconds of the learned prior and of nemos' ridge: same data, design and folds."""
    chosen = config.SimulateConfig(output="unused", n_units=n_units, n_trials=n_trials, n_tastes=N_TASTES)
    session = simulate.simulate(chosen, np.random.default_rng(0))
    counts = session.counts.reshape(-1, session.counts.shape[2], n_units)
    taste, window = np.repeat(np.arange(N_TASTES), n_trials), kernels.Window(60, 180)
    trials = design.Trials(counts, taste, np.full(len(counts), 80), np.zeros(counts.shape[:2]))
    settings, inside = population.Settings(include_coupling=True), slice(window.start, window.stop)
    whole, fold, y = (
        population.make_design(trials, window, settings),
        evaluate.fold_of_trials(taste, n_folds),
        counts[:, inside],
    )
    rates = {
        name: np.zeros(y.shape)
        for name in ("mean rate", "glm_rates, learned prior", "nemos PopulationGLM, ridge by inner fold")
    }
    rates["true rates"] = session.rate.reshape(counts.shape)[:, inside]
    seconds = dict.fromkeys(rates, 0.0)
    for k in range(n_folds):
        test = fold == k
        rates["mean rate"][test] = evaluate.homogeneous(y, taste, ~test)[test][:, None]
        for name, function in zip(list(rates)[1:3], (our_rates, nemos_rates)):
            spent, rate = cpu(function, whole.rows(~test), whole.rows(test), settings)
            rates[name][test] = rate.T.reshape(-1, y.shape[1], n_units)
            seconds[name] += spent
    score = {name: evaluate.log_likelihood(y, rate, np.array(np.inf)).sum(axis=1).T for name, rate in rates.items()}
    ours, theirs = list(score.values())[1:3]
    print(
        f"\n{n_units} units, {N_TASTES} tastes x {n_trials} trials, {n_folds} folds, coupled: held-out bits per spike over the mean rate"
    )
    for name, table in list(score.items())[1:]:
        c = evaluate.compare(table, score["mean rate"], y.sum(axis=1).T, fold)
        print(
            f"  {name:40s} {c.pooled:8.4f} (95 % {c.pooled_low:.4f} to {c.pooled_high:.4f}) {seconds[name]:8.1f} CPU s"
        )
    c = evaluate.compare(ours, theirs, y.sum(axis=1).T, fold)
    print(
        f"  ours over nemos, paired by fold: {c.pooled:+.4f} (95 % {c.pooled_low:+.4f} to {c.pooled_high:+.4f})",
        flush=True,
    )


def main(argv: list[str] | None = None) -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="*", default=[40, 200], help="sizes of the population")
    parser.add_argument(
        "--quick", action="store_true", help="40 units, only scikit-learn as competitor, no growth table"
    )
    parser.add_argument("--coupling-scale", action="store_true", help="only the table of coupling among many units")
    parser.add_argument("--coupling-at", nargs=4, metavar=("UNITS", "METHOD", "FOLDS", "SEED"), help="one line of it")
    parser.add_argument(
        "--held-out", nargs=3, type=int, metavar=("UNITS", "TRIALS", "FOLDS"), help="only held-out bits beside nemos"
    )
    chosen = parser.parse_args(argv)
    if chosen.held_out:
        return held_out(*chosen.held_out)
    if chosen.coupling_at:
        n_units, method, n_folds, seed = chosen.coupling_at
        return coupling_at(int(n_units), method, int(n_folds), int(seed))
    if chosen.coupling_scale:
        return coupling_scale()
    for n_units in [40] if chosen.quick else chosen.units:
        for coupling in (True, False):
            compare(n_units, coupling, chosen.quick)
    if not chosen.quick:
        held_out(20, 30, 5)
        check_against_statsmodels()
        scaling()


if __name__ == "__main__":
    main()
