"""How is a session found in a ONE cache? Its own tables where it was downloaded with some, an index of ours where it has none."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hdf5io
from hdf5io.errors import InputError

from .alf import Finder, revised_finder

TABLES = ("sessions.pqt", "datasets.pqt")
PATTERNS = ("*/Subjects/*/*/*/alf/FOV_*", "Subjects/*/*/*/alf/FOV_*", "*/*/*/alf/FOV_*")


def one_finder(one: Any, eid: str, collection: str, revision: str | None = None) -> Finder:
    """Return a finder of a collection's datasets: the newest revision of each, the file in the cache where it is there."""
    folder = Path(str(one.eid2path(eid)))
    listed = [str(d) for d in one.list_datasets(eid, collection=collection)]
    names = [name.removeprefix(f"{collection}/") for name in listed]
    find_listed = revised_finder(folder / collection, names, revision)

    def find(name: str) -> Path | None:
        """Return a dataset's file, downloaded where ONE may."""
        path = find_listed(name)
        if path is None or path.is_file():
            return path
        if str(getattr(one, "mode", "local")) == "local":
            return None  # the tables list it, it was not downloaded
        place = path.relative_to(folder).as_posix()
        return Path(str(one.load_dataset(eid, place, download_only=True, check_hash=False)))

    return find


def open_one(cache: str | Path, tables: str | Path | None = None) -> Any:
    """Return ONE in local mode on a folder of ALF sessions.

    A cache with tables of its own keeps them, and with them its real ids. Any other is indexed into ``tables`` (default: a private
    folder); ids are then uuid3 of lab/subject/date/number, so that indexing twice gives the same; the data folder is only read.
    """
    from one.api import One

    cache = Path(cache)
    if not cache.is_dir():
        raise InputError(f"{cache}: no such folder; --one-cache is the folder that holds <lab>/Subjects/...")
    if tables is None and own_tables(cache) is not None:
        with hdf5io.parsing(cache, "a ONE cache with tables"):
            return One(cache_dir=cache, mode="local", tables_dir=own_tables(cache))
    out = Path(tables) if tables is not None else Path(tempfile.mkdtemp(prefix="one_tables_"))
    if not (out / "sessions.pqt").exists():
        out.mkdir(parents=True, exist_ok=True)
        with hdf5io.parsing(cache, "a folder of ALF sessions"):
            from one.alf.cache import make_parquet_db

            make_parquet_db(cache, out)
            stable_ids(out)
    one = One(cache_dir=cache, mode="local", tables_dir=out)
    if tables is None:
        shutil.rmtree(out)  # they are in memory
    return one


def own_tables(cache: Path) -> Path | None:
    """Return the folder of the tables that came with a cache, None where it has none."""
    folders = (cache, cache / ".one", cache / "tables")
    return next((f for f in folders if all((f / name).is_file() for name in TABLES)), None)


def stable_ids(tables: Path) -> None:
    """Rewrite the ids of an index: uuid3 of lab/subject/date/number for a session, of that and the path for a dataset."""
    from iblutil.io import parquet

    sessions, about = parquet.load(tables / "sessions.pqt")
    datasets, about_datasets = parquet.load(tables / "datasets.pqt")
    new = {old: session_id(r.lab, r.subject, str(r.date), f"{int(r.number):03d}") for old, r in sessions.iterrows()}
    index = [(new[old], str(uuid.uuid3(uuid.UUID(new[old]), path))) for (old, _), path in datasets["rel_path"].items()]
    datasets["default_revision"] = newest_revisions([(i[0], path) for i, path in zip(index, datasets["rel_path"])])
    sessions.index = sessions.index.map(new)
    datasets.index = datasets.index.__class__.from_tuples(index, names=datasets.index.names)
    parquet.save(tables / "sessions.pqt", sessions.sort_index(), about)
    parquet.save(tables / "datasets.pqt", datasets.sort_index(), about_datasets)


def newest_revisions(listed: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each (session, path) whether it is the newest revision of its dataset (ONE warns or fails without one)."""
    keys: list[tuple[str, ...]] = []
    marks: list[str] = []
    newest: dict[tuple[str, ...], str] = {}
    for eid, path in listed:
        parts = path.split("/")
        mark = next((p.strip("#") for p in parts if p.startswith("#") and p.endswith("#")), "")
        keys.append((eid, *(p for p in parts if not p.startswith("#"))))
        marks.append(mark)
        newest[keys[-1]] = max(newest.get(keys[-1], ""), mark)
    return [newest[key] == mark for key, mark in zip(keys, marks)]


def session_id(lab: str, subject: str, date: str, number: str) -> str:
    """Return the id of a session that an index made twice gives twice."""
    return str(uuid.uuid3(uuid.NAMESPACE_URL, f"{lab}/{subject}/{date}/{number}"))


def find_sessions(cache: str | Path) -> Sequence[Path]:
    """Return all ALF session folders below a folder, with or without folders of labs, sorted."""
    return sorted({p.parent.parent for pattern in PATTERNS for p in Path(cache).glob(pattern) if p.is_dir()})


def real_ids(cache: str | Path, folders: Sequence[Path]) -> dict[Path, str]:
    """Return the id of each session folder by the cache's own tables; empty where it has none."""
    if own_tables(Path(cache)) is None:
        return {}
    one = open_one(cache)
    found = {folder: one.path2eid(folder.resolve()) or one.path2eid(folder) for folder in folders}
    return {folder: str(eid) for folder, eid in found.items() if eid is not None}
