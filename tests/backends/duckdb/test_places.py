"""Folders that go with their process, however it ends."""

import signal
import subprocess
import sys

from interlock.backends.duckdb.places import Place

HOLD = """
import sys, pathlib
from interlock.backends.duckdb.places import Place
place = Place(pathlib.Path(sys.argv[1]))
place.take()
(place.folder / "rows").write_text("somebody's")
print(place.folder, flush=True)
sys.stdin.read()
"""


def holder(root):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, root / process.stdout.readline().strip().rpartition("/")[2]


def test_folder_is_made_when_it_is_taken_and_goes_when_it_is_left(tmp_path):
    place = Place(tmp_path / "analysis")
    assert not (tmp_path / "analysis").exists()
    place.take()
    place.take()
    assert (place.folder.stat().st_mode & 0o777, len(list((tmp_path / "analysis").iterdir()))) == (0o700, 2)
    place.leave()
    place.leave()
    assert list((tmp_path / "analysis").iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path):
    (killed, left), (living, kept) = holder(tmp_path), holder(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        assert (left / "rows").exists()
        place = Place(tmp_path)
        place.take()
        assert not left.exists() and (kept / "rows").exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            name for folder in (kept, place.folder) for name in (folder.name, f"{folder.name}.held")
        )
        place.leave()
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate()
