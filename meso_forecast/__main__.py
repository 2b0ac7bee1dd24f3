"""Run the pipeline as ``python -m meso_forecast``."""

from .cli import main

main()
