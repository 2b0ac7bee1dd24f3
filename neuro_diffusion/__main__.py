"""Run the pipeline as ``python -m neuro_diffusion``."""

from .cli import main

main()
