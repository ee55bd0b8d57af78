"""Bounded memory: rows that do not fit are shed and counted; an incomplete last line is ended."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from lab.archive import Run
from lab.recorder.records.table_writer import TableWriter


async def test_rows_that_do_not_fit_are_shed_and_counted(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, pending_bytes_max=100)
    assert writer.add("spans", b"{" + b"x" * 58 + b"\n", rows=3)
    assert not writer.add("logs", b"{" + b"y" * 58 + b"\n", rows=2)
    assert writer.shed["logs"] == 2
    await writer.flush()
    assert writer.add("logs", b'{"time_s":1}\n')
    await writer.close()
    assert (writer.rows["spans"], writer.rows["logs"]) == (3, 1)
    assert (tmp_path / "logs.ndjson").read_bytes() == b'{"seq":0,"time_s":1}\n'


async def test_a_torn_last_line_is_ended_before_more_is_appended(tmp_path: Path) -> None:
    (tmp_path / "logs.ndjson").write_bytes(b'{"time_s": 1}\n{"time')
    writer = TableWriter(tmp_path)
    writer.add("logs", b'{"time_s": 2}\n')
    await writer.close()
    assert (tmp_path / "logs.ndjson").read_bytes() == (
        b'{"time_s": 1}\n{"time\n{"seq":0,"time_s": 2}\n'
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is full")
async def test_rows_for_a_full_disk_are_counted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spans.ndjson").symlink_to("/dev/full")
    writer = TableWriter(tmp_path)
    for _ in range(3):
        assert writer.add("spans", b"{}\n{}\n", rows=2)
        assert writer.add("logs", b"{}\n")
        await writer.flush()
    assert (writer.shed["spans"], writer.rows["spans"]) == (6, 0)
    assert (writer.shed["logs"], writer.rows["logs"]) == (0, 3)
    assert writer.error == "spans.ndjson: No space left on device"
    assert [record.message for record in caplog.records] == [
        "spans.ndjson: No space left on device: its rows are shed until it can be written again"
    ]
    await writer.close()


async def test_writing_continues_when_the_disk_has_space_and_a_cut_line_affects_no_other(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)  # a file may have at most 40 bytes
    writer = TableWriter(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
    try:
        writer.add("logs", b'{"time_s":1}\n')
        await writer.flush()
        writer.add("logs", b'{"time_s":2,"message":"too long"}\n')
        await writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "logs.ndjson").stat().st_size == 40
    writer.add("logs", b'{"time_s":3}\n')
    await writer.close()
    assert (writer.rows["logs"], writer.shed["logs"]) == (2, 1)
    assert [time_s for (time_s,) in Run(tmp_path).logs.project("time_s").fetchall()] == [1, 3]
    assert [seq for (seq,) in Run(tmp_path).logs.project("seq").fetchall()] == [0, 1]


async def test_a_full_file_is_renamed_with_the_next_number(tmp_path: Path) -> None:
    (tmp_path / "logs.000007.parquet").touch()
    segments: list[Path] = []
    writer = TableWriter(tmp_path, segment_bytes=30, on_segment=segments.append)
    for number in range(5):
        writer.add("logs", b'{"time_s":%d}\n' % number)
        writer.add("faults", b'{"fault_id":"%d"}\n' % number)
        await writer.flush()
    await writer.close()
    assert [path.name for path in segments] == ["logs.000008.ndjson", "logs.000009.ndjson"]
    assert segments[1].read_bytes() == b'{"seq":2,"time_s":2}\n{"seq":3,"time_s":3}\n'
    assert (tmp_path / "logs.ndjson").read_bytes() == b'{"seq":4,"time_s":4}\n'
    assert len((tmp_path / "faults.ndjson").read_bytes().splitlines()) == 5
