"""The folder works as a copy under any name: it requires only the standard library."""

import shutil
import subprocess
import sys
from pathlib import Path

import chassis.resilience

FOLDER = Path(chassis.resilience.__file__).parent
ALONE = """
import doctest, pkgutil, sys
sys.path.insert(0, {place!r})
import copied
for module in pkgutil.iter_modules(copied.__path__, "copied."):
    __import__(module.name)
foreign = {{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names - {{"__main__"}}
assert foreign == {{"copied"}}, foreign
done = doctest.testmod(copied, raise_on_error=True)
assert done.attempted >= 5 and not done.failed
"""


def test_a_copy_under_another_name_runs_its_example_with_the_standard_library_only(
    tmp_path: Path,
) -> None:
    shutil.copytree(FOLDER, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    script = ALONE.format(place=str(tmp_path))
    # -S and -I: no site-packages, no environment
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_everything_public_is_exported_and_explained() -> None:
    for name in chassis.resilience.__all__:
        thing = getattr(chassis.resilience, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
