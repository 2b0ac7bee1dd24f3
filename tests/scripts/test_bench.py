"""BENCHMARKS.md says what was measured, on what, against which versions, and keeps what was not measured again."""

import re

import numpy as np
import pytest

STUB = """
import sys
import numpy as np

def peer():
    import no_such_peer

print("ours 1.0 s, peer 3.0 s, ratio 3.0", *sys.argv[1:])
sys.exit(int("--fail" in sys.argv))
"""


@pytest.fixture
def project(ready_project):
    for name in ("stub", "second"):
        (ready_project / f"scripts/bench_{name}.py").write_text(STUB)
    page = ready_project / "BENCHMARKS.md"
    page.unlink(missing_ok=True)
    yield ready_project
    page.unlink(missing_ok=True)
    for name in ("stub", "second"):
        (ready_project / f"scripts/bench_{name}.py").unlink()


def test_a_benchmark_is_written_with_machine_date_and_every_version(project, script):
    done = script(project, "bench.py", "--write", "stub", "--n", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ours 1.0 s, peer 3.0 s, ratio 3.0 --n 5\n"
    page = (project / "BENCHMARKS.md").read_text()
    assert "## stub" in page
    assert "```\n$ python3 scripts/bench.py stub --n 5\nours 1.0 s, peer 3.0 s, ratio 3.0 --n 5\n```" in page
    assert re.search(r"^\| date \| 20\d\d-\d\d-\d\d \|$", page, re.MULTILINE)
    assert re.search(r"^\| processor \| .+, \d+ cores \|$", page, re.MULTILINE)
    assert f"numpy {np.__version__}" in page
    assert "no_such_peer absent, left out" in page


def test_what_is_not_measured_again_stays_and_what_fails_is_not_written(project, script):
    assert script(project, "bench.py", "--write", "second", "--first").returncode == 0
    assert script(project, "bench.py", "--write", "stub").returncode == 0
    before = (project / "BENCHMARKS.md").read_text()
    assert "--first" in before
    assert before.index("## second") < before.index("## stub")
    done = script(project, "bench.py", "--write", "stub", "--fail")
    assert done.returncode == 1
    assert "failed and not written: stub" in done.stderr
    assert (project / "BENCHMARKS.md").read_text() == before
    assert script(project, "bench.py", "--write", "stub", "--again").returncode == 0
    after = (project / "BENCHMARKS.md").read_text()
    assert "--again" in after
    assert after.count("## stub") == 1
    assert after.split("## stub")[0] == before.split("## stub")[0]


def test_without_write_a_benchmark_only_prints(project, script):
    done = script(project, "bench.py", "stub", "--fail")
    assert (done.returncode, done.stdout) == (1, "ours 1.0 s, peer 3.0 s, ratio 3.0 --fail\n")
    assert not (project / "BENCHMARKS.md").exists()
    assert script(project, "bench.py").returncode == 2
