"""The names of percentiles."""

import pytest

from lab.load.percentiles import quantile


@pytest.mark.parametrize("name", ["p100_ms", "p1000_ms", "p500_ms", "p5_ms", "p12345_ms"])
def test_a_name_that_reads_as_another_percentile_is_none(name: str) -> None:
    assert quantile(name) is None


def test_percentiles_by_name() -> None:
    names = ("p50_ms", "p95_ms", "p999_ms", "p9999_ms")
    assert [quantile(each) for each in names] == [0.5, 0.95, 0.999, 0.9999]
