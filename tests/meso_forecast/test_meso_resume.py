"""Does a training that is killed and typed again end with the very weights, and tell of every epoch?"""

import numpy as np
import pytest
import torch
from torch import nn

from meso_forecast.fit import train
from meso_forecast.fit.options import Options

LAGS, HORIZON = 8, 4


class WithDropout(nn.Module):
    """A network that draws random numbers while it learns."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LAGS, 16), nn.Dropout(0.2), nn.Linear(16, HORIZON))

    def loss(self, context, target, recording):
        return ((self.layers(context.transpose(1, 2)).transpose(1, 2) - target) ** 2).mean()


def trained(folder, **given):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(600, 5)).astype(np.float32))
    source = train.Source(x, None, np.arange(LAGS, 400), np.arange(420, 580), None, LAGS, HORIZON)
    torch.manual_seed(0)
    net = WithDropout()
    options = {"epochs": 4, "learning_rate": 1e-2, **given}
    train.fit(net, [source], Options(batch=64, folder=folder, resume=True, accelerator="cpu", **options))
    return [weight.detach().numpy() for weight in net.parameters()]


def test_dropout_goes_on_where_it_was(tmp_path, killed_in_the_third_epoch):
    whole = trained(tmp_path / "whole")

    with pytest.raises(RuntimeError, match="killed"), killed_in_the_third_epoch:
        trained(tmp_path / "cut")
    assert all(np.array_equal(a, b) for a, b in zip(whole, trained(tmp_path / "cut")))
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert len(logs[0].splitlines()) == 5
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "cut")]
    assert [c["epoch"] for c in last] == [3, 3]
    assert all(torch.equal(last[0]["state_dict"][k], last[1]["state_dict"][k]) for k in last[0]["state_dict"])


def test_a_training_that_stopped_early_does_not_go_on_when_it_is_typed_again(tmp_path):
    """As where the kill came between the last epoch and the model: it learned for an epoch longer each time."""
    given = {"epochs": 30, "patience": 2, "learning_rate": 3e-2}
    first = trained(tmp_path, **given)
    log = (tmp_path / "log.csv").read_text()
    assert 3 < len(log.splitlines()) < 31
    assert all(np.array_equal(a, b) for a, b in zip(first, trained(tmp_path, **given)))
    assert (tmp_path / "log.csv").read_text() == log
