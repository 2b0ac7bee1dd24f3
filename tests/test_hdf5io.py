"""Is what hdf5io writes readable, complete, explained, and is a user's recording safe from it?"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tables
from hypothesis import given, settings
from hypothesis import strategies as st

import hdf5io
from hdf5io import Dataset, InputError, LockedError, NoSpace, journal

ROOT = Path(__file__).resolve().parents[1]


def make_recording(path, seed=0):
    """Write a small recording as PyTables does: spike arrays, a table, a variable-length text."""
    rng = np.random.default_rng(seed)
    with tables.open_file(str(path), "w") as file:
        group = file.create_group("/spike_trains", "dig_in_0", createparents=True)
        file.create_array(group, "spike_array", rng.integers(0, 2, (30, 8, 700)).astype(float))
        file.create_earray("/", "raw", obj=rng.integers(0, 99, (20000,)), filters=tables.Filters(complevel=3))
        table = file.create_table(
            "/", "unit_descriptor", {"unit_number": tables.Int32Col(), "snr": tables.Float32Col()}
        )
        table.append([(i, i / 2) for i in range(8)])


def user_arrays_digest(path):
    """Return a hash over every dataset outside our results, read by PyTables."""
    digest = hashlib.sha256()
    with tables.open_file(str(path), "r") as file:
        for node in file.walk_nodes("/", "Leaf"):
            if not node._v_pathname.startswith("/glm_output"):
                digest.update(node._v_pathname.encode() + np.ascontiguousarray(node[:]).tobytes())
    return digest.hexdigest()


def results(value, size=60000):
    """Return datasets whose every entry is ``value``, so that a mixture of two generations is seen at once."""
    return {
        "rates/pred": Dataset(np.full(size, float(value)), "spikes/bin", "a rate", ("bin",)),
        "label": Dataset(np.array([f"generation {value}"])),
    }


def generation_in(path):
    """Return the one generation that the results in a file belong to; fails on a mixture."""
    with h5py.File(path, "r") as file:
        group = file["glm_output"]
        rates = group["rates/pred"][:]
        assert (rates == rates[0]).all()
        assert group["label"][0].decode() == f"generation {int(rates[0])}"
        assert group.attrs["generation"] == rates[0]
        return int(rates[0])


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "session 1.h5"
    make_recording(path)
    hdf5io.update(path, "glm_output", results(1), attrs={"generation": 1})
    return path


def test_a_folder_is_also_what_its_links_lead_to_and_a_circle_of_them_ends(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "F.npy").write_bytes(b"1")
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "plane0").symlink_to(tmp_path / "disk")
    (tmp_path / "session" / "self").symlink_to(tmp_path / "session")
    before = hdf5io.sha256(tmp_path / "session")
    (tmp_path / "disk" / "F.npy").write_bytes(b"22")
    assert hdf5io.sha256(tmp_path / "session") != before


def test_a_written_file_explains_itself(tmp_path):
    path = tmp_path / "x.h5"
    made = hdf5io.provenance("glm-rates fit", {"bin_ms": 25}, seed=3, inputs=[])
    hdf5io.write(path, "glm_rates/fit/1", results(2), attrs={"k": "v"}, provenance=made)
    with hdf5io.read(path, "glm_rates/fit/1", ["rates/pred"]) as file:
        rates = file["rates/pred"]
        assert (rates.attrs["units"], rates.attrs["description"], rates.dims[0].label) == (
            "spikes/bin",
            "a rate",
            "bin",
        )
        assert file.attrs["k"] == "v"
        assert set(file["provenance"].attrs) == {
            "command",
            "folder",
            "config",
            "seed",
            "versions",
            "commit",
            "inputs",
            "time",
        }


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in "ab":
        hdf5io.write(tmp_path / name, "s/1", results(5), attrs={"k": [1, 2]})
        time.sleep(1.1 if name == "a" else 0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_existing_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "x.h5"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"exists already.*--overwrite"):
        hdf5io.write(path, "s/1", results(1))
    assert path.read_text() == "mine"


def test_a_failed_write_leaves_neither_result_nor_litter(tmp_path):
    def half_write():
        with hdf5io.atomic(tmp_path / "x.txt") as part:
            part.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        half_write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_result_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "any").write_text("")
    with hdf5io.atomic(tmp_path / "x.txt") as part:
        part.write_text("private while it is written")
        part.chmod(0o600)
    assert (tmp_path / "x.txt").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_claim_removes_only_folders_that_a_pipeline_made(tmp_path):
    foreign, ours = tmp_path / "foreign", tmp_path / "ours"
    for folder in (foreign, ours):
        folder.mkdir()
        (folder / "data.txt").write_text("x")
    (ours / "result.json").write_text("{}")
    with pytest.raises(InputError, match="not replaced"):
        hdf5io.claim(foreign, overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        hdf5io.claim(ours)
    hdf5io.claim(ours, overwrite=True)
    assert (foreign / "data.txt").exists()
    assert not ours.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"not hdf5 at all", "not a readable HDF5 file"), (b"", "not a readable HDF5 file")],
)
def test_an_unreadable_file_gives_one_line(tmp_path, content, message):
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught, hdf5io.read(path):
        pass
    assert "\n" not in str(caught.value)


def test_a_missing_dataset_lists_what_is_there(recording):
    with (
        pytest.raises(InputError, match=r"no 'spikes'; there are .*'spike_trains'"),
        hdf5io.read(recording, required=["spikes"]),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"expected schema 'a/1', the file has no schema"),
        hdf5io.read(recording, "a/1"),
    ):
        pass


def test_update_keeps_the_users_arrays_and_one_generation_of_results(recording):
    before = user_arrays_digest(recording)
    hdf5io.update(recording, "/glm_output", results(2), attrs={"generation": 2}, provenance={"command": "x"})
    hdf5io.update(recording, "/glm_output", results(3), attrs={"generation": 3})
    assert generation_in(recording) == 3
    assert user_arrays_digest(recording) == before
    with h5py.File(recording) as file:
        assert file["glm_output_previous"].attrs["generation"] == 2
        assert sorted(k for k in file if k.startswith("glm")) == ["glm_output", "glm_output_previous"]


@pytest.mark.parametrize("kind", ["group", "dataset", "link"])
def test_what_stood_under_the_name_of_the_results_and_is_not_ours_is_never_deleted(recording, kind):
    with h5py.File(recording, "r+") as file:
        file["elsewhere/rates"] = np.arange(5)
        if kind == "group":
            file["own/rates"] = np.arange(5)
        else:
            file["own"] = np.arange(5) if kind == "dataset" else h5py.SoftLink("/elsewhere")
    for generation in (1, 2, 3):
        hdf5io.update(recording, "own", results(generation), attrs={"generation": generation})
    with h5py.File(recording) as file:
        kept = file["own_original"]
        assert (kept if kind == "dataset" else kept["rates"])[:].tolist() == [0, 1, 2, 3, 4]
        assert [file[name].attrs["generation"] for name in ("own", "own_previous")] == [3, 2]
        assert file["elsewhere/rates"].shape == (5,)
    with h5py.File(recording, "r+") as file:
        del file["own"]
        file["own"] = 1.0
    before = recording.read_bytes()
    with pytest.raises(InputError, match=r"'/own' and '/own_original' are not"):
        hdf5io.update(recording, "own", results(4))
    assert recording.read_bytes() == before


@pytest.mark.parametrize("block", [0, 512])
def test_a_file_that_a_swmr_writer_holds_is_not_touched(tmp_path, block):
    path = tmp_path / "x.h5"
    script = f"""
        import h5py, time
        file = h5py.File({str(path)!r}, "w", libver="latest", userblock_size={block})
        file["x"] = list(range(9))
        file.swmr_mode = True
        print("ready", flush=True)
        time.sleep(60)
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    before = path.read_bytes()
    with pytest.raises(LockedError, match="is being written by another program"):
        hdf5io.update(path, "own", results(1))
    writer.kill()
    writer.wait()
    with pytest.raises(LockedError, match=r"h5clear -s x\.h5"):
        hdf5io.update(path, "own", results(1))
    assert path.read_bytes() == before


def test_a_file_that_is_open_elsewhere_is_not_touched(recording):
    before = recording.read_bytes()
    with h5py.File(recording, "r"), pytest.raises(LockedError, match="open in another program"):
        hdf5io.update(recording, "glm_output", results(2))
    assert recording.read_bytes() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_recording_is_refused(recording):
    recording.chmod(0o444)
    with pytest.raises(InputError, match="no permission to write"):
        hdf5io.update(recording, "glm_output", results(2))


def test_an_incomplete_journal_is_discarded_and_a_foreign_change_is_refused(recording, monkeypatch):
    before = recording.read_bytes()
    left = journal._journal_of(recording)
    left.write_bytes(journal.MAGIC + b"cut in the middle")
    assert hdf5io.recover(recording) == "discarded"
    assert recording.read_bytes() == before

    monkeypatch.setattr(journal, "_recover", lambda *_: None)  # as if killed just before the file is touched
    hdf5io.update(recording, "glm_output", results(2), attrs={"generation": 2})
    monkeypatch.undo()
    kept = left.read_bytes()
    _, _, entries = journal._journal_entries(left)
    changed = bytearray(before)
    changed[entries[0][0]] ^= 255
    recording.write_bytes(changed)
    with pytest.raises(InputError, match="changed by another program"):
        hdf5io.recover(recording)
    assert recording.read_bytes() == bytes(changed)
    assert left.read_bytes() == kept

    recording.write_bytes(before)
    assert hdf5io.recover(recording) == "replayed"
    assert generation_in(recording) == 2


@settings(max_examples=60, deadline=None)
@given(
    base=st.binary(max_size=3 * journal.BLOCK),
    writes=st.lists(
        st.tuples(st.integers(0, 4 * journal.BLOCK), st.binary(min_size=1, max_size=2 * journal.BLOCK)), max_size=6
    ),
    window=st.tuples(st.integers(0, 4 * journal.BLOCK), st.integers(1, 3 * journal.BLOCK)),
)
def test_the_overlay_reads_like_a_file_that_was_written(tmp_path_factory, base, writes, window):
    path = tmp_path_factory.mktemp("overlay") / "f"
    path.write_bytes(base)
    expected = bytearray(base)
    descriptor = os.open(path, os.O_RDWR)
    overlay = journal.Overlay(descriptor)
    for offset, data in writes:
        expected.extend(b"\0" * (offset + len(data) - len(expected)))
        expected[offset : offset + len(data)] = data
        overlay.seek(offset)
        overlay.write(data)
    overlay.seek(window[0])
    assert overlay.read(window[1]) == bytes(expected[window[0] : window[0] + window[1]])
    assert path.read_bytes() == base  # untouched so far
    journal._write_journal(journal._journal_of(path), overlay)
    journal._recover(path, descriptor)
    os.close(descriptor)
    assert path.read_bytes() == bytes(expected)


def test_a_block_that_was_half_written_is_recovered(recording, monkeypatch):
    """A disk writes sectors of 512 bytes: after a loss of power a block may hold some old and some new ones."""
    monkeypatch.setattr(journal, "_recover", lambda *_: None)
    hdf5io.update(recording, "glm_output", results(2), attrs={"generation": 2})
    monkeypatch.undo()
    _, _, entries = journal._journal_entries(journal._journal_of(recording))
    inside = [e for e in entries if e[0] + journal.BLOCK <= recording.stat().st_size]
    assert inside
    with open(recording, "rb+") as file:
        for offset, _, new in inside:
            for sector in (1, 4, 7):
                file.seek(offset + sector * journal.SECTOR)
                file.write(new[sector * journal.SECTOR : (sector + 1) * journal.SECTOR])
    assert hdf5io.recover(recording) == "replayed"
    assert generation_in(recording) == 2


def test_the_digest_of_a_folder_is_that_of_its_data(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.npy").write_bytes(b"a")
    before = hdf5io.sha256(tmp_path / "in")
    (tmp_path / "in" / ".lock").write_text("")
    (tmp_path / "in" / "report.html").write_text("")
    for name in ("raw_imaging_data_00", "earlier_run", "own_output"):
        (tmp_path / "in" / name).mkdir()
        (tmp_path / "in" / name / "x").write_text("")
    (tmp_path / "in" / "earlier_run" / "result.json").write_text("{}")
    assert hdf5io.sha256(tmp_path / "in", leave_out=tmp_path / "in" / "own_output") == before
    (tmp_path / "in" / "b.npy").write_bytes(b"b")
    assert hdf5io.sha256(tmp_path / "in", leave_out=tmp_path / "in" / "own_output") != before


# --- full disks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Return ``make(n_bytes) -> Path``: a file system of its own with so much space."""
    made = []

    def make(n_bytes):
        place = tmp_path / f"disk{len(made)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no small file system can be mounted here")
        made.append(place)
        return place

    yield make
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=False)


def fill(folder, leave):
    """Leave only so many bytes of a file system."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "ballast").write_bytes(bytes(max(0, free - leave)))


def save_torch(part):
    torch = pytest.importorskip("torch")
    torch.save(torch.zeros(40_000), part)


def save_safetensors(part):
    pytest.importorskip("safetensors.numpy").save_file({"x": np.zeros(40_000)}, part)


def copy_folder(part):
    (part.parent.parent / "from").mkdir(exist_ok=True)
    (part.parent.parent / "from" / "x").write_bytes(bytes(160_000))
    shutil.copytree(part.parent.parent / "from", part.parent / "to", dirs_exist_ok=True)


@pytest.mark.parametrize(
    "save", [save_torch, save_safetensors, copy_folder, lambda part: np.savez(part, x=np.zeros(40_000))]
)
def test_a_full_disk_is_told_whatever_the_library_makes_of_it(small_disk, save):
    disk = small_disk(1 << 20)
    fill(disk, 60_000)
    with pytest.raises(NoSpace, match=r"new.npz: the disk is full. Make room"), hdf5io.atomic(disk / "new.npz") as part:
        save(part)
    assert sorted(p.name for p in disk.iterdir() if "new" in p.name) == []


def test_a_bug_on_a_disk_with_room_stays_a_bug(tmp_path):
    with pytest.raises(IndexError, match="out of range"), hdf5io.atomic(tmp_path / "x") as part:
        part.write_bytes([b"1"][1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.55, 0.7, 0.9])
def test_a_full_disk_leaves_the_recording_as_it_was(small_disk, tmp_path, share):
    disk = small_disk(24 << 20)
    path = disk / "recording.h5"
    make_recording(path)
    hdf5io.update(path, "glm_output", results(1), attrs={"generation": 1})
    before = path.read_bytes()
    trial = tmp_path / "trial.h5"
    trial.write_bytes(before)
    hdf5io.update(trial, "glm_output", results(2, 200000), attrs={"generation": 2})
    growth = trial.stat().st_size - len(before)
    fill(disk, int(2.05 * growth * share))
    with pytest.raises(NoSpace, match=r"disk is full, it needs \d+\.\d MB"):
        hdf5io.update(path, "glm_output", results(2, 200000), attrs={"generation": 2})
    assert sorted(p.name for p in disk.iterdir()) == ["ballast", "recording.h5"]
    assert path.read_bytes() == before
    assert generation_in(path) == 1
    (disk / "ballast").unlink()
    hdf5io.update(path, "glm_output", results(2, 200000), attrs={"generation": 2})
    assert generation_in(path) == 2


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_a_new_file_on_a_full_disk_is_an_error_and_no_signal(small_disk, share):
    disk = small_disk(8 << 20)
    fill(disk, int(4_000_000 * share))
    code = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        import numpy as np, hdf5io
        try:
            hdf5io.write({str(disk / "new.h5")!r}, "s/1", {{f"a{{i}}": hdf5io.Dataset(np.random.rand(50000)) for i in range(10)}})
        except hdf5io.NoSpace as error:
            print("NoSpace", error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NoSpace")
    assert [p.name for p in disk.iterdir()] == ["ballast"]


def test_a_full_disk_is_told_where_the_library_gave_the_room_back_first(tmp_path):
    def save(part):
        part.write_bytes(b"")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")  # safetensors

    with pytest.raises(NoSpace, match="the disk is full"), hdf5io.atomic(tmp_path / "x.safetensors") as part:
        save(part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", ["write", "fsync", "ftruncate", "posix_fallocate", "unlink", "lseek", "read"])
def test_a_system_call_that_fails_once_leaves_the_old_results_or_the_new_ones(recording, monkeypatch, function):
    hdf5io.update(recording, "glm_output", results(1, 3000), attrs={"generation": 1})
    digest, kept = user_arrays_digest(recording), recording.read_bytes()
    outcomes, at = set(), 0
    while True:
        recording.write_bytes(kept)
        calls, original = 0, getattr(os, function)

        def failing(*args, at=at, original=original, **kwargs):
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise OSError(28, "No space left on device")
            return original(*args, **kwargs)

        monkeypatch.setattr(os, function, failing)
        try:
            hdf5io.update(recording, "glm_output", results(2, 3000), attrs={"generation": 2})
            failed = False
        except (hdf5io.WorkFailed, InputError, OSError):
            failed = True
        monkeypatch.undo()
        generation = generation_in(recording)  # with h5py, before any recovery
        assert generation in (1, 2)
        assert failed or generation == 2
        assert user_arrays_digest(recording) == digest
        journal._journal_of(recording).unlink(missing_ok=True)
        outcomes.add((failed, generation))
        if calls <= at:
            break
        at += max(1, calls // 40)
    assert (False, 2) in outcomes


def test_without_reserving_calls_the_growth_is_written_as_zeros(tmp_path):
    path, size = tmp_path / "grown", (2 << 20) + 5
    path.write_bytes(b"old")
    with open(path, "r+b") as handle:
        journal._write_zeros(handle.fileno(), 3, size)
    assert path.read_bytes() == b"old" + bytes(size - 3)


READ_FAILS = """
    import os, sys
    sys.path.insert(0, {root!r})
    import h5py, numpy as np, hdf5io

    reads, original = 0, os.read

    def failing(*args):
        global reads
        reads += 1
        if reads > {at}:
            raise OSError(5, "Input/output error")
        return original(*args)

    os.read = failing
    try:
        hdf5io.update({path!r}, "glm_output", {{"rates": hdf5io.Dataset(np.zeros(9), "Hz", "a rate", ("bin",))}})
    except hdf5io.WorkFailed as error:
        print(error)
"""


@pytest.mark.parametrize("at", [0, 2, 4, 8])
def test_a_disk_that_gives_errors_is_one_line_and_the_process_ends_by_itself(recording, at):
    """What HDF5 still holds when Python ends would be freed after Python's own end: a signal."""
    kept = recording.read_bytes()
    process = start(READ_FAILS, path=str(recording), at=at)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out == f"{recording}: could not be read (Input/output error); nothing was changed.\n"
    assert recording.read_bytes() == kept


# --- kills -------------------------------------------------------------------------------------------------------------------

RESULTS = """
    import os, signal, sys
    sys.path.insert(0, {root!r})
    import numpy as np
    import hdf5io
    from hdf5io import journal

    def results(value, size):
        return {{
            "rates/pred": hdf5io.Dataset(np.full(size, float(value)), "spikes/bin", "a rate", ("bin",)),
            "label": hdf5io.Dataset(np.array([f"generation {{value}}"])),
        }}
"""
KILLED_AT_A_CALL = (
    RESULTS
    + """
    left = {at}

    def count(function):
        def wrapper(*args, **kwargs):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapper

    for name in ("write", "fsync", "ftruncate", "unlink", "open", "replace"):
        setattr(os, name, count(getattr(os, name)))
    journal._pack = count(journal._pack)
    hdf5io.update({path!r}, "glm_output", results({at} + 1, 3000), attrs={{"generation": {at} + 1}})
"""
)
KILLED_AT_A_MOMENT = (
    RESULTS
    + """
    print("ready", flush=True)
    for generation in range(2, 10000):
        {action}
"""
)
JOURNAL = "hdf5io.update({path!r}, 'glm_output', results(generation, 60000), attrs={{'generation': generation}})"
SIDECAR = "hdf5io.write({path!r}, 's/1', results(generation, 60000), overwrite=True)"


def start(template, **values):
    code = textwrap.dedent(template).format(root=str(ROOT), **values)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_at_random(action, rng):
    process = start(KILLED_AT_A_MOMENT, action=action)
    process.stdout.readline()
    time.sleep(rng.uniform(0, 0.05))
    process.kill()
    process.communicate()


def check_survivor(path, before, generations):
    hdf5io.recover(path)
    assert generation_in(path) in generations
    assert user_arrays_digest(path) == before


def test_killed_at_any_call_of_the_commit_the_recording_survives(recording):
    """Each call of the commit (journal writing, replay, clean-up) is once the last one."""
    before, kills = user_arrays_digest(recording), 0
    for at in range(1, 200):
        process = start(KILLED_AT_A_CALL, at=at, path=str(recording))
        _, errors = process.communicate(timeout=60)
        check_survivor(recording, before, range(1, at + 2))
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1
    assert generation_in(recording) == at + 1
    assert kills >= 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments_the_recording_survives(recording, seed):
    before, rng = user_arrays_digest(recording), random.Random(seed)
    for _ in range(50):
        kill_at_random(JOURNAL.format(path=str(recording)), rng)
        check_survivor(recording, before, range(1, 10_000))


def test_a_sidecar_killed_at_random_moments_is_old_or_new(tmp_path):
    path, rng = tmp_path / "out.h5", random.Random(0)
    hdf5io.write(path, "s/1", results(1))
    for _ in range(10):
        kill_at_random(SIDECAR.format(path=str(path)), rng)
        with hdf5io.read(path, "s/1") as file:
            rates = file["rates/pred"][:]
            assert (rates == rates[0]).all()


def test_a_dataset_may_make_itself_compressed_in_a_new_file_and_in_a_recording(tmp_path):
    def squeezed(group, name):
        return group.create_dataset(name, data=np.zeros((100, 1000)), compression="gzip", chunks=(10, 1000))

    item = hdf5io.Dataset(squeezed, "Hz", "rates", ("trial", "bin"))
    hdf5io.write(tmp_path / "new.h5", "test/kind/1", {"a/rates": item})
    with h5py.File(tmp_path / "recording.h5", "w") as file:
        file["spikes"] = np.arange(10)
    hdf5io.update(tmp_path / "recording.h5", "results", {"rates": item})
    for path, name in ((tmp_path / "new.h5", "a/rates"), (tmp_path / "recording.h5", "results/rates")):
        with h5py.File(path) as file:
            dataset = file[name]
            assert dataset.compression == "gzip"
            assert dataset.shape == (100, 1000)
            assert dataset.attrs["units"] == "Hz"
            assert [dim.label for dim in dataset.dims] == ["trial", "bin"]
            assert dataset.id.get_storage_size() < 10_000


@pytest.mark.parametrize("kind", ["text", "rows", "a member of a record"])
@pytest.mark.parametrize("where", ["attribute", "dataset"])
def test_a_varying_length_of_a_kind_that_hdf5_has_not_is_refused_before_the_library_dies_of_it(tmp_path, kind, where):
    path = tmp_path / "trace.h5"
    text = h5py.string_dtype()
    element = {"text": text, "rows": h5py.vlen_dtype(np.int32), "a member of a record": np.dtype([("a", text)])}[kind]
    with h5py.File(path, "w") as file:
        holder = file.create_group("cell/trace")
        if where == "attribute":
            stored = h5py.h5t.py_create(np.dtype(element), logical=True)
            h5py.h5a.create(holder.id, b"unit", stored, h5py.h5s.create_simple((2,)))
        else:
            holder.create_dataset("unit", shape=(2,), dtype=element)
    with hdf5io.read(path) as file:
        assert "trace" in file["cell"]
    content = path.read_bytes()
    is_text = kind != "rows"
    sound = bytes([0x19, is_text]) + content[content.index(bytes([0x19, is_text])) + 2 :][:2]
    assert content.count(sound) == 1
    path.write_bytes(content.replace(sound, bytes([0x19, 0x6F]) + sound[2:]))
    name = "cell/trace@unit" if where == "attribute" else "cell/trace/unit"
    with pytest.raises(InputError, match=f"'{name}' has a type that HDF5 has not"), hdf5io.read(path):
        pass


def test_an_array_of_which_nothing_was_ever_written_is_refused(tmp_path):
    """Acquisition that died leaves what it reserved: its values would all be zero."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["filling"] = np.random.default_rng(0).random(200_000)  # so that the file itself is no thousandth
        file.create_dataset("reserved", (20_000_000,), "f8", chunks=(65_536,))
        file.create_dataset("zeros", (20_000_000,), "f8", chunks=(65_536,), compression="gzip")[...] = 0
        layout = h5py.VirtualLayout((20_000_000,), "f8")
        layout[:200_000] = h5py.VirtualSource(tmp_path / "x.h5", "filling", (200_000,))
        file.create_virtual_dataset("view", layout)
    with h5py.File(tmp_path / "x.h5", "r") as file:
        with pytest.raises(InputError, match=r"'/reserved' claims 0\.2 GB"):
            hdf5io.array(file, "reserved")
        assert hdf5io.array(file, "zeros").shape == hdf5io.array(file, "view").shape == (20_000_000,)


def test_packed_numbers_are_read_as_their_writer_meant_them(tmp_path):
    """As xarray and netCDF4 pack: integers, a factor, an offset and a number for what is missing."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        packed = file.create_dataset("packed", data=np.array([0, 100, -32768], "i2"))
        packed.attrs.update(scale_factor=np.float32(0.5), add_offset=[3.0], _FillValue=np.int16(-32768))
        file["plain"] = np.array([1.0, np.nan])
        file["plain"].attrs["_FillValue"] = np.nan
        file["odd"] = np.arange(3)
        file["odd"].attrs["scale_factor"] = [1.0, 2.0]
    with h5py.File(tmp_path / "x.h5", "r") as file:
        values = hdf5io.packing(file["packed"]).unpack(file["packed"][:])
        np.testing.assert_array_equal(values, [3, 53, np.nan])
        np.testing.assert_array_equal(hdf5io.packing(file["plain"]).unpack(file["plain"][:]), [1, np.nan])
        with pytest.raises(InputError, match="'/odd' has scale_factor"):
            hdf5io.packing(file["odd"])
