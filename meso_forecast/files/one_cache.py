"""How is a session found in a ONE cache?"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdf5io.errors import InputError


def one_finder(one: Any, eid: str, collection: str):
    """Return a finder that asks ONE for the file of a dataset, None where the session has none."""
    listed = {str(d).rsplit("/", 1)[-1] for d in one.list_datasets(eid, collection=collection)}

    def find(name: str) -> Path | None:
        if name not in listed:
            return None
        return Path(str(one.load_dataset(eid, name, collection=collection, download_only=True, check_hash=False)))

    return find


def open_one(cache: str | Path, tables: str | Path | None = None):
    """Return ONE in local mode on a folder of ALF sessions; the index is made in ``tables`` (default: a private folder).

    Session ids are uuid3 of lab/subject/date/number, so that indexing twice gives the same ids; the data folder is only read.
    """
    import tempfile

    from one.alf.cache import make_parquet_db
    from one.api import One

    cache = Path(cache)
    if not cache.is_dir():
        raise InputError(f"{cache}: no such folder; --one-cache is the folder that holds <lab>/Subjects/...")
    out = Path(tables) if tables is not None else Path(tempfile.mkdtemp(prefix="one_tables_"))
    if not (out / "sessions.pqt").exists():
        out.mkdir(parents=True, exist_ok=True)
        make_parquet_db(cache, out)
        stable_ids(out)
    return One(cache_dir=cache, mode="local", tables_dir=out)


def stable_ids(tables: Path) -> None:
    """Rewrite the ids of an index: uuid3 of lab/subject/date/number for a session, of that and the path for a dataset."""
    from iblutil.io import parquet

    sessions, about = parquet.load(tables / "sessions.pqt")
    datasets, about_datasets = parquet.load(tables / "datasets.pqt")
    new = {old: session_id(r.lab, r.subject, str(r.date), f"{int(r.number):03d}") for old, r in sessions.iterrows()}
    index = [(new[old], str(uuid.uuid3(uuid.UUID(new[old]), path))) for (old, _), path in datasets["rel_path"].items()]
    datasets["default_revision"] = True  # none has several; without the column ONE warns at every file
    sessions.index = sessions.index.map(new)
    datasets.index = datasets.index.__class__.from_tuples(index, names=datasets.index.names)
    parquet.save(tables / "sessions.pqt", sessions.sort_index(), about)
    parquet.save(tables / "datasets.pqt", datasets.sort_index(), about_datasets)


def session_id(lab: str, subject: str, date: str, number: str) -> str:
    """Return the id of a session that an index made twice gives twice."""
    return str(uuid.uuid3(uuid.NAMESPACE_URL, f"{lab}/{subject}/{date}/{number}"))


def find_sessions(cache: str | Path) -> Sequence[Path]:
    """Return all ALF session folders below a folder, sorted."""
    return sorted({p.parent.parent for p in Path(cache).glob("*/Subjects/*/*/*/alf/FOV_*") if p.is_dir()})
