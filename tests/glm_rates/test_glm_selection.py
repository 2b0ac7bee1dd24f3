"""``--units``: what an expression selects does not depend on whether a file keeps a number as text; what cannot be compared is refused."""

import numpy as np
import pytest

from glm_rates.files.selection import select
from glm_rates.fit import twins
from hdf5io.errors import InputError

COLUMNS = {
    "unit_id": ["5", "6", "7", "8"], "unit_number": np.array([5, 6, 7, 8]), "quality": ["good", " mua ", "good", "noise"],
    "split": ["1_0", "1_1", "2", "3"], "snr": [4.0, np.nan, None, 8.0], "label": ["1", "2", "nan", "1"], "kept": ["True", "False", "true", ""], "flag": [True, False, True, False],
}  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("unit_id != 6", [0, 2, 3]),
        ("unit_id == 6", [1]),
        ("unit_number != '6'", [0, 2, 3]),
        ("unit_id in (6, 8)", [1, 3]),
        ("unit_id not in (6, 8)", [0, 2]),
        ("unit_number in ('6', 8)", [1, 3]),
        ("unit_id > 6", [2, 3]),
        ("5 < unit_id <= 7", [1, 2]),
        ("quality == 'mua'", [1]),
        ("quality in ('good', 'mua') and not unit_id == 5", [1, 2]),
        ("snr > 3", [0, 3]),
        ("label == 1", [0, 3]),
        ("kept", [0, 2]),
        ("not kept", [1, 3]),
        ("kept == True", [0, 2]),
        ("flag == 1 and kept", [0, 2]),
    ],
)
def test_numbers_are_numbers_however_they_are_kept(expression, chosen):
    assert select(expression, COLUMNS, 4).tolist() == chosen


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("split == 10", "'1_0' and 10 cannot be compared"),
        ("quality == 1", "'good' and 1 cannot be compared, one is text and one a number"),
        ("quality != 1", "'good' and 1 cannot be compared"),
        ("unit_number != 'good'", "5 and 'good' cannot be compared"),
        ("quality in ('good', 1)", "'good' and 1 cannot be compared"),
        ("quality", "'good' says neither yes nor no; compare it with something"),
        ("not quality", "'good' says neither yes nor no"),
        ("quality in 'good'", "expected a list after 'in'"),
        ("unit_id == (5, 6)", "a list is understood after 'in' alone"),
        ("-quality == 1", "not an expression such as"),
        ("__import__('os')", "only columns, numbers, texts"),
    ],
)
def test_what_cannot_be_compared_is_refused(expression, said):
    with pytest.raises(InputError) as refused:
        select(expression, COLUMNS, 4)
    assert said in str(refused.value)


def counts(seed=0, shared=1.0, n=4):
    """Counts of units whose last shares that part of the first's spikes."""
    rng = np.random.default_rng(seed)
    rest = rng.poisson(0.2, (30, 100, n))
    copy = rng.binomial(rest[:, :, 0], shared) + rng.poisson(0.2 * (1 - shared), (30, 100))
    return np.concatenate([rest, copy[:, :, None]], axis=2)


def test_a_unit_that_is_there_twice_is_told():
    found = twins.twins(counts(shared=0.95), np.arange(30) % 2)
    assert [(a, b) for a, b, _ in found] == [(0, 4)]
    assert "units 0 and 4 (0.9" in twins.told(found)
    assert "the same neuron twice?" in twins.told(found)
    assert twins.told(twins.twins(counts(shared=0.5), np.arange(30) % 2)) == ""


def test_a_common_response_and_common_gaps_are_no_likeness():
    rng, taste = np.random.default_rng(1), np.arange(60) % 2
    response = np.where(np.arange(100) // 5 % 2 == 0, 4.0, 0.01)[None, :, None]
    both = rng.poisson(response * np.ones((60, 100, 2)))
    assert np.corrcoef(both[:, :, 0].ravel(), both[:, :, 1].ravel())[0, 1] > 0.6
    assert twins.twins(both, taste) == []
    gaps = np.ones(both.shape, bool)
    gaps[::3] = False
    assert twins.twins(np.where(gaps, rng.poisson(20, both.shape), 0), taste, gaps) == []
    assert twins.twins(np.zeros((4, 10, 3)), np.zeros(4)) == []
