"""Would opening this analyzer execute something? Whatever SpikeInterface would build, import or unpickle is looked at before it is.

SpikeInterface builds any class that a JSON of the folder names, with the arguments that stand there; these may name further folders
with further JSON, unpickle objects, or lead to other places of the disk. Metrics are read without all that (see `analyzers`); this
check stands before the recording is loaded to compute metrics.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: Recordings and preprocessing steps of SpikeInterface whose arguments are numbers, text, raw data files and each other.
STEPS = """AppendSegment Astype AverageAcrossDirection BandpassFilter BinaryFolder BlankSaturation Center ChannelSlice
    ChannelsAggregation Clip CommonReference ConcatenateSegment Decimate DepthOrder DirectionalDerivative Filter FrameSlice
    GaussianFilter HighpassFilter HighpassSpatialFilter InjectTemplates InterpolateBadChannels NoiseGenerator NormalizeByQuantile
    NotchFilter Numpy PhaseShift Rectify RemoveArtifacts Resample Scale SelectSegment SilencedPeriods TracePadded
    UnsignedToSigned Whiten ZScore ZeroChannelPadded"""
#: Raw data formats read by neo or by SpikeInterface itself, without code of the file's own.
FORMATS = """AlphaOmega Axon Axona Biocam Blackrock Ced CompressedBinaryIbl EDF Intan IntanSplitFiles MCSH5 MCSRaw Maxwell Mda
    Neuralynx NeuroExplorer NeuroNexus NeuroScope Nix Nwb OpenEphysBinary OpenEphysLegacy Plexon SinapsResearchPlatform
    SinapsResearchPlatformH5 Spike2 SpikeGLX SpikeGadgets Tdt WhiteMatter"""
OTHERS = """AddRecordings SubtractRecordings BinaryRecordingExtractor ZarrRecordingExtractor ZarrSortingExtractor
    AppendSegmentSorting ConcatenateSegmentSorting FrameSliceSorting NumpyFolderSorting NumpySorting SelectSegmentSorting
    SortingGenerator SplitSegmentSorting TransformSorting UnitsAggregationSorting UnitsSelectionSorting"""
READERS = frozenset(f"{name}RecordingExtractor" for name in FORMATS.split())
ALLOWED = READERS | {f"{name}Recording" for name in STEPS.split()} | set(OTHERS.split())
HOME = re.compile(r"spikeinterface\.(core|preprocessing|extractors|generation)(\.[A-Za-z]\w*)*\.([A-Za-z]\w*)")
#: An extension's own note of what computed it; nothing is built from it.
NOTE = re.compile(r"spikeinterface(\.[A-Za-z_]\w*)+\.Compute[A-Za-z]\w*")
#: Codecs of zarr that decompress numbers and text.
CODECS = frozenset(
    {
        "adler32", "astype", "bitround", "blosc", "bz2", "crc32", "delta", "fixedscaleoffset", "flac", "gzip", "json", "json2",
        "lz4", "lzma", "packbits", "quantize", "shuffle", "vlen-bytes", "vlen-utf8", "wavpack", "zlib", "zstd",
    }
)  # fmt: skip
PICKLES = frozenset({".pickle", ".pkl", ".joblib", ".dill"})
#: Extensions that SpikeInterface saves as pickles: computed again, never loaded.
PICKLED = frozenset({"principal_components"})
MAX_JSON = 64 << 20


class Scope(NamedTuple):
    """Where in a JSON a value stands."""

    argument: bool = False  #: among the arguments of a class
    path: bool = False  #: under a key that names a file or folder
    relative: bool = False  #: paths are told relative to the folder
    by_reader: bool = False  #: argument of a reader of a raw data format


def dangers(folder: Path) -> list[str]:
    """Return, in words, what opening an analyzer could execute or reach; empty when there is nothing."""
    return list(dict.fromkeys(_in_folder(Path(folder), Path(folder), set())))


def codecs_of(array: Any) -> list[str]:
    """Return, in words, which codecs of an opened zarr array could execute something when it is read, or are unknown.

    Opening decodes nothing; what the array holds as its codecs is asked, not a file that need not be the one it was opened by.
    """
    found = [codec.get_config().get("id") for codec in [array.compressor, *(array.filters or [])] if codec is not None]
    return ["holds a pickle" if i == "pickle" else f"needs the codec {str(i)[:40]}" for i in found if i not in CODECS]


def _in_folder(folder: Path, start: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the dangers of a folder and of everything that its files name; ``start`` is what paths are told relative to."""
    root = folder.resolve()
    if root in seen:
        return
    seen.add(root)
    for here, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(here, name)
            place = path.relative_to(root).as_posix() if root == start.resolve() else str(path)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                yield f"{place} is a link that leads outside"
            elif name in files and path.relative_to(root).parts[:2] not in {("extensions", name) for name in PICKLED}:
                yield from _in_file(path, place, root, start, seen)


def _in_file(path: Path, place: str, base: Path, start: Path, seen: set[Path]) -> Iterator[str]:
    if path.suffix.lower() in PICKLES or (path.suffix.lower() == ".npy" and holds_objects(path)):
        yield f"{place} holds a pickle"
    elif path.suffix.lower() == ".json" or path.name in (".zarray", ".zattrs", ".zgroup", ".zmetadata"):
        content = _json(path)
        if content is None:
            yield f"{place} is no readable JSON"
            return
        for folder in dict.fromkeys([base, path.resolve().parent]):
            yield from _in_value(content, place, folder, start, seen)
        if path.name == ".zarray" and isinstance(content, dict) and str(content.get("dtype")) == "|O":
            yield from _in_objects(path.parent, content, place, base, start, seen)


def _json(path: Path) -> Any:
    """Return the content of a JSON file, or None where it is none."""
    try:
        return json.loads(path.read_bytes()) if path.stat().st_size <= MAX_JSON else None
    except (ValueError, OSError, RecursionError):
        return None


def _in_objects(folder: Path, header: dict, place: str, base: Path, start: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the dangers inside an array of JSON objects, as zarr stores a recording's description."""
    codecs = [c.get("id") for c in [header.get("compressor"), *(header.get("filters") or [])] if isinstance(c, dict)]
    if not set(map(str, codecs)) <= CODECS:
        return  # told already, and nothing of it is decoded
    import zarr

    try:
        values = zarr.open_array(str(folder), mode="r")[:].ravel().tolist()
    except Exception:  # a parser of foreign bytes may raise anything
        yield f"{place.removesuffix('/.zarray')} is not readable"
        return
    for value in values:
        yield from _in_value(value, place.removesuffix("/.zarray"), base, start, seen)


def _in_value(value: Any, place: str, base: Path, start: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the dangers of a JSON value, however deep."""
    stack: list[tuple[Any, Scope]] = [(value, Scope())]
    while stack:
        item, scope = stack.pop()
        if isinstance(item, dict):
            yield from _in_object(item, place)
            scope = scope._replace(relative=bool(item.get("relative_paths", scope.relative)))
            if isinstance(item.get("class"), str):
                scope = scope._replace(by_reader=item["class"].rpartition(".")[2] in READERS)
            for key, inner in item.items():
                named = scope.argument and any(part in str(key) for part in ("path", "folder", "file", "dir", "traces"))
                stack.append((inner, scope._replace(argument=scope.argument or key == "kwargs", path=named)))
        elif isinstance(item, (list, tuple)):
            stack += [(inner, scope) for inner in item]
        elif isinstance(item, str) and scope.argument:
            yield from _in_argument(item, place, scope, base, start, seen)


def _in_object(item: dict, place: str) -> Iterator[str]:
    for key in ("class", "module"):
        named = item.get(key)
        if isinstance(named, str) and not _is_known(key, named, "kwargs" in item):
            yield f"{place} names the {key} {named[:80]}"
    yield from _in_codecs(item, place)
    if item.get("install_maxwell_plugin"):
        yield f"{place} asks to install a plugin"
    if isinstance(item.get("dtype"), str):
        try:
            if np.dtype(item["dtype"]).hasobject and "chunks" not in item:
                yield f"{place} names the dtype {item['dtype'][:40]}"
        except (TypeError, ValueError, SyntaxError):
            pass  # not a dtype: SpikeInterface will say so


def _in_codecs(item: dict, place: str) -> Iterator[str]:
    for key in ("compressor", "filters"):
        for codec in item[key] if isinstance(item.get(key), list) else [item.get(key)]:
            if isinstance(codec, dict) and "id" in codec and codec["id"] not in CODECS:
                what = "holds a pickle" if codec["id"] == "pickle" else f"needs the codec {str(codec['id'])[:40]}"
                yield f"{place} {what}"


def _is_known(key: str, named: str, is_extractor: bool) -> bool:
    """Return whether a class or module may be named; a word without a dot names no class that could be built."""
    if key == "module":
        return not is_extractor or named.partition(".")[0] == "spikeinterface"
    if not is_extractor and ("." not in named or NOTE.fullmatch(named)):
        return True
    found = HOME.fullmatch(named)
    return found is not None and found.group(3) in ALLOWED


def _in_argument(text: str, place: str, scope: Scope, base: Path, start: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the dangers of a path among the arguments: of a folder all its files, of a file what its kind could hold.

    A reader of a raw data format touches only the files of its format: what else lies in such a folder does not matter.
    """
    if re.match(r"[A-Za-z][\w+.-]+://", text):
        yield f"{place} names the address {text[:80]}"
        return
    if scope.by_reader or not (scope.path or os.path.isabs(text)):
        return
    for path in [base / text] if scope.relative else [base / text, Path(text)]:
        try:
            if path.is_dir() and path.resolve() != base:
                yield from _in_folder(path, start, seen)
            elif path.is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield from _in_file(path, str(path), path.resolve().parent, start, seen)
        except (OSError, ValueError):
            continue  # no path: too long, or with a NUL in it


def holds_objects(path: Path) -> bool:
    """Return whether a NumPy file stores Python objects, that is, a pickle."""
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        return True
    except (OSError, EOFError):
        return False
    return False
