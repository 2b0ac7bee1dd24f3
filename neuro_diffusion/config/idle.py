"""Which options would do nothing beside the others that were given? They are refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = tuple[tuple[str, ...], Callable[[Any], bool], str]


def parts_of(config: Any) -> list[str]:
    """Return the parts of a structure."""
    return str(config.structure).split("-")


#: Config -> options, when each does nothing, and why.
IDLE: dict[str, tuple[Rule, ...]] = {
    "RandomNetworks": (
        (("density",), lambda c: "sparse" not in parts_of(c), "only sparse networks leave connections out (--structure sparse)"),
        (("dale",), lambda c: c.ei_ratio is None and "dale" not in parts_of(c), "the columns have no sign (--structure dale, or --ei-ratio)"),
    ),
    "Storage": ((("jobs",), lambda c: c.scheduler is not None, "the workers are those of --scheduler"),),
    "TrainConditionalConfig": (
        (("null_fraction", "copies"), lambda c: c.objective == "regression", "a regression network is always shown data, once each"),
    ),
    "HeldOutConfig": (
        (("figure_format", "overwrite"), lambda c: c.output is None, "nothing is drawn or written without --output"),
    ),
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
