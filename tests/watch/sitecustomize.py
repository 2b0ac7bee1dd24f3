"""Is every figure that the tests draw readable? Python loads this file in each process that has its folder in PYTHONPATH.

Every figure that is saved is looked at: axes carry labels, quantities their units, several named lines a legend, nothing is empty.
What is missing is written to the file that FIGURE_FAULTS names; ``tests/conftest.py`` fails the test behind it.
"""

import importlib.abc
import importlib.util
import os
import re
import sys

#: words of a label that need a unit behind them, in brackets or after a comma
QUANTITY = re.compile(r"\b(time|voltage|current|duration|lag|frequency|depth|distance|rate)\b", re.IGNORECASE)
UNIT = re.compile(
    r"\(.+\)|\b(ms|s|mV|pA|nA|Hz|um|µm|bins?|frames?|steps?|trials?|units?|samples?|seconds?|minutes?|%)\b"
)
UNITLESS = re.compile(
    r"learning rate|error rate|false|rate of|true|rate network|current cl|shared|log rate", re.IGNORECASE
)


def faults(figure):
    """Return in words what a reader of a figure would miss."""
    found = []
    for axes in figure.axes:
        if not axes.get_visible() or not axes.axison:
            continue
        if not axes.has_data() and not axes.texts and not axes.tables:
            found.append("axes without anything in them")
            continue
        found += [f"no label on {which} of '{name_of(axes)}'" for which in "xy" if not labelled(figure, axes, which)]
        found += [f"'{text}' has no unit" for text in (axes.get_xlabel(), axes.get_ylabel()) if lacks_unit(text)]
        named = [line for line in axes.lines if not line.get_label().startswith("_")]
        if len(named) > 1 and axes.get_legend() is None and not figure.legends and not legend_beside(figure):
            found.append(f"{len(named)} named lines and no legend in '{name_of(axes)}'")
    return found


def name_of(axes):
    """Return what tells one set of axes from the others."""
    return axes.get_title() or axes.get_title(loc="left") or axes.get_ylabel() or axes.get_xlabel() or axes.get_label()


def labelled(figure, axes, which):
    """Return whether an axis is named: by its label, its title where the other says all, its tick labels, or a shared one."""
    if getattr(axes, f"get_{which}label")() or getattr(figure, f"_sup{which}label", None):
        return True
    if axes.get_label() == "<colorbar>":
        return bool(axes.get_xlabel() or axes.get_ylabel() or axes.get_title())
    axis = getattr(axes, f"{which}axis")
    ticks = [label.get_text() for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
    if (
        not ticks
        or not axis.get_visible()
        or any(not re.fullmatch(r"[−\-+\d.,e$\\{}^ mathdeful×times10]*", t) for t in ticks)
    ):
        return True  # no scale to read, or categories that name themselves
    twins = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
    if any(getattr(twin, f"get_{which}label")() for twin in twins):
        return True
    place = axes.get_subplotspec()
    if place is None:
        return False
    line = place.rowspan if which == "y" else place.colspan
    others = [
        a
        for a in figure.axes
        if a.get_subplotspec() is not None and a.get_subplotspec().get_gridspec() is place.get_gridspec()
    ]
    beside = [
        a for a in others if (a.get_subplotspec().rowspan if which == "y" else a.get_subplotspec().colspan) == line
    ]
    return any(getattr(a, f"get_{which}label")() for a in beside)  # one label for a row or a column


def lacks_unit(text):
    """Return whether a label names a quantity that has a unit, and does not say it."""
    return bool(QUANTITY.search(text)) and not UNIT.search(text) and not UNITLESS.search(text)


def legend_beside(figure):
    """Return whether another panel of the figure holds the legend for all."""
    return any(axes.get_legend() is not None for axes in figure.axes)


def watch(module):
    """Look at every figure before it is saved."""
    plain = module.Figure.savefig

    def savefig(self, *args, **kwargs):
        found = faults(self)
        if found and os.environ.get("FIGURE_FAULTS"):
            with open(os.environ["FIGURE_FAULTS"], "a", encoding="utf-8") as file:
                file.writelines(f"{args[0] if args else ''}: {fault}\n" for fault in found)
        return plain(self, *args, **kwargs)

    module.Figure.savefig = savefig


class Watcher(importlib.abc.MetaPathFinder):
    """Find ``matplotlib.figure`` as ever, and put the look at figures into it."""

    def find_spec(self, name, path, target=None):
        if name != "matplotlib.figure":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        plain = spec.loader.exec_module

        def exec_module(module):
            plain(module)
            watch(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Watcher())
