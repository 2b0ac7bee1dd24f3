"""Are AxoGraph's, Spike2's and WinWCP's files read as they mean? Written byte by byte after the formats' descriptions; each with its trap."""

import struct

import numpy as np
import pytest

from hdf5io.errors import InputError
from laa_bayes.files import recordings
from laa_bayes.files.request import Request

DT, N = 0.1, 4000
T = DT * np.arange(N)


def step(pa):
    return np.where((T >= 100) & (T < 300), float(pa), 0.0)


def membrane(pa):
    """Return the voltage of 100 pF and 5 nS at -70 mV with noise of .05 mV."""
    on, off = 1 - np.exp(-(T - 100).clip(0) / 20), 1 - np.exp(-(T - 300).clip(0) / 20)
    return -70 + pa / 5 * (on - off) + 0.05 * np.random.default_rng(0).standard_normal(N)


def read(path, sweep=0, **request):
    return recordings.read_recording(path, Request(sweep, **request))


def check(path, pa, sweep=0, **request):
    got = read(path, sweep, **request)
    np.testing.assert_allclose(got.v_mv, membrane(pa), atol=0.01)
    np.testing.assert_allclose(got.current, step(pa), atol=0.02)
    assert (got.dt_ms, got.current_unit) == (DT, "pA")
    return got


# --- AxoGraph ----------------------------------------------------------------------------------------------------------------


def text(words):
    return struct.pack(">l", 2 * len(words)) + words.encode("utf-16-be")


def trace(column, x=0, interval=DT / 1e3, extent=(N - 1) * DT / 1e3):
    """Return the header of a trace, 220 bytes up to format 5: x and y column, error bars, group, then how it is drawn."""
    group = column % 2
    ticks = struct.pack(">lddd", 0, 0, extent, 0) + struct.pack(">lld", 1, 1, interval) + struct.pack(">ddd", 0, 0, 0)
    drawn = struct.pack(">xBBBldl", 0, 0, 0, 1, 1, 0) + struct.pack(">13l", *[0] * 13)
    return struct.pack(">llll", x, column, -1, group) + ticks + drawn


def axograph(path, columns, version=6, time="Time (s)", clock=DT / 1e3, kind=10, episodes=None, notes="", **header):
    """Write columns (title, values): 1 floats, 2 scaled shorts, from 3 on types; 9 is a series, 10 scaled shorts, 5 longs, 6 floats."""
    old = version < 3
    out = struct.pack(">4sHH", b"AxGr", version, 1 + len(columns)) if old else b"axgx" + struct.pack(
        ">ll", version, 1 + len(columns)
    )  # fmt: skip

    def head(title, of):
        return struct.pack(">l80p", N, title.encode()) if old else struct.pack(">ll", N, of) + text(title)

    if version == 1 or kind == 6:
        out += head(time, 6) + (clock * np.arange(N)).astype(">f4").tobytes()
    else:
        out += head(time, 9) + struct.pack(">ff" if old else ">dd", 0.0, clock)
    for title, values in columns:
        top = np.abs(values).max() / 32000
        if version == 1 or kind == 6:
            out += head(title, 6) + values.astype(">f4").tobytes()
        elif kind == 5:
            out += head(title, 5) + np.round(values).astype(">i4").tobytes()
        else:
            scale = struct.pack(">f", top) if old else struct.pack(">dd", top, 1e-3 * top)
            shift = 0 if old else 1e-3
            out += head(title, 10) + scale + np.round(values / top - shift).astype(">i2").tobytes()
    if episodes is not None:
        out += text("") + text(notes) + struct.pack(">l", len(columns))
        out += b"".join(trace(1 + i, **header) for i in range(len(columns)))
        group = text("") + struct.pack(">h", 0) + text("") + struct.pack(">hll", 0, 0, 0)
        out += struct.pack(">l", min(2, len(columns))) + min(2, len(columns)) * group
        out += struct.pack(">9l", *[0] * 9) + struct.pack(">l", episodes) + episodes * struct.pack(">l", 1)
    path.write_bytes(out)
    return path


def volts(pa):
    return "Vm (V)", membrane(pa) / 1e3


def amperes(pa):
    return "Im (A)", step(pa) * 1e-12


@pytest.mark.parametrize(
    ("suffix", "kwargs"),
    [("axgx", {}), ("axgx", {"kind": 6}), ("axgd", {"version": 2}), ("axgd", {"version": 1}), ("axgx", {"time": "Time (ms)", "clock": DT}),
     ("axgx", {"version": 5, "episodes": 1})],
)  # fmt: skip
def test_axograph_of_every_layout(suffix, kwargs, tmp_path):
    path = axograph(tmp_path / f"a.{suffix}", [amperes(-100), volts(-100)], **kwargs)
    got = check(path, -100)
    assert recordings.n_sweeps(path) == 1
    assert got.notes[1:] == ("voltage: channel 'Vm'", "current: channel 'Im'")
    assert got.notes[0] == "clock: a sample every 0.1 ms (10 kHz), 400 ms"


@pytest.mark.parametrize("kwargs", [{"version": 5, "episodes": 3}, {"version": 2}])
def test_columns_of_one_title_are_episodes_with_scales_of_their_own(kwargs, tmp_path):
    columns = [column for pa in (-100, 20, 50) for column in (volts(pa), amperes(pa))]
    path = axograph(tmp_path / "a.axgx", columns, **kwargs)
    assert recordings.n_sweeps(path) == 3
    for i, pa in enumerate((-100, 20, 50)):
        check(path, pa, i)
    with pytest.raises(InputError, match=r"--sweep 3, but the file has 3 sweeps \(0 to 2\)"):
        read(path, 3)


def test_episodes_that_do_not_fit_the_titles_are_refused(tmp_path):
    columns = [volts(-100), amperes(-100), volts(20), amperes(20)]
    with pytest.raises(InputError, match=r"2 traces 'Vm' \(V\), the file tells 4 episodes"):
        read(axograph(tmp_path / "a.axgx", columns, version=5, episodes=4))
    with pytest.raises(InputError, match="'Vm' and 'Im' have 2 and 1 sweeps"):
        read(axograph(tmp_path / "b.axgx", columns[:3]))


def test_two_voltages_are_asked_for_and_units_decide(tmp_path):
    columns = [("Vm 1 (mV)", membrane(-100)), ("Vm 2 (V)", membrane(50) / 1e3), ("Command (nA)", step(50) / 1e3)]
    path = axograph(tmp_path / "a.axgx", columns)
    with pytest.raises(InputError, match=r"voltage channels are 'Vm 1' \(mV\), 'Vm 2' \(V\). Name one: --channel NAME"):
        read(path)
    check(path, 50, channel="Vm 2")
    with pytest.raises(InputError, match="voltage channels are 'Vm 1'"):
        read(path, channel="Command")
    two = axograph(tmp_path / "b.axgx", [volts(50), ("I (pA)", step(50)), ("I2 (pA)", step(9))])
    with pytest.raises(
        InputError, match=r"current channels are 'I' \(pA\), 'I2' \(pA\). Name one: --current-from NAME"
    ):
        read(two)
    check(two, 50, current_from="I")
    with pytest.raises(InputError, match="does the current 'Im-1' belong to 'Vm-2'"):
        read(axograph(tmp_path / "c.axgx", [("Vm-2 (mV)", membrane(50)), ("Im-1 (pA)", step(50))]))
    with pytest.raises(InputError, match=r"no voltage channel; the channels are 'Vm' \(no unit\), 'Im' \(A\)"):
        read(axograph(tmp_path / "d.axgx", [("Vm", membrane(50)), amperes(50)]))
    with pytest.raises(InputError, match="no channel recorded a current"):
        read(axograph(tmp_path / "e.axgx", [volts(50)]))


def test_a_clamped_voltage_is_refused(tmp_path):
    charge = 2000 * np.exp(-(T - 100).clip(0) / 1.0) * (T >= 100) - 2000 * np.exp(-(T - 300).clip(0) / 1.0) * (T >= 300)
    noise = np.random.default_rng(1).standard_normal(N)
    path = axograph(
        tmp_path / "a.axgx",
        [("Vm (mV)", -70 + step(-10) + 0.05 * noise[::-1]), ("Im (pA)", charge + step(-50) + noise)],
    )
    with pytest.raises(InputError, match="a voltage clamp"):
        read(path)


def test_axograph_files_that_mean_something_else_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"the first column is 'Frequency \(Hz\)', time is expected"):
        read(axograph(tmp_path / "a.axgx", [volts(50), amperes(50)], time="Frequency (Hz)"))
    with pytest.raises(InputError, match=r"long integers|not readable as an AxoGraph file"):
        read(axograph(tmp_path / "b.axgx", [("Im (pA)", step(50)), ("Vm (mV)", membrane(50))], kind=5))
    whole = axograph(tmp_path / "c.axgx", [volts(50), amperes(50)])
    whole.write_bytes(whole.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"c\.axgx: not readable as an AxoGraph file"):
        read(whole)
    (tmp_path / "d.axgd").write_bytes(b"nothing of it" * 9)
    with pytest.raises(InputError, match=r"d\.axgd: not readable as an AxoGraph file"):
        read(tmp_path / "d.axgd")


# --- Spike2 ------------------------------------------------------------------------------------------------------------------

US, BLOCK = 10, 1000  #: microseconds a tick, samples a block


def pascal(words, n):
    return (bytes([len(words)]) + words.encode("latin-1")).ljust(n, b" ")[:n]


def spike2(path, channels, system=9):
    """Write channels (title, unit, values of every stretch, ticks a sample, real or not, first tick) as the SON library lays them out."""
    data, heads, sector = b"", b"", 512
    at = -(-(512 + 140 * len(channels)) // sector)
    for number, (title, unit, stretches, divide, real, first) in enumerate(channels):
        top = max(np.abs(values).max() for values in stretches) / 4.5
        blocks, tick = [], first
        for values in stretches:
            for i in range(0, len(values), BLOCK):
                part = values[i : i + BLOCK]
                raw = part.astype("<f4") if real else np.round((part - 0.1 * top) / top * 6553.6).astype("<i2")
                blocks.append((tick, tick + (len(part) - 1) * divide, len(part), raw.tobytes()))
                tick += len(part) * divide
            tick += 50000  # a pause
        place = [at]
        for block in blocks:
            place.append(place[-1] + -(-(20 + len(block[3])) // sector))
        for i, (start, end, n, raw) in enumerate(blocks):
            before, after = place[i - 1] if i else -1, place[i + 1] if i + 1 < len(blocks) else -1
            one = struct.pack("<iiiihh", before, after, start, end, number + 1, n) + raw
            data += one.ljust((place[i + 1] - place[i]) * sector, b"\0")
        head = struct.pack("<hiiihhhhhh", 0, -1, at, place[-2], len(blocks), 0, 0, 0, 0, BLOCK) + pascal("", 72)
        head += (
            struct.pack("<iih", tick, divide, number)
            + pascal(title, 10)
            + struct.pack("<fBb", 1e6 / (divide * US), 9 if real else 1, 0)
        )
        head += struct.pack("<ff", *((-5, 5) if real else (top, 0.1 * top))) + pascal(unit, 6) + struct.pack("<h", 0)
        heads, at = heads + head.ljust(140, b"\0"), place[-1]
    top = struct.pack(
        "<h10s8shhhihhhhhidBh",
        system,
        b"(C) CED 87",
        b"SPIKE2  ",
        US,
        1,
        0,
        0,
        len(channels),
        140,
        0,
        BLOCK,
        0,
        99,
        1e-6,
        0,
        2015,
    )
    path.write_bytes((top.ljust(512, b"\0") + heads).ljust(-(-(512 + len(heads)) // sector) * sector, b"\0") + data)
    return path


def channel(title, unit, *stretches, divide=10, real=False, first=0):
    return title, unit, stretches, divide, real, first


@pytest.mark.parametrize("real", [False, True])
def test_spike2_units_and_stretches(real, tmp_path):
    path = spike2(
        tmp_path / "a.smr",
        [channel("Im", " nA", step(-100) / 1e3, step(50) / 1e3, real=real), channel("Vm", "mV", membrane(-100), membrane(50), first=3)],
    )  # fmt: skip
    assert recordings.n_sweeps(path) == 2
    assert check(path, -100).t0_ms == pytest.approx(0.03)
    assert check(path, 50, 1).t0_ms == pytest.approx(0.03 + 400 + 500)
    micro = spike2(tmp_path / "b.smr", [channel("Vm", "uV", 1e3 * membrane(50)), channel("Im", "pA", step(50)[:-1])])
    got = read(micro)
    np.testing.assert_allclose(got.v_mv, membrane(50)[:-1], atol=0.01)
    assert len(got.current) == N - 1
    assert got.notes[-1] == "4000 samples of voltage, 3999 of current: the first 3999 are taken"


def test_spike2_channels_of_other_rates_or_starts_are_refused(tmp_path):
    v, i = channel("Vm", "mV", membrane(50)), channel("Im", "pA", step(50)[::2], divide=20)
    with pytest.raises(InputError, match=r"'Vm' and 'Im' are sampled at 10000 and 5000 Hz.*--current-file"):
        read(spike2(tmp_path / "a.smr", [v, i]))
    check(
        spike2(tmp_path / "b.smr", [v, channel("Im", "pA", step(50)), channel("Temp", "C", T[::100], divide=1000)]), 50
    )
    with pytest.raises(InputError, match=r"'Vm' and 'Im' begin at 0 and 0\.1 ms"):
        read(spike2(tmp_path / "c.smr", [v, channel("Im", "pA", step(50), first=10)]))


def test_spike2_channels_of_one_title_are_told_by_their_numbers(tmp_path):
    path = spike2(
        tmp_path / "a.smr",
        [channel("Vm", "mV", membrane(-100)), channel("Vm", "mV", membrane(50)), channel("Im", "pA", step(50))],
    )
    with pytest.raises(InputError, match=r"voltage channels are 'Vm#1' \(mV\), 'Vm#2' \(mV\). Name one: --channel"):
        read(path)
    check(path, 50, channel="Vm#2")
    with pytest.raises(InputError, match=r"voltage channels are 'Vm' \(mV\), 'Im' \(Volt\)"):
        read(spike2(tmp_path / "b.smr", [channel("Vm", "mV", membrane(50)), channel("Im", "Volt", step(50) / 1e3)]))


def test_spike2_files_that_are_broken_or_overflow_are_refused(tmp_path):
    for divide in (5000, 100000):
        slow = channel("Vm", "mV", membrane(50)), channel("Temp", "C", T[:20], divide=divide)
        with pytest.raises(InputError, match="a channel is too slow for neo's clock"):
            read(spike2(tmp_path / "a.smr", slow))
    whole = spike2(tmp_path / "b.smr", [channel("Vm", "mV", membrane(50)), channel("Im", "pA", step(50))])
    whole.write_bytes(whole.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"b\.smr: not readable as a 16-bit Spike2 file"):
        read(whole)


# --- WinWCP ------------------------------------------------------------------------------------------------------------------


def wcp(path, records, names=("Im", "Vm"), units=("pA", "mV"), ranges=None, places=None, comma=False, **changes):
    """Write records (values of every channel) as WinWCP 5 does: channels from the last to the first in a scan, ranges in each record."""
    n, ranges = len(names), ranges or [[5.0, 10.0] for _ in records]
    places = places or [n - 1 - c for c in range(n)]
    n_samples = -(-N // 256) * 256  # whole sectors
    gains = [0.001 if unit == "pA" else 0.05 for unit in units]
    header = {
        "VER": "9",
        "CTIME": "2015",
        "RTIME": "01/02/2015 10:00:00",
        "NBH": 1024,
        "ADCMAX": 32767,
        "NC": n,
        "NBA": 2,
    }
    header |= {"NBD": n_samples * n // 256, "AD": "10", "NR": len(records), "DT": DT / 1e3, "NZ": 20}
    for c in range(n):
        header |= {
            f"YO{c}": places[c],
            f"YU{c}": units[c],
            f"YN{c}": names[c],
            f"YG{c}": gains[c],
            f"YZ{c}": 0,
            f"YR{c}": 0,
        }
    lines = "".join(f"{key}={value}\r\n" for key, value in (header | changes).items() if value is not None)
    out = (lines.replace(".", ",") if comma else lines).encode().ljust(1024, b"\0")
    for k, values in enumerate(records):
        head = struct.pack("<8s4sfff", b"ACCEPTED", b"TEST", k + 1, k, DT / 1e3) + struct.pack(f"<{n}f", *ranges[k])
        counts = np.zeros((n_samples, n), "<i2")
        for c, one in enumerate(values):
            volts = ranges[k][c] or 10.0
            padded = np.concatenate([one, np.full(n_samples - N, one[-1])])
            counts[:, places[c]] = np.round(padded * gains[c] / volts * 32767)
        out += head.ljust(1024, b"\0") + counts.tobytes()
    path.write_bytes(out)
    return path


def check_wcp(path, pa, sweep=0, **request):
    got = read(path, sweep, **request)
    np.testing.assert_allclose(got.v_mv[:N], membrane(pa), atol=0.01)
    np.testing.assert_allclose(got.current[:N], step(pa), atol=0.2)
    assert (got.dt_ms, got.current_unit) == (DT, "pA")


@pytest.mark.parametrize("comma", [False, True])
def test_records_of_winwcp_have_ranges_of_their_own(comma, tmp_path):
    records = [(step(pa), membrane(pa)) for pa in (-100, 20, 50)]
    path = wcp(tmp_path / "a.wcp", records, ranges=[[5, 10], [1, 5], [0, 0]], comma=comma)
    assert recordings.n_sweeps(path) == 3
    for i, pa in enumerate((-100, 20, 50)):
        check_wcp(path, pa, i)


def test_channels_of_winwcp_stand_where_the_header_says(tmp_path):
    record = [(step(50), membrane(50))]
    check_wcp(wcp(tmp_path / "a.wcp", record, places=[0, 1]), 50)
    check_wcp(wcp(tmp_path / "b.wcp", record, YO0=None, YO1=None), 50)
    with pytest.raises(InputError, match=r"the channels stand at \[1, 1\] of a scan of 2"):
        read(wcp(tmp_path / "c.wcp", record, YO1=1))
    three = [(membrane(-100), step(50), membrane(50))]
    path = wcp(tmp_path / "d.wcp", three, ("Vm", "Im", "Vm"), ("mV", "pA", "mV"), [[10, 5, 5]])
    with pytest.raises(InputError, match=r"voltage channels are 'Vm#0' \(mV\), 'Vm#2' \(mV\). Name one: --channel"):
        read(path)
    check_wcp(path, 50, channel="Vm#2")


def test_winwcp_files_that_leave_something_open_are_refused(tmp_path):
    record = [(step(50), membrane(50))] * 2
    with pytest.raises(InputError, match="WinWCP format 8, 9 is read"):
        read(wcp(tmp_path / "a.wcp", record, VER="8"))
    with pytest.raises(InputError, match="no record where the header places record 1"):
        read(cut_short(wcp(tmp_path / "b.wcp", record)))
    with pytest.raises(InputError, match="no record where the header places record 0"):
        read(wcp(tmp_path / "c.wcp", record, NBH=1536))
    slower = wcp(tmp_path / "d.wcp", record)
    raw = bytearray(slower.read_bytes())
    second = 1024 + (len(raw) - 1024) // 2
    raw[second + 20 : second + 24] = struct.pack("<f", 2 * DT / 1e3)
    slower.write_bytes(raw)
    with pytest.raises(InputError, match=r"records are sampled every 0\.1 to 0\.2 ms"):
        read(slower)
    with pytest.raises(InputError, match=r"e\.wcp: not readable as a WinWCP file"):
        read(wcp(tmp_path / "e.wcp", record, YG0=None))


def cut_short(path):
    """Take away the second of two records."""
    raw = path.read_bytes()
    path.write_bytes(raw[: 1024 + (len(raw) - 1024) // 2])
    return path


# --- clocks that a damaged byte leaves ---------------------------------------------------------------------------------------


def test_a_clock_that_the_rest_of_the_file_contradicts_is_refused(tmp_path):
    path = spike2(tmp_path / "a.smr", [channel("Vm", "mV", membrane(50)), channel("Im", "pA", step(50))])
    raw = path.read_bytes()
    path.write_bytes(raw[:20] + struct.pack("<h", 2 * US) + raw[22:])  # microseconds a tick
    with pytest.raises(InputError, match="5000 samples a second, 10000 were asked for"):
        read(path)
    at = 512 + 102  # ticks a sample of the first channel
    assert struct.unpack_from("<i", raw, at) == (10,)
    path.write_bytes(raw[:at] + struct.pack("<i", 11) + raw[at + 4 :])
    with pytest.raises(InputError, match=r"'Vm' has .* samples a second, its blocks have other times"):
        read(path)
    one = wcp(tmp_path / "b.wcp", [(step(50), membrane(50))], DT=2 * DT / 1e3)
    with pytest.raises(InputError, match=r"records are sampled every 0\.1 to 0\.2 ms"):
        read(one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clock": 2 * DT / 1e3}, "a sample every 0.2 ms by the column of time, every 0.1 ms by the interval"),
        ({"clock": 2 * DT / 1e3, "interval": 0.0}, "every 0.1 ms by the extent that the header of trace 1 states"),
        ({"x": 2}, "trace 1 is drawn over column 2, not over the first"),
    ],
)
def test_an_axograph_clock_that_the_headers_of_traces_contradict_is_refused(changes, message, tmp_path):
    """Each trace's header has the extent and interval of its x values, and the column that holds them."""
    columns = [volts(50), amperes(50)]
    check(axograph(tmp_path / "a.axgx", columns, version=5, episodes=1), 50)
    with pytest.raises(InputError, match=message):
        read(axograph(tmp_path / "b.axgx", columns, version=5, episodes=1, **changes))


def test_an_axograph_clock_that_is_doubled_throughout_is_told_beside_notes_that_say_another(tmp_path, caplog):
    doubled = {"clock": 2 * DT / 1e3, "interval": 2 * DT / 1e3, "extent": 2 * (N - 1) * DT / 1e3}
    notes = "Created on Fri May 2 2014\nSampling rate 10 kHz, filter 4 kHz"
    got = read(axograph(tmp_path / "a.axgx", [volts(50), amperes(50)], version=5, episodes=1, notes=notes, **doubled))
    assert got.notes[0] == "clock: a sample every 0.2 ms (5 kHz), 800 ms"
    assert "its notes say 'Sampling rate 10 kHz', its samples are 0.2 ms apart" in caplog.text


def test_axograph_columns_of_another_length_or_clock_are_refused(tmp_path):
    other = ("Time (s)", 2 * DT / 1e3 * np.arange(N))
    with pytest.raises(InputError, match="two columns of time that differ"):
        read(axograph(tmp_path / "a.axgx", [volts(50), amperes(50), other], kind=6))
    half = ("Im (A)", step(50)[: N // 2] * 1e-12)
    path = axograph(tmp_path / "b.axgx", [volts(50), amperes(50)], kind=6)
    short = axograph(tmp_path / "c.axgx", [volts(50), half], kind=6).read_bytes()
    at = len(path.read_bytes()) - (len(path.read_bytes()) - len(short)) - 2 * N - 8 - len(text("Im (A)"))
    short = short[:at] + struct.pack(">l", N // 2) + short[at + 4 :]
    (tmp_path / "c.axgx").write_bytes(short)
    with pytest.raises(InputError, match=f"'Im' has {N // 2} samples, the column of time {N}"):
        read(tmp_path / "c.axgx")


def test_an_odd_interval_is_told(tmp_path, caplog):
    read(axograph(tmp_path / "a.axgx", [volts(50), amperes(50)]))
    assert "unusual interval" not in caplog.text
    read(axograph(tmp_path / "b.axgx", [volts(50), amperes(50)], clock=DT / 1e3 * (1 + 1e-3 / 7)))
    assert "an unusual interval; is the file damaged?" in caplog.text
