"""A small project with the real scripts: set-up takes seconds and no network there."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["backend"]
[project]
name = "neuropipes"
version = "0.0.1"
"""

BACKEND = '''
"""Makes an editable wheel of this folder that also sees the packages of the environment that runs the tests."""
import base64, hashlib, zipfile

NAME = "neuropipes-0.0.1"
FILES = {
    "neuropipes.pth": "ROOT\\nSITE\\n",
    f"{NAME}.dist-info/METADATA": "Metadata-Version: 2.1\\nName: neuropipes\\nVersion: 0.0.1\\n",
    f"{NAME}.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    f"{NAME}.dist-info/entry_points.txt": "[console_scripts]\\nglm-rates = glm_rates:main\\nlaa-bayes = laa_bayes:main\\n",
}

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = f"{NAME}-py3-none-any.whl"
    record = f"{NAME}.dist-info/RECORD"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        lines = []
        for path, text in FILES.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            lines.append(f"{path},sha256={digest},{len(text.encode())}")
            wheel.writestr(path, text)
        wheel.writestr(record, "\\n".join([*lines, f"{record},,", ""]))
    return name

build_wheel = build_editable
'''

PACKAGE = '''
"""A pipeline with a command that works, one that fails and one that takes its time."""
import base64, json, pathlib, sys, time

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

def main():
    command, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if command == "slow":
        (folder / "started").touch()
        time.sleep(60)
    if command == "fail":
        sys.exit("glm-rates: no spikes in the recording")
    folder.mkdir(exist_ok=True)
    (folder / "rates.png").write_bytes(PIXEL)
    (folder / "report.html").write_text("<h1>rates</h1>")
    (folder / "result.json").write_text(json.dumps({"command": command, "warnings": ["unit 3 is silent"]}))
    print("progress", file=sys.stderr)
    print("40 units, .031 bits/spike")
'''

DEMO = """
real = "glm-rates fit YOUR_DIR"
[[step]]
title = "fit the model"
args = ["fit", "{out}/run"]
"""


def make_project(folder):
    """Write the small project into ``folder``."""
    site, escaped = sysconfig.get_paths()["purelib"], str(folder)
    for path, text in {
        "pyproject.toml": PYPROJECT,
        "backend/backend.py": BACKEND.replace("ROOT", escaped).replace("SITE", site),
        "envs/all.txt": "# nothing\n",
        "envs/glm_rates.txt": "# nothing\n",
        "glm_rates/__init__.py": PACKAGE,
        "glm_rates/demo.toml": DEMO,
        "laa_bayes/__init__.py": PACKAGE,
        "laa_bayes/demo.toml": DEMO.replace("glm-rates", "laa-bayes"),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "scripts").mkdir()
    for script in (ROOT / "scripts").glob("*.py"):
        shutil.copy(script, folder / "scripts")
    shutil.copytree(ROOT / "neuropipes", folder / "neuropipes", ignore=shutil.ignore_patterns("__pycache__"))


def environment_without_uv():
    """Return this process's environment with no uv on PATH and no trace of our own set-up."""
    uv = shutil.which("uv")
    places = [p for p in os.environ["PATH"].split(os.pathsep) if uv is None or Path(p) != Path(uv).parent]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "NEUROPIPES_", "PYTEST_"))}
    return dict(env, PATH=os.pathsep.join(places))


@pytest.fixture
def empty_project(tmp_path):
    """Return the folder of a small project without an environment."""
    folder = tmp_path / "project"
    folder.mkdir()
    make_project(folder)
    return folder


@pytest.fixture(scope="session")
def ready_project(tmp_path_factory):
    """Return the folder of a small project whose environment was made by ``bootstrap.py``; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("ready") / "project"
    folder.mkdir()
    make_project(folder)
    done = run_script(folder, "bootstrap.py")
    assert done.returncode == 0, done.stderr
    return folder


def run_script(folder, name, *args, env=None, cwd=None):
    """Run a script of the small project as a user does, with the Python that runs the tests."""
    python = getattr(sys, "_base_executable", sys.executable)
    command = [python, str(folder / "scripts" / name), *map(str, args)]
    return subprocess.run(
        command,
        env=env or environment_without_uv(),
        cwd=cwd or folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def script():
    """Return ``script(folder, name, *args, env=None, cwd=None) -> CompletedProcess``."""
    return run_script


@pytest.fixture
def plain_environment():
    """Return environment variables without uv on PATH."""
    return environment_without_uv()
