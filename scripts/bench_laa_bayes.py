"""How fast is the simulator, and how good the network, next to what one would use instead? Ratios measured in one run.

    python scripts/bench.py laa_bayes [--n 20000] [--skip-sbi] [--simulations 20000] [--traces 8]

Simulator: JAX (ours) against numpy vectorised over neurons, a Python loop, and diffrax. Network: ours against sbi's NPE on the same
simulations, judged by coverage and by C2ST against the No-U-Turn sampler. Competitors that are not installed are named as absent.
"""

from __future__ import annotations

import argparse
import logging
import math
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def timed(function, *arguments):
    """Return (result, wall seconds, CPU seconds) of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def numpy_rk4(theta, current, h=0.25):
    """Integrate all neurons at once in numpy, four steps of .25 ms a sample."""
    c_m, g_l, e_l, k, v_thr, g_act = theta.T
    v = e_l.copy()
    out = np.empty((len(theta), len(current)))

    def slope(v, i):
        return (-g_l * (v - e_l) + i + g_act / (1 + np.exp(-(v - v_thr) / k))) / c_m

    for t, i in enumerate(current):
        out[:, t] = v
        for _ in range(4):
            a = slope(v, i)
            b = slope(v + h / 2 * a, i)
            c = slope(v + h / 2 * b, i)
            v = v + h / 6 * (a + 2 * b + 2 * c + slope(v + h * c, i))
    return out


def python_loop(theta, current, h=0.25):
    """Integrate one neuron after the other with Python floats."""
    out = []
    for c_m, g_l, e_l, k, v_thr, g_act in theta.tolist():

        def slope(v, i, c_m=c_m, g_l=g_l, e_l=e_l, k=k, v_thr=v_thr, g_act=g_act):
            return (-g_l * (v - e_l) + i + g_act / (1 + math.exp(-(v - v_thr) / k))) / c_m

        v, trace = e_l, []
        for i in current.tolist():
            trace.append(v)
            for _ in range(4):
                a = slope(v, i)
                b = slope(v + h / 2 * a, i)
                c = slope(v + h / 2 * b, i)
                v = v + h / 6 * (a + 2 * b + 2 * c + slope(v + h * c, i))
        out.append(trace)
    return np.array(out)


def diffrax_solver(current):
    """Return ``solve(theta)`` by diffrax: Tsit5 with adaptive steps at 1e-6, saved each ms."""
    import diffrax
    import jax
    import jax.numpy as jnp

    drive = jnp.asarray(current)

    def field(t, v, theta):
        c_m, g_l, e_l, k, v_thr, g_act = theta
        i = drive[jnp.clip(jnp.floor(t + 1e-6).astype(int), 0, len(drive) - 1)]
        return (-g_l * (v - e_l) + i + g_act * jax.nn.sigmoid((v - v_thr) / k)) / c_m

    def one(theta):
        control = diffrax.PIDController(rtol=1e-6, atol=1e-6)
        saved = diffrax.SaveAt(ts=jnp.arange(len(drive), dtype=float))
        term = diffrax.ODETerm(field)
        solution = diffrax.diffeqsolve(
            term,
            diffrax.Tsit5(),
            0.0,
            float(len(drive)),
            0.5,
            theta[2],
            theta,
            saveat=saved,
            stepsize_controller=control,
            max_steps=40_000,
        )
        return solution.ys

    return jax.jit(jax.vmap(one))


def bench_simulator(n: int) -> list[tuple]:
    """Return rows (name, traces a second, microseconds a trace, times slower than ours, largest difference in mV)."""
    import jax

    from laa_bayes import config, priors, simulate

    model = config.SimulateConfig(output="bank")
    table, current = model.resolved_priors(), simulate.protocol_current(model)
    theta = priors.theta_from_z(table, priors.sample_z(table, n, np.random.default_rng(0)))
    simulate.simulate(theta[:10_000], current, 1.0, dtype=np.float32)  # compiles
    rows, block = [], 10_000

    def ours():
        return np.concatenate(
            [simulate.simulate(theta[i : i + block], current, 1.0, dtype=np.float32) for i in range(0, n, block)]
        )

    reference, wall, cpu = timed(ours)
    rows.append(("laa_bayes (JAX, float32)", n, wall, cpu, 0.0))
    _, wall, cpu = timed(lambda: [simulate.simulate(theta[i : i + block], current, 1.0) for i in range(0, n, block)])
    rows.append(("laa_bayes (JAX, float64)", n, wall, cpu, 0.0))
    for name, function, m in (("numpy, vectorised", numpy_rk4, min(n, 10_000)), ("Python loop", python_loop, 10)):
        v, wall, cpu = timed(function, theta[:m], current)
        rows.append((name, m, wall, cpu, float(np.median(np.abs(v - reference[:m]).max(axis=1)))))
    try:
        m = min(n, 1000)
        with jax.enable_x64(True):
            solve = diffrax_solver(current)
            solve(theta[:m]).block_until_ready()
            v, wall, cpu = timed(lambda: np.asarray(solve(theta[:m])))
        rows.append(("diffrax Tsit5, rtol 1e-6", m, wall, cpu, float(np.median(np.abs(v - reference[:m]).max(axis=1)))))
    except ImportError:
        print("diffrax: not installed, left out")
    return rows


def print_simulator(rows: list[tuple]) -> None:
    """Print the table of simulators."""
    base = rows[0][2] / rows[0][1]
    print(
        f"{'simulator, 500 ms':28s} {'traces':>8s} {'us/trace':>10s} {'CPU us':>8s} {'ratio':>8s} {'median max diff mV':>20s}"
    )
    for name, n, wall, cpu, difference in rows:
        print(
            f"{name:28s} {n:8d} {1e6 * wall / n:10.1f} {1e6 * cpu / n:8.1f} {wall / n / base:8.1f} {difference:20.2e}"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process {memory:.2f} GiB")


def bench_bank(n: int) -> None:
    """Time a bank on disk with two workers, everything included."""
    from laa_bayes import assemble, bank, config

    with tempfile.TemporaryDirectory() as folder:
        options = config.SimulateConfig(output=folder, n=n)
        recipe = assemble.recipe(options, n, 0, 10_000)
        counts, wall, _ = timed(bank.build, recipe, Path(folder) / "bank", 2)
        print(f"bank of {n} x 500 ms, 2 workers, files included: {wall:.1f} s ({counts['done']} shards)")


def bench_networks(n: int, n_traces: int, epochs: int) -> None:
    """Train ours and sbi's NPE on the same simulations; print time, coverage, sd ratio and C2ST against NUTS."""
    from laa_bayes import assemble, bank, config, diagnose, evaluate, likelihood, priors, refine, train

    preset = config.PRESETS["quick"].model_copy(update={"n_simulations": n, "epochs": epochs})
    recipe = assemble.recipe(config.SimulateConfig(output="bank"), n, 0, min(n, 10_000))
    simulations = bank.in_memory(recipe)
    with tempfile.TemporaryDirectory() as folder:
        model, wall, cpu = timed(train.train, simulations, preset, 0, Path(folder))
    truth, v = diagnose.fresh_traces(model, 300, 5)
    spec = likelihood.white_spec(recipe.priors, 1.0)
    draws = model.sample(v, 500, 1)
    results = {"laa_bayes amortised": (wall, cpu, draws)}
    other = sbi_posterior(simulations, v, 500)
    if other is not None:
        results["sbi NPE (NSF, MLP embedding)"] = other
    nuts, refined = [], []
    for i in range(n_traces):
        observed = likelihood.Observation(v[i].astype(float), recipe.current, recipe.noise_mv)
        nuts.append(refine.refine(spec, observed, "nuts", np.random.default_rng(i), 1000, draws[i, :4]).w)
        (one, wall, cpu) = timed(refine.refine, spec, observed, "laplace", np.random.default_rng(i), 1000, draws[i, :4])
        refined.append((one.w, wall, cpu))
    print(
        f"\n{n} simulations, {len(v)} test traces, C2ST against NUTS on {n_traces} traces; parameters: {', '.join(priors.inferred(recipe.priors))}"
    )
    print(f"{'posterior':32s} {'train s':>8s} {'CPU s':>8s} {'cov 50':>7s} {'cov 90':>7s} {'sd/NUTS':>8s} {'C2ST':>6s}")
    for name, (wall, cpu, own) in results.items():
        curve = evaluate.coverage_curve(own, truth)
        sharp = [evaluate.sharpness(own[i : i + 1], nuts[i][None, :500], True) for i in range(n_traces)]
        ratio, accuracy = np.median([s.sd_ratio for s in sharp]), np.median([s.c2st[0] for s in sharp])
        print(
            f"{name:32s} {wall:8.1f} {cpu:8.1f} {curve[9].mean():7.3f} {curve[17].mean():7.3f} {ratio:8.2f} {accuracy:6.2f}"
        )
    sharp = [evaluate.sharpness(refined[i][0][None, :500], nuts[i][None, :500], True) for i in range(n_traces)]
    ratio, accuracy = np.median([s.sd_ratio for s in sharp]), np.median([s.c2st[0] for s in sharp])
    each = f"{np.median([r[2] for r in refined]):.2f} CPU s a trace"
    print(f"{'laa_bayes refined (laplace)':32s} {each:>33s} {ratio:8.2f} {accuracy:6.2f}")


def sbi_posterior(simulations, v: np.ndarray, n_draws: int):
    """Return (wall, CPU, draws) of sbi's NPE trained on the same simulations with its own stopping rule; None when sbi is absent."""
    try:
        import torch
        from sbi.inference import NPE
        from sbi.neural_nets import posterior_nn
    except ImportError:
        print("sbi: not installed, left out")
        return None
    from laa_bayes.simulate import add_noise

    noisy = (add_noise(simulations.v_mv, simulations.recipe.noise_mv, np.random.default_rng(0)) + 60) / 15
    torch.manual_seed(0)
    n_time, d = noisy.shape[1], simulations.z.shape[1]
    widths = [
        torch.nn.Linear(n_time, 512),
        torch.nn.SiLU(),
        torch.nn.Linear(512, 512),
        torch.nn.SiLU(),
        torch.nn.Linear(512, 256),
        torch.nn.SiLU(),
    ]
    embedding = torch.nn.Sequential(*widths, torch.nn.Linear(256, 32))
    prior = torch.distributions.MultivariateNormal(torch.zeros(d), torch.eye(d))
    estimator = posterior_nn("nsf", embedding_net=embedding, z_score_x="none")
    inference = NPE(prior, density_estimator=estimator, show_progress_bars=False)
    inference.append_simulations(torch.as_tensor(simulations.z), torch.as_tensor(noisy))

    def fit():
        return inference.train(training_batch_size=256, learning_rate=5e-4, stop_after_epochs=5, max_num_epochs=20)

    density, wall, cpu = timed(fit)
    posterior = inference.build_posterior(density)
    x = torch.as_tensor((v + 60) / 15, dtype=torch.float32)
    draws = posterior.sample_batched((n_draws,), x=x, show_progress_bars=False)
    return wall, cpu, draws.numpy().transpose(1, 0, 2).astype(float)


def main(argv: list[str]) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000, help="traces for the simulator")
    parser.add_argument("--simulations", type=int, default=20_480, help="simulations to train both networks on")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--traces", type=int, default=5, help="traces compared with NUTS")
    parser.add_argument("--skip-simulator", action="store_true")
    parser.add_argument("--skip-sbi", action="store_true")
    options = parser.parse_args(argv)
    logging.getLogger("sbi").setLevel(logging.WARNING)
    if not options.skip_simulator:
        print_simulator(bench_simulator(options.n))
        bench_bank(options.n)
    if not options.skip_sbi:
        bench_networks(options.simulations, options.traces, options.epochs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
