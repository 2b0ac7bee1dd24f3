"""Write a posterior for other tools: ArviZ, sbi, NWB."""

from __future__ import annotations

from ..config import ExportConfig
from ..console import Result, Run
from ..files import posterior_file


def run(config: ExportConfig, run: Run) -> Result:
    """Write the posterior in the format that the output's name asks for."""
    fitted = posterior_file.read_posterior(config.posterior)
    from ..files import exchange

    kind = config.output.suffix.lower()
    if kind == ".nc":
        path = exchange.write_netcdf(config.output, fitted, run.provenance(config))
    elif kind == ".npz":
        path = exchange.write_arrays(config.output, fitted)
    else:
        path = exchange.write_nwb(config.output, fitted, config.posterior)
    names = list(exchange.columns_of(fitted))
    results = {"n_draws": len(fitted.w), "parameters": names, "format": kind[1:]}
    return Result({"export": path}, results, f"{len(fitted.w)} draws of {', '.join(names)} in {path}", record=path)
