"""Which options would do nothing beside the others that were given? They are refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = (
    "prior",
    "priors",
    "protocol",
    "segments",
    "duration_ms",
    "dt_ms",
    "noise_mv",
    "k_convention",
    "infer_g_act",
    "method",
)
GRID = ("dt_ms", "duration_ms")

Rule = tuple[tuple[str, ...], Callable[[Any], bool], str]


def is_file(current: str) -> bool:
    """Return whether a current is named as a file, not as a built-in protocol.

    >>> is_file("negative-step"), is_file("mine.csv")
    (False, True)
    """
    return Path(current).suffix != ""


#: Config -> options, when each does nothing, and why.
IDLE: dict[str, tuple[Rule, ...]] = {
    "Model": (
        (("protocol",), lambda c: bool(c.segments), "the segments of the TOML file are the current"),
        (GRID, lambda c: is_file(c.protocol) and not c.segments, "the file of --protocol has its own grid and length"),
        (("infer_g_act",), lambda c: "G_act" in c.priors, "priors.G_act of the TOML file says what is inferred"),
    ),
    "TrainConfig": (
        (("channel", "current_from", "current_scale"), lambda c: c.protocol_from is None, "it belongs to --protocol-from, which is missing"),
        ((*MODEL, "n_simulations"), lambda c: c.bank is not None, "the bank has its own"),
        (("protocol", "segments", "duration_ms"), lambda c: c.protocol_from is not None, "the current is that of --protocol-from"),
        (("frame",), lambda c: c.resolved_preset().summary not in ("lstm", "gru"), "only --summary lstm and gru read frames"),
    ),
    "InferConfig": (
        (("jobs",), lambda c: c.sweeps is None or c.together, "workers are for --sweeps that are inferred one by one"),
        (("figure_format",), lambda c: not c.report, "no figure is drawn with --no-report"),
        (("noise_mv",), lambda c: c.noise == "estimate", "--noise estimate takes it from the trace"),
        (("series_resistance",), lambda c: c.noise == "known" and c.series_resistance == "on", "it is inferred together with the noise, and --noise is known"),
    ),
    "FixedPointsConfig": ((("overwrite",), lambda c: c.output is None, "nothing is written without --output"),),
    "TraceConfig": ((GRID, lambda c: is_file(c.current), "the file of --current has its own grid and length"),),
}  # fmt: skip


def idle_options(config: Any) -> str:
    """Return the first option that was given another value than its default and would do nothing, with the reason; empty for none."""
    fields = type(config).model_fields
    for cls in type(config).__mro__:
        for names, does_nothing, why in IDLE.get(cls.__name__, ()):
            given = [n for n in names if getattr(config, n) != fields[n].get_default(call_default_factory=True)]
            if given and does_nothing(config):
                return f"--{given[0].replace('_', '-')}: without effect, {why}"
    return ""
