"""How do forecasts get out again, for whoever works with ONE or NWB? As ALF objects with the cells' uuids, or as an NWB file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io

from .recording import Recording

ROIS, FORECAST, LEADS = "mpciROIs", "mpciForecast", "mpciForecastLeads"
UNITS = "standard deviations of the training part"


def write_alf(folder: Path, f: Mapping[str, Any], recording: Recording, scores: Mapping[str, np.ndarray]) -> list[Path]:
    """Write ALF objects that ``one.alf.io.load_object`` reads and return their paths.

    ``mpciForecast`` has a row for each window (``times`` in s of the last frame seen, ``mean``, ``lower`` and ``upper``, each (window,
    horizon, cell)), ``mpciForecastLeads`` one for each step ahead (``times``, s after the last frame seen), ``mpciROIs`` one for each cell
    (``uuids``, ``forecastMSE`` and ``persistenceMSE``, (cell, horizon), NaN where nothing came after).
    """
    low, high = limits(f)
    arrays = {
        f"{FORECAST}.times": recording.times[f["origin"]], f"{FORECAST}.mean": f["mean"], f"{FORECAST}.lower": low,
        f"{FORECAST}.upper": high, f"{LEADS}.times": f["lead"],
        f"{ROIS}.forecastMSE": scores["forecast"].T, f"{ROIS}.persistenceMSE": scores["persistence"].T,
    }  # fmt: skip
    paths = []
    for name, values in arrays.items():
        paths.append(folder / f"{name}.npy")
        with hdf5io.atomic(paths[-1]) as part, open(part, "wb") as handle:
            np.save(handle, np.ascontiguousarray(values))
    rows = [{"uuids": str(u)} for u in recording.uuid]
    return [*paths, hdf5io.write_csv(folder / f"{ROIS}.uuids.csv", rows, ["uuids"])]


def limits(f: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest quantile of a forecast file, (window, horizon, neuron)."""
    return f["quantiles"][0], f["quantiles"][-1]


def write_nwb(
    path: Path, f: Mapping[str, Any], recording: Recording, scores: Mapping[str, np.ndarray], date: str
) -> Path:
    """Write an NWB file with a processing module ``forecast`` and return its path.

    A `RoiResponseSeries` for each step ahead and each of mean, lower, upper: data (window, cell), timestamps those of the frames that
    are forecast. Its plane segmentation has a row for each cell with uuid, region, and errors by step.
    """
    import pynwb

    began = session_start(date)
    nwb = pynwb.NWBFile(
        session_description=". ".join(
            [f"forecasts by {f['model']}", *([] if date else ["The recording's date is not known: 1970 stands for it"]), *recording.notes]
        ),
        identifier=f"{recording.eid or recording.path.stem}-forecast", session_start_time=began,
    )  # fmt: skip
    table = cells_of(nwb, recording, scores)
    module = nwb.create_processing_module("forecast", f"what {f['model']} forecasts, in {UNITS}, cell by cell")
    rois = table.create_roi_table_region(region=list(range(len(recording.uuid))), description="all cells")
    low, high = limits(f)
    named = {"mean": f["mean"], "lower": low, "upper": high}
    said = {"mean": "point forecast", "lower": f"quantile {f['levels'][0]:g}", "upper": f"quantile {f['levels'][-1]:g}"}
    container = pynwb.ophys.Fluorescence(name="Forecasts")
    for h, lead in enumerate(f["lead"]):
        for kind, values in named.items():
            container.create_roi_response_series(
                name=f"{kind}_step_{h + 1:02d}", data=np.ascontiguousarray(values[:, h]), rois=rois, unit="z",
                timestamps=recording.times[f["origin"]] + lead,
                description=f"{said[kind]}, made {lead:.4g} s before, in {UNITS}",
            )  # fmt: skip
    module.add(container)
    with hdf5io.atomic(path) as part, pynwb.NWBHDF5IO(str(part), "w") as io:
        io.write(nwb)
    return path


def session_start(date: str) -> datetime:
    """Return a date such as 2024-05-17 as a time, in UTC where it names no zone; 1970-01-01 where it is none."""
    try:
        found = datetime.fromisoformat(date)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)


def cells_of(nwb: Any, recording: Recording, scores: Mapping[str, np.ndarray]) -> Any:
    """Return the plane segmentation of all cells, in a module ``ophys``; a cell's mask is one pixel at its place."""
    import pynwb

    device = nwb.create_device(name="Microscope")
    channel = pynwb.ophys.OpticalChannel(name="channel", description="not known", emission_lambda=float("nan"))
    plane = nwb.create_imaging_plane(
        name="ImagingPlane", optical_channel=channel, description="all fields of view", device=device, excitation_lambda=float("nan"),
        indicator="not known", location="not known", imaging_rate=float(1 / recording.panel.dt_s),
    )  # fmt: skip
    segmentation = pynwb.ophys.ImageSegmentation(name="ImageSegmentation")
    nwb.create_processing_module("ophys", "the cells").add(segmentation)
    table = segmentation.create_plane_segmentation(
        name="Cells", description="cells that were forecast", imaging_plane=plane
    )
    place = np.nan_to_num(recording.position[:, :2])
    place = np.round(place - place.min(0)).astype(int)
    for x, y in place:
        table.add_roi(pixel_mask=[(int(x), int(y), 1.0)])
    table.add_column("uuid", "uuid of the ROI", data=[str(u) for u in recording.uuid])
    table.add_column(
        "region", "brain region, as the recording names it", data=[str(r) or "not known" for r in recording.region]
    )
    for name, values in scores.items():
        table.add_column(f"{name}_mse", f"mean squared error of {name} at each step ahead, in z squared", data=values.T)
    return table
