"""The engine's log stream has frames, which chunks split at any byte."""

from random import Random

import pytest

from lab.runtimes.compose.engine import unframed


def framed(lines: list[bytes]) -> bytes:
    return b"".join(b"\x01\0\0\0" + len(line).to_bytes(4, "big") + line for line in lines)


@pytest.mark.parametrize("seed", range(20))
def test_every_byte_is_returned_once_however_the_stream_is_split(seed: int) -> None:
    rng = Random(seed)
    lines = [rng.randbytes(rng.choice([0, 1, 7, 8, 9, 300, 70_000])) for _ in range(20)]
    stream, said, rest = framed(lines), b"", b""
    while stream:
        cut = rng.choice([1, 3, 8, 50, 5000])
        chunk, stream = stream[:cut], stream[cut:]
        piece, rest = unframed(rest + chunk)
        said += piece
    assert (said == b"".join(lines), rest) == (True, b""), f"seed {seed}"


def test_an_incomplete_frame_is_kept_for_the_next_chunk() -> None:
    whole = framed([b"one\n", b"two\n"])
    assert unframed(whole[:-1]) == (b"one\n", framed([b"two\n"])[:-1])
