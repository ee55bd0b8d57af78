"""The folder of a lab."""

from pathlib import Path

from lab.runtimes.posix.spawn import uid_for
from lab.runtimes.supervisor.lab_dir import locked


def test_a_labs_folder_is_closed_to_other_users_also_one_from_before(tmp_path: Path) -> None:
    old = tmp_path / "8080"
    old.mkdir(mode=0o755)
    old.chmod(0o755)
    for home in (old, tmp_path / "9080"):
        with locked(home):
            assert home.stat().st_mode & 0o777 == (0o700 if uid_for(True) is None else 0o711)
