"""``review``: a model and one recording in, a page out on which a person labels its units."""

from __future__ import annotations

import hdf5io

from ..config import ReviewConfig
from ..console import Result, Run
from ..score.review import content
from ..show.review import page


def run(config: ReviewConfig, run: Run) -> Result:
    """Make the page."""
    found = content(config)
    with hdf5io.atomic(config.output) as part:
        part.write_text(page(found), encoding="utf-8")
    pictures = sum("acg" in unit for unit in found["units"])
    results = {"n_units": len(found["units"]), "n_with_pictures": pictures, "n_merge_candidates": len(found["merges"])}
    line = (
        f"{config.output}: {results['n_units']} units to look at, the least certain first, {pictures} with spikes,"
        f" {results['n_merge_candidates']} candidates for merges; open it in a browser"
    )
    return Result({"page": config.output}, results, line)
