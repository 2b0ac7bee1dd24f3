"""Do several processes learn what one learns, and does none of them outlive or outtalk the command?"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hdf5io.errors import InputError, NoSpace, WorkFailed

LAGS, HORIZON = 8, 4


def trained(folder=None, epochs=3, **given):
    import torch

    from meso_forecast.fit import train
    from meso_forecast.fit.options import Options
    from meso_forecast.model.networks import PointForecast

    x = torch.from_numpy(np.random.default_rng(0).normal(size=(600, 5)).astype(np.float32))
    source = train.Source(x, None, np.arange(LAGS, 400), np.arange(420, 579), None, LAGS, HORIZON)
    torch.manual_seed(0)
    net = PointForecast("nlinear", LAGS, HORIZON)
    options = Options(
        batch=51, epochs=epochs, folder=folder, resume=True, accelerator="cpu", learning_rate=1e-2, **given
    )
    fitted = train.fit(net, [source], options)
    return np.concatenate([w.detach().numpy().ravel() for w in net.parameters()]), fitted


@pytest.mark.slow  # libraries are loaded in another process
def test_two_processes_learn_what_one_learns(tmp_path):
    """51 windows a batch: shares of 26 and 25 weigh by their size. All ways of starting processes are one."""
    one, alone = trained(tmp_path / "one")
    two, together = trained(tmp_path / "two", devices="2")
    assert np.allclose(one, two, rtol=0, atol=1e-6)
    assert together.epochs == alone.epochs == 3
    assert together.best_loss == pytest.approx(alone.best_loss, rel=1e-6)
    again, _ = trained(tmp_path / "again", devices="2", strategy="ddp_spawn")
    assert np.array_equal(two, again)
    logs = [np.loadtxt(tmp_path / name / "log.csv", delimiter=",", skiprows=1) for name in ("one", "two", "again")]
    assert np.allclose(logs[0], logs[1], rtol=1e-5)
    assert np.array_equal(logs[1], logs[2])


@pytest.mark.slow
def test_two_processes_go_on_where_one_was_killed(tmp_path, killed_in_the_third_epoch):
    whole, _ = trained(tmp_path / "whole", epochs=4)
    with pytest.raises(RuntimeError, match="killed"), killed_in_the_third_epoch:
        trained(tmp_path / "cut", epochs=4)
    assert len((tmp_path / "cut/log.csv").read_text().splitlines()) == 3
    cut, fitted = trained(tmp_path / "cut", epochs=4, devices="2")
    assert fitted.epochs == 4
    assert np.allclose(whole, cut, rtol=0, atol=1e-6)
    assert len((tmp_path / "cut/log.csv").read_text().splitlines()) == 5


def test_shares_of_a_batch_are_all_of_it_and_weigh_as_many_windows_as_they_hold():
    from meso_forecast.fit import train
    from meso_forecast.fit.options import Options

    source = train.Source(np.zeros((300, 1)), None, np.arange(100), np.arange(100, 151))
    for part, windows in (("train", 96), ("validation", 51)):
        whole, *shares = (
            train.Batches([source], part, Options(batch=24, seed=3), lambda: 2, rank, world)
            for rank, world in ((0, 1), (0, 2), (1, 2))
        )
        seen = []
        for i in range(len(whole)):
            recording, origins, weight = whole[i]
            assert (recording, weight) == (0, 1.0)
            parts = [share[i] for share in shares if i < len(share)]
            assert sorted(np.concatenate([p[1] for p in parts])) == sorted(origins.tolist())
            if part == "train":
                assert np.mean([w for *_, w in parts]) == 1.0
            seen += origins.tolist()
        assert len(set(seen)) == windows


@pytest.mark.slow  # transformers is loaded
@pytest.mark.parametrize("name", ["informer-hf", "autoformer-hf"])
def test_a_network_that_was_sent_to_a_process_forecasts_as_it_did(name):
    import io

    import torch

    from meso_forecast.model.hugging_face import Architecture, HuggingFace

    torch.manual_seed(0)
    net, sent = HuggingFace(Architecture(name, 5, 24, 4)).eval(), io.BytesIO()
    torch.save(net, sent)
    arrived = torch.load(io.BytesIO(sent.getvalue()), weights_only=False)
    window = torch.randn(3, 24, 5), torch.randn(3, 4, 5)
    for one, other in zip(net.parameters(), arrived.parameters()):
        assert torch.equal(one, other)
    assert torch.equal(net.loss(*window), arrived.loss(*window))
    with torch.no_grad():  # what was sent is a network of its own
        for weight in net.parameters():
            weight.zero_()
    assert not torch.equal(net.loss(*window), arrived.loss(*window))


def refused(monkeypatch, match, environment, **given):
    from meso_forecast.config import TrainConfig
    from meso_forecast.fit.feasible import refuse_impossible

    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = TrainConfig(recordings=["a"], model="nlinear", output="b", accelerator="cpu", **given)
    if match is None:
        refuse_impossible(config, ["nlinear"], [config.context])
        return
    with pytest.raises(InputError, match=match):
        refuse_impossible(config, ["nlinear"], [config.context])


def test_processes_that_could_not_meet_are_refused_before_the_work(monkeypatch):
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "NODE_RANK": "1"}
    slurm = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job", "SLURM_NTASKS_PER_NODE": "4", "SLURM_PROCID": "0"}
    refused(monkeypatch, None, {}, devices="2")
    refused(monkeypatch, None, {}, devices="2", strategy="ddp_spawn")
    refused(monkeypatch, None, place, num_nodes=2)
    refused(monkeypatch, None, slurm, devices="1")
    refused(monkeypatch, "MASTER_ADDR, MASTER_PORT, NODE_RANK not set", {}, num_nodes=2)
    refused(monkeypatch, "a number from 0 to 1 are expected", place | {"NODE_RANK": "2"}, num_nodes=2)
    refused(monkeypatch, "a number from 0 to 1 are expected", place | {"MASTER_PORT": "x"}, num_nodes=2)
    refused(monkeypatch, "4 processes share the 3 windows of a batch", {}, devices="4", batch=3)


def fails(folder):
    """Fail in one of two processes, in one of three ways."""
    from torch import distributed

    if distributed.get_rank() == 1:
        if folder == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise NoSpace("disk full") if folder == "told" else ZeroDivisionError("a bug")
    distributed.barrier()
    time.sleep(600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "kind", "match"),
    [("told", NoSpace, "disk full"), ("bug", ZeroDivisionError, "a bug"), ("killed", WorkFailed, "killed by SIGKILL")],
)
def test_what_a_process_meets_is_told_and_ends_the_others(how, kind, match, monkeypatch):
    from meso_forecast.fit.processes import Group, together

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    importable = importlib.import_module(Path(__file__).stem)  # by a name that other processes find
    began = time.monotonic()
    with pytest.raises(kind, match=match):
        together(importable.fails, (how,), Group(2))
    assert time.monotonic() - began < 300


def sleeps(folder):
    """Say which process this is, and wait."""
    Path(folder, str(os.getpid())).touch()
    print("heard on stdout")
    time.sleep(600)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_leaves_no_process_and_no_file(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(
        "from meso_forecast.fit.processes import Group, together\n"
        "from test_meso_processes import sleeps\n"
        "import signal, sys\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"    together(sleeps, ({str(tmp_path / 'pids')!r},), Group(2))\n"
    )
    for name in ("pids", "tmp"):
        (tmp_path / name).mkdir()
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parent), str(here.parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "TMPDIR": str(tmp_path / "tmp")}
    parent = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE)
    until(lambda: len(list((tmp_path / "pids").iterdir())) == 2, 300)
    parent.send_signal(how)
    assert b"heard" not in parent.communicate()[0]
    for path in (tmp_path / "pids").iterdir():
        until(lambda pid=path.name: not alive(int(pid)), 60)
    until(lambda: not list((tmp_path / "tmp").glob("meso_forecast-*")), 60)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_the_command_line_trains_on_two_devices_and_prints_one_line(meso, small_session, tmp_path):
    given = ["train", small_session[1], "--model", "dlinear", "--context", 24, "--horizon", 4, "--epochs", 2]
    given += ["--accelerator", "cpu", "--json"]
    answers = [meso(*given, "--devices", n, "--output", tmp_path / str(n)) for n in (1, 2)]
    assert [a.returncode for a in answers] == [0, 0], answers[1].stderr
    one, two = (json.loads(a.stdout)["results"]["mse_held_out"] for a in answers)
    assert one == pytest.approx(two, rel=1e-5)
    assert {p.name for p in (tmp_path / "2/training").iterdir()} == {"best.ckpt", "last.ckpt", "log.csv"}
