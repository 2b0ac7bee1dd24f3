#!/usr/bin/env python3
"""Do the tests notice when the mathematics is broken? Breaks it in a copy, one small change at a time, and runs its tests.

``python3 scripts/mutate.py`` draws 12 changes (another operator, number, condition, ...) in each module below and lists those that no
test noticed; ``--n 0`` takes all of them (hours), ``--only solver`` one module. cosmic-ray makes the changes, in an environment of
its own, ``.venvs/mutation``; the copy is a clone of the last commit, so nothing here is touched. What survives is either a gap in the
tests or a change that means the same; a person says which.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import bootstrap

#: the mathematics, and the test files that answer for it
TARGETS = {
    "glm_rates/model/solver.py": ("glm_rates/test_glm_solver.py",),
    "glm_rates/model/prior.py": ("glm_rates/test_glm_prior.py",),
    "meso_forecast/model/stack.py": ("meso_forecast/test_meso_linear.py", "meso_forecast/test_meso_mixture.py"),
    "unit_refine/model/calibration.py": ("unit_refine/test_unit_refine_calibration.py", "unit_refine/test_unit_refine_core.py"),
    "laa_bayes/posterior/importance.py": ("laa_bayes/test_laa_bayes_samplers.py", "laa_bayes/test_laa_bayes_exact.py"),
    "neuro_diffusion/model/ridge.py": ("neuro_diffusion/test_neuro_diffusion_ridge.py",),
    "neuro_diffusion/model/diffusion.py": ("neuro_diffusion/test_neuro_diffusion_diffusion.py",),
    "neuro_diffusion/model/propagation.py": ("neuro_diffusion/test_neuro_diffusion_propagation.py",),
    "hdf5io/journal.py": ("test_hdf5io.py",),
    "hdf5io/runs.py": ("test_hdf5io.py", "test_console.py"),
}  # fmt: skip
CONFIG = """[cosmic-ray]
module-path = "{module}"
timeout = 300.0
excluded-modules = []
test-command = "{command}"
[cosmic-ray.distributor]
name = "local"
"""


def sample(session: Path, n: int, seed: int) -> int:
    """Leave ``n`` drawn changes in a session (0: all) and return how many; unions in annotations are no mathematics."""
    with sqlite3.connect(session) as base:
        found = base.execute(
            "SELECT job_id, operator_name FROM mutation_specs ORDER BY module_path, start_pos_row, start_pos_col, operator_name, occurrence"
        )
        jobs = [job for job, operator in found if "BinaryOperator_BitOr" not in operator]
        drawn = set(random.Random(seed).sample(jobs, min(n or len(jobs), len(jobs))))
        for (job,) in base.execute("SELECT job_id FROM work_items").fetchall():
            if job not in drawn:
                base.execute("DELETE FROM mutation_specs WHERE job_id = ?", (job,))
                base.execute("DELETE FROM work_items WHERE job_id = ?", (job,))
    return len(drawn)  # fmt: skip


def mutate(module: str, tests: tuple[str, ...], tools: Path, clone: Path, n: int, seed: int) -> tuple[int, list[str]]:
    """Break one module ``n`` times; return how many changes were tried and the diffs of those that survived."""
    files = " ".join(f"tests/{name}" for name in tests)
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider -m 'not slow' {files}"
    config, session = clone / "mutation.toml", clone / "mutation.sqlite"
    session.unlink(missing_ok=True)
    config.write_text(CONFIG.format(module=module, command=command), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}

    def run(*words: str | Path) -> str:
        done = subprocess.run([*map(str, words)], cwd=clone, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{module}: {' '.join(map(str, words))} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout

    run(tools / "cosmic-ray", "baseline", config)
    run(tools / "cosmic-ray", "init", config, session)
    tried = sample(session, n, seed)
    run(tools / "cosmic-ray", "exec", config, session)
    with sqlite3.connect(session) as base:
        rows = base.execute(
            "SELECT diff FROM work_results WHERE test_outcome = 'SURVIVED' OR test_outcome = 'survived'"
        )
        return tried, [diff for (diff,) in rows]


def main() -> int:
    """Print a line a module and every change that survived; the exit code is 0 whatever survives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[bootstrap.options()])
    parser.add_argument("--n", type=int, default=12, help="changes drawn in each module; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="WORD", help="modules whose path holds one of these words"
    )
    bootstrap.run_inside(__file__, parser)
    settings = parser.parse_args()
    with bootstrap.reporting():
        tools = bootstrap.python_with("mutation", "cosmic_ray").parent
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(bootstrap.ROOT), str(clone)], check=True)
        for module, tests in TARGETS.items():
            if any(word in module for word in settings.only):
                tried, survivors = mutate(module, tests, tools, clone, settings.n, settings.seed)
                print(f"{module}: {tried - len(survivors)} of {tried} noticed", *survivors, sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
