"""Does anything in the chain from raw traces to a forecast see the future?

Two recordings are equal up to a frame ``t`` of the test part and different after it. Each is preprocessed, each model is fitted on each,
and both forecast from origins up to ``t``: mean and scale must be equal bit for bit. So neither preprocessing, nor a fitted
statistic, nor a forecast uses a later frame.
"""

import numpy as np
import pytest

from meso_forecast import config
from meso_forecast.activity import split, windows
from meso_forecast.activity.reading import Rules
from meso_forecast.files import recording, write_recording
from meso_forecast.files.fov import Trace, make_fov
from meso_forecast.files.session import MesoscopeSession
from meso_forecast.fit import registry
from meso_forecast.model import correction

N_TIME, T, CONTEXT, HORIZON = 1300, 1200, 24, 4
MODELS = (
    "persistence", "mean", "context-mean", "stimulus-mean", "linear-regression", "ar", "ar16", "ar-drift", "ar-mixture", "var", "stack", "nlinear", "dlinear",
    "informer", "informer-hf", "autoformer-hf",
)  # fmt: skip


def write(folder, name, f):
    np.save(folder / f"{name}.npy", f)
    fov = make_fov(
        "FOV_00", Trace(path=folder / f"{name}.npy"), np.arange(N_TIME) * 0.2, neuropil=Trace(path=folder / "fneu.npy")
    )
    write_recording.write_recording(
        MesoscopeSession(fovs=[fov], eid="x"), folder / f"{name}.h5", Rules(), split.SplitRule()
    )
    return recording.open_recording(folder / f"{name}.h5").panel


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return two panels that are equal up to ``T``; stimuli are on every fifth ten frames."""
    folder, rng = tmp_path_factory.mktemp("pair"), np.random.default_rng(0)
    slow = np.cumsum(rng.standard_normal((N_TIME, 2)), axis=0) * 0.98 ** np.arange(N_TIME)[:, None]
    f = 1000 + 20 * slow @ rng.standard_normal((2, 5)) + 60 * np.abs(rng.standard_normal((N_TIME, 5)))
    np.save(folder / "fneu.npy", np.full((N_TIME, 5), 100, np.float32))
    other = f.copy()
    other[T + 1 :] = 4 * other[T + 1 :] + 9 * rng.standard_normal(other[T + 1 :].shape)
    stimulus = (np.arange(N_TIME) // 10 % 5 == 0).astype(int)
    later = np.where(np.arange(N_TIME) > T, 1, stimulus)
    panels = [write(folder, name, x.astype(np.float32)) for name, x in (("a", f), ("b", other))]
    assert not np.array_equal(panels[0].x[T + 1 :], panels[1].x[T + 1 :])
    return [p._replace(stimulus=s) for p, s in zip(panels, (stimulus, later))]


@pytest.fixture(scope="module")
def settings():
    return config.TrainConfig(
        recordings=["x"],
        output="x",
        context=CONTEXT,
        horizon=HORIZON,
        epochs=1,
        batches_per_epoch=3,
        d_model=16,
        layers=1,
    )


@pytest.mark.parametrize("name", MODELS)
def test_later_raw_frames_leave_fit_and_forecast_bit_identical(pair, settings, name, monkeypatch):
    monkeypatch.setattr(correction, "CONFIDENCE", 1e-9)  # the correction takes part, whatever validation says of it
    origins = np.arange(T - 90, T + 1)
    forecasts = []
    for panel in pair:
        fitted = registry.fit_named(name, [panel], settings)[0]
        if name == "informer":
            assert fitted.point.gate.is_open
            assert set(fitted.point.names) == {"stack", "correction", "tide", "tide-population", "persistence"}
            assert np.abs(fitted.point.forecast(panel, origins) - fitted.point.base.forecast(panel, origins)).max() > 0
        forecasts.append(fitted.forecast(panel, origins))
    a, b = forecasts
    assert np.isfinite(a.mean).all()
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.scale, b.scale)
    np.testing.assert_array_equal(a.df, b.df)


def test_the_test_would_notice_a_forecaster_that_looks_ahead(pair):
    origins = np.arange(T - 3, T + 1)
    peeks = [windows.gather(panel.x, origins, 1, HORIZON) for panel in pair]
    assert not np.array_equal(*peeks)
