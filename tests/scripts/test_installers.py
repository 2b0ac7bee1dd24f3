"""uv is told what pip's configuration says; torch's build is chosen where it can be; pins are what they claim."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import installers
import pin
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

UV_STUB = """#!{python}
import json, os, subprocess, sys
words = sys.argv[1:]
with open("{record}", "a") as record:
    kept = {{k: v for k, v in os.environ.items() if k.startswith("UV_") or k == "SSL_CERT_FILE"}}
    record.write(json.dumps([words, kept]) + "\\n")
if "--torch-backend" in words and "{refuse_backend}":
    sys.exit("no route to the index")
if words[0] == "venv":
    sys.exit(subprocess.call([sys.executable, "-m", "venv", words[-1]]))
sys.exit(subprocess.call([words[3], "-m", "pip", "install", *[w for w in words[4:] if w[:3] not in ("--t", "--r")]]))
"""


@pytest.fixture
def pip_configured(monkeypatch, tmp_path):
    """Return ``configure(text, **env)``: pip reads this file and these variables and nothing else."""
    for name in [n for n in os.environ if n.startswith(("PIP_", "UV_")) or n == "SSL_CERT_FILE"]:
        monkeypatch.delenv(name)

    def configure(text, **env):
        (tmp_path / "pip.conf").write_text(text)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("HOME", str(tmp_path))
        for key, value in env.items():
            monkeypatch.setenv(key, value)

    return configure


def test_pips_configuration_becomes_uvs_variables(pip_configured):
    pip_configured(
        "[global]\nindex-url = https://one.example/simple\n"
        "extra-index-url = https://two.example/simple\n  https://three.example/simple\n"
        "find-links = /wheels /more\ncert = /ca.pem\ntimeout = 90\ntrusted-host = one.example two.example\n"
    )
    env = installers.uv_environment(installers.pip_settings(None))
    assert env["UV_DEFAULT_INDEX"] == "https://one.example/simple"
    assert env["UV_INDEX"] == "https://two.example/simple https://three.example/simple"
    assert env["UV_FIND_LINKS"] == "/wheels,/more"
    assert env["SSL_CERT_FILE"] == "/ca.pem"
    assert env["UV_HTTP_TIMEOUT"] == "90"
    assert env["UV_INSECURE_HOST"] == "one.example two.example"
    assert env["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_the_environment_wins_over_pips_files_and_install_over_global(pip_configured):
    pip_configured("[global]\nfind-links = /global\nproxy = a\n[install]\nproxy = b\n", PIP_FIND_LINKS="/typed")
    settings = installers.pip_settings(None)
    assert settings["find-links"] == ["/typed"]
    assert settings["proxy"] == ["b"]


def test_what_the_user_told_uv_stays(pip_configured):
    pip_configured("[global]\nindex-url = https://one.example/simple\n", UV_DEFAULT_INDEX="https://mine.example/simple")
    env = installers.uv_environment(installers.pip_settings(None))
    assert env["UV_DEFAULT_INDEX"] == "https://mine.example/simple"
    assert "UV_INDEX_STRATEGY" not in env


def test_a_torch_wheel_in_a_find_links_folder_is_recognised_by_its_pin(tmp_path):
    (tmp_path / "all.txt").write_text("pytorch-lightning==2.6\ntorch==2.13.0\n")
    (tmp_path / "torch-2.12.0+cu130-cp311-cp311-linux_x86_64.whl").touch()
    settings = {"find-links": ["https://not.a.folder/", str(tmp_path)]}
    assert installers.local_torch(settings, tmp_path / "all.txt") is None
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert installers.local_torch(settings, tmp_path / "all.txt") == "cpu"
    (tmp_path / "none.txt").write_text("numpy==2.4\n")
    assert installers.local_torch(settings, tmp_path / "none.txt") is None


def test_without_a_supported_python_and_uv_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(installers, "PYTHONS", ((3, 99),))
    monkeypatch.setattr(installers.shutil, "which", lambda name: None)
    with pytest.raises(
        installers.InstallError, match=r"Python 3.11, 3.12 or 3.13 is needed and none was found \(this is 3\."
    ) as error:
        installers.choose(print)
    assert "\n" not in str(error.value)


def test_a_python_that_does_not_start_is_passed_over(monkeypatch, tmp_path):
    for name, text in {
        "python3.11": "#!/bin/sh\necho 'pyenv: not installed' >&2\nexit 127\n",
        "py": "#!/bin/sh\nexit 1\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(installers.sys, "version_info", (3, 14, 1))
    assert installers.find_python() is None
    kept = tmp_path / "pyenv/versions/3.12.1/bin/python"
    kept.parent.mkdir(parents=True)
    kept.write_text("#!/bin/sh\necho 3 12\necho /the/python3.12\n")
    kept.chmod(0o755)
    assert installers.find_python() == "/the/python3.12"
    assert installers.find_python(((3, 13),)) is None


def test_a_python_that_was_asked_for_and_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(installers.shutil, "which", lambda name: None)
    monkeypatch.setattr(installers, "find_python", lambda pythons: None)
    with pytest.raises(installers.InstallError, match=r"Python 3.13 was asked for and not found\. Get one with 'uv"):
        installers.choose(print, "3.13")


def uv_runs(project, script, plain_environment, tmp_path, *args, refuse_backend=""):
    """Run set-up with a stand-in for uv that writes down what it is told and lets pip do the work."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    record = tmp_path / "record"
    python = getattr(sys, "_base_executable", sys.executable)
    (tmp_path / "bin/uv").write_text(UV_STUB.format(python=python, record=record, refuse_backend=refuse_backend))
    (tmp_path / "bin/uv").chmod(0o755)
    (tmp_path / "empty.conf").write_text("")
    env = {k: v for k, v in plain_environment.items() if not k.startswith("PIP_")}
    env.update(PATH=f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}", PIP_CONFIG_FILE=str(tmp_path / "empty.conf"))
    env.update(HOME=str(tmp_path), PIP_FIND_LINKS=str(tmp_path), PIP_TIMEOUT="7")
    done = script(project, "bootstrap.py", *args, env=env)
    return done, [ast.literal_eval(line) for line in record.read_text().splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a #! line")
def test_uv_is_used_when_it_is_there_and_an_unreachable_torch_index_is_said(
    empty_project, script, plain_environment, tmp_path
):
    done, calls = uv_runs(empty_project, script, plain_environment, tmp_path, refuse_backend="yes")
    assert done.returncode == 0, done.stderr
    words, env = calls[0]
    assert (words[0], env["UV_FIND_LINKS"], env["UV_HTTP_TIMEOUT"]) == ("venv", str(tmp_path), "7")
    assert "auto" in calls[1][0]
    assert "--torch-backend" not in calls[2][0]
    assert "torch's own package index cannot be reached" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a #! line")
def test_cpu_asks_uv_for_the_cpu_build_and_fails_where_that_cannot_be_had(
    empty_project, script, plain_environment, tmp_path
):
    done, calls = uv_runs(empty_project, script, plain_environment, tmp_path, "--cpu", refuse_backend="yes")
    assert done.returncode == 5
    assert calls[1][0][-2:] == ["--torch-backend", "cpu"]
    assert "uv pip install --torch-backend cpu failed" in done.stderr


@pytest.mark.parametrize("name", pin.EXTRAS)
def test_every_requirement_is_pinned_without_suffix_index_or_cuda(name):
    lines = [line for line in (ROOT / f"envs/{name}.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 20
    for line in lines:
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*( ; .+)?", line), line
        assert not pin.CUDA.match(line)


@pytest.mark.parametrize("name", pin.EXTRAS)
def test_the_pins_satisfy_pyproject(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = [
        Requirement(line) for line in (ROOT / f"envs/{name}.txt").read_text().splitlines() if not line.startswith("#")
    ]
    versions = {
        canonicalize_name(r.name): str(r.specifier)[2:] for r in pinned if r.marker is None or r.marker.evaluate()
    }
    wanted = [
        *project["dependencies"],
        *(r for extra in pin.EXTRAS[name] for r in project["optional-dependencies"][extra]),
    ]
    for requirement in map(Requirement, wanted):
        key = canonicalize_name(requirement.name)
        if key != "neuropipes":
            assert requirement.specifier.contains(versions[key]), f"{requirement}: run scripts/pin.py"


def test_the_pipelines_pins_agree_with_those_of_all():
    pins = {
        name: set(re.findall(r"^[a-z].*?==\S+", (ROOT / f"envs/{name}.txt").read_text(), re.M)) for name in pin.EXTRAS
    }
    for name in pin.EXTRAS:
        assert pins[name] <= pins["all"]


def imports_of(tree):
    """Yield the top-level names that a module imports outside ``try`` (inside, their absence has an answer)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
        elif not isinstance(node, ast.Try):
            yield from imports_of(node)


@pytest.mark.parametrize("name", [name for name in pin.EXTRAS if name != "all"])
def test_a_pipelines_own_environment_has_everything_that_it_imports(name):
    lines = (ROOT / f"envs/{name}.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if not line.startswith("#")}
    installed = packages_distributions()
    missing = set()
    for path in (ROOT / name).rglob("*.py"):
        for module in set(imports_of(ast.parse(path.read_text()))) - sys.stdlib_module_names - {"hdf5io", name}:
            if not {canonicalize_name(d) for d in installed.get(module, [module])} & pinned:
                missing.add(f"{module} in {path.name}")
    assert not missing


def test_torch_is_pinned_exactly():
    assert "torch==2.13.0" in (ROOT / "envs/all.txt").read_text().splitlines()


def test_a_pin_for_a_python_that_is_not_supported_yet_or_for_cuda_is_dropped():
    assert pin.tidy("zarr==3.4.2 ; python_full_version >= '3.14'") == ""
    assert pin.tidy("nvidia-cublas==13.1 ; sys_platform == 'linux'") == ""
    assert pin.tidy("zipp==4.1 ; python_full_version < '3.12'") == "zipp==4.1 ; python_full_version < '3.12'"
    assert pin.tidy("torch==2.13.0+cpu") == "torch==2.13.0"


@pytest.mark.parametrize("name", ["bootstrap", "installers", "demo", "test", "check", "bench", "pin"])
def test_the_scripts_are_readable_by_python_3_8(name):
    ast.parse((ROOT / f"scripts/{name}.py").read_text(), feature_version=(3, 8))


def test_no_registry_and_no_path_of_a_machine_is_named():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = [
        "py" + "pi.org",
        "python" + "hosted.org",
        "download.py" + "torch.org",
        "/op" + "t/wheels",
        "/op" + "t/pypi",
        "/wor" + "k/",
    ]
    for path in filter(None, listed.stdout.split("\0")):
        text = (ROOT / path).read_bytes().decode(errors="replace") if (ROOT / path).is_file() else ""
        assert not [host for host in hosts if host in text], path
