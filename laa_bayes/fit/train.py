"""How is the posterior network trained? Simulations, fresh noise each epoch, Adam with a decaying rate, a checkpoint every epoch.

The batches of an epoch depend on (seed, epoch) alone, so an interrupted training that is resumed ends where an undisturbed one does.
"""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path

import numpy as np

from hdf5io.errors import WorkFailed

from ..config import Preset
from ..console import progress
from ..files.model_folder import Epoch, read_checkpoint, read_history, write_checkpoint
from ..network.networks import bf, build_approximator, keras
from ..network.trained import TrainedModel, make_reference
from ..neuron.recipe import Bank, Recipe, data_digest
from ..neuron.simulator import add_noise, draw

N_VALIDATION, N_REFERENCE = 2048, 4096
N_TIMED = 5  #: gradient steps of the short timing before training; the long one has four times as many
N_TIMINGS = 3
FIRST = 3  #: epochs after which the estimate is corrected
N_COMPONENT_TRACES = 2000  #: simulations that the principal components are taken from
log = logging.getLogger("laa_bayes")


class Batches(keras.utils.PyDataset):
    """The shuffled batches of one epoch, each with fresh noise; a pure function of (seed, epoch, batch)."""

    def __init__(self, bank: Bank, preset: Preset, seed: int, epoch: int, n_batches: int | None = None):
        super().__init__()
        self.bank, self.preset, self.key = bank, preset, (seed, 1_000_003, epoch)
        self.n_batches = n_batches or len(bank.z) // preset.batch_size
        self.order = np.random.default_rng(np.random.SeedSequence(self.key)).permutation(len(bank.z))

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        first = i % (len(self.order) // self.preset.batch_size) * self.preset.batch_size  # a small bank begins again
        rows = self.order[first : first + self.preset.batch_size]
        v = self.bank.v_mv[rows]
        if not self.preset.offline_noise:
            v = add_noise(v, self.bank.recipe.noise_mv, np.random.default_rng(np.random.SeedSequence([*self.key, i])))
        return {"inference_variables": self.bank.z[rows], "summary_variables": v}


class Fixed(keras.utils.PyDataset):
    """A data set in fixed order, for validation."""

    def __init__(self, z: np.ndarray, v_mv: np.ndarray, batch_size: int):
        super().__init__()
        self.z, self.v_mv, self.batch_size = z, v_mv, batch_size

    def __len__(self) -> int:
        return max(1, len(self.z) // self.batch_size)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
        return {"inference_variables": self.z[rows], "summary_variables": self.v_mv[rows]}


def held_out(recipe: Recipe, n: int, purpose: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z and noisy voltages of simulations that no training uses; ``purpose`` numbers independent sets."""
    rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, 424_243, purpose]))
    z, v = draw(recipe.priors, recipe.current, recipe.dt_ms, n, rng, recipe.method)
    return z, add_noise(v, recipe.noise_mv, rng)


def make_approximator(preset: Preset, bank: Bank, n_epochs: int, seed: int) -> bf.ContinuousApproximator:
    """Return the built, compiled approximator with the preset's optimiser: Adam with gradients clipped to norm 1."""
    keras.utils.set_random_seed(seed)
    approximator = build_approximator(preset, bank.recipe.current)
    rate = learning_rate(preset, n_epochs * (len(bank.z) // preset.batch_size))
    approximator.compile(optimizer=keras.optimizers.Adam(rate, clipnorm=1.0))
    first = Batches(bank, preset, seed, 0, 1)[0]
    approximator.build({key: value.shape for key, value in first.items()})
    if preset.summary == "mlp" and preset.n_components:
        approximator.summary_network.set_components(bank.v_mv[:N_COMPONENT_TRACES], bank.recipe.noise_mv)
    approximator.optimizer.build(approximator.trainable_variables)
    return approximator


def learning_rate(preset: Preset, n_steps: int):
    """Return the rate at every step: cosine to zero (after a linear warm-up), exponential to 1 %, or constant."""
    schedules, peak = keras.optimizers.schedules, preset.learning_rate
    if preset.schedule == "constant":
        return peak
    if preset.schedule == "exponential":
        return schedules.ExponentialDecay(peak, n_steps, 0.01)
    warmup = min(preset.warmup_steps, n_steps // 10)
    if warmup == 0:
        return schedules.CosineDecay(peak, n_steps)
    return schedules.CosineDecay(0.01 * peak, n_steps - warmup, warmup_target=peak, warmup_steps=warmup)


def snapshot(approximator) -> dict[str, np.ndarray]:
    """Return every variable of the networks and the optimiser."""
    variables = [*approximator.variables, *approximator.optimizer.variables]
    return {f"v{i}": np.asarray(variable) for i, variable in enumerate(variables)}


def restore(approximator, saved: dict[str, np.ndarray]) -> None:
    """Set every variable from a snapshot."""
    for i, variable in enumerate([*approximator.variables, *approximator.optimizer.variables]):
        variable.assign(saved[f"v{i}"])


def seconds_per_epoch(approximator, bank: Bank, preset: Preset, seed: int, validation: Fixed) -> tuple[float, float]:
    """Return the time of an epoch, validation included, and of a gradient step in it; the weights are put back.

    A call of ``fit`` has a price of its own, so a step is the difference between a long and a short call, both compiled before.
    """
    before = snapshot(approximator)

    def timed(work) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def steps(n: int) -> None:
        fit_epoch(approximator, Batches(bank, preset, seed, 0, n))

    def validate() -> None:
        approximator.evaluate(validation, verbose=0, return_dict=True)

    for work in (lambda: steps(1), validate):  # compiles
        work()
    times = [[timed(lambda n=n: steps(n)) for n in (N_TIMED, 4 * N_TIMED)] for _ in range(N_TIMINGS)]
    short, long = np.median(times, axis=0)  # other work on the machine disturbs single timings
    step = max(float(long - short) / (3 * N_TIMED), 1e-6)
    n_batches = len(bank.z) // preset.batch_size
    seconds = n_batches * step + max(short - N_TIMED * step, 0.0) + timed(validate)
    restore(approximator, before)
    return seconds, step


def fit_epoch(approximator, batches: Batches) -> float:
    """Train on the batches of one epoch; return the mean loss."""
    history = approximator.fit(dataset=batches, epochs=1, verbose=0, shuffle=False)
    return float(history.history["loss"][-1])


def affordable_epochs(n_epochs: int, epoch_seconds: float, max_minutes: float | None) -> int:
    """Return the number of epochs that fit into the given minutes (at least one); all of them without a limit."""
    if max_minutes is None:
        return n_epochs
    return max(1, min(n_epochs, math.floor(60 * max_minutes / epoch_seconds)))


def train(bank: Bank, preset: Preset, seed: int, folder: Path, max_minutes: float | None = None) -> TrainedModel:
    """Train a posterior network on a bank, from the checkpoint in ``folder`` where there is one; each epoch leaves one.

    Raises
    ------
    InputError
        The checkpoint belongs to other options.
    """
    if preset.offline_noise:
        rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
        bank = bank._replace(v_mv=add_noise(bank.v_mv, bank.recipe.noise_mv, rng))
    saved = read_checkpoint(folder, preset, bank)
    approximator = make_approximator(preset, bank, preset.epochs, seed)
    validation = Fixed(*held_out(bank.recipe, N_VALIDATION, 1), batch_size=preset.batch_size)
    epoch_seconds, batch_seconds = seconds_per_epoch(approximator, bank, preset, seed, validation)
    n_epochs = affordable_epochs(preset.epochs, epoch_seconds, max_minutes) if saved is None else int(saved["n_epochs"])
    announce(preset, n_epochs, epoch_seconds, batch_seconds, done=0 if saved is None else int(saved["done"]))
    if n_epochs < preset.epochs:
        approximator = make_approximator(preset, bank, n_epochs, seed)  # the decay of the rate fits the shorter run
    history = [] if saved is None else read_history(folder, int(saved["done"]))
    if saved is not None:
        restore(approximator, saved)
        log.info("resumed after epoch %d of %d", len(history), n_epochs)
    history = run_epochs(approximator, bank, preset, seed, folder, n_epochs, history, validation)
    reference = make_reference(np.concatenate(summaries_of(approximator, held_out(bank.recipe, N_REFERENCE, 2)[1])))
    info = {
        "seed": seed,
        "epochs": n_epochs,
        "batch_seconds": batch_seconds,
        "estimated_seconds": n_epochs * epoch_seconds,
        "training_seconds": sum(line.seconds for line in history),
        "validation_loss": history[-1].validation_loss,
        "data_sha256": data_digest(bank),
    }
    return TrainedModel(approximator, bank.recipe, preset, reference, info, folder)


def announce(preset: Preset, n_epochs: int, epoch_seconds: float, batch_seconds: float, done: int) -> None:
    """Say what will be trained and how long it will take."""
    log.info(
        "estimate from %d timed batches: %s for %d epochs (%.3g ms a batch, %.1f s an epoch with its validation)",
        5 * N_TIMED * N_TIMINGS,
        duration((n_epochs - done) * epoch_seconds),
        n_epochs - done,
        1e3 * batch_seconds,
        epoch_seconds,
    )
    if n_epochs < preset.epochs:
        log.warning(
            "--max-minutes allows %d of %d epochs; the posterior will be wider than the preset's.",
            n_epochs,
            preset.epochs,
        )
    if preset.summary in ("lstm", "gru"):
        log.info(
            "recurrent cells use tanh (ReLU over hundreds of steps is unstable); the dense layer after them is ReLU"
        )
    names = {"actnorm": "ActNorm between layers (invertible)", "subnet": "inside the coupling subnets", "none": "none"}
    log.info("batch normalisation: %s", names[preset.batch_norm])


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def run_epochs(
    approximator, bank, preset: Preset, seed: int, folder: Path, n_epochs: int, history: list[Epoch], validation: Fixed
) -> list[Epoch]:
    """Train the epochs that are missing; return the whole history."""
    for epoch in progress(range(len(history), n_epochs), n_epochs - len(history), "epochs"):
        began = time.perf_counter()
        loss = fit_epoch(approximator, Batches(bank, preset, seed, epoch))
        scores = approximator.evaluate(validation, verbose=0, return_dict=True)
        if not math.isfinite(loss):
            raise WorkFailed(f"the loss became {loss} in epoch {epoch + 1}; use a smaller --learning-rate")
        rate = float(keras.ops.convert_to_numpy(approximator.optimizer.learning_rate))
        history = [*history, Epoch(epoch + 1, loss, float(scores["loss"]), rate, time.perf_counter() - began)]
        log.debug("epoch %d: loss %.3f, validation %.3f", epoch + 1, loss, history[-1].validation_loss)
        if len(history) == FIRST and n_epochs > 2 * FIRST:
            measured = sum(line.seconds for line in history) / FIRST
            log.info(
                "%d epochs took %s; %s to go",
                FIRST,
                duration(FIRST * measured),
                duration((n_epochs - FIRST) * measured),
            )
        write_checkpoint(folder, snapshot(approximator), preset, bank, n_epochs, history)
    return history


def summaries_of(approximator, v_mv: np.ndarray) -> list[np.ndarray]:
    """Return the summaries of noisy traces in parts."""
    return [np.asarray(approximator.summary_network(v_mv[i : i + 512])) for i in range(0, len(v_mv), 512)]
