"""The real container engine and the shop's image, for tests that are skipped where either is not there."""

import subprocess

import pytest

IMAGE = "breakwater/shop:local"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def there() -> bool:
    try:
        done = subprocess.run(
            ["docker", "image", "inspect", IMAGE], capture_output=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


needs_the_image = [
    pytest.mark.skipif(not there(), reason=f"no container engine that has {IMAGE}"),
    pytest.mark.timeout(90),
]
