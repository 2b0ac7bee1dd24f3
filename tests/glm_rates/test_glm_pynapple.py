"""What pynapple saves, by its own ``save`` and as older versions wrote it."""

import logging
import os

import numpy as np
import pynapple as nap
import pytest

from glm_rates import config
from glm_rates.files.recordings import read_times
from glm_rates.fit.covariates import signals_of
from hdf5io.errors import InputError

TIMES = {3: [0.5, 2.0, 7.0], 10: [1.0, 6.0], 7: [0.25]}
OPTIONS = config.ExtractConfig(data="x", output="y").model_dump(mode="json")


@pytest.fixture
def group(tmp_path):
    """A TsGroup with a gap, a silent unit and metadata, as ``save`` writes it."""
    units = {k: nap.Ts(np.array(v)) for k, v in TIMES.items()}
    support = nap.IntervalSet([0, 5], [4, 8])
    made = nap.TsGroup({**units, 12: nap.Ts(np.zeros(0))}, time_support=support)
    made.set_info(region=np.array(["GC", "BLA", "GC", "BLA"]), snr=np.arange(4.0))  # units are in order: 3, 7, 10, 12
    path = tmp_path / "spikes.npz"
    made.save(str(path))
    return path


def test_a_group_with_its_metadata_gaps_and_a_silent_unit(group, caplog):
    with caplog.at_level(logging.WARNING):
        found = read_times(group, OPTIONS)
    assert found.unit_id == ["3", "7", "10"]
    assert found.region == ["GC", "BLA", "GC"]
    assert [t.tolist() for t in found.times_s] == [TIMES[3], TIMES[7], TIMES[10]]
    assert found.columns["snr"] == [0.0, 1.0, 2.0]
    assert all(o.tolist() == [[0, 4], [5, 8]] for o in found.observed)
    assert "1 unit(s) without a spike are left out: [12]" in caplog.text


def test_a_group_of_older_versions_has_its_metadata_as_columns(group, tmp_path):
    with np.load(group, allow_pickle=True) as archive:
        old = {k: archive[k] for k in ("type", "t", "index", "start", "end")}
    np.savez(tmp_path / "old.npz", **old, location=np.array(["GC", "BLA", "CeA"]))
    found = read_times(tmp_path / "old.npz", OPTIONS)
    assert (found.unit_id, found.region) == (["3", "7", "10"], ["GC", "BLA", "CeA"])


@pytest.mark.parametrize("kind", ["intervals", "times"])
def test_events(group, tmp_path, kind):
    path = tmp_path / "events.npz"
    if kind == "intervals":
        nap.IntervalSet([1, 6], [2, 7], metadata={"taste": np.array(["suc", "nacl"])}).save(str(path))
    else:
        nap.Ts(np.array([1.0, 6.0])).save(str(path))
    found = read_times(group, {**OPTIONS, "events": str(path)})
    assert found.event_s.tolist() == [1, 6]
    assert len(set(found.label)) == (2 if kind == "intervals" else 1)


def test_signals(tmp_path):
    t = np.arange(5.0)
    nap.Tsd(t, t**2).save(str(tmp_path / "speed.npz"))
    nap.TsdFrame(t, np.stack([t, -t], axis=1), columns=["x", "y"]).save(str(tmp_path / "place.npz"))
    found = signals_of([tmp_path / "speed.npz", tmp_path / "place.npz"], [], None)
    assert {s.name: s.value.tolist() for s in found} == {"speed": (t**2).tolist(), "x": t.tolist(), "y": (-t).tolist()}


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_of_anything_else_is_refused_and_not_run(group, tmp_path):
    with np.load(group, allow_pickle=True) as archive:
        held = {k: archive[k] for k in archive.files}
    np.savez(tmp_path / "evil.npz", **{**held, "_metadata": np.array({"region": Evil(tmp_path / "ran")}, dtype=object)})
    with pytest.raises(InputError, match="'_metadata' is a pickle of more than arrays"):
        read_times(tmp_path / "evil.npz", OPTIONS)
    assert not (tmp_path / "ran").exists()


def test_a_tensor_is_refused_with_its_name(tmp_path):
    nap.TsdTensor(np.arange(3.0), np.zeros((3, 2, 2))).save(str(tmp_path / "film.npz"))
    with pytest.raises(InputError, match="a TsdTensor of pynapple; expected TsGroup"):
        read_times(tmp_path / "film.npz", OPTIONS)


def test_a_table_of_ones_own_with_a_column_type_stays_a_table(tmp_path):
    columns = {
        "unit_id": [1, 1, 2],
        "time_s": [0.1, 0.2, 0.3],
        "type": ["pyr"] * 3,
        "start": [0.0] * 3,
        "end": [9.0] * 3,
    }
    np.savez(tmp_path / "mine.npz", **{k: np.array(v) for k, v in columns.items()})
    assert read_times(tmp_path / "mine.npz", OPTIONS).unit_id == ["1", "2"]
