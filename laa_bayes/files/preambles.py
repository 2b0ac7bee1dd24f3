"""What stands above the columns of a text export? The lines of a table with one header in front, whatever its writer put there.

Axon text files begin with counts and records, LabChart's with lines such as ``ChannelTitle=``, numpy and MATLAB mark a header as a
comment. Comments (``#``) are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from hdf5io.errors import InputError

from .units import quantity_of

COMMENT = re.compile(r"\s*[#%]+\s*")
REMARK = re.compile(r"\t#\S* .*$")  #: LabChart's comments at the end of a line
PREAMBLE = 200  #: lines in which a header is looked for


def table_lines(path: Path, titled: bool = True) -> list[str]:
    """Return the lines of a table that hold anything; where it has titles, with a header that is marked as a comment, or made of a preamble.

    Raises
    ------
    InputError
        No text, an empty file, or a preamble that contradicts itself.
    """
    every = [line for line in read_text(path).splitlines() if line.strip()]
    lines = [line for line in every if not line.startswith("#")]
    if lines and re.match(r'"?ATF\s', lines[0]):
        lines = without_records(path, lines)
    if titled and lines and lines[0].startswith("Interval="):
        lines = with_labchart_header(path, lines)
    marked = [COMMENT.sub("", line, count=1) for line in every[:PREAMBLE] if COMMENT.match(line)]
    named = [line for line in marked if is_header(line)]
    if titled and named and not any(is_header(line) for line in lines[:PREAMBLE] if not COMMENT.match(line)):
        lines = [named[-1], *(line for line in lines if not COMMENT.match(line))]
    if not lines:
        raise InputError(f"{path}: the file has no rows.")
    return lines


def remarks(path: Path) -> str:
    """Return the first lines of a text file, in which its writer may have said how it was sampled."""
    return "\n".join(line.strip('"# %') for line in read_text(path).splitlines()[:PREAMBLE])


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 with its mark, or Latin-1."""
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        if b"\0" in raw[:4096]:
            raise InputError(f"{path}: not a text table.") from None
        return raw.decode("latin-1")


def without_records(path: Path, lines: list[str]) -> list[str]:
    """Return an Axon text file from its column titles on: behind ``ATF 1.0``, the counts and the optional records."""
    try:
        n_records = int(lines[1].split()[0])
    except (IndexError, ValueError):
        raise InputError(f"{path}: the second line of an ATF file holds two counts; here it does not.") from None
    return lines[2 + n_records :]


def with_labchart_header(path: Path, lines: list[str]) -> list[str]:
    """Return the lines of a LabChart export, each block's preamble as one header: time in seconds, then every channel in its unit."""
    found: list[str] = []
    told: dict[str, list[str]] = {}
    for line in lines:
        key, mark, rest = line.partition("=")
        if mark and re.fullmatch(r"\w+", key):
            told = told if told.get("ended") is None else {}
            told[key] = rest.strip("\t ").split("\t")
            continue
        if "ended" not in told:
            found.append(labchart_header(path, told, line))
            told["ended"] = []
        found.append(REMARK.sub("", line))
    return found


def labchart_header(path: Path, told: dict[str, list[str]], row: str) -> str:
    """Return the header of a block by its titles and units, where its first row has a time in front of them.

    Raises
    ------
    InputError
        No titles or units, or a row of another length.
    """
    titles = told.get("ChannelTitle", [])
    units = told.get("UnitName") or [text.split()[-1] for text in told.get("Range", []) if text.split()]
    n = len(REMARK.sub("", row).split("\t"))
    if not titles or len(units) != len(titles) or n != 1 + len(titles):
        raise InputError(
            f"{path}: a LabChart export of {len(titles)} titles, {len(units)} units and {n} columns; time and one column a channel are "
            "expected. Export it with time and without other columns."
        )
    return "\t".join(["Time (s)", *(f"{title} ({unit})" for title, unit in zip(titles, units, strict=True))])


def header_line(lines: list[str]) -> int:
    """Return the place of the line that names time and a voltage or a current; 0 where none does."""
    return next((i for i, line in enumerate(lines[:PREAMBLE]) if is_header(line)), 0)


def is_header(line: str) -> bool:
    """Return whether a line names time and a voltage or a current, whatever stands between its cells."""
    named = ({quantity_of(cell.strip()) for cell in line.split(delimiter)} for delimiter in ("\t", ";", ",", None))
    return any("time" in names and names & {"voltage", "current"} for names in named)


def first_of_numbers(lines: list[str]) -> int:
    """Return the place of the first line that holds nothing but numbers; 0 where none does."""
    filled = ([cell for cell in re.split(r"[,;\s]+", line) if cell.strip(' "')] for line in lines[:PREAMBLE])
    return next((i for i, cells in enumerate(filled) if all(is_number(c.strip(' "'), True) for c in cells)), 0)


def is_number(text: str, comma: bool = False) -> bool:
    """Return whether a cell is a number."""
    try:
        float(text.replace(",", ".") if comma else text)
    except ValueError:
        return False
    return True
