"""Which unit has a number? Times in ms, voltages in mV, currents in pA or uA/cm2, from the units and names that a file gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

PREFIXES = {"": 1.0, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12}


def _spelled(*words: str, factor: float) -> dict[str, float]:
    """Return the factors of a unit that is written out: millivolt, millivolts, ..."""
    return {
        prefix + word + end: factor * size for word in words for prefix, size in PREFIXES.items() for end in ("", "s")
    }


TIME = {"s": 1e3, "sec": 1e3, "secs": 1e3, "ms": 1.0, "msec": 1.0, "us": 1e-3, **_spelled("second", factor=1e3)}
VOLTAGE = {"v": 1e3, "mv": 1.0, "uv": 1e-3, **_spelled("volt", factor=1e3)}
CURRENT = {"a": 1e12, "ma": 1e9, "ua": 1e6, "na": 1e3, "pa": 1.0, **_spelled("ampere", "amp", factor=1e12)}
DENSITY = {"uacm2": 1.0, "macm2": 1e3, "nacm2": 1e-3, "am2": 100.0}
TABLES: dict[str, Mapping[str, float]] = {"time": TIME, "voltage": VOLTAGE, "current": CURRENT | DENSITY}
NAMES = {
    "time": ("time", "t", "times"),
    "voltage": ("voltage", "v", "vm", "vmem", "vmon", "membrane", "potential"),
    "current": (
        "current",
        "i",
        "im",
        "iinj",
        "imon",
        "icmd",
        "injected",
        "injection",
        "inj",
        "stimulus",
        "stim",
        "command",
        "iext",
    ),
}
CHANNEL = re.compile(
    r"(trace|sweep|episode|in|ai|adc|ch|chan|channel|signal|cmd|dac|ao|out|imemb|vmemb|primary|secondary)\b|$", re.I
)
IONIC = re.compile(
    "nav?|k|kv|kdr|ka|kca|cav?|h|leak|l|cap|syn|ampa|nmda|gaba|ion|ionic|pas"
)  #: what follows "I" where a current flowed through the membrane itself
POWER = r"(?:10+|0?\.0*1)"
SCALED = re.compile(rf"(?:^|[\s_])(?:[x×*/]\s?{POWER}|{POWER}\s?[x×*])(?=$|[\s_])", re.I)  #: ``Vm x10``, ``10x Vm``
HELD = {"hold", "holding"}  #: a current of such a name is hardly all that was injected, a voltage was clamped
EXAMPLE = "time_ms, voltage_mV, current_pA (or current_uA_cm2)"


def unit_key(unit: str) -> str:
    """Return a unit in the one spelling of the tables: small letters and digits, u for micro; a sign or stroke before it stays.

    >>> unit_key(" [mV] "), unit_key("-mV")
    ('mv', '-mv')
    """
    plain = unit.strip(' \t()[]"').lower().replace("µ", "u").replace("μ", "u").replace("²", "2").replace("−", "-")
    changed = plain[0] if re.match(r"[-/*]\s*[a-z]", plain) else ""
    return changed + re.sub(r"[^a-z0-9]", "", plain)


def name_and_unit(header: str) -> tuple[str, str]:
    """Return the name of a column and its unit: ``Vm (mV)``, ``I [pA]``, ``voltage_mV``, ``current_uA_cm2``, ``Time / s``."""
    text = header.strip().strip('"').strip()
    enclosed = re.fullmatch(r"(.*?)\s*[(\[{]([^()\[\]{}]*)[)\]}]\s*", text)
    if enclosed:
        return enclosed[1].strip(), enclosed[2]
    divided = re.fullmatch(r"(\S.*?)\s+/\s*(\S+)", text) or re.fullmatch(r"(\S.*?),\s*(\S+)", text)
    if divided:
        return divided[1], divided[2]
    words = re.split(r"[_\s]+", text)
    for n in (2, 1):
        if len(words) > n and any(unit_key("".join(words[-n:])) in table for table in TABLES.values()):
            return "_".join(words[:-n]), "_".join(words[-n:])
    return (words[0], "_".join(words[1:])) if words[0].lower() in sum(NAMES.values(), ()) else (text, "")


def words_of(name: str) -> list[str]:
    """Return the words of a column's name in small letters, without the marks between them; one empty word where there is none."""
    return re.split(r"[_\s#.:-]+", name.lower())


def label_of(name: str) -> tuple[str, ...]:
    """Return which electrode or trace a column's name means: what is left of it without the words for quantities (``Vm_A`` -> a, ``I2`` -> 2)."""
    known = {spelling for spellings in NAMES.values() for spelling in spellings}
    stripped = ((word, word.rstrip("0123456789")) for word in words_of(name))
    return tuple(word[len(stem) :] if stem in known else word for word, stem in stripped if word not in known and word)


def other_electrodes(voltage: str, current: str) -> bool:
    """Return whether two columns name different electrodes by number or letter, or the current is one of holding alone.

    ``Vmon-2`` beside ``Imon-1`` (``Trace #2`` is none), ``I_hold``.
    """
    if HELD & set(words_of(name_and_unit(current)[0])):
        return True
    labels = [label_of(name_and_unit(header)[0]) for header in (voltage, current)]
    named = all(len(label) == 1 and re.fullmatch(r"\d+|[a-h]", label[0]) for label in labels)
    return named and labels[0] != labels[1]


def quantity_of(header: str) -> str | None:
    """Return which quantity a column holds: by its name, or by its unit where the name is only that of a channel; else None."""
    name, unit = name_and_unit(header)
    first, *others = words_of(name)
    spelled = {first, first.rstrip("0123456789")}  # V1, I2: the electrode's number
    named = next((quantity for quantity, spellings in NAMES.items() if spelled & set(spellings)), None)
    if named == "current" and any(map(IONIC.fullmatch, others)):  # a simulator's ionic current was not injected
        return None
    if named == "voltage" and {"cmd", "command", *HELD} & set(others):
        return None
    if named or not unit or not CHANNEL.match(name):
        return named
    return next((quantity for quantity, table in TABLES.items() if unit_key(unit) in table), None)


def refuse_factor(path: Path, header: str) -> None:
    """Raise InputError where a column's name has a factor (``Vm x10``): the samples may be multiplied by it or not."""
    name, unit = name_and_unit(header)
    scaled = SCALED.search(name)
    if scaled:
        raise InputError(
            f"{path}: '{header}' names a factor ({scaled[0].strip(' _')}). Are the samples multiplied by it? Write them in "
            f"{unit or 'their unit'}, and take it out of the name."
        )


def convert(path: Path, name: str, quantity: str, unit: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return values in ms, mV, pA or uA/cm2, and the unit.

    Raises
    ------
    InputError
        No unit, or one that is unknown.
    """
    table, key = TABLES[quantity], unit_key(unit)
    if key not in table:
        known = {"time": "s, ms, us", "voltage": "V, mV", "current": "pA, nA, A, uA_cm2"}[quantity]
        what = f"unknown unit '{unit}'" if unit else "no unit"
        raise InputError(f"{path}: '{name}' has {what}. Name it with one of {known}, for instance {EXAMPLE}.")
    base = {"time": "ms", "voltage": "mV", "current": "uA/cm2" if key in DENSITY else "pA"}[quantity]
    return np.asarray(values, float) * table[key], base
