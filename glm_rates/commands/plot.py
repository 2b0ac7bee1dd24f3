"""Draw the figures and the report of stored results again."""

from __future__ import annotations

from pathlib import Path

from hdf5io.errors import InputError

from ..config import PlotConfig
from ..console import Result, Run
from ..files import results
from ..files.stored import read_results
from ..show import pages


def run(config: PlotConfig, run: Run) -> Result:
    """Figures and report from what the file holds."""
    source = config.data
    target = results.recording_file(source) or source
    if not target.is_file():
        raise InputError(f"{source}: no such file or directory.")
    folder = tables_folder(source, target)
    stored = read_results(target)
    chosen = pages.wanted_units(config.plot_units, len(stored.regions))
    output = config.output or folder / "plots"
    results.may_write(output, output.parent)
    figures = pages.draw(
        stored, pages.read_rows(folder / "bits_per_spike_summary.csv"), output, chosen, config.figure_format
    )
    beside = output.parent if config.output is None else output
    page = pages.report(beside / "report.html", stored, figures, run.warnings)
    return Result({"plots": output, "report": page}, {"n_figures": len(figures)}, f"{len(figures)} figures; {output}")


def tables_folder(source: Path, target: Path) -> Path:
    """The folder with the tables of stored results.

    Raises
    ------
    InputError
        There are none.
    """
    beside = [target.with_name(target.stem + "_glm_output"), target.parent / "glm_output"]
    places = [source / "glm_output"] if source.is_dir() else beside
    folder = next((p for p in places if (p / "bits_per_spike_summary.csv").is_file()), None)
    if folder is None:
        raise InputError(f"{source}: no bits_per_spike_summary.csv in {places[0]}. Run 'glm-rates infer' first.")
    return folder
