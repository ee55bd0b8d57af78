"""Bounded memory: what does not fit is shed and counted, and a torn end is healed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.recorder.writer import Writer


async def test_what_does_not_fit_is_shed_and_counted(tmp_path: Path) -> None:
    writer = Writer(tmp_path, pending_bytes_max=100)
    assert writer.add("spans", b"x" * 59 + b"\n", rows=3)
    assert not writer.add("logs", b"y" * 59 + b"\n", rows=2)
    assert writer.shed["logs"] == 2
    await writer.flush()
    assert writer.add("logs", b"z\n")
    await writer.close()
    assert (writer.rows["spans"], writer.rows["logs"]) == (3, 1)
    assert (tmp_path / "logs.ndjson").read_bytes() == b"z\n"


async def test_a_torn_last_line_is_ended_before_more_is_appended(tmp_path: Path) -> None:
    (tmp_path / "logs.ndjson").write_bytes(b'{"time_s": 1}\n{"time')
    writer = Writer(tmp_path)
    writer.add("logs", b'{"time_s": 2}\n')
    await writer.close()
    assert (tmp_path / "logs.ndjson").read_bytes() == b'{"time_s": 1}\n{"time\n{"time_s": 2}\n'


async def test_a_full_disk_is_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path)
    with monkeypatch.context() as broken:

        def no_space(file: int, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr("lab.recorder.writer._write_all", no_space)
        writer.add("spans", b"{}\n", rows=1)
        await writer.flush()
    assert writer.shed["spans"] == 1
    assert writer.error == "spans.ndjson: No space left on device"
    writer.add("spans", b"{}\n", rows=1)
    await writer.close()
    assert writer.rows["spans"] == 1
