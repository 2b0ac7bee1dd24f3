"""What is said where an option changes nothing, a label is none, or a file is of another time: one line, with what to do."""

import logging

import numpy as np
import pytest

from glm_rates.files import blech, session
from glm_rates.fit import populations, trials
from hdf5io.errors import InputError


def split(regions, separate):
    n = len(regions)
    arrays = {"taste": np.zeros(4, int), "counts": np.zeros((4, 6, n), np.int16), "onset": np.zeros(4, int),
              "laser": np.zeros((4, 6)), "trial": np.arange(4)}  # fmt: skip
    return populations.populations({"regions": regions, "tastes": ["a"]}, arrays, separate, False)


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        (["all"] * 3, "--separate_regions: no regions are known, so the 3 units are one population"),
        (["gc"] * 2, "--separate_regions: all units are in region gc, so the 2 units are one population"),
        (["gc", "bla"], ""),
    ],
)
def test_separate_regions_that_separate_nothing_are_told(regions, said, caplog):
    assert len(split(regions, True)) == len(set(regions))
    assert [r.getMessage() for r in caplog.records] == ([said] if said else [])
    caplog.clear()
    split(regions, False)
    assert not caplog.records


def test_spellings_of_no_label_are_no_stimuli(caplog):
    with caplog.at_level(logging.WARNING):
        found = session.same_spelling(["water", "NaN", "nan", "None", "", "salt"], "events.csv")
    assert found == ["water", "NaN", "nan", "None", "", "salt"]  # left out later, and counted there
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        session.same_spelling(["water", "Water"], "events.csv")
    assert "the labels 'Water', 'water' differ only in case or spaces: they are 2 stimuli" in caplog.text


def test_a_column_of_one_label_and_of_none_is_asked_about():
    columns = {"stimulus": ["on", "NaN", "on", "on"] * 3, "odd": ["a", "b", "a", "b"] * 3}
    with pytest.raises(InputError, match=r"column 'stimulus' has one value, 'on'\. Give --label NAME; candidates: odd"):
        session.choose_label(columns, None, "events.csv", 12)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("s.nwb", "NWB keeps seconds: export the file anew."),
        ("s.csv", "Name the unit of time in the column (time_ms, time_us, time_samples with --sampling-rate)."),
    ],
)
def test_a_wrong_unit_of_time_is_met_with_what_its_format_can_do(where, said):
    times = np.sort(np.random.default_rng(0).uniform(0, 150e6, 2000))
    data = session.Session(["0"], [times], ["all"], {}, np.array([3.0, 60.0]), ["a", "b"], [])
    with pytest.raises(InputError, match="these are no seconds") as refused:
        trials.check_scale(data, -0.5, 2.5, where)
    assert str(refused.value).endswith(said)
    with pytest.raises(InputError, match="is it the same unit of time and the same clock") as refused:
        trials.check_scale(data._replace(times_s=[times / 1e6], event_s=np.array([3000.0, 60000.0])), -0.5, 2.5, where)
    assert str(refused.value).endswith(said)


def test_bare_lines_of_an_older_params_are_told_and_broken_json_is_refused(tmp_path, caplog):
    path = tmp_path / "old.params"
    path.write_text("7\n1000\n0.0001\n16\n-1\n")
    with caplog.at_level(logging.WARNING):
        assert blech.read_params(tmp_path) == {}
    assert "bare lines of an older version" in caplog.text
    assert "2000 ms before the stimulus and 30000 Hz are assumed" in caplog.text
    path.write_text('{"sampling_rate": 30000,')
    with pytest.raises(InputError, match="not readable as JSON"):
        blech.read_params(tmp_path)
