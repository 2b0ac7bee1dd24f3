"""Do figures, files and the text for a paper call things what they are, and show no empty axes?"""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from glm_rates.files.stored import read_results
from glm_rates.show import methods, plots


@pytest.fixture(scope="module")
def stored(inferred):
    return read_results(next(inferred[0].glob("*.h5")))


def test_descriptions_name_the_kind_of_labels(inferred, tmp_path, run_command):
    with h5py.File(next(inferred[0].glob("*.h5"))) as file:
        told = [node.attrs["description"] for node in file["glm_output/regions"].values() for node in node.values()]
        assert "in-sample, over the mean rate of the taste" in told
    rng = np.random.default_rng(0)
    rows = [f"{u},{t:.5f}" for u in range(2) for t in np.sort(rng.uniform(0, 90, 900))]
    (tmp_path / "s.csv").write_text("unit_id,time_s\n" + "\n".join(rows))
    (tmp_path / "e.csv").write_text("time_s,odor\n" + "\n".join(f"{5 + 7 * i},{'AB'[i % 2]}" for i in range(12)))
    options = ["--events", tmp_path / "e.csv", "--output", tmp_path / "r.h5", "--cv-folds", 2, "--no-plots"]
    done = run_command("glm_rates", "infer", tmp_path / "s.csv", *options)
    assert done.returncode == 0, done.stderr
    told = []
    with h5py.File(tmp_path / "r.h5") as file:
        file.visititems(lambda _, node: told.append(str(node.attrs.get("description", ""))))
    assert "held-out trials, over the training mean of the odour" in told
    assert not [text for text in told if "taste" in text]
    text = (tmp_path / "r.methods.md").read_text()
    assert "ms after the odour" in text
    assert "over the mean rate of the odour" in text


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("taste", {}, "between 1500 and 4500 ms\nfrom the beginning of each trial"),
        ("taste", {"time_lims_from_stimulus": [-500, 2500]}, "between -500 and 2500 ms\nfrom the taste"),
        ("recording", {}, "in segments of 10 s"),
        ("taste", {"penalty": 0.1}, "and a ridge penalty of 0.1"),
    ],
)
def test_the_text_says_which_window_and_which_prior(inferred, kind, options, said):
    record = json.loads((inferred[0] / "glm_output" / "result.json").read_text())
    record = {**record, "results": {**record["results"], "kind": kind}, "options": {**record["options"], **options}}
    template = (Path(methods.TEMPLATES) / "infer.md").read_text(encoding="utf-8")
    text = methods.render(template, record)[0]
    assert said in text
    assert ("after the" in text) == (kind == "taste")


def test_a_unit_without_neighbours_has_no_empty_axes(stored):
    alone = [{**p, "coupling": np.zeros_like(p["coupling"])} if "coupling" in p else p for p in stored.populations]
    axes = plots.unit_figure(stored._replace(populations=alone), 0).axes
    (empty,) = [axis for axis in axes if any(text.get_text() == "no coupled unit" for text in axis.texts)]
    assert not empty.axison


def test_no_legend_lies_over_a_curve(stored):
    figure = plots.unit_figure(stored, 0)
    figure.canvas.draw()
    legends = [axis for axis in figure.axes if axis.get_legend() is not None]
    assert legends
    for axis in legends:
        assert not axis.get_legend().get_window_extent().overlaps(axis.get_window_extent())
