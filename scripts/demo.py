#!/usr/bin/env python3
"""What do the five pipelines do? Sets up the environment, then is ``neuropipes demo``: each pipeline on recordings of its own."""

from __future__ import annotations

import argparse
import os
import sys

import bootstrap

sys.path.insert(0, str(bootstrap.ROOT))

from neuropipes import demo


def main() -> int:
    """Run the chosen demos, each in its pipeline's environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[bootstrap.options()])
    demo.add_options(parser)
    bootstrap.run_inside(__file__, parser)
    settings = parser.parse_args()
    os.environ.pop("NEUROPIPES_INSIDE", None)
    return demo.perform_all(settings, bootstrap.prepare(settings, demo.names_of(settings)), "demo.py")


if __name__ == "__main__":
    sys.exit(main())
