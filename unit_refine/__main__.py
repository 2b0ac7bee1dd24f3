"""Run the pipeline as ``python -m unit_refine``."""

from .cli import main

main()
