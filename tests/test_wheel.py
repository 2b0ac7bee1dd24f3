"""The wheel holds five packages, what they share and the entry point to them, and works where the checkout is not."""

import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion"}
SHIPPED = (*sorted(PACKAGES), "hdf5io", "neuropipes")
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return the wheel, built from the source distribution of a copy of what the project ships."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ["pyproject.toml", "README.md", "LICENSE", "CITATION.cff"]:
        (source / name).write_bytes((ROOT / name).read_bytes())
    for package in SHIPPED:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                (source / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
                (source / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    (source / "tests").mkdir()
    (source / "tests/test_nothing.py").write_text("")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("neuropipes-*.whl"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Return the programs' folder of a fresh environment with the wheel; it sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(programs / "python"),
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    site = subprocess.run(
        [programs / "python", "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return programs


def test_it_holds_what_is_shipped_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*SHIPPED}


def test_the_source_distribution_holds_what_the_wheel_is_made_of(wheel):
    with tarfile.open(next(wheel.parent.glob("neuropipes-*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CITATION.cff"} <= held
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info" not in name} <= held


def test_it_holds_every_module_page_and_demo(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    shipped = [
        p
        for package in SHIPPED
        for pattern in ("*.py", "*.html", "README.md", "MEASURED.md", "demo.toml")
        for p in (ROOT / package).rglob(pattern)
    ]
    assert {path.relative_to(ROOT).as_posix() for path in shipped} <= held


@pytest.mark.parametrize("script", SCRIPTS)
def test_its_console_script_runs_outside_the_checkout(installed, script, tmp_path):
    package = SCRIPTS[script].split(".")[0].split(":")[0]
    found = subprocess.run(
        [installed / "python", "-c", f"import {package}; print({package}.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(installed.parent) in found
    shown = subprocess.run([installed / script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "--version" in shown.stdout
