"""How is a zip archive that another library wrote made the same, byte for byte, each time its content is the same?"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

Members = dict[str, bytes]  #: name -> content, in the order of the archive


def rezip(path: Path, tidied: Callable[[Members], Members], compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive again without the dates of its members.

    Parameters
    ----------
    path : the archive, which is replaced in place: a temporary file of `atomic`.
    tidied : returns the members without what else differs from run to run (see `numbered`).
    """
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in tidied(members).items():
            member = zipfile.ZipInfo(name)  # its date is 1980
            member.external_attr = 0o600 << 16
            archive.writestr(member, content, compression)


def numbered(text: str, address: str) -> tuple[str, dict[str, str]]:
    """Put 1, 2, 3 for the addresses in memory that a library took for names of objects; return also what became of each.

    ``address`` is a pattern of two groups: what stands before the address, and its digits.
    """
    numbers: dict[str, str] = {}
    return re.sub(address, lambda m: m[1] + numbers.setdefault(m[2], str(len(numbers) + 1)), text), numbers
