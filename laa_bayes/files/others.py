"""Which formats are known and not read, and which line converts each into one that is?"""

from __future__ import annotations

from pathlib import Path

HEKA = (b"DAT1", b"DAT2", b"DATA")  #: first bytes of PatchMaster's and Pulse's bundles
NEO = (
    "import neo, numpy as n; a = neo.io.{io}('{name}').read_segment().analogsignals; "
    "n.savetxt('{stem}.csv', n.column_stack([a[0].times.rescale('s').magnitude] + [x.magnitude for x in a]), delimiter=',', comments='', "
    "header=','.join(['time (s)'] + [f'{{m}} ({{x.dimensionality}})' for x in a for m in x.array_annotations['channel_names']]))"
)  #: every channel of the first segment as text; channels of one rate
IGOR = 'in Igor Pro: {first}Save Vm as "Vm.ibw"; Save Im as "Im.ibw", with the names of your waves. Then give Vm.ibw with --current-file Im.ibw'
MATLAB = "in MATLAB: writetable(table(t, v, i, 'VariableNames', {{'time (s)', 'voltage (mV)', 'current (pA)'}}), '{stem}.csv')"
OTHERS: dict[str, tuple[str, str]] = {
    ".pxp": ("Igor (packed experiment)", IGOR.replace("{first}", "")),
    ".pxt": ("Igor (packed experiment)", IGOR.replace("{first}", "")),
    ".itx": ("Igor (text)", IGOR.replace("{first}", 'LoadWave/T "{name}"; ')),
    ".smrx": ("Spike2 (64 bit)", f'pip install neo sonpy, then python -c "{NEO.replace("{io}", "CedIO")}"'),
    ".edr": ("WinEDR", f'python -c "{NEO.replace("{io}", "WinEdrIO")}"'),
    ".mat": ("MATLAB", MATLAB),
    ".cfs": ("Signal", "in Signal: File, Export As, Text file, with times and units"),
    ".adicht": ("LabChart", "in LabChart: File, Export, LabChart Text File, with times"),
}  #: what makes a format, and what converts it
HEKA_LINE = "pip install x-to-nwb, then x-to-nwb {name}, which writes {stem}.nwb"


def refusal(path: Path) -> str | None:
    """Return one line on a format that is known and not read, with what converts it; None for any other."""
    with path.open("rb") as file:
        heka = path.suffix.lower() == ".dat" and file.read(4) in HEKA
    maker, line = ("HEKA", HEKA_LINE) if heka else OTHERS.get(path.suffix.lower(), ("", ""))
    if not maker:
        return None
    return f"{path}: {maker}'s own format is not read. Convert it: {line.format(name=path.name, stem=path.stem)}"


def line_of_neo(path: Path, io: str) -> str:
    """Return the Python line by which neo writes a file's channels as text, which `refusal` gives for formats that neo reads."""
    return NEO.format(io=io, name=path.name, stem=path.stem)
