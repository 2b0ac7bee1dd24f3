"""Nothing of a foreign analyzer is executed: what its files name is looked at, however deep, before anything is loaded."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine.files import analyzers, recordings, trust

POPEN = {"class": "subprocess.Popen", "module": "subprocess", "kwargs": {"args": ["true"]}, "version": "1"}
SLICE = "spikeinterface.core.channelslice.ChannelSliceRecording"


def extractor(named, **kwargs):
    """Return a recording's description as SpikeInterface writes it."""
    return {
        "class": named, "module": "spikeinterface", "version": "0.105.3", "kwargs": kwargs, "annotations": {}, "properties": {},
        "relative_paths": False,
    }  # fmt: skip


@pytest.fixture
def analyzer(tmp_path):
    """Return a binary analyzer folder with metrics, laid out as SpikeInterface 0.105 does."""
    path = tmp_path / "analyzer"
    for name in ("sorting/properties", "extensions/quality_metrics", "extensions/template_metrics", "recording_info"):
        (path / name).mkdir(parents=True)
    (path / "spikeinterface_info.json").write_text(
        '{"version": "0.105.3", "dev_mode": false, "object": "SortingAnalyzer"}'
    )
    ids = [7, 3, 12]
    (path / "sorting" / "numpysorting_info.json").write_text(json.dumps({"unit_ids": ids, "num_segments": 1}))
    np.save(path / "sorting" / "properties" / "quality.npy", np.array(["good", "mua", "noise"]))
    pd.DataFrame({"snr": [1.0, 2.0, 3.0]}, index=ids).to_csv(path / "extensions" / "quality_metrics" / "metrics.csv")
    table = pd.DataFrame({"half_width": [3e-4, 1e-4, 2e-4]}, index=[12, 7, 3])
    table.to_csv(path / "extensions" / "template_metrics" / "metrics.csv")
    for name in ("quality_metrics", "template_metrics"):
        note = {
            "class": f"spikeinterface.metrics.{name}.ComputeMetrics",
            "module": "spikeinterface",
            "version": "0.105.3",
        }
        (path / "extensions" / name / "info.json").write_text(json.dumps(note))
        (path / "extensions" / name / "params.json").write_text(json.dumps({"metric_names": ["snr"], "skip": 1}))
    return path


def test_the_metrics_of_two_extensions_are_joined_by_unit_id(analyzer):
    found = analyzers.read(analyzer)
    assert found.unit_ids == ["7", "3", "12"]
    assert found.table.to_dict("list") == {"snr": [1.0, 2.0, 3.0], "half_width": [1e-4, 2e-4, 3e-4]}
    assert found.property_values("quality") == ["good", "mua", "noise"]
    assert found.params["quality_metric_params"] == {"metric_names": ["snr"]}


def test_an_ordinary_analyzer_holds_no_danger(analyzer):
    (analyzer / "recording.json").write_text(
        json.dumps(extractor("spikeinterface.preprocessing.filter.BandpassFilterRecording", recording=extractor(
            "spikeinterface.extractors.neoextractors.spikeglx.SpikeGLXRecordingExtractor", folder_path="/data/run_g0")))
    )  # fmt: skip
    pca = analyzer / "extensions" / "principal_components"
    pca.mkdir()
    (pca / "model.pkl").write_bytes(b"never loaded")
    assert trust.dangers(analyzer) == []


HOSTILE = {
    "a class of the standard library": POPEN,
    "a function of SpikeInterface": extractor("spikeinterface.core.loading.load", file_or_folder_or_dict="x.pkl"),
    "a module's own import": extractor("spikeinterface.core.base.importlib.import_module", name="x"),
    "a step that loads networks": extractor("spikeinterface.preprocessing.deepinterpolation.DeepInterpolatedRecording"),
    "a foreign module": {**extractor(SLICE), "module": "evil"},
    "inside an argument": extractor(SLICE, parent_recording=POPEN),
    "inside a list of a dict": extractor(SLICE, parents={"a": [[{"b": POPEN}]]}),
    "in annotations": {**extractor(SLICE), "annotations": {"x": POPEN}},
    "an address": extractor(
        "spikeinterface.core.zarrextractors.ZarrRecordingExtractor", folder_path="s3://bucket/x.zarr"
    ),
    "a plugin to install": extractor(
        "spikeinterface.extractors.neoextractors.maxwell.MaxwellRecordingExtractor", install_maxwell_plugin=True
    ),
    "spelled with escapes": json.loads('{"cl\\u0061ss": "os.system", "module": "os", "kwargs": {}}'),
}


@pytest.mark.parametrize("case", list(HOSTILE))
@pytest.mark.parametrize("place", ["recording.json", "sorting/provenance.json", "extensions/quality_metrics/more.json"])
def test_a_foreign_class_is_found_wherever_it_stands(case, place, analyzer):
    (analyzer / place).write_text(json.dumps(HOSTILE[case]))
    assert any(text.startswith(place) for text in trust.dangers(analyzer))
    assert analyzers.read(analyzer).unit_ids == ["7", "3", "12"]  # its metrics need none of it


def test_what_arguments_name_is_looked_at_too(analyzer, tmp_path):
    other, third = tmp_path / "recording", tmp_path / "third"
    (other / "properties").mkdir(parents=True)
    third.mkdir()
    np.save(third / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    folder = "spikeinterface.core.binaryfolder.BinaryFolderRecording"
    (other / "binary.json").write_text(json.dumps(extractor(folder, folder_path="../third")))
    (analyzer / "recording.json").write_text(json.dumps(extractor(folder, folder_path=str(other))))
    assert trust.dangers(analyzer) == [f"{third / 'x.npy'} holds a pickle"]


def test_links_that_lead_outside_are_refused_and_links_inside_are_not(analyzer, tmp_path):
    (analyzer / "inside.npy").symlink_to(analyzer / "sorting" / "properties" / "quality.npy")
    assert trust.dangers(analyzer) == []
    (tmp_path / "outside").mkdir()
    (analyzer / "sorting" / "more").symlink_to(tmp_path / "outside")
    assert trust.dangers(analyzer) == ["sorting/more is a link that leads outside"]
    with pytest.raises(InputError, match="is a link that leads outside: opening it can execute code"):
        analyzers.read(analyzer)


def test_a_property_of_objects_is_not_unpickled(analyzer):
    np.save(analyzer / "sorting" / "properties" / "notes.npy", np.array([{}] * 3, dtype=object), allow_pickle=True)
    (analyzer / "sorting" / "properties" / "raw.npy").write_bytes(pickle.dumps([1]))
    found = analyzers.read(analyzer)
    for name in ("notes", "raw"):
        with pytest.raises(InputError, match=f"{name}.npy holds a pickle"):
            found.property_values(name)
    assert analyzers.read(analyzer, trust_pickles=True).property_values("notes") == [{}] * 3


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("sorting/numpysorting_info.json", "[" * 100_000),
        ("sorting/numpysorting_info.json", "[]"),
        ("extensions/quality_metrics/params.json", "3"),
        ("extensions/quality_metrics/metrics.csv", ""),
        ("extensions/quality_metrics/metrics.csv", ",snr\n7,1\n7,2\n"),
        ("extensions/quality_metrics/metrics.csv", ",snr\n100,1\n101,2\n"),
    ],
)
def test_a_broken_analyzer_is_one_line(place, content, analyzer):
    (analyzer / place).write_text(content)
    with pytest.raises(InputError, match=r"analyzer"):
        analyzers.read(analyzer)


def test_metrics_of_a_zarr_analyzer_are_read_and_harmful_codecs_are_not(tmp_path):
    zarr, numcodecs = pytest.importorskip("zarr"), pytest.importorskip("numcodecs")
    path = tmp_path / "a.zarr"
    root = zarr.open_group(str(path), mode="w")
    root.create_dataset("sorting/unit_ids", data=np.array([4, 9]))
    root.create_dataset("sorting/properties/quality", data=np.array(["good", "noise"], dtype="<U5"))
    for name, column in (("quality_metrics", "snr"), ("template_metrics", "half_width")):
        root.create_dataset(f"extensions/{name}/metrics/index", data=np.array([9, 4]))
        root.create_dataset(f"extensions/{name}/metrics/{column}", data=np.array([1.0, 2.0]))
    found = recordings.read_analyzer(path, False, False)
    assert (found.unit_ids, found.table["snr"].tolist()) == (["4", "9"], [2.0, 1.0])
    assert found.property_values("quality") == ["good", "noise"]
    root.create_dataset(
        "recording", data=np.array([POPEN], dtype=object), object_codec=numcodecs.JSON()
    )  # fmt: skip
    assert trust.dangers(path)[:1] == ["recording names the class subprocess.Popen"]
    root.create_dataset("sorting_provenance", data=np.array([{}], dtype=object), object_codec=numcodecs.Pickle())
    root.create_dataset("sorting/properties/odd", data=np.array([{}], dtype=object), object_codec=numcodecs.Pickle())
    again = recordings.read_analyzer(path, False, False)  # what is not read may be pickled
    assert again.table["snr"].tolist() == [2.0, 1.0]
    with pytest.raises(InputError, match="properties/odd holds a pickle"):
        again.property_values("odd")
    header = path / "extensions" / "quality_metrics" / "metrics" / "snr" / ".zarray"
    content = json.loads(header.read_text())
    header.write_text(
        json.dumps({**content, "dtype": "|O", "filters": [{"id": "pickle"}]}).replace("pickle", "p\\u0069ckle")
    )
    with pytest.raises(InputError, match=r"metrics/snr holds a pickle"):
        analyzers.read(path)
