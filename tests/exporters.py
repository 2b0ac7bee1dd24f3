"""What lies on people's disks: files and folders in the layouts of the programs that write them, and others that no pipeline reads.

Used by ``test_neuropipes.py``; layouts that another test file imitates already are taken from there.
"""

import importlib.util
import json
import pickle
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

TESTS = Path(__file__).parent
GLM, MESO, UNIT, LAA, NEURO = "glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion"
RNG = np.random.default_rng(0)
N_UNITS, T = 40, 400


def other(path):
    """Return the module of another test file, whose layouts of exporters are used here too."""
    spec = importlib.util.spec_from_file_location(f"layouts_{Path(path).stem}", TESTS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def frame(path, table, **how):
    table.to_csv(path, index=False, **how)
    return path


def spikes(**more):
    """Spike times of four units, one row a spike."""
    return pd.DataFrame({"unit_id": RNG.integers(0, 4, 800), "time_s": np.sort(RNG.uniform(0, 90, 800)), **more})


def metrics(**more):
    """SpikeInterface's quality metrics of 40 units."""
    names = [
        "num_spikes",
        "firing_rate",
        "presence_ratio",
        "snr",
        "isi_violations_ratio",
        "amplitude_cutoff",
        "rp_contamination",
    ]
    values = RNG.uniform(0, 1, (N_UNITS, len(names)))
    return pd.DataFrame(values, columns=names).assign(**more)


QUALITY = ["good", "mua", "noise", "good"] * (N_UNITS // 4)
CALCIUM = RNG.gamma(2.0, 100.0, (12, T)).astype(np.float32)  # traces of a camera: far from [-1, 1]
RATES = np.tanh(RNG.normal(size=(60, 8)))


def suite2p(folder, ops=False):
    folder.mkdir(parents=True)
    for name in ("F", "Fneu", "spks"):
        np.save(folder / f"{name}.npy", CALCIUM)
    np.save(folder / "iscell.npy", np.tile([1.0, 0.9], (len(CALCIUM), 1)))
    if ops:
        np.save(folder / "ops.npy", {"fs": 10.0, "nframes": T}, allow_pickle=True)
    return folder


def phy(folder, name="quality_metrics.csv", **how):
    folder.mkdir()
    written(folder / "params.py", "dat_path = 'recording.dat'\nsample_rate = 30000.0\n")
    np.save(folder / "spike_clusters.npy", RNG.integers(0, N_UNITS, 500))
    np.save(folder / "spike_times.npy", np.sort(RNG.integers(0, 10**6, 500)))
    frame(folder / name, metrics().rename_axis("cluster_id").reset_index(), **how)
    frame(folder / "cluster_group.tsv", pd.DataFrame({"cluster_id": range(N_UNITS), "group": QUALITY}), sep="\t")
    return folder


def analyzer(folder):
    for name in ("sorting/spikes", "extensions/quality_metrics"):
        (folder / name).mkdir(parents=True)
    written(folder / "spikeinterface_info.json", json.dumps({"version": "0.105.3", "object": "SortingAnalyzer"}))
    metrics().to_csv(folder / "extensions/quality_metrics/metrics.csv")
    written(folder / "extensions/quality_metrics/params.json", json.dumps({"metric_names": ["snr"]}))
    return folder


def trace(header="time_ms,voltage_mV,current_pA", scale=(1.0, 1.0, 1.0), sep=","):
    t = np.arange(0, 200, 0.2)
    step = ((t > 50) & (t < 150)) * 20.0
    rows = np.column_stack([t, -65 + 0.2 * step + RNG.normal(0, 0.1, len(t)), step]) * scale
    return "\n".join([header.replace(",", sep), *(sep.join(f"{x:.6g}" for x in row) for row in rows)]) + "\n"


def hdf5(path, attrs=(), **arrays):
    with h5py.File(path, "w") as file:
        file.attrs.update(dict(attrs))
        for name, array in arrays.items():
            file[name] = array
    return path


def curation(path):
    labels = [{"unit_id": i, "labels": {"quality": [q]}} for i, q in enumerate(QUALITY)]
    document = {
        "format_version": "2", "unit_ids": [*range(N_UNITS)], "manual_labels": labels, "removed": [], "merges": [], "splits": [],
        "label_definitions": {"quality": {"label_options": ["good", "noise", "mua"], "exclusive": True}},
    }  # fmt: skip
    return written(path, json.dumps(document))


def nwb(path, units=3, trials=0):
    from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    for i in range(units):
        file.add_unit(spike_times=np.sort(RNG.uniform(0, 90, 300)), id=i)
    for i in range(trials):
        file.add_trial(start_time=4.0 + 8 * i, stop_time=8.0 + 8 * i)
    with NWBHDF5IO(path, "w") as handle:
        handle.write(file)
    return path


def edges(header="pre,post,weight", sep=",", names="abcdefgh"):
    rows = [f"{names[i]}{sep}{names[(i * 3 + 1) % 8]}{sep}{1 + i % 5}" for i in range(8)]
    return "\n".join([header.replace(",", sep), *rows] if header else rows) + "\n"


def matlab(path, **arrays):
    from scipy.io import savemat

    savemat(path, arrays)
    return path


def in_folder(folder, make, *names):
    """Several files of one kind in a folder that nobody reads as such."""
    folder.mkdir()
    for name in names:
        make(folder / name)
    return folder


def a_file_of(folder, name):
    """A file that means nothing without its folder."""
    return folder / name


def abf(path, o):
    m = o("laa_bayes/abf_files.py")
    epochs = [(1, 0.0, 0.0, 200, 0, 0, 0), (1, 20.0, 10.0, 500, 0, 0, 0)]
    return m.write_abf2(path, -65 + RNG.normal(0, 0.1, (3, 1000, 1)), [(0, "IN 0", "mV")], [m.output(epochs=epochs)])


EXPORTERS, SPIKES, TRACES = (
    "meso_forecast/test_meso_exporters.py",
    "glm_rates/test_glm_nwb.py",
    "laa_bayes/test_laa_bayes_files.py",
)

#: what it is -> (the pipeline that reads it, how it is made in folder f; o loads other tests' exporters)
CASES = {
    "blech_clust directory": (GLM, lambda f, o: o("test_fuzz.py").blech(f)),
    "the .h5 of a blech_clust directory": (GLM, lambda f, o: next(o("test_fuzz.py").blech(f).glob("*.h5"))),
    "spike table": (GLM, lambda f, o: frame(f / "spikes.csv", spikes())),
    "spike table with regions": (GLM, lambda f, o: frame(f / "spikes.csv", spikes(region="CA1"))),
    "spike table, semicolons and decimal commas": (GLM, lambda f, o: frame(f / "s.csv", spikes(), sep=";", decimal=",")),
    "spike table, tabs": (GLM, lambda f, o: frame(f / "spikes.tsv", spikes(), sep="\t")),
    "spike table in ms": (GLM, lambda f, o: frame(f / "s.csv", spikes().assign(time_ms=lambda x: x.time_s * 1e3).drop(columns="time_s"))),
    "spike parquet": (GLM, lambda f, o: (spikes().to_parquet(f / "s.parquet"), f / "s.parquet")[1]),
    "spike npz": (GLM, lambda f, o: (np.savez(f / "s.npz", **{k: v.to_numpy() for k, v in spikes().items()}), f / "s.npz")[1]),
    "NWB units": (GLM, lambda f, o: nwb(f / "x.nwb")),
    "NWB units and trials": (GLM, lambda f, o: nwb(f / "x.nwb", trials=12)),
    "NWB of the Allen Institute": (GLM, lambda f, o: o(SPIKES).allen_visual_coding(f / "a.nwb")[0]),
    "NWB with electrodes": (GLM, lambda f, o: o(SPIKES).electrode_references(f / "a.nwb")[0]),
    "NWB with areas": (GLM, lambda f, o: o(SPIKES).own_region_column(f / "a.nwb")[0]),
    "NWB with tetrodes": (GLM, lambda f, o: o(SPIKES).electrode_groups(f / "a.nwb")[0]),
    "folder of NWB files": (GLM, lambda f, o: in_folder(f / "many", nwb, "a.nwb", "b.nwb")),
    "ALF session": (MESO, lambda f, o: o("test_fuzz.py").alf(f)),
    "ONE cache": (MESO, lambda f, o: (o("test_fuzz.py").alf(f), f / "one")[1]),
    "preprocessed session": (MESO, lambda f, o: o("test_fuzz.py").session(f)),
    "suite2p plane": (MESO, lambda f, o: suite2p(f / "plane0")),
    "suite2p with ops": (MESO, lambda f, o: suite2p(f / "plane0", ops=True)),
    "suite2p session root": (MESO, lambda f, o: (suite2p(f / "s/suite2p/plane0"), suite2p(f / "s/suite2p/plane1"), f / "s")[2]),
    "a file of a suite2p plane": (MESO, lambda f, o: a_file_of(suite2p(f / "plane0"), "iscell.npy")),
    "Fall.mat": (MESO, lambda f, o: matlab(f / "Fall.mat", F=CALCIUM, Fneu=CALCIUM, spks=CALCIUM, iscell=np.ones((12, 2)))),
    "NWB of suite2p": (MESO, lambda f, o: o(EXPORTERS).suite2p_nwb(f / "s.nwb")),
    "NWB of suite2p, two channels": (MESO, lambda f, o: o(EXPORTERS).suite2p_nwb(f / "s.nwb", channels=2)),
    "NWB of CaImAn": (MESO, lambda f, o: o(EXPORTERS).caiman_nwb(f / "c.nwb")),
    "NWB of IBL": (MESO, lambda f, o: o(EXPORTERS).ibl_nwb(f / "i.nwb", "Accepted")),
    "CaImAn results": (MESO, lambda f, o: o(EXPORTERS).caiman_h5(f / "c.hdf5")),
    "activity file": (MESO, lambda f, o: hdf5(f / "a.h5", activity_matrix=CALCIUM.T, timestamps=np.arange(T) / 10)),
    "traces in a CSV": (MESO, lambda f, o: frame(f / "t.csv", pd.DataFrame(CALCIUM.T, columns=[f"cell{i}" for i in range(12)]))),
    "traces with a clock": (MESO, lambda f, o: frame(f / "t.csv", pd.DataFrame(CALCIUM.T).assign(time_s=np.arange(T) / 10))),
    "traces in an .npy": (MESO, lambda f, o: (np.save(f / "dff.npy", np.tile(CALCIUM, 5).T), f / "dff.npy")[1]),
    "metrics table": (UNIT, lambda f, o: frame(f / "m.csv", metrics().rename_axis("unit_id").reset_index())),
    "metrics and labels": (UNIT, lambda f, o: frame(f / "m.csv", metrics(majority_vote=QUALITY).rename_axis("cluster_id").reset_index())),
    "metrics with an unnamed row number": (UNIT, lambda f, o: (metrics(label=QUALITY).to_csv(f / "m.csv"), f / "m.csv")[1]),
    "metrics parquet": (UNIT, lambda f, o: (metrics().rename_axis("unit_id").reset_index().to_parquet(f / "m.parquet"), f / "m.parquet")[1]),
    "Phy folder": (UNIT, lambda f, o: phy(f / "phy")),
    "Phy folder with cluster_info": (UNIT, lambda f, o: phy(f / "phy", "cluster_info.tsv", sep="\t")),
    "SortingAnalyzer": (UNIT, lambda f, o: analyzer(f / "analyzer")),
    "cluster_group.tsv": (UNIT, lambda f, o: written(f / "cluster_group.tsv", o("unit_refine/test_unit_refine_labels.py").text())),
    "cluster_groups.csv of old Phy": (UNIT, lambda f, o: written(f / "cluster_groups.csv", o("unit_refine/test_unit_refine_labels.py").text())),
    "curation JSON": (UNIT, lambda f, o: curation(f / "curation.json")),
    "trained model": (UNIT, lambda f, o: o("test_fuzz.py").unit_model(f)),
    "folder of metrics tables": (UNIT, lambda f, o: in_folder(f / "many", lambda p: frame(p, metrics().rename_axis("unit_id").reset_index()), "a.csv", "b.csv")),
    "voltage CSV": (LAA, lambda f, o: written(f / "v.csv", trace())),
    "voltage CSV in s, V, A": (LAA, lambda f, o: written(f / "v.csv", trace("time_s,voltage_V,current_A", (1e-3, 1e-3, 1e-12)))),
    "voltage TSV": (LAA, lambda f, o: written(f / "v.tsv", trace(sep="\t"))),
    "trace of laa-bayes": (LAA, lambda f, o: o("test_fuzz.py").trace_csv(f)),
    "trace in HDF5": (LAA, lambda f, o: o("test_fuzz.py").trace_h5(f)),
    "trace in npz": (LAA, lambda f, o: o("test_fuzz.py").trace_npz(f)),
    "Allen cell in npz": (LAA, lambda f, o: (np.savez(f / "c.npz", t_ms=np.arange(500) / 10, v_mV=RNG.normal(-70, 1, 500), i_pA=np.r_[np.zeros(250), np.ones(250) * 90], dt_ms=0.1), f / "c.npz")[1]),
    "current clamp NWB": (LAA, lambda f, o: o(TRACES).write_nwb(f / "c.nwb", RNG.normal(-65, 1, 900), np.r_[np.zeros(300), np.ones(600) * 50], 0.1)),
    "HDF5 with units": (LAA, lambda f, o: o(TRACES).write_hdf5(f / "c.h5", np.arange(900) / 1e4, RNG.normal(-65, 1, 900), np.r_[np.zeros(300), np.ones(600) * 0.05])),
    "ABF 2": (LAA, lambda f, o: abf(f / "cell.abf", o)),
    "folder of ABF files": (LAA, lambda f, o: in_folder(f / "cells", lambda p: abf(p, o), "1.abf", "2.abf", "3.abf")),
    "rates .npy": (NEURO, lambda f, o: (np.save(f / "x.npy", RATES), f / "x.npy")[1]),
    "rates of trials .npy": (NEURO, lambda f, o: o("test_fuzz.py").activity_npy(f)),
    "rates of neuro-diffusion": (NEURO, lambda f, o: o("test_fuzz.py").activity_h5(f)),
    "rates CSV": (NEURO, lambda f, o: frame(f / "rates.csv", pd.DataFrame(RATES, columns=[f"neuron{i}" for i in range(8)]))),
    "rates .mat": (NEURO, lambda f, o: matlab(f / "rates.mat", x=RATES)),
    "edge list": (NEURO, lambda f, o: written(f / "edges.csv", edges())),
    "edge list without a header": (NEURO, lambda f, o: written(f / "edges.csv", edges("", names="12345678"))),
    "edge list, tabs": (NEURO, lambda f, o: written(f / "e.tsv", edges("source,target,weight", "\t"))),
    "connectome as networkx writes it": (NEURO, lambda f, o: written(f / "e.txt", o("neuro_diffusion/test_neuro_diffusion_files.py").text_of("networkx weighted"))),
    "GraphML": (NEURO, lambda f, o: written(f / "e.graphml", o("neuro_diffusion/test_neuro_diffusion_files.py").text_of("graphml"))),
    "square connectome CSV": (NEURO, lambda f, o: (pd.DataFrame(np.rint(RNG.gamma(0.4, 9, (8, 8))), [*"abcdefgh"], [*"abcdefgh"]).to_csv(f / "c.csv"), f / "c.csv")[1]),
    "connectome .mat": (NEURO, lambda f, o: matlab(f / "c.mat", W=RNG.gamma(0.4, 9, (8, 8)))),
    "data set of networks": (NEURO, lambda f, o: o("test_fuzz.py").networks(f)),
}  # fmt: skip

#: what nobody reads, and what doctor must say of it
FOREIGN = {
    "photograph": lambda f: written(f / "holiday.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + RNG.bytes(4000)),
    "empty file": lambda f: written(f / "empty.csv", ""),
    "empty folder": lambda f: (f / "nothing").mkdir() or f / "nothing",
    "letter": lambda f: written(f / "letter.txt", "Dear colleague,\n\nthe electrodes arrived.\n\nYours\n"),
    "text without a suffix": lambda f: written(f / "README", "see the wiki\n"),
    "pickle": lambda f: written(f / "data.pkl", pickle.dumps({"a": [1, 2, 3]})),
    "folder of photographs": lambda f: in_folder(f / "holiday", lambda p: written(p, b"\xff\xd8\xff\xe0" + RNG.bytes(900)), "1.jpg", "2.jpg"),
    "program": lambda f: written(f / "a.out", b"\x7fELF" + RNG.bytes(2000)),
    "PDF": lambda f: written(f / "paper.pdf", b"%PDF-1.7\n" + RNG.bytes(2000)),
    "JSON of something else": lambda f: written(f / "package.json", '{"name": "x", "version": "1.0.0"}'),
    "address list": lambda f: written(f / "people.csv", "name,town,telephone\nAda,London,12-345\nBo,Lund,98-765\n"),
    "noise named .h5": lambda f: written(f / "broken.h5", RNG.bytes(3000)),
    "noise named .nwb": lambda f: written(f / "broken.nwb", b"\x89HDF\r\n\x1a\n" + RNG.bytes(3000)),
    "noise named .abf": lambda f: written(f / "broken.abf", b"ABF2" + RNG.bytes(3000)),
    "folder of folders": lambda f: (f / "a/b/c").mkdir(parents=True) or f / "a",
}  # fmt: skip


def zipped(folder):
    with zipfile.ZipFile(folder / "backup.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    return folder / "backup.zip"


FOREIGN["zip archive"] = zipped
