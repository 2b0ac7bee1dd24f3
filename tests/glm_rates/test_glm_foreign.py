"""Files and folders of other programs are refused with the line that converts them, and that line works."""

import re
import subprocess
import sys

import numpy as np
import pytest

from glm_rates.files import blech, recordings
from hdf5io.errors import InputError


def test_the_line_for_a_phy_folder_makes_its_spike_table(tmp_path):
    phy = tmp_path / "phy"
    phy.mkdir()
    np.save(phy / "spike_times.npy", np.array([[30], [60], [90]], np.uint64))
    np.save(phy / "spike_clusters.npy", np.array([2, 1, 2], np.int32))
    with pytest.raises(InputError, match="It is of Phy or Kilosort") as refused:
        blech.one_file(phy, ".h5")
    code = re.search(r'python -c "(.*)" makes', str(refused.value)).group(1)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "spikes.csv").read_text().split() == ["unit_id,time_samples", "2,30", "1,60", "2,90"]


@pytest.mark.parametrize(
    ("name", "said"), [("a.plx", "PlexonIO("), ("a.nex", "NeuroExplorerIO("), ("a.NSE", "NeuralynxIO(")]
)
def test_files_of_other_programs_are_refused_with_neos_reader(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"NEX1")
    with pytest.raises(InputError, match="cannot read") as refused:
        recordings.read_times(tmp_path / name, {})
    assert said in str(refused.value)


def test_a_folder_of_no_known_program_names_none(tmp_path):
    with pytest.raises(InputError, match=r"expected a blech_clust directory\.$"):
        blech.one_file(tmp_path, ".h5")
