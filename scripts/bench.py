#!/usr/bin/env python3
"""How fast and how good against the named alternatives? ``bench.py PIPELINE [ARGS]`` runs ``scripts/bench_PIPELINE.py``.

Every benchmark holds its competitors inside and prints ratios measured in the same run.
"""

from __future__ import annotations

import argparse
import sys

import bootstrap


def main() -> None:
    """Run one pipeline's benchmark in the project's environment; its exit code is ours."""
    scripts = {path.stem[len("bench_") :]: path for path in sorted((bootstrap.ROOT / "scripts").glob("bench_*.py"))}
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        parents=[bootstrap.options()],
        usage="bench.py [--cpu | --gpu] PIPELINE [ARGS for the benchmark]",
    )
    parser.add_argument("pipeline", choices=sorted(scripts), type=lambda text: text.replace("-", "_"))
    names = [i for i, word in enumerate(sys.argv) if i and word.replace("-", "_") in scripts]
    end = names[0] + 1 if names else len(sys.argv)
    bootstrap.run_inside(__file__, parser, ours=sys.argv[1:end])
    script = scripts[parser.parse_args(sys.argv[1:end]).pipeline]
    bootstrap.become([sys.executable, str(script), *sys.argv[end:]])


if __name__ == "__main__":
    main()
