"""Does one entry point find the right pipeline for what lies on people's disks, and say what to type?"""

import ast
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

import neuropipes
from neuropipes import answer, doctor

TESTS = Path(__file__).parent
GLM, MESO, UNIT, LAA, NEURO = neuropipes.PIPELINES


def loaded(name):
    """Return a module that lies beside this file."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exporters, readme = loaded("exporters"), loaded("test_readme")
CASES, FOREIGN, T = exporters.CASES, exporters.FOREIGN, exporters.T
frame, in_folder, metrics, spikes, suite2p, written = (
    exporters.frame, exporters.in_folder, exporters.metrics, exporters.spikes, exporters.suite2p, exporters.written,
)  # fmt: skip


@pytest.fixture(scope="session")
def layouts():
    """Return ``module(path)``, each loaded once."""
    known = {}
    return lambda path: known.get(path) or known.setdefault(path, exporters.other(path))


@pytest.fixture(scope="session")
def pipelines():
    """Return the five, started once."""
    started = doctor.Pipelines()
    yield started
    started.end()


def test_doctor_is_right_on_nineteen_of_twenty_real_layouts(pipelines, layouts, tmp_path_factory):
    assert len(CASES) >= 60
    wrong = {}
    for name, (package, make) in CASES.items():
        path = make(tmp_path_factory.mktemp("case"), layouts)
        _, place, answers = doctor.examine(pipelines, path)
        said = [a.package for a in answers if a.reads or a.asks]
        if said[:1] != [package]:
            wrong[name] = (
                f"{package} expected, {said or 'nobody'} said; {next(a.line for a in answers if a.package == package) if not said else ''}"
            )
        else:
            assert answers[0].commands, name
            for command in answers[0].commands:
                words = [answer.GAP.sub("1", w) if answer.GAP.fullmatch(w) else w for w in shlex.split(command)]
                readme.parse(words)
            assert str(place) in " ".join(answers[0].commands), (name, answers[0].commands)
    rate = 1 - len(wrong) / len(CASES)
    print(f"doctor: right on {rate:.1%} of {len(CASES)}", *(f"  {k}: {v}" for k, v in wrong.items()), sep="\n")
    assert rate >= 0.95, wrong


@pytest.mark.real
def test_doctor_is_right_on_nineteen_of_twenty_real_recordings(pipelines, real_data):
    kinds = {
        "glm_rates": "*.nwb",
        "unit_refine": "*.csv",
        "laa_bayes": "*/*.[an][bp][fz]",
        "neuro_diffusion": "*/*.mat",
    }
    paths = {path: package for package, pattern in kinds.items() for path in sorted(real_data(package).glob(pattern))}
    for place in ("glm_rates/locust_20000421", "meso_forecast/mesoscope_passive", "meso_forecast/suite2p_plane0"):
        paths[real_data(place)] = place.partition("/")[0]
    wrong = {}
    for path, package in paths.items():
        _, _, answers = doctor.examine(pipelines, path)
        clamped = any("voltage clamp" in a.line for a in answers)  # refused, and rightly
        said = [a.package for a in answers if a.reads or a.asks]
        if said[:1] != ([] if clamped else [package]):
            wrong[path.name] = said
    print(f"doctor: right on {len(paths) - len(wrong)} of {len(paths)} real recordings")
    assert len(paths) >= 20
    assert len(wrong) <= len(paths) / 20, wrong


@pytest.mark.parametrize("name", FOREIGN)
def test_what_nobody_reads_is_said_so(name, pipelines, tmp_path):
    _, _, answers = doctor.examine(pipelines, FOREIGN[name](tmp_path))
    assert [a.package for a in answers if a.reads or a.asks] == []
    assert {a.package for a in answers} == {*neuropipes.PIPELINES}
    assert all("Traceback" not in a.line and "\n" not in a.line and a.line for a in answers)
    assert {a.code for a in answers} == {2}, answers


# --- what is printed -----------------------------------------------------------------------------------------------------------


def ask(*words, cwd=None):
    command = [sys.executable, "-m", "neuropipes", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_doctor_prints_what_is_in_it_and_what_to_type(tmp_path):
    plane = suite2p(tmp_path / "a plane")
    done = ask("doctor", plane)
    assert (done.returncode, done.stderr) == (0, "")
    assert "read by meso-forecast" in done.stdout
    assert f"{T} frames" in done.stdout
    typed = next(line for line in done.stdout.splitlines() if f"$ meso-forecast preprocess '{plane}' " in line)
    asked = re.search(r"--fs-hz (FS_HZ|HZ)", typed)
    assert f"    {asked[0]}: frame rate in Hz" in done.stdout
    found = json.loads(ask("doctor", plane, "--json").stdout)
    assert [a["pipeline"] for a in found["read_by"]] == ["meso-forecast"]
    assert len(found["refused"]) == 4


def test_doctor_answers_in_the_folder_where_it_is_asked(tmp_path):
    frame(tmp_path / "-spikes.csv", spikes())
    for name in neuropipes.PIPELINES:  # as in the folder of the demo: no package is taken from here
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run(
        [Path(sys.executable).with_name("neuropipes"), "doctor", "--", "-spikes.csv"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "read by glm-rates" in done.stdout


def test_doctor_tells_a_folder_of_recordings_by_one_of_them(tmp_path):
    in_folder(tmp_path / "many", lambda p: frame(p, metrics().rename_axis("unit_id").reset_index()), "a.csv", "b.csv")
    done = ask("doctor", tmp_path / "many")
    assert done.returncode == 0, done.stderr
    assert "its 2 '.csv' files, such as a.csv" in done.stdout
    assert "unit-refine: 40 units" in done.stdout
    (tmp_path / "days").mkdir()
    (tmp_path / "many").rename(tmp_path / "days/many")
    done = ask("doctor", tmp_path / "days")
    assert "its 1 folder(s), such as many, hold files that are, such as a.csv (2 '.csv')" in done.stdout
    assert "unit-refine: 40 units" in done.stdout
    (tmp_path / "lab/mouse").mkdir(parents=True)
    (tmp_path / "days").rename(tmp_path / "lab/mouse/day")
    done = ask("doctor", tmp_path / "lab")
    assert f"such as {Path('mouse/day/many')}, hold files that are, such as a.csv (2 '.csv')" in done.stdout


@pytest.mark.parametrize(("make", "message"), [
    (lambda f: f / "nowhere", "no such file or folder"),
    (lambda f: os.mkfifo(f / "pipe") or f / "pipe", "is neither a file nor a folder"),
    (lambda f: written(f / "x.jpg", "x"), "none of the five reads this: a file of 1 bytes, '.jpg'"),
    (lambda f: f, "none of the five reads this: a folder with nothing in it"),
])  # fmt: skip
def test_what_cannot_be_helped_is_said_at_once_with_exit_code_2(make, message, tmp_path):
    done = ask("doctor", make(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_a_pipeline_that_hangs_or_dies_does_not_withhold_the_answers_of_the_others(tmp_path):
    path, started = frame(tmp_path / "s.csv", spikes()), doctor.Pipelines()
    try:
        started.ask(path, 60)
        started.asked[LAA].kill()
        started.asked[LAA].wait()
        started.asked[NEURO].send_signal(signal.SIGSTOP)
        answers = {a.package: a for a in started.ask(path, 5)}
    finally:
        started.end()
    assert answers[GLM].reads
    assert answers[LAA].line == "ended without an answer"
    assert answers[NEURO].line == "no answer within 5 s"


def test_a_command_line_from_info_comes_before_the_general_one(monkeypatch):
    results = {"kind": "a thing", "next": ["glm-rates infer x.csv --segment-s 10 --output OUT.h5"], "sure": False}
    module = types.SimpleNamespace(run=lambda config, run: console.Result({}, results, "a table\nx.csv: 3 units"))
    console = importlib.import_module("glm_rates.console")
    monkeypatch.setitem(sys.modules, "glm_rates.commands.info", module)
    found = answer.ask_info(GLM, str(TESTS))
    assert (found.kind, found.sure, found.line) == ("a thing", False, "x.csv: 3 units")
    assert found.commands == ("glm-rates infer x.csv --segment-s 10 --output OUT.h5",)
    assert not found.general
    assert list(found.gaps) == ["--output OUT.h5"]


def test_the_module_imports_nothing_heavy():
    code = "import sys, neuropipes.doctor, neuropipes.cite; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "h5py", "typer", "pydantic", "pandas", "torch", "jax", *neuropipes.PIPELINES} & {*loaded}


# --- cite, reproduce, the pipelines themselves ---------------------------------------------------------------------------------


def test_cite_prints_the_software_and_the_papers_of_a_pipeline():
    done = ask("cite", "unit-refine")
    assert done.returncode == 0, done.stderr
    entries = re.findall(r"^@(\w+)\{([\w-]+),$", done.stdout, re.MULTILINE)
    assert entries[0] == ("software", "neuropipes")
    assert len(entries) > 1
    assert done.stdout.count("{") == done.stdout.count("}")
    assert "glm_rates" not in done.stdout
    everything = re.findall(r"^@\w+\{([\w-]+),$", ask("cite").stdout, re.MULTILINE)
    assert len(everything) == len({*everything}) > len(entries), "two entries of one key"
    assert len(everything) == 1 + (TESTS.parent / "CITATION.cff").read_text().count("  - type:")


def test_reproduce_finds_the_pipeline_behind_a_result(tmp_path):
    made = tmp_path / "trace.csv"
    assert ask("laa-bayes", "trace", "--k", "6", "--output", made).returncode == 0
    for given in (made, tmp_path / "trace.result.json"):
        done = ask("reproduce", given)
        assert done.returncode == 0, done.stderr
        assert f"laa-bayes trace --k 6 --output {made}" in done.stdout
    for words, told in (([tmp_path / "other.csv"], "no record"), (["."], "no record"), (["--run"], "FILE is missing")):
        done = ask("reproduce", *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert told in done.stderr
    done = ask("reproduce", "--tolerance", "0.1", made)
    assert "--tolerance judges a repetition" in done.stderr


def test_doctor_does_not_take_a_result_of_ours_for_a_recording(tmp_path):
    """A table of numbers beside the record that lists it is a result, whatever else has columns of numbers."""
    table = frame(tmp_path / "decoding.csv", exporters.pd.DataFrame({"time_ms": range(40), "identity": [0.5] * 40}))
    record = {
        "pipeline": "glm_rates",
        "command": "decode",
        "outputs": {"table": "decoding.csv"},
        "line": "identity: chance",
    }
    (tmp_path / "result.json").write_text(json.dumps(record))
    for given in (tmp_path, table):
        done = ask("doctor", given)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == f"{given}: made by glm-rates decode; it is a result, no recording"
        assert f"neuropipes reproduce {tmp_path / 'result.json'}" in done.stdout
        assert "neuro-diffusion" not in done.stdout
    other = frame(tmp_path / "other.csv", exporters.pd.DataFrame({"a": range(40), "b": range(40)}))
    assert "made by" not in ask("doctor", other).stdout


def test_a_pipeline_answers_as_under_its_own_name():
    done = ask("glm-rates", "infer", "/nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("glm-rates: infer: DATA /nowhere: no such")
    assert "usage: neuropipes" in ask("--help").stdout
    wrong = ask("doktor")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


# --- the release ---------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["cite", "glm-rates"]])
def test_an_answer_that_cannot_be_printed_is_one_line(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "neuropipes", *words], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr


def test_one_version_and_the_same_requirements_in_every_file_of_the_release():
    root = TESTS.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    recipe = (root / "packaging/conda/recipe.yaml").read_text()
    assert f"\nversion: {project['version']}\n" in (root / "CITATION.cff").read_text()
    assert f'version: "{project["version"]}"' in recipe
    assert f"## [{project['version']}]" in (root / "CHANGELOG.md").read_text()
    bare = [re.sub(r"(?=>=)", " ", text) for text in project["dependencies"]]
    assert f"run: [python >=3.11, {', '.join(bare)}]" in recipe
    for script, target in project["scripts"].items():
        assert f"- {script} = {target}\n" in recipe


def test_the_container_holds_every_package():
    text = (TESTS.parent / "packaging/Containerfile").read_text()
    packages = [p.parent.name for p in TESTS.parent.glob("*/__init__.py")]
    assert {*re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE)} == {*packages, "envs"}


@pytest.mark.parametrize("name", ["__init__", "demo"])
def test_what_set_up_needs_is_readable_by_python_3_8(name):
    ast.parse((TESTS.parent / f"neuropipes/{name}.py").read_text(), feature_version=(3, 8))
