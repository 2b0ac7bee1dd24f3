"""Does the text for the methods section agree with the record? Every number in it is one of ``result.json``; every citation is known."""

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion"]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)")
#: the levels of intervals that a text names in words, as the keys of the record do
LEVELS = {"90", "95"}

#: the smallest runs whose records are told: commands, then the record
RUNS = {
    "glm_rates": (
        ["simulate --output rec --n-units 3 --n-trials 8 --n-tastes 2", "infer rec --output rates.h5 --cv-folds 2"], "rates.result.json",
    ),
    "meso_forecast": (
        ["simulate --output one --n-frames 700 --n-rois 60",
         "preprocess one/simlab/Subjects/SIM_001/2024-05-17/001 --output s.h5",
         "compare s.h5 --models persistence,ar,var --context 16 --horizon 4 --output c"],
        "c/result.json",
    ),
    "unit_refine": (
        ["simulate --kind tables --n-recordings 2 --n-units 60 --output u",
         "train u/recording1_metrics.csv u/recording2_metrics.csv --label-column label --classifiers LogisticRegression --output m"],
        "m/result.json",
    ),
    "laa_bayes": (["trace --k 6 --noise-mv 2 --output t.csv", "infer none t.csv --draws 200 --output p.h5"], "p.result.json"),
}  # fmt: skip


def templates():
    """Yield each template's path."""
    for package in PACKAGES:
        yield from sorted((ROOT / package / "show" / "prose").glob("*.md"))


@pytest.mark.parametrize("path", list(templates()), ids=lambda p: f"{p.parents[2].name}-{p.stem}")
def test_a_template_holds_no_number_of_its_own_and_cites_what_is_listed(path):
    text = path.read_text(encoding="utf-8")
    package = path.parents[2].name
    methods = importlib.import_module(f"{package}.show.methods")
    known = methods.entries(methods.REFERENCES.read_text(encoding="utf-8"))
    for group in methods.CITED.findall(text):
        assert set(re.findall(r"@([\w-]+)", f"@{group}")) <= set(known)
    prose = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\[@[^]]*\]", "", text, flags=re.DOTALL)
    assert set(NUMBER.findall(prose)) <= LEVELS
    verbs = importlib.import_module(f"{package}.cli").app.verbs
    assert path.stem in verbs


def numbers_of(value):
    """Yield every number of a record, and those in its texts."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_of(key)
            yield from numbers_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, str):
        yield from NUMBER.findall(value)
    elif value is not None and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("package", RUNS)
def test_every_number_of_the_text_is_one_of_the_record(package, run_command, tmp_path):
    commands, name = RUNS[package]
    for command in commands:
        answer = run_command(package, *command.split(), cwd=tmp_path)
        assert answer.returncode in (0, 3), answer.stderr
    record_path = tmp_path / name
    methods = importlib.import_module(f"{package}.show.methods")
    stem = record_path.name.removesuffix("result.json")
    text = record_path.with_name(stem + "methods.md").read_text(encoding="utf-8")
    record = json.loads(record_path.read_text(encoding="utf-8"))
    record["options"] |= json.loads(record["provenance"]["config"])
    told = {
        methods.number(v) for v in numbers_of({k: record[k] for k in ("results", "options", "seed")}) if v is not None
    }
    body, _, references = text.partition("\n## References")
    prose, _, closing = body.partition("\nComputed with neuropipes ")
    prose = re.sub(r"\([^()]*\b(?:19|20)\d\d[a-z]?\)", "", prose)  # citations
    found = NUMBER.findall(prose)
    assert len(found) >= 4
    assert [n for n in found if n not in told | LEVELS] == []
    assert "(not recorded)" not in text
    for library, number in json.loads(record["provenance"]["versions"]).items():
        assert number in closing, library
    bib = record_path.with_name(stem + "references.bib").read_text(encoding="utf-8")
    assert len(methods.entries(bib)) == len(re.findall(r"^- ", references, re.MULTILINE))


def test_what_a_record_lacks_is_said():
    methods = importlib.import_module("glm_rates.show.methods")
    record = {
        "version": "1", "seed": None, "results": {}, "options": {}, "warnings": [], "command": "infer",
        "provenance": {"config": "{}", "versions": "{}", "inputs": "{}", "command": "x"},
    }  # fmt: skip
    text, cited = methods.render("{{ results.gone }} and [@nemos].", record)
    assert "(not recorded) and (NeMoS developers, 2024)." in text
    assert list(cited) == ["nemos"]
    with pytest.raises(KeyError, match="nobody"):
        methods.render("[@nobody]", record)
