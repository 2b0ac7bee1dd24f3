"""The page on which a person labels units: what is on it, typed into a real browser, read back by SpikeInterface and Phy's reader."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine.config import ReviewConfig
from unit_refine.files import label_files, merge_candidates, pictures
from unit_refine.files.phy import read as read_phy
from unit_refine.score import review
from unit_refine.score.review import content
from unit_refine.show.review import page
from unit_refine.units import trains

BROWSER = next((b for b in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if b), None)
N = 60


def spikes_of(rng, n, refractory_ms=3.0, duration_ms=60_000.0):
    """Return n spike times in ms that keep a refractory period."""
    times = np.cumsum(refractory_ms + rng.exponential(duration_ms / n - refractory_ms, n))
    return times[times < duration_ms]


@pytest.fixture(scope="module")
def phy(tables, tmp_path_factory):
    """Return a Phy folder as SpikeInterface exports one; units 40 and 41 are two halves of one neuron."""
    folder, rng = tmp_path_factory.mktemp("review") / "phy", np.random.default_rng(3)
    folder.mkdir()
    (folder / "params.py").write_text("dat_path = r'None'\nn_channels_dat = 12\nsample_rate = 30000.0\n")
    shutil.copy(tables / "bare3.csv", folder / "quality_metrics.csv")
    (folder / "cluster_group.tsv").write_text(
        "cluster_id\tgroup\n5\tmua\n" + "".join(f"{i}\tunsorted\n" for i in range(6, N))
    )
    shapes = rng.normal(0, 1, (N, 40, 12)).cumsum(axis=1)
    whole = spikes_of(rng, 1500)
    half = rng.random(len(whole)) < 0.5
    own = [spikes_of(rng, int(rng.integers(300, 900))) for _ in range(N)]
    own[40], own[41], shapes[41] = whole[half], whole[~half], shapes[40] * 0.9
    times, clusters = np.concatenate(own), np.repeat(np.arange(N), [len(t) for t in own])
    order = np.argsort(times)
    np.save(folder / "spike_times.npy", (times[order] * 30).astype(np.int64)[:, None])
    for name in ("spike_clusters", "spike_templates"):
        np.save(folder / f"{name}.npy", clusters[order][:, None])
    np.save(folder / "amplitudes.npy", rng.normal(50, 5, (len(times), 1)).astype(np.float32))
    np.save(folder / "templates.npy", shapes)
    np.save(folder / "template_ind.npy", np.tile(np.arange(12), (N, 1)))
    return folder


@pytest.fixture(scope="module")
def found(phy, model):
    return content(ReviewConfig(model=model, inputs=[phy]))


def typed(path, script):
    """Return what a page says after a script ran in a real browser, as JSON."""
    path.write_text(
        path.read_text().replace(
            "</body>",
            f"<pre id='out'></pre><script>document.getElementById('out').textContent = (() => {{ {script} }})()</script></body>",
        )
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={path.parent / 'browser'}",
        "--dump-dom",
        path.as_uri(),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told = re.search(r"<pre id=\"out\">(.*?)</pre>", answer.stdout, re.DOTALL)
    assert told, (answer.stdout[-500:], answer.stderr[-2000:])
    return json.loads(html.unescape(told[1]))


PRESS = "const press = k => document.dispatchEvent(new KeyboardEvent('keydown', {key: k}));"


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_labels_typed_in_a_browser_come_back_in_spikeinterface_and_phy(found, tmp_path):
    pytest.importorskip("spikeinterface")
    from spikeinterface.curation.curation_model import Curation

    (tmp_path / "review.html").write_text(page(found))
    order = [u["id"] for u in found["units"]]
    said = typed(
        tmp_path / "review.html",
        PRESS
        + """'gmnug'.split('').forEach(press); press('z');
        document.querySelector('.merge button').click();
        $('filter').value = 'labelled'; $('filter').onchange(); const few = document.querySelectorAll('#list button').length;
        return JSON.stringify({json: JSON.parse(json()), tsv: tsv(), csv: csv(), few, done: $('progress').textContent,
                               figures: document.querySelectorAll('canvas').length})""",
    )
    wanted = {order[0]: "good", order[1]: "mua", order[2]: "noise", "5": "mua"}
    if "5" in order[:5]:
        pytest.fail("the unit that was labelled before stands among the first: choose another for this test")
    curation = Curation(**said["json"])
    assert {str(m.unit_id): m.labels["quality"][0] for m in curation.manual_labels} == wanted
    assert [sorted(m.unit_ids) for m in curation.merges] == [[40, 41]]
    assert len(curation.unit_ids) == N
    (tmp_path / "cluster_group.tsv").write_text(said["tsv"])
    assert label_files.read_label_file(tmp_path / "cluster_group.tsv").labels == wanted
    table = pd.read_csv(pd.io.common.StringIO(said["csv"])).set_index("unit_id")
    assert table["label"].dropna().to_dict() == {int(k): v for k, v in wanted.items()}
    assert table["by"].value_counts().to_dict() == {
        "review": 4,
        "before": 1,
    }  # one was left open, the fifth step undone
    assert said["few"] == 4
    assert said["done"] == f"5 of {N} decided"
    assert said["figures"] == 5


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_a_page_of_a_thousand_units_of_a_table_is_metrics_only_and_quick(found, tmp_path):
    many = [{**found["units"][i % N], "id": f"<b>{i}"} for i in range(1000)]
    for unit in many:
        for key in ("acg", "template", "neighbour", "amplitudes"):
            unit.pop(key, None)
    (tmp_path / "many.html").write_text(page(found | {"units": many, "merges": [], "ids": [u["id"] for u in many]}))
    said = typed(
        tmp_path / "many.html",
        PRESS
        + """const t = performance.now(); for (let i = 0; i < 20; i++) press('g');
        return JSON.stringify({ms: (performance.now() - t) / 20, shown: document.querySelectorAll('#list button').length,
            canvases: document.querySelectorAll('canvas').length, labelled: JSON.parse(json()).manual_labels.map(m => m.unit_id)})""",
    )
    assert said["shown"] == 1000
    assert said["canvases"] == 0
    assert said["labelled"][:2] == ["<b>0", "<b>1"]
    assert len(said["labelled"]) >= 20


def test_the_page_has_every_unit_the_least_certain_first_with_pictures_and_reasons(found, phy):
    units = found["units"]
    leads = [sorted(u["p"])[-1] - sorted(u["p"])[-2] for u in units]
    assert leads == pytest.approx(sorted(leads), abs=2e-6)
    assert {u["id"] for u in units} == {str(i) for i in range(N)}
    times = np.load(phy / "spike_times.npy").ravel() / 30
    of = np.load(phy / "spike_clusters.npy").ravel()
    for unit in units[:5]:
        own = times[of == int(unit["id"])]
        assert unit["n_spikes"] == len(own)
        assert sum(unit["acg"][24:26]) == 0
        assert sum(unit["acg"]) > 0
        assert len(unit["amplitudes"][0]) == min(len(own), 300)
        assert len(unit["template"]) == 6
    assert [sorted(m["ids"]) for m in found["merges"]] == [["40", "41"]]
    assert next(u for u in units if u["id"] == "40")["neighbour"]["id"] == "41"
    assert next(u for u in units if u["id"] == "5")["given"] == "mua"
    told = page(found)
    assert "http://" not in told
    assert "https://" not in told
    assert "src=" not in told.replace("script-src", "").replace("img-src", "")


def test_the_template_of_a_merged_cluster_is_the_mean_of_its_spikes_templates(phy, tmp_path):
    folder = tmp_path / "merged"
    shutil.copytree(phy, folder)
    of = np.load(folder / "spike_templates.npy").ravel()
    np.save(folder / "spike_clusters.npy", np.where(np.isin(of, [3, 4]), 99, of)[:, None])
    found = pictures.read(folder, ["99", "5"])
    shapes, n3, n4 = np.load(folder / "templates.npy"), (of == 3).sum(), (of == 4).sum()
    np.testing.assert_allclose(found.templates[0], (n3 * shapes[3] + n4 * shapes[4]) / (n3 + n4), rtol=1e-4, atol=1e-4)
    assert (found.unit == 0).sum() == n3 + n4
    (folder / "params.py").write_text("dat_path = 'x'\n")
    with pytest.raises(InputError, match="sample_rate"):
        pictures.read(folder, ["99"])


def test_ids_on_the_page_of_spikeinterfaces_export_are_its_own_in_the_curation_file(phy, model, tmp_path):
    folder, units = tmp_path / "export", np.random.default_rng(0).permutation(N) + 100
    shutil.copytree(phy, folder)
    names = pd.DataFrame({"cluster_id": range(N), "si_unit_id": units})
    names.to_csv(folder / "cluster_si_unit_ids.tsv", sep="\t", index=False)
    found = content(ReviewConfig(model=model, inputs=[folder]))
    assert found["si_ids"] == {str(i): int(u) for i, u in enumerate(units)}
    assert found["id_of"] == "cluster"


def test_a_correlogram_is_that_of_counting_every_pair():
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.uniform(0, 500, 80)), np.sort(rng.uniform(0, 500, 60))
    edges = np.arange(-25, 25.5)
    gaps = (b[None, :] - a[:, None]).ravel()
    np.testing.assert_array_equal(trains.correlogram(a, b), np.histogram(gaps, edges)[0])
    own = (a[None, :] - a[:, None])[~np.eye(80, dtype=bool)]
    np.testing.assert_array_equal(trains.correlogram(a), np.histogram(own, edges)[0])
    assert trains.correlogram(np.array([]), b).sum() == 0


def test_two_neurons_of_the_same_shape_are_no_candidates_and_too_few_spikes_tell_nothing():
    rng = np.random.default_rng(1)
    alike = np.ones((2, 2))
    whole = spikes_of(rng, 1500)
    half = rng.random(len(whole)) < 0.5
    split, apart = [whole[half], whole[~half]], [spikes_of(rng, 800), spikes_of(rng, 800)]
    assert len(trains.merge_candidates(split, alike, 60_000)) == 1
    assert trains.merge_candidates(apart, alike, 60_000) == []
    assert trains.merge_candidates([t[:20] for t in split], alike, 60_000) == []
    assert trains.merge_candidates(split, np.eye(2), 60_000) == []


def test_several_recordings_are_not_one_page(tables, model):
    with pytest.raises(InputError, match="one page is for one recording"):
        content(ReviewConfig(model=model, inputs=[tables / "bare2.csv", tables / "bare3.csv"]))
    found = content(ReviewConfig(model=model, inputs=[tables / "bare3.csv"], n_units=7))
    assert len(found["units"]) == 7
    assert found["merges"] == []
    assert "acg" not in found["units"][0]


def test_counts_that_spikeinterfaces_export_leaves_out_come_from_the_spikes(phy, tmp_path):
    folder = tmp_path / "counts"
    shutil.copytree(phy, folder)
    table = pd.read_csv(folder / "quality_metrics.csv").drop(columns=["firing_rate", "num_spikes"], errors="ignore")
    table.to_csv(folder / "quality_metrics.csv", index=False)
    found = read_phy(folder)
    counts = np.bincount(np.load(folder / "spike_clusters.npy").ravel(), minlength=N)
    last = np.load(folder / "spike_times.npy").max() / 30_000
    at = [int(i) for i in found.unit_ids]
    np.testing.assert_array_equal(found.table["num_spikes"], counts[at])
    np.testing.assert_allclose(found.table["firing_rate"], counts[at] / last)


def test_merge_candidates_of_spikeinterface_stand_beside_ours(tmp_path):
    """An analyzer with two units cut in two: both scores name them, and a group of three becomes one merge."""
    core = pytest.importorskip("spikeinterface.core")
    recording, sorting = core.generate_ground_truth_recording(
        durations=[120.0],
        num_channels=8,
        num_units=5,
        seed=0,
        generate_sorting_kwargs={"firing_rates": 30, "refractory_period_ms": 4.0},
    )
    recording = recording.save(
        folder=tmp_path / "recording", format="binary", n_jobs=1, chunk_duration="60s", progress_bar=False
    )
    units, rng = {}, np.random.default_rng(0)
    for unit in sorting.unit_ids:
        train = sorting.get_unit_spike_train(unit)
        first = rng.random(len(train)) < 0.5
        parts = [train[first], train[~first]] if len(units) < 4 else [train]
        units |= {len(units) + i: part for i, part in enumerate(parts)}
    cut = core.NumpySorting.from_unit_dict([units], recording.sampling_frequency)
    folder = tmp_path / "analyzer"
    analyzer = core.create_sorting_analyzer(
        cut, recording, format="binary_folder", folder=folder, sparse=False, progress_bar=False
    )
    for name in ("random_spikes", "noise_levels", "waveforms", "templates"):
        analyzer.compute(name, **({"progress_bar": False} if name == "waveforms" else {}))
    theirs = merge_candidates.by_spikeinterface(folder)
    ids = [str(i) for i in range(len(units))]
    drawn = pictures.read(folder, ids)
    ms = drawn.samples * 1000 / drawn.rate_hz
    times = [ms[drawn.unit == i] for i in range(len(ids))]
    ours = trains.merge_candidates(times, trains.likeness(drawn.templates), 120e3)
    assert {("0", "1"), ("2", "3")} <= {(ids[p.first], ids[p.second]) for p in ours}
    assert {("0", "1"), ("2", "3")} & {tuple(sorted(group)) for group in theirs}
    entries = [{"ids": ["0", "1"], "likeness": 1.0, "score": 0.9, "by": "overlap"}]
    both = review.both_scores(entries, [("0", "1"), ("2", "3")], drawn, ids)
    assert [m["by"] for m in both] == ["overlap, SpikeInterface", "SpikeInterface"]
    (folder / "hostile.pkl").write_bytes(b"x")
    assert merge_candidates.by_spikeinterface(folder) == []  # not loaded, said so
