"""Killed while it writes into the recording, again and again: old results or new ones, and the user's spikes untouched."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import hdf5io
from glm_rates.files import stored

WRITER = """
import sys
import hdf5io
import numpy as np
from glm_rates.files import stored
path, generation = sys.argv[1], int(sys.argv[2])
with hdf5io.read(path) as file:
    node = file["glm_output"]
    found = {}
    node.visititems(lambda name, d: found.update({name: d[()]}) if hasattr(d, "shape") else None)
    attrs = dict(node.attrs)
new = {n: hdf5io.Dataset(np.full_like(v, generation) if n.endswith("pred_firing") else v) for n, v in found.items()}
print("ready", flush=True)
hdf5io.update(path, stored.GROUP, new, attrs=attrs | {"generation": generation})
"""


def state(path):
    """(generation in the attributes, the values that all rates have, digest of the spikes)."""
    with hdf5io.read(path) as file:
        spikes = [file[f"spike_trains/{name}/spike_array"][()].tobytes() for name in sorted(file["spike_trains"])]
        rates = [group["pred_firing"][()] for group in file["glm_output/regions"].values()]
        return (
            int(file["glm_output"].attrs["generation"]),
            {float(v) for r in rates for v in np.unique(r)},
            hash(tuple(spikes)),
        )


@pytest.mark.slow
def test_fifty_kills_leave_old_results_or_new_ones(inferred, tmp_path):
    path = tmp_path / "recording.h5"
    shutil.copy(inferred[0] / "simulated.h5", path)

    def begin(generation):
        command = [sys.executable, "-c", WRITER, str(path), str(generation)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert child.stdout.readline() == "ready\n"
        return child, time.perf_counter()

    child, start = begin(0)
    assert child.wait() == 0
    duration = time.perf_counter() - start
    kept, _, spikes = state(path)
    rng, outcomes = random.Random(0), {"old": 0, "new": 0}
    for generation in range(1, 51):
        child, start = begin(generation)
        time.sleep(rng.uniform(0, duration))
        child.send_signal(signal.SIGKILL)
        child.wait()
        found, values, now = state(path)
        assert found in (kept, generation)
        assert values == {float(found)}
        assert now == spikes
        outcomes["new" if found == generation else "old"] += 1
        kept = found
    print(outcomes)
    assert stored.read_results(path).summary["models"]
    assert outcomes["old"] > 0
    with h5py.File(path) as h5:
        assert "glm_output" in h5
