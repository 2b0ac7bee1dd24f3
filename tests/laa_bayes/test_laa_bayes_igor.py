"""Are Igor binary waves read as Igor writes them, and does the line that converts other formats write what is read?"""

import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files import others, recordings
from laa_bayes.files.request import Request

_spec = importlib.util.spec_from_file_location("acquired", Path(__file__).with_name("test_laa_bayes_acquired.py"))
acquired = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(acquired)
DT, N, step, membrane = acquired.DT, acquired.N, acquired.step, acquired.membrane
KINDS = {"f4": 2, "f8": 4, "i2": 0x10, "u2": 0x50}


def ibw(
    path,
    values,
    unit,
    version=5,
    order="<",
    kind="f4",
    x_unit="s",
    name="Vm",
    step_s=DT / 1e3,
    start_s=0.0,
    note=b"a note",
):
    """Write a wave after Technical Note 3; its check sum makes the sum of the header's shorts zero."""
    raw = np.asarray(values).astype(f"{order}{kind}").tobytes(order="F")
    n_rows, n_columns = (*np.shape(values), 0)[:2]
    long_unit, long_x = (u.encode() if len(u) > 3 else b"" for u in (unit, x_unit))
    short, short_x = (b"" if len(u) > 3 else u.encode() for u in (unit, x_unit))
    if version == 5:
        wave = struct.pack(f"{order}4s4xIlh2x6xh32s4x4x", b"", 0, np.size(values), KINDS[kind], 1, name.encode())
        wave += struct.pack(f"{order}4l8d", n_rows, n_columns, 0, 0, step_s, 1, 1, 1, start_s, 0, 0, 0)
        wave += struct.pack(f"{order}4s4s4s4s4sh2xdd132x", short, short_x, b"", b"", b"", 0, 0, 0)
        wave = wave.ljust(320, b"\0")
        sizes = (len(wave) + len(raw), 0, len(note), len(long_unit), len(long_x))
        head = struct.pack(f"{order}hh5l3l4l3l", 5, 0, *sizes, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        place, checked = 2, 384
        tail = note + long_unit + long_x
    else:
        wave = struct.pack(
            f"{order}h4x20sh2x4x4s4sl2xdd", KINDS[kind], name.encode(), 0, short, short_x, n_rows, step_s, start_s
        )
        wave = wave.ljust(110, b"\0")
        sizes = {1: (), 2: (len(note), 0), 3: (len(note), 0, 0)}[version]
        head = struct.pack(f"{order}h{1 + len(sizes)}lh", version, 126 + len(raw), *sizes, 0)
        place, checked = len(head) - 2, len(head) + 126
        tail = b"\0" * 16 + note
    data = bytearray(head + wave + raw + tail)
    total = int(np.frombuffer(bytes(data[:checked]), f"{order}i2").sum())
    struct.pack_into(f"{order}H", data, place, -total & 0xFFFF)
    path.write_bytes(bytes(data))
    return path


def pair(folder, pa=50, **kwargs):
    """Write voltage and current of a cell; return the former and the request that names the latter."""
    v = ibw(folder / "Vm.ibw", membrane(pa) / 1e3, "V", **kwargs)
    return v, Request(current_file=ibw(folder / "Im.ibw", step(pa) * 1e-12, "A", name="Im", **kwargs))


@pytest.mark.parametrize("version", [1, 2, 3, 5])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_waves_of_every_version_and_byte_order(version, order, kind, tmp_path):
    path, request = pair(tmp_path, version=version, order=order, kind=kind)
    got = recordings.read_recording(path, request)
    np.testing.assert_allclose(got.v_mv, membrane(50), atol=1e-5)
    np.testing.assert_allclose(got.current, step(50), atol=1e-4)
    assert (got.dt_ms, got.t0_ms, got.current_unit) == (DT, 0.0, "pA")
    assert got.notes[1] == "voltage: wave 'Vm'"
    assert recordings.n_sweeps(path) == 1


def test_columns_are_sweeps_and_integers_and_long_units_are_read(tmp_path):
    both = np.column_stack([membrane(50), membrane(-100)])
    path = ibw(tmp_path / "Vm.ibw", np.round(both * 100), "mV", kind="i2")
    with pytest.raises(
        InputError, match=r"median -6\.5e\+03 mV"
    ):  # counts are not scaled by anything that the file says
        recordings.read_recording(path, Request(current_file=ibw(tmp_path / "i.ibw", step(50), "pA")))
    path = ibw(tmp_path / "W.ibw", both, "millivolts", x_unit="ms", step_s=DT, start_s=5.0, name="Vm_1")
    current = ibw(
        tmp_path / "I.ibw", np.column_stack([step(50), step(-100)]), "pA", x_unit="ms", step_s=DT, start_s=5.0
    )
    assert recordings.n_sweeps(path) == 2
    got = recordings.read_recording(path, Request(1, current_file=current))
    assert (got.current.min(), got.t0_ms) == (-100.0, 5.0)
    np.testing.assert_allclose(got.v_mv, membrane(-100), atol=1e-4)
    with pytest.raises(InputError, match=r"--sweep 2, but wave 'Vm_1' has 2 sweeps \(0 to 1\)"):
        recordings.read_recording(path, Request(2, current_file=current))
    one = ibw(tmp_path / "J.ibw", step(50), "pA", x_unit="ms", step_s=DT, start_s=5.0)  # one current for every sweep
    assert recordings.read_recording(path, Request(1, current_file=one)).current.max() == 50.0


@pytest.mark.parametrize("at", [384 - 320 + 84 + 6, 384 - 320 + 148])
def test_a_damaged_header_is_refused_by_its_check_sum(at, tmp_path):
    """A byte of the scale of rows (the clock), or of the unit."""
    path, request = pair(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="the check sum of the Igor binary wave is wrong"):
        recordings.read_recording(path, request)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"x_unit": ""}, "in '', no unit of time. In Igor: SetScale/P x 0, 5e-5, \"s\", Vm"),
        ({"step_s": -1e-4}, "rows of wave 'Vm' are -0.1 ms apart"),
        ({"start_s": 0.01}, ""),
    ],
)
def test_a_wave_without_a_clock_is_refused(kwargs, message, tmp_path):
    path, request = pair(tmp_path)
    ibw(path, membrane(50) / 1e3, "V", **kwargs)
    with pytest.raises(InputError) as told:
        recordings.read_recording(path, request)
    assert (message or "Im.ibw: begins at 0 ms, the voltage at 10 ms by their own scales") in str(told.value)


def test_a_wave_of_another_quantity_or_alone_is_refused(tmp_path):
    path, request = pair(tmp_path)
    with pytest.raises(InputError, match=r"holds one quantity. Give the injected current: --current-file Im\.ibw"):
        recordings.read_recording(path)
    with pytest.raises(InputError, match="wave 'Im' is in 'A', a voltage is expected"):
        recordings.read_recording(request.current_file, request)
    with pytest.raises(InputError, match="wave 'Vm' is in 'V', a current is expected"):
        recordings.read_recording(path, Request(current_file=path))
    with pytest.raises(InputError, match="--channel 'V2', but the file holds the wave 'Vm' alone"):
        recordings.read_recording(path, request._replace(channel="V2"))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"has 4000 points in 4000 rows and 1 columns\. Is the file complete"):
        recordings.read_recording(path, request)
    path.write_bytes(b"\x07\0" * 200)
    with pytest.raises(InputError, match="not readable as an Igor binary wave"):
        recordings.read_recording(path, request)


def test_info_and_plot_take_the_file_of_the_current(tmp_path, laa_here):
    """Both read recordings, and the refusal of one without a current names the option."""
    path, request = pair(tmp_path)
    told = laa_here("info", path, "--current-file", request.current_file, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["results"]["current"] == pytest.approx([0.0, 50.0])
    drawn = laa_here("plot", path, "--current-file", request.current_file, "--output", tmp_path / "t.png")
    assert drawn.returncode == 0, drawn.stderr
    assert laa_here("info", path).returncode == 2


def test_the_line_that_writes_what_neo_reads_as_text_gives_the_same_recording(tmp_path, monkeypatch):
    """It is the line that the refusals of 64-bit Spike2 and WinEDR files give, here for a format that is read both ways."""
    path = acquired.axograph(tmp_path / "a.axgx", [acquired.volts(50), acquired.amperes(50)], version=5, episodes=1)
    monkeypatch.chdir(tmp_path)
    exec(others.line_of_neo(path, "AxographIO"), {})
    direct, converted = recordings.read_recording(path), recordings.read_recording(tmp_path / "a.csv")
    np.testing.assert_allclose(converted.v_mv, direct.v_mv, atol=1e-6)
    np.testing.assert_allclose(converted.current, direct.current, atol=1e-6)
    assert converted.dt_ms == pytest.approx(direct.dt_ms)
