"""``predict``: new recordings in, a table of labels and probabilities out."""

from __future__ import annotations

from hdf5io.errors import InputError

from ..config import PredictConfig
from ..console import Result, Run
from ..files import phy
from ..files.tables import write_table
from ..score.predict import predict_inputs, prediction_results


def run(config: PredictConfig, run: Run) -> Result:
    """Label units."""
    if config.write_group and not config.write_phy:
        raise InputError("--write-group goes with --write-phy: give both, or neither.")
    if config.write_phy:
        if config.group_by != "file":
            raise InputError("--write-phy: a Phy folder is one recording; leave --group-by away.")
        if len({folder.resolve() for folder in config.inputs}) < len(config.inputs):
            raise InputError("--write-phy: a folder is given twice.")
        begun = config.output.exists()  # unfinished, of the same command: what is in the folders may be its own
        for folder in config.inputs:
            phy.check_target(folder, config.write_group, not (config.overwrite or begun))
    found = predict_inputs(config)
    tables = [table for _, table in found.table.groupby("recording", sort=False)] if config.write_phy else []
    columns = [
        (f, *phy.columns_of(f, table, config.write_group, config.overwrite)) for f, table in zip(config.inputs, tables)
    ]
    write_table(found.table, config.output)
    filled = sum(phy.write_columns(*parts, config.write_group)["n_groups_written"] for parts in columns)
    results = prediction_results(found)
    counts = ", ".join(f"{n} {name}" for name, n in results["counts"].items())
    line = f"{config.output}: {results['n_units']} units: {counts}; {results['n_abstained']} left to a person"
    odd = sum(len(row["odd_metrics"]) for row in results["applies"])
    line += f"; {odd} metrics unlike the training recordings'" if odd else ""
    line += f"; written into {len(config.inputs)} Phy folders, {filled} groups filled" if config.write_phy else ""
    return Result({"predictions": config.output}, results, line, record=config.output)
