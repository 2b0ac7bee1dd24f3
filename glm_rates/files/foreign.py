"""Which program wrote a file or folder that is not read here, and which line makes a spike table of it?"""

from __future__ import annotations

from pathlib import Path

WITH_NEO = {
    ".nex": ("NeuroExplorer", "NeuroExplorerIO"),
    ".plx": ("Plexon", "PlexonIO"),
    ".pl2": ("Plexon", "Plexon2IO"),
    ".nev": ("Blackrock", "BlackrockIO"),
    ".nse": ("Neuralynx", "NeuralynxIO"),
    ".ntt": ("Neuralynx", "NeuralynxIO"),
    ".nst": ("Neuralynx", "NeuralynxIO"),
}  # by ending: the program, and neo's reader; Neuralynx's takes the folder
NEO = (
    "import neo, pandas as pd; t = neo.io.{reader}('{path}').read_block().segments[0].spiketrains; "
    "pd.concat(pd.DataFrame(dict(unit_id=i, time_s=x.rescale('s').magnitude)) for i, x in enumerate(t))"
)
PHY = (
    "import numpy as np, pandas as pd; pd.DataFrame(dict(unit_id=np.load('{path}/spike_clusters.npy').ravel(), "
    "time_samples=np.load('{path}/spike_times.npy').ravel()))"
)
SPIKEINTERFACE = (
    "import spikeinterface as si, pandas as pd; s = si.load('{path}'); s = getattr(s, 'sorting', s); "
    "pd.concat(pd.DataFrame(dict(unit_id=u, time_s=s.get_unit_spike_train(u, return_times=True))) for u in s.unit_ids)"
)


def how_to_convert(source: Path) -> str:
    """A sentence that names the program and the line that makes ``spikes.csv``; empty where neither is known.

    Examples
    --------
    >>> how_to_convert(Path("a.plx")).split(";")[0]
    ' It is of Plexon: python -c "import neo, pandas as pd'
    """
    ending = source.suffix.lower()
    if ending in WITH_NEO and not source.is_dir():
        program, reader = WITH_NEO[ending]
        path = source.parent if program == "Neuralynx" else source
        return _line(program, NEO.format(reader=reader, path=path.as_posix()))
    if all((source / name).is_file() for name in ("spike_times.npy", "spike_clusters.npy")):
        rate = "; then --sampling-rate, in Hz (sample_rate of params.py)"
        return _line("Phy or Kilosort", PHY.format(path=source.as_posix()), rate)
    if any(
        (source / name).exists()
        for name in ("spikeinterface_folder.json", "si_folder.json", "spikeinterface_info.json")
    ):
        return _line("SpikeInterface", SPIKEINTERFACE.format(path=source.as_posix()))
    return ""


def _line(program: str, code: str, more: str = "") -> str:
    return f""" It is of {program}: python -c "{code}.to_csv('spikes.csv', index=False)" makes a spike table of it{more}."""
