"""Run the pipeline as ``python -m glm_rates``."""

from .cli import main

main()
