#!/usr/bin/env python3
"""Do the tests pass here? Sets up, then runs pytest in the project's environment.

``python3 scripts/test.py`` runs what is not marked slow; ``python3 scripts/test.py -- ARGS`` hands ARGS to pytest instead of
that choice (``-- -m slow``, ``-- tests/test_hdf5io.py -k kill``).
"""

from __future__ import annotations

import argparse
import os
import sys

import bootstrap

QUICK = ["-m", "not slow", "-n", "2"]


def main() -> None:
    """Run pytest; its exit code is ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[bootstrap.options()])
    parser.add_argument("pytest_args", nargs="*", metavar="-- ARGS", help="handed to pytest (default: not slow)")
    bootstrap.run_inside(__file__, parser)
    arguments = parser.parse_args().pytest_args or QUICK
    os.chdir(bootstrap.ROOT)
    bootstrap.become([sys.executable, "-m", "pytest", *arguments])


if __name__ == "__main__":
    main()
