"""How fast is the simulator, and how good the network, next to what one would use instead? Ratios measured in one run.

    python scripts/bench.py laa_bayes [--parts simulator,bank,networks,contraction] [--n 100000] [--simulations 20480] [--epochs 15] [--traces 5]

simulator: JAX (ours) against numpy vectorised over neurons, a Python loop, and diffrax. bank: time and memory of a bank on disk, made
by the command line with two workers. networks: ours against sbi's NPE on the same simulations, judged by coverage, sd ratio and
C2ST against the No-U-Turn sampler. contraction: what more data teach. Competitors that are not installed are named as absent.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

PARTS = ("simulator", "bank", "networks", "contraction")
BLOCK = 10_000  #: traces simulated in one call


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

    with jax.enable_x64(True):
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

    compiled = jax.jit(jax.vmap(one))

    def solve(theta):
        with jax.enable_x64(True):
            return np.asarray(compiled(jnp.asarray(theta)))

    return solve


class Simulated(NamedTuple):
    """One line of the table of simulators."""

    name: str
    n_traces: int
    wall_s: float
    cpu_s: float
    difference_mv: float  #: median over traces of the largest difference from ours in float64


def ours(theta, current, dtype):
    """Return voltages by the package's simulator, block by block."""
    from laa_bayes.neuron import simulator

    blocks = range(0, len(theta), BLOCK)
    return np.concatenate([simulator.simulate(theta[i : i + BLOCK], current, 1.0, dtype=dtype) for i in blocks])


def bench_simulator(n: int) -> list[Simulated]:
    """Return one line for each simulator; each compiles before it is timed."""
    from laa_bayes import config
    from laa_bayes.neuron import priors, simulator

    model = config.SimulateConfig(output="bank")
    table, current = model.resolved_priors(), simulator.protocol_current(model)
    theta = priors.theta_from_z(table, priors.sample_z(table, n, np.random.default_rng(0)))
    reference = ours(theta[:BLOCK], current, np.float64)
    competitors = [
        ("laa_bayes (JAX, float32)", lambda x: ours(x, current, np.float32), n),
        ("laa_bayes (JAX, float64)", lambda x: ours(x, current, np.float64), min(n, 20_000)),
        ("numpy, vectorised, float64", lambda x: numpy_rk4(x, current), min(n, BLOCK)),
        ("Python loop", lambda x: python_loop(x, current), 20),
    ]
    try:
        solve = diffrax_solver(current)
        competitors.append(("diffrax Tsit5, rtol 1e-6", solve, min(n, 1000)))
    except ImportError:
        print("diffrax: not installed, left out")
    lines = []
    for name, function, m in competitors:
        function(theta[: min(m, BLOCK)])
        v, wall, cpu = timed(function, theta[:m])
        worst = np.abs(v[:BLOCK] - reference[:m]).max(axis=1)
        lines.append(Simulated(name, m, wall, cpu, float(np.median(worst))))
    return lines


def print_simulators(lines: list[Simulated]) -> None:
    """Print the table; ratios are CPU time a trace against the first line."""
    base = lines[0].cpu_s / lines[0].n_traces
    print(
        f"{'simulator, 500 ms':28s} {'traces':>8s} {'us/trace':>10s} {'CPU us':>9s} {'ratio':>8s} {'difference mV':>14s}"
    )
    for line in lines:
        wall, cpu = 1e6 * line.wall_s / line.n_traces, 1e6 * line.cpu_s / line.n_traces
        print(
            f"{line.name:28s} {line.n_traces:8d} {wall:10.1f} {cpu:9.1f} {1e-6 * cpu / base:8.1f} {line.difference_mv:14.1e}"
        )


def bench_bank(n: int) -> None:
    """Time ``laa-bayes simulate --jobs 2``, start of Python and files included, and follow the memory of its processes."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["simulate", "--n", str(n), "--seed", "0", "--jobs", "2", "--output", str(Path(folder) / "bank")]
        began, peak = time.perf_counter(), 0
        process = subprocess.Popen([sys.executable, "-m", "laa_bayes", *options], stdout=subprocess.PIPE, text=True)
        while process.poll() is None:
            peak = max(peak, memory_kib(process.pid))
            time.sleep(0.02)
        wall = time.perf_counter() - began
        print(f"\nbank of {n} x 500 ms, 2 workers: {wall:.1f} s, peak memory of all processes {peak / 2**20:.2f} GiB")
        print((process.stdout.read() if process.stdout else "").strip().replace(f"{folder}/", ""))


def memory_kib(pid: int) -> int:
    """Return the resident memory of a process and its descendants in KiB; 0 where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return sum(own) + sum(memory_kib(int(child)) for child in children)


class Posterior(NamedTuple):
    """Draws of one method and what they cost."""

    train_wall_s: float
    train_cpu_s: float
    draws: np.ndarray  #: (n_trace, n_draws, n_parameter) coordinates


def bench_networks(n: int, n_traces: int, epochs: int) -> None:
    """Train ours and sbi's NPE on the same simulations; print time, coverage, sd ratio and C2ST against NUTS."""
    from laa_bayes import config, simulate
    from laa_bayes.fit import train
    from laa_bayes.neuron import priors
    from laa_bayes.neuron.recipe import in_memory
    from laa_bayes.score import diagnosis

    preset = config.PRESETS["quick"].model_copy(update={"n_simulations": n, "epochs": epochs})
    recipe = simulate.recipe(config.SimulateConfig(output="bank"), n, 0, min(n, BLOCK))
    simulations = in_memory(recipe)
    with tempfile.TemporaryDirectory() as folder:
        model, wall, cpu = timed(train.train, simulations, preset, 0, Path(folder))
    truth, v = diagnosis.fresh_traces(model, 300, 5)
    rows = {"laa_bayes, amortised": Posterior(wall, cpu, model.sample(v, 500, 1))}
    other = sbi_posterior(simulations, v, 500, epochs)
    if other is not None:
        rows["sbi NPE, NSF, MLP embedding"] = other
    names = ", ".join(priors.inferred(recipe.priors))
    print(f"\n{n} simulations, {epochs} epochs; coverage on {len(v)} traces, NUTS on {n_traces}; parameters {names}")
    exact, refined, cpu = references(recipe, v[:n_traces], rows["laa_bayes, amortised"].draws[:n_traces, :4])
    print_posteriors(rows, truth, exact)
    print_line("laa_bayes, refined (laplace)", f"{cpu:.2f} CPU s a trace", refined, exact)


def references(recipe, v: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return NUTS draws, refined draws, each (n_trace, 1000, d), and the median CPU seconds of a refinement."""
    from laa_bayes.posterior import exact, likelihood

    spec, nuts, refined, seconds = likelihood.white_spec(recipe.priors, recipe.dt_ms), [], [], []
    for i, trace in enumerate(v):
        observed = likelihood.Observation(trace.astype(float), recipe.current, recipe.noise_mv)
        rng = np.random.default_rng(i)
        one, _, cpu = timed(exact.refine, spec, observed, "laplace", rng, 1000, starts[i])
        nuts.append(exact.refine(spec, observed, "nuts", rng, 1000, starts[i]).w)
        refined.append(one.w)
        seconds.append(cpu)
    return np.stack(nuts), np.stack(refined), float(np.median(seconds))


def print_posteriors(rows: dict[str, Posterior], truth: np.ndarray, exact: np.ndarray) -> None:
    """Print the table's head and one line for each trained network."""
    from laa_bayes.score import evaluate

    columns = f"{'train s':>8s} {'CPU s':>8s} {'cov 50':>7s} {'cov 90':>7s}"
    print(f"{'posterior':32s} {columns} {'sd/NUTS':>8s} {'error/sd':>9s} {'C2ST':>6s}")
    for name, row in rows.items():
        curve = evaluate.coverage_curve(row.draws, truth).mean(axis=1)
        cost = f"{row.train_wall_s:8.1f} {row.train_cpu_s:8.1f} {curve[9]:7.3f} {curve[17]:7.3f}"
        print_line(name, cost, row.draws[: len(exact)], exact)


def print_line(name: str, cost: str, draws: np.ndarray, exact: np.ndarray) -> None:
    """Print medians over traces of sd ratio, error of the mean and C2ST against exact draws."""
    from laa_bayes.score import evaluate

    n = min(draws.shape[1], exact.shape[1])
    scores = evaluate.sharpness(draws[:, :n], exact[:, :n])
    ratio, error, accuracy = (float(np.median(x)) for x in scores)
    print(f"{name:32s} {cost:>33s} {ratio:8.2f} {error:9.2f} {accuracy:6.2f}")


def sbi_posterior(simulations, v: np.ndarray, n_draws: int, epochs: int) -> Posterior | None:
    """Return sbi's NPE trained for as many epochs on the same simulations (noise drawn once); None when sbi is absent."""
    try:
        import torch
        from sbi.inference import NPE
        from sbi.neural_nets import posterior_nn
    except ImportError:
        print("sbi: not installed, left out")
        return None
    from laa_bayes.neuron.simulator import add_noise

    noisy = add_noise(simulations.v_mv, simulations.recipe.noise_mv, np.random.default_rng(0))
    torch.manual_seed(0)
    n_time, d = noisy.shape[1], simulations.z.shape[1]
    widths, layers = (n_time, 512, 512, 256), []
    for before, after in itertools.pairwise(widths):
        layers += [torch.nn.Linear(before, after), torch.nn.SiLU()]
    embedding = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 32))
    prior = torch.distributions.MultivariateNormal(torch.zeros(d), torch.eye(d))
    estimator = posterior_nn("nsf", embedding_net=embedding, z_score_x="independent")
    inference = NPE(prior, density_estimator=estimator, show_progress_bars=False)
    inference.append_simulations(torch.as_tensor(simulations.z), torch.as_tensor(noisy))

    def fit():
        with tempfile.TemporaryDirectory() as logs, contextlib.chdir(logs):  # sbi logs into the folder it runs in
            return inference.train(training_batch_size=256, stop_after_epochs=epochs, max_num_epochs=epochs)

    density, wall, cpu = timed(fit)
    posterior = inference.build_posterior(density)
    draws = posterior.sample_batched((n_draws,), x=torch.as_tensor(v), show_progress_bars=False)
    return Posterior(wall, cpu, draws.numpy().transpose(1, 0, 2).astype(float))


def bench_contraction(n: int = 24) -> None:
    """Print the median contraction of exact posteriors of ``n`` traces; the mean of m sweeps, of sd / sqrt(m), says all that they say."""
    from laa_bayes import config
    from laa_bayes.neuron import simulator
    from laa_bayes.posterior import exact, likelihood

    assumed, rng = config.SimulateConfig(output="bank"), np.random.default_rng(11)
    current = simulator.protocol_current(assumed)
    spec = likelihood.white_spec(assumed.resolved_priors(), 1.0)
    _, v = simulator.draw(assumed.resolved_priors(), current, 1.0, n, rng)
    v, noise = v.astype(float), rng.standard_normal(v.shape)
    print(f"| {n} traces | {' | '.join(spec.names)} |\n|---|{'---|' * len(spec.names)}")
    for stop, sweeps in [*((t, 1) for t in (50, 120, 160, 230, 300, 370, 500)), *((500, m) for m in (2, 4, 8, 16))]:
        sd = assumed.noise_mv / math.sqrt(sweeps)
        seen = (likelihood.Observation(x[:stop], current[:stop], sd) for x in v + sd * noise)
        found = 1 - np.var([exact.refine(spec, x, "laplace", rng, 1000).w for x in seen], axis=1)
        told = " | ".join(f"{x:.4f} ({np.mean(y < 0.5):.2f})" for x, y in zip(np.median(found, 0), found.T))
        print(f"| {stop} ms, {sweeps} sweep{'s' * (sweeps > 1)} | {told} |", flush=True)


def main(argv: list[str]) -> int:
    """Run the chosen parts of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"comma-separated, of {', '.join(PARTS)}")
    parser.add_argument("--n", type=int, default=100_000, help="traces for simulator and bank")
    parser.add_argument("--simulations", type=int, default=20_480, help="simulations to train both networks on")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of both networks")
    parser.add_argument("--traces", type=int, default=5, help="traces compared with NUTS")
    options = parser.parse_args(argv)
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: unknown {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    logging.getLogger("sbi").setLevel(logging.WARNING)
    if "simulator" in parts:
        print_simulators(bench_simulator(options.n))
    if "bank" in parts:
        bench_bank(options.n)
    if "networks" in parts:
        bench_networks(options.simulations, options.traces, options.epochs)
    if "contraction" in parts:
        bench_contraction()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
