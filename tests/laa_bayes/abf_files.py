"""Write ABF 2 and ABF 1 files as Clampex lays them out: header, sections and samples, with the protocol that a test needs."""

import struct

import numpy as np

BLOCK = 512
SECTIONS = [
    "Protocol",
    "ADC",
    "DAC",
    "Epoch",
    "ADCPerDAC",
    "EpochPerDAC",
    "UserList",
    "StatsRegion",
    "Math",
    "Strings",
    "Data",
    "Tag",
    "Scope",
    "Delta",
    "VoiceTag",
    "SynchArray",
    "Annotation",
    "Stats",
]


def output(number=0, name="Cmd 0", unit="pA", epochs=(), **changes):
    """Return what an output does; epochs: (type, level, level step, duration, duration step, period, width)."""
    plain = {
        "holding": 0.0,
        "enabled": bool(epochs),
        "source": 1,
        "last": 0,
        "path": "",
        "scale": 1.0,
        "offset": 0.0,
        "file_sweep": 0,
    }
    return {"number": number, "name": name, "unit": unit, "epochs": list(epochs), **plain, **changes}


def write_abf2(
    path, sweeps, inputs, outputs, *, mode=5, user_list=None, version=(0, 0, 6, 2), alternates=0, clamp=None
):
    """Write sweeps (n_sweep, n_samples, n_inputs) of float samples; inputs: (number, name, unit)."""
    sweeps = np.asarray(sweeps, "<f4")
    n_sweep, n, n_inputs = sweeps.shape
    strings = ["", "Clampex", "protocol"]

    def text(value):
        strings.append(value)
        return len(strings) - 1

    protocol = bytearray(BLOCK)
    struct.pack_into("<hf", protocol, 0, mode, 50.0)
    fields = {"lNumSamplesPerEpisode": n * n_inputs, "lEpisodesPerRun": n_sweep}
    blocks = {"ADC": b"", "DAC": b"", "EpochPerDAC": b"", "UserList": b"", "Epoch": b""}
    for i, (number, name, unit) in enumerate(inputs):
        adc = bytearray(128)
        telegraphed = clamp is not None and clamp[i] is not None
        struct.pack_into("<hhhh", adc, 0, number, int(telegraphed), 24 if telegraphed else 0, 0)
        pack_named(adc, ADC, {"nTelegraphMode": clamp[i] if telegraphed else 0})
        pack_named(adc, ADC, {"lADCChannelNameIndex": text(name), "lADCUnitsIndex": text(unit)})
        gains = ("fADCProgrammableGain", "fInstrumentScaleFactor", "fSignalGain", "fTelegraphAdditGain")
        pack_named(adc, ADC, dict.fromkeys(gains, 1.0))
        blocks["ADC"] += bytes(adc)
    for o in outputs:
        dac = bytearray(256)
        pack_named(
            dac, DAC,
            {
                "nDACNum": o["number"], "fDACHoldingLevel": o["holding"], "lDACChannelNameIndex": text(o["name"]),
                "lDACChannelUnitsIndex": text(o["unit"]), "nWaveformEnable": o["enabled"], "nWaveformSource": o["source"],
                "nInterEpisodeLevel": o["last"], "lDACFilePathIndex": text(o["path"]) if o["path"] else 0,
                "fDACFileScale": o["scale"], "fDACFileOffset": o["offset"], "lDACFileEpisodeNum": o["file_sweep"],
            },
        )  # fmt: skip
        blocks["DAC"] += bytes(dac)
        for k, e in enumerate(o["epochs"]):
            row = struct.pack("<hhhffiiii", k, o["number"], *e)
            blocks["EpochPerDAC"] += row.ljust(48, b"\0")
            blocks["Epoch"] += struct.pack("<hh", k, 0).ljust(32, b"\0")
    if user_list is not None:
        number, parameter, repeats, values = user_list
        blocks["UserList"] = struct.pack("<hhhhi", number, 1, parameter, repeats, text(values)).ljust(64, b"\0")
    pack_named(
        protocol,
        PROTOCOL,
        fields | {"nAlternateDACOutputState": alternates, "fADCRange": 10.0, "lADCResolution": 32768},
    )
    synch = b"".join(struct.pack("<ii", i * n * n_inputs, n * n_inputs) for i in range(n_sweep))
    content = {
        "Protocol": (bytes(protocol), 512, 1), "ADC": (blocks["ADC"], 128, n_inputs), "DAC": (blocks["DAC"], 256, len(outputs)),
        "EpochPerDAC": (blocks["EpochPerDAC"], 48, len(blocks["EpochPerDAC"]) // 48),
        "Epoch": (blocks["Epoch"], 32, len(blocks["Epoch"]) // 32),
        "UserList": (blocks["UserList"], 64, len(blocks["UserList"]) // 64),
        "Data": (sweeps.tobytes(), 4, sweeps.size), "SynchArray": (synch, 8, n_sweep),
    }  # fmt: skip
    texts = b"\0\0" + b"\0".join(s.encode("latin-1") for s in strings[1:]) + b"\0"
    content["Strings"] = (b"SSCH".ljust(44, b"\1") + texts, 44 + len(texts), len(strings) - 1)
    head, body, place = bytearray(BLOCK), b"", 1
    head[:8] = b"ABF2" + bytes(version)
    struct.pack_into("<II", head, 8, BLOCK, n_sweep)
    struct.pack_into("<IIIHHH", head, 16, 20200101, 0, 0, 1, 1, 0)
    struct.pack_into("<HHHH", head, 28, 1, 1, 1, 0)
    struct.pack_into("<H", head, 30, 1)
    for i, name in enumerate(SECTIONS):
        raw, size, count = content.get(name, (b"", 0, 0))
        struct.pack_into("<IIq", head, 76 + 16 * i, place if raw else 0, size, count)
        if raw:
            raw = raw + b"\0" * (-len(raw) % BLOCK)
            body, place = body + raw, place + len(raw) // BLOCK
    struct.pack_into("<I", head, 72, 2)  # protocol path
    path.write_bytes(bytes(head) + body)
    return path


def _offsets(description):
    found, place = {}, 0
    for name, code in description:
        found[name] = (place, code)
        place += struct.calcsize("<" + code)
    return found


def pack_named(buffer, layout, values):
    """Write fields by name."""
    for name, value in values.items():
        offset, code = layout[name]
        struct.pack_into("<" + code, buffer, offset, value)


def _layouts():
    from neo.rawio import axonrawio

    names = ("ADCInfoDescription", "DACInfoDescription", "protocolInfoDescription")
    return tuple(_offsets(getattr(axonrawio, name)) for name in names)


ADC, DAC, PROTOCOL = _layouts()
