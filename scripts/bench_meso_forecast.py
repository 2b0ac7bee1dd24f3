"""How fast is meso_forecast beside what people use? Competitors are measured in the same run; ratios are printed.

Window gathering against a DataLoader that asks for one item at a time (in RAM, and from gzip chunks with h5py); one training step and its
memory against Hugging Face's Informer; a forecast with 100 samples against its ``generate``; growth with neurons and context; errors
on held-out windows beside neuralforecast's models (pip install neuralforecast).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CONTEXT, HORIZON, BATCH = 48, 8, 16


def cpu_seconds(work, repeats: int = 3) -> float:
    """Return the least CPU time of one call, after a warm-up call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def show(title: str, rows: list[dict]) -> None:
    """Print one table."""
    print(f"\n{title}")
    keys = list(rows[0])
    print("  " + "  ".join(f"{k:>22}" for k in keys))
    for row in rows:
        print("  " + "  ".join(f"{row[k]:>22.4g}" if isinstance(row[k], float) else f"{row[k]!s:>22}" for k in keys))


def gather_bench(n_neurons: int = 1000, n_time: int = 6000, windows: int = 256) -> list[dict]:
    """Gather 256 windows in batches of 16: as our trainer does, per item with a DataLoader, per item from gzip chunks."""
    import h5py
    import torch
    from torch.utils.data import DataLoader, Dataset

    from meso_forecast.fit import options, train

    torch.set_num_threads(1)
    x = np.random.default_rng(0).standard_normal((n_time, n_neurons), np.float32)
    origins = np.random.default_rng(1).integers(CONTEXT, n_time - HORIZON - 1, windows)

    class Items(Dataset):
        """What the usual dataset class does: one (past, future) pair an item."""

        def __len__(self):
            return windows

        def __getitem__(self, i):
            t = origins[i] + 1
            return torch.tensor(x[t - CONTEXT : t]), torch.tensor(x[t : t + HORIZON])

    def ours(source) -> float:
        module = train.Module(torch.nn.Identity(), [source], options.Options())
        batches = [torch.from_numpy(origins[i : i + BATCH]) for i in range(0, windows, BATCH)]
        return cpu_seconds(lambda: [module.window(0, batch) and None for batch in batches], 20)

    def loaded() -> None:
        for _ in DataLoader(Items(), batch_size=BATCH):
            pass

    activity = ours(train.Source(torch.from_numpy(x), None, origins, origins, None, CONTEXT, HORIZON))
    targets = torch.zeros(windows, HORIZON, 64)
    rows = np.zeros(n_time, int)
    rows[origins] = np.arange(windows)
    latents = ours(train.Source(torch.from_numpy(x[:, :12].copy()), targets, origins, origins, rows, 16, HORIZON))
    in_ram = cpu_seconds(loaded, 10)
    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(Path(folder) / "x.h5", "w") as file:
            file.create_dataset("x", data=x, chunks=True, compression="gzip")
        with h5py.File(Path(folder) / "x.h5", "r") as file:
            few = origins[:16]
            gzip = (
                cpu_seconds(lambda: [file["x"][t - CONTEXT + 1 : t + HORIZON + 1] for t in few], 1) * windows / len(few)
            )
    return [
        {"gather": name, "ms": 1e3 * s, "slower than ours": s / activity, "than ours, latents": s / latents}
        for name, s in (
            ("ours, activity", activity), ("ours, latents", latents), ("DataLoader per item", in_ram), ("h5py gzip per item", gzip),
        )
    ]  # fmt: skip


def training_step(which: str, n_neurons: int, context: int = CONTEXT):
    """Return a function that makes one optimiser step at batch 16."""
    import torch

    from meso_forecast.model import hugging_face, networks

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net: torch.nn.Module
    if which.startswith("hf"):
        net = hugging_face.HuggingFace(hugging_face.Architecture("informer-hf", n_neurons, context, HORIZON))
        if which == "hf":  # as the library has it
            hugging_face.unfuse(net.inner)
        x, y = torch.randn(BATCH, context, n_neurons), torch.randn(BATCH, HORIZON, n_neurons)
    else:
        lags = min(16, context)
        net = networks.Correction(which.removeprefix("ours "), lags, 12, HORIZON, 64)
        x, y = torch.randn(BATCH, lags, 12), torch.randn(BATCH, HORIZON, 64)
    return stepper(net, x, y)


def stepper(net, x, y):
    """Return a function that makes one step of AdamW."""
    import torch

    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        net.loss(x, y).backward()
        optimizer.step()

    return step


def same_body_step(n_neurons: int, context: int = CONTEXT):
    """Return a step of Hugging Face's own body on 64 latents: the low-rank projection is the only difference."""
    return training_step("hf", 64, context)


WHICH = {
    "HF Informer": lambda n: training_step("hf", n),
    "HF Informer, fused": lambda n: training_step("hf fused", n),
    "ours, HF body on 64": same_body_step,
    "ours, informer": lambda n: training_step("ours informer", n),
    "ours, mlp (default)": lambda n: training_step("ours mlp", n),
}


def peak_memory(which: str, n_neurons: int) -> float:
    """Return the peak memory of three steps above that of the imports, MB, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, __file__, "--memory-of", which, "--neurons", str(n_neurons)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def memory_child(which: str, n_neurons: int) -> None:
    """Print the peak memory of three steps above the base."""
    import torch  # noqa: F401
    import transformers  # noqa: F401

    WHICH[which](50)()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from what is resident now
    base = resident_kb("VmRSS")
    step = WHICH[which](n_neurons)
    for _ in range(3):
        step()
    print(json.dumps((resident_kb("VmHWM") - base) / 1024))


def resident_kb(what: str) -> int:
    """Return the resident memory of this process (``VmRSS``) or its peak (``VmHWM``), kB."""
    return int(Path("/proc/self/status").read_text().split(what + ":")[1].split()[0])


def step_bench(sizes: tuple[int, ...]) -> list[dict]:
    """Time and memory of a training step, all against Hugging Face's Informer."""
    rows = []
    for n in sizes:
        base = base_memory = None
        for which, make in WHICH.items():
            seconds = cpu_seconds(make(n))
            memory = peak_memory(which, n)
            base, base_memory = base or seconds, base_memory or memory
            rows.append(
                {
                    "neurons": n,
                    "step": which,
                    "ms": 1e3 * seconds,
                    "times faster": base / seconds,
                    "MB": memory,
                    "of HF's memory": memory / base_memory if base_memory else float("nan"),
                }
            )
    return rows


def forecast_bench(n_neurons: int = 500, n_time: int = 1600) -> list[dict]:
    """Forecast with 100 samples: ``generate``, and our student-t around the corrected stack (100 equally likely values, 100 random draws)."""
    import torch
    from scipy import stats

    from meso_forecast.activity import split, windows
    from meso_forecast.fit import fit_correction, options
    from meso_forecast.model import correction, forecaster, hugging_face

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_time, n_neurons)).astype(np.float32)
    x[1:] = 0.7 * x[:-1] + x[1:]
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    panel = windows.Panel(x, np.ones(n_time, bool), split.chronological_split(n_time))
    correction.CONFIDENCE = 1e-9  # the correction takes part, whatever validation says of it
    fitted = fit_correction.fit_informer([panel], CONTEXT, HORIZON, "mlp", options.Options(epochs=1))[0]
    probabilistic = forecaster.with_spread(fitted, panel, CONTEXT, HORIZON)
    origins = windows.window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)

    levels = (np.arange(100) + 0.5) / 100

    def in_parts(draw) -> None:
        f = probabilistic.forecast(panel, origins)
        for i in range(0, len(origins), 32):
            rows = slice(i, i + 32)
            draw(f._replace(mean=f.mean[rows], scale=f.scale[rows]))

    def quantiles(f) -> None:  # t.ppf once for all windows: the degrees of freedom do not depend on the window
        (f.mean + f.scale * table[:, None]).astype(np.float32)

    def draws(f) -> None:
        f.mean + f.scale * rng.standard_t(f.df, size=(100, *f.mean.shape)).astype(np.float32)

    began = time.process_time()
    table = stats.t.ppf(levels[:, None, None], probabilistic.spread.df).astype(np.float32)
    tabulated = time.process_time() - began
    alone = cpu_seconds(lambda: probabilistic.forecast(panel, origins), 1) / len(origins)
    equally_likely = (cpu_seconds(lambda: in_parts(quantiles), 1) + tabulated) / len(origins)
    random_draws = cpu_seconds(lambda: in_parts(draws), 1) / len(origins)
    net: Any = hugging_face.build(hugging_face.Architecture("informer-hf", n_neurons, CONTEXT, HORIZON)).eval()
    hugging_face.unfuse(net)
    few = torch.randn(2, CONTEXT, n_neurons)
    clock = torch.zeros(2, CONTEXT + HORIZON, 1)
    given = {
        "past_values": few,
        "past_time_features": clock[:, :CONTEXT],
        "future_time_features": clock[:, CONTEXT:],
        "past_observed_mask": torch.ones_like(few),
    }
    net.config.num_parallel_samples = 100
    theirs = cpu_seconds(lambda: net.generate(**given), 1) / 2
    return [
        {"100 samples of": "HF generate", "ms a window": 1e3 * theirs, "times faster": 1.0},
        {
            "100 samples of": "ours, 100 quantiles",
            "ms a window": 1e3 * equally_likely,
            "times faster": theirs / equally_likely,
        },
        {"100 samples of": "ours, 100 draws", "ms a window": 1e3 * random_draws, "times faster": theirs / random_draws},
        {"100 samples of": "ours, mean and scale", "ms a window": 1e3 * alone, "times faster": theirs / alone},
    ]


def context_bench(n_neurons: int = 1000) -> list[dict]:
    """Growth of a step with the context."""
    rows = []
    for context in (24, 48, 96):
        theirs, ours_ = (
            cpu_seconds(training_step("hf", n_neurons, context)),
            cpu_seconds(training_step("ours mlp", n_neurons, context)),
        )
        rows.append({"context": context, "HF ms": 1e3 * theirs, "ours ms": 1e3 * ours_, "times faster": theirs / ours_})
    return rows


def splitter_bench() -> list[dict]:
    """The window splitter against the obvious loop, on 20 000 frames with gaps."""
    from meso_forecast.activity.split import chronological_split
    from meso_forecast.activity.windows import window_origins

    n = 20000
    usable, label = np.random.default_rng(0).random(n) > 0.002, chronological_split(n)

    def loop() -> list[int]:
        found = []
        for t in range(CONTEXT - 1, n - HORIZON):
            ahead = label[t + 1 : t + 1 + HORIZON]
            if all(usable[t - CONTEXT + 1 : t + HORIZON + 1]) and all(ahead == 0):
                found.append(t)
        return found

    assert loop() == window_origins(usable, label, 0, CONTEXT, HORIZON).tolist()
    slow, fast = cpu_seconds(loop, 1), cpu_seconds(lambda: window_origins(usable, label, 0, CONTEXT, HORIZON))
    return [
        {"splitter": "loop", "ms": 1e3 * slow, "ratio": slow / fast},
        {"splitter": "ours", "ms": 1e3 * fast, "ratio": 1.0},
    ]


def session(n_neurons: int = 60, n_time: int = 4000):
    """Return a panel of neurons that damped oscillators drive, with autoregressive noise of each; z-scored by its training part."""
    from meso_forecast import simulate
    from meso_forecast.activity import split, windows

    rng = np.random.default_rng(0)
    latents = simulate.latent_oscillators(n_time, 12, rng)
    x = latents @ rng.standard_normal((12, n_neurons)) / np.sqrt(12) + simulate.ar1(
        n_time, np.full(n_neurons, 1.0), rng
    )
    label = split.chronological_split(n_time)
    fitted = x[label == windows.TRAIN]
    x = ((x - fitted.mean(0)) / fitted.std(0)).astype(np.float32)
    return windows.Panel(x, np.ones(n_time, bool), label)


def errors_bench(steps: int = 500) -> list[dict]:
    """Squared error on the same held-out windows, and CPU time of fit and forecast: our forecasters and neuralforecast's.

    Theirs (without its Informer: many minutes) see one neuron at a time, one model for all, are trained ``steps`` steps, stop early on the
    validation part, and forecast from every frame of the test part.
    """
    from meso_forecast.activity import windows
    from meso_forecast.config import CompareConfig
    from meso_forecast.fit.registry import fit_named

    panel = session()
    config = CompareConfig(recording=Path(__file__), output=Path("unused"), context=CONTEXT, horizon=HORIZON)
    origins = windows.window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    truth, found = windows.gather(panel.x, origins, 1, HORIZON), []
    for name in ("persistence", "ar", "stack", "informer"):
        began = time.process_time()
        forecast = fit_named(name, [panel], config)[0].forecast(panel, origins)
        found.append((name, float(np.square(forecast.mean - truth).mean()), time.process_time() - began))
    found += neuralforecasts(panel, origins, truth, steps)
    base = next(error for name, error, _ in found if name == "ar")
    return [{"errors": name, "mse": e, "over AR's": e / base, "CPU s": seconds} for name, e, seconds in found]


def neuralforecasts(panel, origins: np.ndarray, truth: np.ndarray, steps: int) -> list[tuple[str, float, float]]:
    """Return name, squared error and CPU time of neuralforecast's models; none where it is not installed."""
    if importlib.util.find_spec("neuralforecast") is None:
        print("\nneuralforecast is not installed: not measured")
        return []
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast import models as library

    n_time, n = panel.x.shape
    long = pd.DataFrame(
        {"unique_id": np.repeat(np.arange(n), n_time), "ds": np.tile(np.arange(n_time), n), "y": panel.x.T.ravel()}
    )
    parts, found = [int((panel.label == part).sum()) for part in (1, 2)], []
    for name in ("NLinear", "NHITS"):
        model = getattr(library, name)(
            h=HORIZON, input_size=CONTEXT, max_steps=steps, early_stop_patience_steps=5, val_check_steps=50, random_seed=0,
            accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, logger=False,
        )  # fmt: skip
        began = time.process_time()
        table = NeuralForecast([model], freq=1).cross_validation(
            long, n_windows=None, val_size=parts[0], test_size=parts[1], step_size=1
        )
        seconds = time.process_time() - began
        table = table[table["cutoff"].isin(origins)].sort_values(["cutoff", "ds", "unique_id"])
        found.append(
            (
                f"neuralforecast {name}",
                float(np.square(table[name].to_numpy().reshape(truth.shape) - truth).mean()),
                seconds,
            )
        )
    return found


def main(argv: list[str] | None = None) -> None:
    """Run all benchmarks, or the parts named."""
    parts: dict[str, Callable[..., Any]] = {
        "splitter": splitter_bench, "gather": gather_bench, "step": step_bench, "forecast": forecast_bench, "context": context_bench,
        "errors": errors_bench,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(parts))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--neurons", type=int, nargs="+", default=[500, 1000, 5000], help="sizes of the training step")
    given = parser.parse_args(argv)
    if given.memory_of:
        memory_child(given.memory_of, given.neurons[0])
        return
    parts["step"] = lambda: step_bench(tuple(given.neurons))
    for name in given.parts or parts:
        show(name, parts[name]())


if __name__ == "__main__":
    main()
