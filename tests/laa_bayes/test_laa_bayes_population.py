"""Do cells inform one another as the closed form says, and do other tools read the same numbers?"""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from hdf5io.errors import InputError
from laa_bayes.config import ExportConfig
from laa_bayes.files import posterior_file, recordings
from laa_bayes.files.request import Request
from laa_bayes.posterior.population import held_out_gains, population

N_CELL, MU, S, NOISE = 30, np.array([0.8, -0.5]), np.array([0.25, 0.4]), np.array([0.9, 0.7])


def cells(rng, n_draws=2000):
    """Return true coordinates of cells and draws of each cell's posterior under N(0, 1), by conjugacy."""
    true = MU + S * rng.standard_normal((N_CELL, 2))
    data = true + NOISE * rng.standard_normal((N_CELL, 2))
    variance = 1 / (1 + 1 / NOISE**2)
    alone = data / NOISE**2 * variance
    return true, data, alone, [m + np.sqrt(variance) * rng.standard_normal((n_draws, 2)) for m in alone]


def log_density(x, mean, sd):
    """Return the log evidence of data x (2,) with noise NOISE about a value from N(mean, sd^2)."""
    return stats.norm.logpdf(x, mean, np.sqrt(sd**2 + NOISE**2)).sum()


def test_the_population_of_normal_cells_is_that_of_the_closed_form():
    true, data, alone, draws = cells(np.random.default_rng(0))
    found = population(draws)
    shrunk = (data / NOISE**2 + found.mean / found.sd**2) / (1 / NOISE**2 + 1 / found.sd**2)
    together = np.array([w @ z for w, z in zip(found.weights, draws, strict=True)])
    assert np.abs(together - shrunk).max() < 0.08
    assert found.mean == pytest.approx(data.mean(axis=0), abs=0.05)
    gains = held_out_gains(draws)
    exact = [log_density(x, found.mean, found.sd) - log_density(x, 0.0, 1.0) for x in data]
    assert gains.mean() == pytest.approx(np.mean(exact), abs=0.2)  # those know the cells themselves
    assert gains.mean() > 0.2
    error, before = (np.sqrt(np.mean((x - true) ** 2, axis=0)) for x in (together, alone))
    assert (error < 0.8 * before).all()


def test_cells_as_wide_as_their_prior_are_left_as_they_are():
    rng = np.random.default_rng(1)
    true = rng.standard_normal((200, 1))
    found = population([t + 0.05 * rng.standard_normal((300, 1)) for t in true])
    assert found.mean == pytest.approx([0.0], abs=0.2)
    assert found.sd == pytest.approx([1.0], abs=0.15)


def test_cells_that_come_from_their_prior_gain_nothing_from_a_population():
    rng = np.random.default_rng(4)
    gains = held_out_gains([t + 0.3 * rng.standard_normal((300, 2)) for t in rng.standard_normal((12, 1, 2))])
    assert gains.mean() < 0.1


def test_the_population_of_a_coordinate_that_cells_hardly_see_is_not_inferred():
    rng = np.random.default_rng(2)
    blind = 0.3 + 0.9 * rng.standard_normal((20, 500, 1))
    sharp = 0.5 + 0.3 * rng.standard_normal((20, 1, 1)) + 0.2 * rng.standard_normal((20, 500, 1))
    found = population(list(np.concatenate([blind, sharp], axis=2)))
    assert found.seen.tolist() == [False, True]
    assert (found.mean[0], found.sd[0]) == (0.0, 1.0)
    assert np.isnan(found.mean_sd[0])
    assert found.mean[1] == pytest.approx(sharp.mean(), abs=0.15)


@pytest.fixture(scope="module")
def posterior(tmp_path_factory, laa_here):
    """Return a posterior file made by the command line, and its results."""
    folder = tmp_path_factory.mktemp("export")
    path = folder / "trace.csv"
    answer = laa_here("trace", "--k", 6, "--noise-mv", 2, "--output", path)
    assert answer.returncode == 0, answer.stderr
    made = laa_here(
        "infer", "none", path, "--noise", "known", "--draws", 400, "--no-report", "--output", folder / "a.h5", "--json"
    )
    assert made.returncode == 0, made.stderr
    return folder / "a.h5", json.loads(made.stdout)["results"]


def test_the_netcdf_file_has_arvizs_groups_and_the_numbers_of_the_results(posterior, laa_here, tmp_path):
    path, results = posterior
    answer = laa_here("export", path, "--output", tmp_path / "a.nc")
    assert answer.returncode == 0, answer.stderr
    with h5py.File(tmp_path / "a.nc") as file:
        group = file["posterior"]
        assert [dim[0].name for dim in group["k"].dims] == ["/posterior/chain", "/posterior/draw"]
        for name, mean in results["mean"].items():
            assert group[name].shape == (1, 400)
            assert group[name][()].mean() == pytest.approx(mean, rel=1e-9)
            assert group[name][()].std(ddof=1) == pytest.approx(results["sd"][name], rel=1e-9)
        assert file["observed_data/voltage"].dims[0][0].name == "/observed_data/time"


def test_arrays_of_samples_have_names_and_the_observation(posterior, laa_here, tmp_path):
    path, results = posterior
    assert laa_here("export", path, "--output", tmp_path / "a.npz").returncode == 0
    with np.load(tmp_path / "a.npz") as file:
        names = file["names"].tolist()
        assert file["samples"].shape == (400, len(names))
        assert file["samples"][:, names.index("V_thr")].mean() == pytest.approx(results["mean"]["V_thr"])
        assert len(file["x"]) == 500


def test_nwb_needs_a_current_in_pa(posterior, laa_here, tmp_path):
    answer = laa_here("export", posterior[0], "--output", tmp_path / "a.nwb")
    assert answer.returncode == 2
    assert "NWB holds amperes" in answer.stderr


def test_the_nwb_file_can_be_read_back_as_the_recording_it_came_from(posterior, tmp_path):
    from laa_bayes.files import exchange

    fitted = posterior_file.read_posterior(posterior[0])
    as_pa = fitted._replace(recording=fitted.recording._replace(current_unit="pA"))
    path = exchange.write_nwb(tmp_path / "a.nwb", as_pa, posterior[0])
    read = recordings.read_recording(path)
    assert read.v_mv == pytest.approx(fitted.recording.v_mv, abs=1e-6)
    assert read.current == pytest.approx(fitted.recording.current, abs=1e-6)
    with h5py.File(path) as file:
        table = file["processing/laa_bayes/parameters"]
        names = [x.decode() if isinstance(x, bytes) else x for x in table["parameter"][()]]
        assert table["mean"][names.index("C_m")] == pytest.approx(posterior[1]["mean"]["C_m"])


def test_an_export_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"expected a name ending in \.nc or \.npz or \.nwb"):
        ExportConfig(posterior="a.h5", output="a.mat")


def test_a_population_needs_three_cells_of_one_prior(posterior, laa_here, tmp_path):
    path, *more = [Path(shutil.copy(posterior[0], tmp_path / f"cell{i}.posterior.h5")) for i in range(3)]
    (tmp_path / "link.h5").symlink_to(path)
    for again in (path, tmp_path / "." / path.name, tmp_path / "link.h5"):
        answer = laa_here("population", path, again, more[0], "--output", tmp_path / "p")
        assert answer.returncode == 2
        assert "given twice; each cell counts once" in answer.stderr
    answer = laa_here("population", path, more[0], "--output", tmp_path / "p")
    assert answer.returncode == 2
    assert "a population needs 3 cells or more" in answer.stderr
    answer = laa_here("population", path, *more, "--output", tmp_path / "p", "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["n_cells"] == 3
    assert results["answer"]["sentence"].startswith("the population's prior beats the prior of each cell alone: ")
    assert (tmp_path / "p" / "cells.csv").read_text().count("\n") == 4


def test_a_cell_that_no_model_explains_is_left_out_of_the_population(posterior, laa_here, tmp_path):
    bad = tmp_path / "bad.h5"
    bad.write_bytes(posterior[0].read_bytes())
    with h5py.File(bad, "r+") as file:
        file.attrs["results"] = json.dumps(json.loads(file.attrs["results"]) | {"verdict": "misspecified"})
    good = [Path(shutil.copy(posterior[0], tmp_path / f"cell{i}.posterior.h5")) for i in range(3)]
    answer = laa_here("population", *good, bad, "--output", tmp_path / "p", "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert (results["n_cells"], results["left_out"]) == (3, [str(bad)])
    answer = laa_here("population", *good[:2], bad, "--output", tmp_path / "q")
    assert answer.returncode == 2
    assert "3 posteriors, 1 of them misspecified: a population needs 3 cells" in answer.stderr
    answer = laa_here("posterior-predict", bad, "--output", tmp_path / "v.h5")
    assert answer.returncode == 0
    assert "no model here explains its recording" in answer.stderr


def test_the_liquid_junction_potential_is_subtracted_and_said(tmp_path, trace_csv):
    plain = recordings.read_recording(trace_csv)
    shifted = recordings.read_recording(trace_csv, Request(junction_mv=12.0))
    assert shifted.v_mv == pytest.approx(plain.v_mv - 12.0)
    assert any("liquid junction potential 12 mV subtracted" in note for note in shifted.notes)
    with pytest.raises(InputError, match="is the unit wrong"):
        recordings.read_recording(trace_csv, Request(junction_mv=160.0))
