"""Coupling among many units: the active set against the full method, and its parts against sums written out."""

import numpy as np
import pytest

from glm_rates.fit import estimate
from glm_rates.model import effects, screened, sorted_rows
from glm_rates.model import population as model
from glm_rates.model.kernels import Window
from glm_rates.model.screen import Screen, edge_factors
from glm_rates.score import evaluate
from hdf5io.errors import InputError

WINDOW = Window(60, 180)


def auc(inclusion, truth):
    edge, off = (truth.coupling != 0).any(axis=2), ~np.eye(len(inclusion), dtype=bool)
    inside, outside = inclusion[edge & off], inclusion[~edge & off]
    return np.mean(inside[:, None] > outside) + 0.5 * np.mean(inside[:, None] == outside)


@pytest.fixture(scope="module")
def both(make_trials):
    """Full and screened fits of the training trials of 30 units: (truth, {method: (fit, held-out bits per spike)})."""
    trials, session = make_trials(n_units=30, n_trials=20)
    test = evaluate.fold_of_trials(trials.taste, 5) == 0
    counts = trials.counts[:, 60:180]
    flat = evaluate.homogeneous(counts.astype(float), trials.taste, ~test)[test][:, None]
    reference = evaluate.log_likelihood(counts[test], np.broadcast_to(flat, counts[test].shape), np.inf).sum()
    out = {}
    for method in ("none", "full", "screened"):
        settings = model.Settings(
            include_coupling=method != "none", coupling_method="full" if method == "none" else method
        )
        design = model.make_design(trials, WINDOW, settings)
        fit = model.fit_design(design.rows(~test), settings)
        rate = effects.predict(design.rows(test), fit).T.reshape(counts[test].shape)
        gain = evaluate.log_likelihood(counts[test], rate, np.inf).sum() - reference
        out[method] = fit, gain / np.log(2) / counts[test].sum(), design
    return session.truth, out


def test_the_screened_fit_is_as_good_as_the_full_one(both):
    truth, fits = both
    assert auc(fits["screened"][0].prior.inclusion, truth) > auc(fits["full"][0].prior.inclusion, truth) - 0.02
    assert fits["screened"][1] > fits["full"][1] - 0.001
    assert fits["full"][1] > fits["none"][1] + 0.003  # the coupling is worth finding
    assert fits["screened"][0].converged.all()
    assert fits["screened"][0].grad_norm.max() <= 1e-8


def test_filters_of_both_methods_agree(both):
    _, fits = both
    found = {m: effects.filters(fits[m][2], fits[m][0], 25, 2) for m in ("full", "screened")}
    for effect in ("history", "coupling", "stimulus"):
        a, b = (found[m][effect].ravel() for m in ("full", "screened"))
        assert np.corrcoef(a, b)[0, 1] > (0.9 if effect == "coupling" else 0.98)
        assert (found["screened"][effect + "_se"] >= 0).all()
    strong = np.abs(found["full"]["coupling"].sum(axis=2)) > 0.3
    ratio = found["screened"]["coupling_se"][strong] / np.maximum(found["full"]["coupling_se"][strong], 1e-9)
    assert 0.7 < np.median(ratio) < 1.4


def test_pure_noise_gains_and_loses_nothing(make_trials):
    trials, _ = make_trials(n_units=25, n_trials=15, coupled=False)
    settings = model.Settings(include_coupling=True, coupling_method="screened")
    folds = [evaluate.score_fold(trials, WINDOW, settings, 3, k) for k in range(3)]
    total = {name: sum(f.log_likelihood[name] for f in folds) for name in folds[0].log_likelihood}
    spikes = trials.counts[:, 60:180].sum(axis=1).T
    step = evaluate.compare(total["history+stimulus+coupling"], total["history+stimulus"], spikes, np.arange(30) % 3)
    assert step.pooled > -0.001


@pytest.fixture(scope="module")
def small(make_trials):
    trials, _ = make_trials(n_units=5, n_trials=6)
    settings = model.Settings(include_coupling=True, coupling_method="screened")
    design = model.make_design(trials, WINDOW, settings)
    base = model.fit_design(design.only(("stimulus", "history")), settings)
    return design, base, settings


def state_of(design, base, active, k=3):
    n = len(design.counts)
    weights = [np.random.default_rng(u).normal(0, 0.1, (len(active), k)) for u in range(n)]
    ones = [np.ones(len(active))] * n
    return screened.State([active] * n, weights, base.coef, ones, ones, 0.01 * np.eye(k), 0.1, np.zeros((n, n)))


def test_curvature_is_the_sum_over_rows_written_out(small):
    design, base, _ = small
    rows, active = sorted_rows.sorted_rows(design), np.array([1, 3])
    state = state_of(design, base, active)
    columns = np.concatenate([rows.own[0], sorted_rows.gathered(rows, active, 3)])
    eta = screened.predictor(rows, state, 0)
    whole = np.concatenate([rows.cells[rows.cell_of], columns.T], axis=1)
    np.testing.assert_allclose(eta, whole @ np.concatenate([base.coef[0], state.weights[0].ravel()]), atol=1e-4)
    expected = (whole.T * np.exp(eta)) @ whole
    np.testing.assert_allclose(sorted_rows.curvature(rows, 0, columns, np.exp(eta)), expected, rtol=2e-4, atol=1e-3)
    np.testing.assert_allclose(sorted_rows.pull(rows, columns, eta), whole.T @ eta, rtol=1e-3, atol=1e-2)


def test_the_screen_measures_each_pair_less_what_the_base_explains(small):
    """Slow oracle: the Schur complement of one pair, from its columns."""
    design, base, _ = small
    rows = sorted_rows.sorted_rows(design)
    white = model.whiten(
        design.only(("stimulus", "history")), base.prior, model.grams(design.only(("stimulus", "history")))
    )
    covariance = white.root @ white.covariance @ white.root.T
    screen = Screen(rows, covariance, 3)
    mean = design.counts.mean(axis=1)
    screen.measure(np.repeat(mean[:, None], design.counts.shape[1], axis=1).astype(np.float32))
    whole = np.concatenate([rows.cells[rows.cell_of], rows.own[2].T], axis=1)
    edge = sorted_rows.gathered(rows, np.array([4]), 3).T
    cross = mean[2] * whole.T @ edge
    expected = mean[2] * edge.T @ edge - cross.T @ covariance[2] @ cross
    np.testing.assert_allclose(screen.information[2, 4], expected, rtol=1e-3, atol=1e-3)


def test_a_strong_pair_has_a_larger_factor_than_a_weak_one():
    information = np.repeat(10 * np.eye(2)[None], 2, axis=0)
    factor, mean, covariance = edge_factors(information, np.array([[10.0, 0], [0.1, 0]]), np.eye(2))
    by_hand = -0.5 * 2 * np.log(11) + 0.5 * 100 / 11
    assert factor[0] == pytest.approx(by_hand)
    np.testing.assert_allclose(mean[0], [10 / 11, 0])
    np.testing.assert_allclose(covariance[0], np.eye(2) / 11)
    assert factor[1] < 0 < factor[0]


def test_a_population_without_any_edge_is_fitted(make_trials):
    trials, _ = make_trials(n_units=3, n_trials=5, coupled=False, history=False, stimulus=False)
    silent = trials.counts.copy()
    silent[:, :, 1] = 0
    settings = model.Settings(include_coupling=True, coupling_method="screened")
    design = model.make_design(trials._replace(counts=silent), WINDOW, settings)
    fit = model.fit_design(design, settings)
    assert np.isfinite(effects.predict(design, fit)).all()
    assert not fit.fitted[1]
    assert np.isfinite(effects.log_rate_sd(design, fit)).all()


def test_what_does_not_fit_into_memory_is_refused_with_what_would(monkeypatch):
    settings = model.Settings(include_coupling=True)
    full = estimate.cost_of(1000, 14_400, 4, settings)
    few = estimate.cost_of(1000, 14_400, 4, settings._replace(coupling_method="screened"))
    assert full.gigabytes > 75 > 5 > few.gigabytes
    monkeypatch.setattr(estimate, "memory_left", lambda: 16.0)
    with pytest.raises(InputError, match=r"16.0 GB are free; try --coupling-method screened, --separate-regions"):
        estimate.announce([full], 0, 1, 1, [settings])
    estimate.announce([few], 5, 1, 1, [settings])
    with pytest.raises(InputError, match="try fewer --jobs"):
        estimate.announce([few] * 9, 5, 1, 12, [settings._replace(coupling_method="screened")])


def test_packed_arrays_are_small_and_right_to_seven_digits(tmp_path):
    import h5py

    import hdf5io
    from glm_rates.files.packed import Packed

    rng = np.random.default_rng(0)
    rate = rng.gamma(2.0, 3.0, (4, 30, 20, 120))
    rate[3, 25:] = np.nan
    counts = rng.poisson(0.3, rate.shape).astype(float)
    items = {
        "rate": Packed(rate, "f4"),
        "counts": Packed(counts),
        "sd": Packed(rate, "f4", 14),
        "few": Packed(rate[0, 0, 0]),
    }
    hdf5io.write(tmp_path / "r.h5", "x/y/1", {n: hdf5io.Dataset(d, "Hz", n, ("a",)) for n, d in items.items()})
    assert (tmp_path / "r.h5").stat().st_size < 0.35 * 3 * rate.nbytes
    with h5py.File(tmp_path / "r.h5") as h5:
        np.testing.assert_allclose(h5["rate"][:], rate, rtol=1e-7)
        np.testing.assert_allclose(h5["sd"][:], rate, rtol=1e-4)
        np.testing.assert_array_equal(h5["counts"][:], counts)
        np.testing.assert_array_equal(h5["few"][:], rate[0, 0, 0])
        assert h5["rate"].attrs["units"] == "Hz"
