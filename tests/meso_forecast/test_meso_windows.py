"""Are the windows exactly those that a loop over frames would allow?"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meso_forecast.activity.split import block_split, chronological_split, held_out_stimulus_split
from meso_forecast.activity.windows import Panel, blocks_of, columns_of, gather, observed_runs, window_origins


def by_loop(usable, label, parts, context, horizon):
    found = []
    for t in range(context - 1, len(usable) - horizon):
        targets = label[t + 1 : t + 1 + horizon]
        if usable[t - context + 1 : t + horizon + 1].all() and len(set(targets)) == 1 and targets[0] in parts:
            found.append(t)
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 12), st.integers(1, 6))
def test_windows_equal_a_loop(seed, n_time, context, horizon):
    rng = np.random.default_rng(seed)
    usable, label = rng.random(n_time) > 0.05, np.sort(rng.integers(0, 3, n_time)).astype(np.int8)
    if seed % 2:
        label = rng.permutation(label)
    for parts in ((0,), (2,), (0, 1), (0, 1, 2)):
        origins = window_origins(usable, label, parts, context, horizon)
        assert origins.tolist() == by_loop(usable, label, parts, context, horizon)


def test_contexts_reach_back_over_an_edge_but_targets_do_not():
    label = chronological_split(100, (0.7, 0.1, 0.2))
    usable = np.ones(100, bool)
    test = window_origins(usable, label, 2, 20, 5)
    assert test[0] == 79
    train = window_origins(usable, label, 0, 20, 5)
    assert train[-1] + 5 == 69
    assert window_origins(usable, label, (0, 1), 20, 5).tolist() != np.arange(19, 75).tolist()


def test_a_short_recording_keeps_its_validation_windows():
    """A gap of context + horizon around the edges would leave 17."""
    label = chronological_split(800)
    assert len(window_origins(np.ones(800, bool), label, 1, 48, 8)) == 80 - 8 + 1


def test_gathered_frames_are_the_named_ones():
    x = np.arange(30).reshape(15, 2)
    assert gather(x, np.array([5, 9]), -1, 1)[:, :, 0].tolist() == [[8, 10, 12], [16, 18, 20]]


def test_runs_of_observed_frames():
    assert observed_runs(np.zeros(4, bool)).tolist() == []
    assert observed_runs(np.array([0, 1, 1, 0, 1], bool)).tolist() == [[1, 3], [4, 5]]


def test_no_target_lies_in_two_cross_validation_blocks():
    origins, horizon = np.arange(10, 210), 8
    block = blocks_of(origins, horizon, 5)
    frames = [set((origins[block == b][:, None] + np.arange(1, horizon + 1)).ravel()) for b in range(5)]
    assert all(not frames[a] & frames[b] for a in range(5) for b in range(a))
    assert (block == -1).sum() == 4 * (horizon - 1)


def test_each_block_of_a_condition_has_every_part():
    condition = np.repeat([0, 1, 0], 100)
    label = block_split(condition)
    for start in (0, 100, 200):
        assert np.bincount(label[start : start + 100]).tolist() == [70, 10, 20]


def test_held_out_stimuli_are_the_test():
    stimulus = np.tile(np.repeat([0, 1, 2], 10), 10)
    label = held_out_stimulus_split(stimulus, (2,))
    assert ((label == 2) == (stimulus == 2)).all()
    assert (np.diff(label[label != 2]) >= 0).all()


def test_a_panel_has_no_stimulus_unless_told():
    panel = Panel(np.zeros((3, 1), np.float32), np.ones(3, bool), np.zeros(3, np.int8))
    assert panel.stimulus is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident pages are read from /proc (Linux)")
def test_reading_columns_of_a_map_keeps_none_of_its_pages(tmp_path):
    def resident_file_kb():
        return int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0])

    np.memmap(tmp_path / "x", np.float32, "w+", shape=(16000, 1024))[:] = 1
    x = np.memmap(tmp_path / "x", np.float32, "r", shape=(16000, 1024))
    before = resident_file_kb()
    kept = np.array(x[:, :4])
    while_read = resident_file_kb()
    assert np.array_equal(columns_of(x, slice(4, 8)), kept)
    assert while_read - before > 50_000
    assert resident_file_kb() - before < 5_000
