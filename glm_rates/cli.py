"""The shell's view of the pipeline: options to config, one function a command."""

from __future__ import annotations

from . import config, console

app = console.application("glm-rates", "Firing rates of single trials from Poisson GLMs with learned priors.")


@console.command(app, config.InferConfig)
def infer(config, run):
    """Estimate rates of a recording: extract, fit, score, write, draw."""
    from .commands import infer as verb

    return verb.run(config, run)


@console.command(app, config.ExtractConfig)
def extract(config, run):
    """Stage 1 by hand: bin a recording into an exchange folder."""
    from .commands import extract as verb

    return verb.run(config, run)


@console.command(app, config.FitConfig)
def fit(config, run):
    """Stage 2 by hand: fit an exchange folder and write a results file."""
    from .commands import fit as verb

    return verb.run(config, run)


@console.command(app, config.EvaluateConfig)
def evaluate(config, run):
    """Held-out scores of nested models and simple rivals, without a full fit."""
    from .commands import evaluate as verb

    return verb.run(config, run)


@console.command(app, config.PlotConfig)
def plot(config, run):
    """Draw the figures and the report of stored results again."""
    from .commands import plot as verb

    return verb.run(config, run)


@console.command(app, config.CheckConfig)
def check(config, run):
    """Is a blech_clust directory consistent? Exit code 3 when it is not."""
    from .commands import check as verb

    return verb.run(config, run)


@console.command(app, config.SimulateConfig)
def simulate(config, run):
    """Write a simulated blech_clust directory with known filters."""
    from .commands import simulate as verb

    return verb.run(config, run)


@console.command(app, config.EnvsConfig)
def envs(config, run):
    """Which interpreters were found for the two stages, and why."""
    from .commands import envs as verb

    return verb.run(config, run)


main = console.entry_point(app)
