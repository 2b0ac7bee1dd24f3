"""ABF files from which sweeps were taken out before saving: the numbers of the sweeps are no longer those of the protocol."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files.recordings import read_recording
from laa_bayes.files.request import Request

_spec = importlib.util.spec_from_file_location("abf_files", Path(__file__).with_name("abf_files.py"))
assert _spec is not None
assert _spec.loader is not None
abf_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(abf_files)

N, FIRST, LAST = 5000, 922, 2922
TICKS = 100_000  #: of 100 us from start to start


def made(folder: Path, starts: list[int], step_pa: float, period_s: float = 10.0, jitter: int = 0) -> Path:
    """Write sweeps that a protocol started at these multiples of 10 s, with a step of -50 pA that grows by ``step_pa`` a sweep."""
    path = folder / "cell.abf"
    epochs = [(1, 0.0, 0.0, FIRST, 0, 0, 0), (1, -50.0, step_pa, LAST - FIRST, 0, 0, 0)]
    noise = np.random.default_rng(0).normal(-70, 0.1, (len(starts), N, 1))
    abf_files.write_abf2(path, noise, ((0, "Vm", "mV"),), [abf_files.output(epochs=epochs)])
    raw = bytearray(path.read_bytes())
    block = struct.unpack_from("<I", raw, 76 + 16 * 15)[0]
    for k, start in enumerate(starts):
        struct.pack_into("<i", raw, block * 512 + 8 * k, start * TICKS + jitter * k)
    at = 512 * struct.unpack_from("<I", raw, 76)[0]
    protocol = bytearray(raw[at : at + 512])
    abf_files.pack_named(protocol, abf_files.PROTOCOL, {"fSynchTimeUnit": 100.0, "fEpisodeStartToStart": period_s})
    raw[at : at + 512] = protocol
    path.write_bytes(bytes(raw))
    return path


@pytest.mark.parametrize("starts", [[0, 2, 4], [3, 4, 5], [0, 1, 3, 4]])
def test_a_command_that_changes_is_refused_where_sweeps_were_taken_out(tmp_path: Path, starts: list[int]) -> None:
    path = made(tmp_path, starts, step_pa=25.0)
    with pytest.raises(InputError, match=r"taken out.*whole file.*--current-file") as refused:
        read_recording(path, Request(sweep=1))
    assert "\n" not in str(refused.value)


def test_the_usual_interval_is_the_shortest_where_the_protocol_names_none(tmp_path: Path) -> None:
    path = made(tmp_path, [0, 1, 3, 4], step_pa=25.0, period_s=0.0)
    with pytest.raises(InputError, match="taken out"):
        read_recording(path, Request(sweep=2))


def level(path: Path, sweep: int) -> float:
    """Return the current (pA) in the middle of a sweep."""
    return float(read_recording(path, Request(sweep=sweep)).current[2000])


def test_whole_files_and_files_without_their_end_are_read(tmp_path: Path) -> None:
    assert [level(made(tmp_path, [0, 1, 2], step_pa=25.0), k) for k in range(3)] == [-50, -25, 0]


def test_gaps_do_not_matter_where_every_sweep_has_the_same_command(tmp_path: Path) -> None:
    assert level(made(tmp_path, [0, 2, 4], step_pa=0.0), 1) == -50


def test_starts_of_a_trigger_are_no_gaps(tmp_path: Path) -> None:
    assert level(made(tmp_path, [0, 2, 4], step_pa=25.0, jitter=1234), 1) == -25
