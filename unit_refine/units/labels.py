"""What did the curator mean, and which classes does a task tell apart?

A label is read in any of its usual spellings and becomes one of ``good``, ``mua``, ``noise``, ``neural`` (good or mua, unknown
which) or ``""`` (not labelled). A task maps these to its own classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

ALIASES = {
    "good": ("good", "sua", "su", "single", "single unit", "single-unit", "singleunit"),
    "mua": ("mua", "mu", "multi", "multi unit", "multi-unit", "multiunit"),
    "noise": ("noise", "artifact", "artefact", "junk"),
    "neural": ("neural", "neuron", "neuronal"),
    "": (
        "",
        "nan",
        "none",
        "na",
        "unsorted",
        "unlabeled",
        "unlabelled",
        "unknown",
        "uncurated",
        "<na>",
        "nat",
        "null",
        "n/a",
    ),
}
MEANING = {spelling: label for label, spellings in ALIASES.items() for spelling in spellings}

#: Columns that usually hold labels, the surest first.
LABEL_COLUMNS = (
    "group", "manual_group", "majority_vote", "quality", "label", "labels", "curator", "ground_truth", "is_noise", "KSLabel",
)  # fmt: skip

#: For each task the class of each label. A label that is not named has no place in the task and its units are left out. Class
#: names are those that SpikeInterface's ``unitrefine_label_units`` expects.
TASKS: dict[str, dict[str, str]] = {
    "three_class": {"good": "good", "mua": "mua", "noise": "noise"},
    "noise_vs_neural": {"good": "neural", "mua": "neural", "neural": "neural", "noise": "noise"},
    "sua_vs_mua": {"good": "sua", "mua": "mua"},
    "sua_vs_all": {"good": "sua", "mua": "other", "noise": "other"},
}
#: What the numbers 0 and 1 mean in labels of a two-class task: 1 is the class one wants to keep.
NUMBERS = {
    "three_class": {},
    "noise_vs_neural": {"0": "noise", "1": "neural"},
    "sua_vs_mua": {"0": "mua", "1": "good", "not good": "mua", "not mua": "good"},
    "sua_vs_all": {"0": "mua", "1": "good", "not good": "mua"},
}


#: What yes and no (1 and 0) mean in a column whose name says what it is about, "is_noise" above all, whatever the task's own rule.
NAMED = {
    "noise": ("noise", "neural"), "artifact": ("noise", "neural"), "neural": ("neural", "noise"), "neuron": ("neural", "noise"),
    **dict.fromkeys(("good", "sua", "single", "single_unit"), ("good", "not good")), **dict.fromkeys(("mua", "multi", "multi_unit"), ("mua", "not mua")),
}  # fmt: skip
YES = {"1": 0, "true": 0, "yes": 0, "0": 1, "false": 1, "no": 1}


class Encoded(NamedTuple):
    """Labels as a classifier needs them."""

    y: np.ndarray  #: (n,) class index, -1 for units without a place in the task
    classes: tuple[str, ...]  #: class names in alphabetical order, so that the index is SpikeInterface's code
    notices: list[str]  #: what was mapped or left out


def classes_of(task: str) -> tuple[str, ...]:
    """Return a task's class names in alphabetical order.

    >>> classes_of("noise_vs_neural")
    ('neural', 'noise')
    """
    return tuple(sorted(set(TASKS[task].values())))


def parse_label_map(pairs: Sequence[str]) -> dict[str, str]:
    """Return ``{spelling: label}`` of options like ``0=noise``.

    >>> parse_label_map(["0=noise", "Bad=Artifact"])
    {'0': 'noise', 'bad': 'noise'}
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        spelling, equals, label = pair.partition("=")
        if not equals or tidy(label) not in MEANING:
            known = ", ".join(sorted(label for label in ALIASES if label))
            raise InputError(f"--label-map '{pair}': expected SPELLING=LABEL with one of {known}, unlabeled.")
        known = mapping.setdefault(tidy(spelling), MEANING[tidy(label)])
        if known != MEANING[tidy(label)]:
            raise InputError(
                f"--label-map '{pair}': '{tidy(spelling)}' is said to be {known or 'unlabeled'} too; say it once."
            )
    return mapping


def tidy(label: object) -> str:
    """Return a label in lower case without blanks around it; 1.0 becomes 1.

    >>> tidy(" Good "), tidy(1.0), tidy(float("nan"))
    ('good', '1', '')
    """
    if label is None or (isinstance(label, float) and np.isnan(label)):
        return ""
    text = str(label).strip().lower()
    return text[:-2] if text in ("0.0", "1.0", "2.0") else text


def meaning(label: object) -> str:
    """Return what a label means, or the label itself where only its author knows.

    >>> meaning("SUA"), meaning("unsorted"), meaning("axon")
    ('good', '', 'axon')
    """
    return MEANING.get(tidy(label), tidy(label))


def spelled_out(labels: Sequence[object], name: str) -> list[object]:
    """Return labels in words where they are yes and no (1 and 0) and their column's name says to which question.

    >>> spelled_out([1, False, None], "is_noise"), spelled_out([1, 0], "label")
    (['noise', 'neural', None], [1, 0])
    >>> spelled_out([1, 0], "is_mua"), spelled_out([True, False], "isSUA")
    (['mua', 'not mua'], ['good', 'not good'])
    """
    key = name.strip().lower().removeprefix("is").strip("_ ")
    if key not in NAMED or not all(tidy(label) in YES or not MEANING.get(tidy(label), "-") for label in labels):
        return list(labels)
    return [NAMED[key][YES[tidy(label)]] if tidy(label) in YES else label for label in labels]


def read_labels(
    raw: Sequence[object], task: str, where: str, label_map: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Return the canonical label of each unit, and notices about spellings that were mapped.

    Parameters
    ----------
    raw : (n,) labels as the file spells them.
    task : a key of `TASKS`; decides what the numbers 0 and 1 mean.
    where : file name for messages.
    label_map : spellings of this laboratory, over `ALIASES`.

    Raises
    ------
    InputError : a spelling nobody knows.
    """
    known = {**MEANING, **NUMBERS[task], **(label_map or {})}
    counts = Counter(tidy(label) for label in raw)
    unknown = {spelling: n for spelling, n in counts.items() if spelling not in known}
    if unknown:
        shown = ", ".join(f"'{s}' ({n} units)" for s, n in sorted(unknown.items())[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InputError(
            f"{where}: unknown label {shown}{more}; expected good, mua, noise or a usual spelling of these."
            " Say what it means with --label-map, e.g. --label-map SPELLING=noise."
        )
    spelled = sorted({str(label) for label in raw if tidy(label) and str(label) != known[tidy(label)]})
    mapped = [f"'{s}' as {known[tidy(s)] or 'not labelled'}" for s in spelled]
    notices = [f"{where}: labels read: {', '.join(mapped)}"] if mapped else []
    return [known[tidy(label)] for label in raw], notices


def task_of(classes: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the task whose classes a model tells apart, whatever their order and spelling, and its classes in the model's order.

    >>> task_of(["noise", "neural"]), task_of(["Good", "MUA"])
    (('noise_vs_neural', ['noise', 'neural']), ('sua_vs_mua', ['sua', 'mua']))
    """
    for task in TASKS:
        own = {name: name for name in classes_of(task)}
        own |= {label: name for label, name in TASKS[task].items() if list(TASKS[task].values()).count(name) == 1}
        found = [own.get(tidy(c), own.get(MEANING.get(tidy(c), ""), "")) for c in classes]
        if sorted(found) == sorted(classes_of(task)):
            return task, found
    return None


def encode(labels: Sequence[str], task: str, order: Sequence[str] | None = None) -> Encoded:
    """Return class indices for a task.

    Parameters
    ----------
    labels : (n,) canonical labels (see `read_labels`).
    task : a key of `TASKS`.
    order : the task's classes in a model's order; some may be without units then. None: alphabetical, all needed.

    Raises
    ------
    InputError : a class of the task has no unit, or ``neural`` stands where single and multi-unit must be told apart.

    Examples
    --------
    >>> encode(["good", "noise", "", "mua"], "noise_vs_neural").y.tolist()
    [0, 1, -1, 0]
    """
    mapping, classes = TASKS[task], tuple(order or classes_of(task))
    codes = {label: classes.index(name) for label, name in mapping.items()}
    y = np.array([codes.get(label, -1) for label in labels], dtype=int)
    left_out = Counter(label for label in labels if label not in codes)
    notices = []
    if left_out.pop("", 0):
        notices.append(f"{sum(label == '' for label in labels)} units without a label left out")
    notices += [f"{n} units labelled '{label}' left out: no class of {task}" for label, n in sorted(left_out.items())]
    present = {classes[i] for i in set(y[y >= 0].tolist())}
    absent = ", ".join(sorted(set(classes) - present))
    if absent and (order is None or not present):
        found = ", ".join(f"{label or 'unlabeled'} ({n})" for label, n in sorted(Counter(labels).items())) or "none"
        raise InputError(
            f"labels: task {task} needs units of every class ({', '.join(classes)}), none is {absent}; found {found}."
            " Choose another --task or add labelled recordings."
        )
    if absent:
        notices.append(f"no unit is labelled {absent}: scores are of the other classes only")
    return Encoded(y, classes, notices)
