"""Do other animals help a new one, and is what is said of a population of animals as uncertain as few animals make it?"""

import json

import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast import config
from meso_forecast.activity.reading import Rules
from meso_forecast.activity.split import SplitRule
from meso_forecast.activity.windows import Panel, gather, window_origins
from meso_forecast.commands.transfer import refuse_twins
from meso_forecast.files.recording import open_recording
from meso_forecast.files.session import MesoscopeSession
from meso_forecast.files.write_recording import write_recording
from meso_forecast.fit.adapt import adapt, limited
from meso_forecast.fit.registry import fit_named, options_of
from meso_forecast.score.transfer import animals, random_effects

CONTEXT, HORIZON, DT_S = 16, 4, 0.2


def animal(seed, n=6, n_time=3000, n_test=900):
    """Return cells of one nonlinear law with a slope of their own: saturating, pushed back by what they were three frames before."""
    rng = np.random.default_rng(seed)
    slope, x, e = rng.uniform(1.5, 3, n), np.zeros((n_time, n)), rng.standard_normal((n_time, n)) * 0.25
    for t in range(3, n_time):
        x[t] = 1.2 * np.tanh(slope * (x[t - 1] - 0.9 * x[t - 3])) + e[t]
    first = n_time - n_test
    label = np.where(np.arange(n_time) < first, 0, 2).astype(np.int8)
    label[first - 300 : first] = 1
    x = (x - x[:first].mean(0)) / x[:first].std(0)
    return Panel(x.astype(np.float32), np.ones(n_time, bool), label, DT_S)


def settings(**more):
    return config.TrainConfig(recordings=["x"], output="x", context=CONTEXT, horizon=HORIZON, **more)


@pytest.fixture(scope="module")
def teacher():
    return fit_named("informer", [animal(0), animal(1)], settings(epochs=10))[0].point


def test_minutes_are_the_last_before_the_test_part():
    panel = animal(5)
    less = limited(panel, 2)
    assert (less.label == 0).sum() == 480
    assert (less.label == 1).sum() == 120
    assert np.array_equal(less.label == 2, panel.label == 2)
    assert np.flatnonzero(less.label >= 0)[0] == 2100 - 600
    with pytest.raises(ValueError, match=r"7\.0 minutes lie before"):
        limited(panel, 8)


def test_after_a_minute_other_animals_help_and_their_networks_stay_as_they_are(teacher):
    panel = limited(animal(7), 1)
    before = {k: v.clone() for k, v in teacher.shared["tide"][0].state_dict().items()}
    found = adapt(teacher.shared["tide"], panel, CONTEXT, HORIZON, options_of(settings()))
    for name, value in before.items():
        assert value.equal(teacher.shared["tide"][0].state_dict()[name])
        if not name.startswith("embedding"):
            assert value.equal(found.shared["tide"][0].state_dict()[name])
    assert found.shared["tide"][0].embedding.weight.abs().sum() > 0
    origins = window_origins(panel.usable, panel.label, 2, CONTEXT, HORIZON)
    y = gather(panel.x, origins, 1, HORIZON)
    scratch = fit_named("informer", [panel], settings(epochs=10))[0].point
    error = {
        k: ((y - f.forecast(panel, origins)) ** 2).mean() for k, f in {"adapted": found, "scratch": scratch}.items()
    }
    assert error["adapted"] < 0.99 * error["scratch"]


def test_the_mean_over_animals_is_as_uncertain_as_animals_differ():
    """95 % intervals hold the population's mean in at least nine of ten studies of six animals; those of windows alone would not."""
    rng, inside, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        error = rng.uniform(0.01, 0.03, 6)
        skill = 0.05 + 0.04 * rng.standard_normal(6) + error * rng.standard_normal(6)
        found = random_effects(skill, error)
        inside += found.low <= 0.05 <= found.high
        w = 1 / error**2
        naive += abs((w * skill).sum() / w.sum() - 0.05) < 1.96 / np.sqrt(w.sum())
    assert inside / 400 > 0.9
    assert naive / 400 < 0.75
    assert not np.isfinite(random_effects([0.1], [0.01]).high)


def test_sessions_of_one_animal_count_as_one():
    rows = [
        {"animal": a, "minutes": 5, "skill_stack": s, "error_stack": 0.01}
        for a, s in (("a", 0.1), ("a", 0.3), ("b", 0.2))
    ]
    found = animals(rows, "stack", 5)
    assert found.n == 2
    assert found.mean == pytest.approx(0.2)


def test_transfer_holds_out_each_animal_and_says_how_many(meso, tmp_path):
    paths = []
    for i in range(2):
        np.save(tmp_path / f"mouse{i}.npy", animal(i, n_time=2000).x)
        paths.append(tmp_path / f"mouse{i}.h5")
        made = meso(
            "preprocess", tmp_path / f"mouse{i}.npy", "--fs-hz", 5, "--time-axis", "rows", "--output", paths[-1]
        )
        assert made.returncode == 0, made.stderr
    fast = ["--context", 8, "--horizon", 2, "--epochs", 1, "--batches-per-epoch", 2, "--minutes", 3]
    told = meso("transfer", *paths, *fast, "--output", tmp_path / "run", "--json")
    assert told.returncode == 0, told.stderr
    results = json.loads(told.stdout)["results"]
    assert [row["animal"] for row in results["rows"]] == ["mouse0", "mouse1"]
    assert results["answer"]["unit"].endswith("mean over 2 animals")
    assert (tmp_path / "run" / "report.html").exists()
    alone = meso("transfer", paths[0], *fast, "--output", tmp_path / "no")
    assert alone.returncode == 2
    assert "two are needed" in alone.stderr


def test_a_session_that_was_preprocessed_in_two_ways_is_not_held_out_from_itself(meso, small_session, tmp_path):
    command = ["preprocess", small_session[0], "--signal", "fluorescence", "--output", tmp_path / "other.h5"]
    assert meso(*command).returncode == 0
    answer = meso("transfer", small_session[1], tmp_path / "other.h5", "--output", tmp_path / "t")
    assert answer.returncode == 2
    assert "are of the same session" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_animals_that_saw_the_same_film_by_the_same_clock_are_no_twins(tmp_path):
    rng = np.random.default_rng(0)
    film, made = rng.standard_normal((600, 1)), []
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", 2 * film + rng.standard_normal((600, 8)))
        session = MesoscopeSession.from_matrix(tmp_path / f"{i}.npy", 5.0, "rows")
        write_recording(session, tmp_path / f"{i}.h5", Rules(), SplitRule())
        made.append(open_recording(tmp_path / f"{i}.h5"))
    assert np.corrcoef(*(r.panel.x.mean(1) for r in made))[0, 1] > 0.9
    refuse_twins(made)
    with pytest.raises(InputError, match="of the same session"):
        refuse_twins([*made, made[0]])
