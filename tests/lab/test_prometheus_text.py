"""The lab's Prometheus text: the reader reads what the writer writes, and what other programs write."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.prometheus_text import Exposition, Sample, samples, split_series, total

NOTE = 'a "b" \\ \n}'


def a_page() -> str:
    page = Exposition()
    page.family("open", "gauge", "Open connections")
    page.sample(3, proxy="a", note=NOTE)
    page.sample(4.5, proxy="b", note="")
    page.family("took_seconds", "histogram", "Durations")
    page.histogram((0.1, 1.0), [2, 1, 4], 9.25, route="/x")
    return page.text()


def test_the_reader_reads_what_the_writer_writes() -> None:
    read = list(samples(a_page()))
    assert read[:2] == [
        Sample("open", {"proxy": "a", "note": NOTE}, 3.0),
        Sample("open", {"proxy": "b", "note": ""}, 4.5),
    ]
    assert [(each.labels.get("le"), each.value) for each in read[2:]] == [
        ("0.1", 2.0),
        ("1", 3.0),
        ("+Inf", 7.0),
        (None, 9.25),
        (None, 7.0),
    ]


def test_prometheus_own_parser_reads_the_same() -> None:
    parsed = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(a_page())
        for sample in family.samples
    ]
    assert parsed == [tuple(sample) for sample in samples(a_page())]


def test_comments_timestamps_and_malformed_lines() -> None:
    page = '# HELP x text\n# TYPE x counter\nx 1 1700000000\ny{a="b"} NaN\n\nz one\n{} 3\n'
    x, y = samples(page)
    assert x == Sample("x", {}, 1.0)
    assert y.labels == {"a": "b"}
    assert math.isnan(y.value)


def test_a_total_covers_the_samples_with_the_given_labels() -> None:
    page = (
        'n{edge="a",result="ok"} 1\nn{edge="b",result="ok"} 2\nn{edge="b",result="error"} 4\nnn 8\n'
    )
    assert total(page, "n") == 7
    assert total(page, "n", result="ok") == 3
    assert total(page, "n", result="late") is None


def test_a_label_may_contain_braces_and_commas() -> None:
    assert split_series('n{route="/orders/{id}",note="a,b=\\"c\\""}') == (
        "n",
        {"route": "/orders/{id}", "note": 'a,b="c"'},
    )


@pytest.mark.parametrize(
    "line",
    [
        'x{a="b"}1',
        'x {a="b"} 1',
        'x{ a = "b" , c="d", } 1 1700000000',
        "x\t1",
        'x{a="one\u2028two\x85three\x0bfour"} 2.5',
        '{"x.y", a="b"} 1',
        '{"x y"} 1',
        'x{"http.status"="200",a="}"} 1',
        'x{a="\\\\ \\" \\n"} 1',
    ],
)
def test_unusual_lines_are_read_as_by_prometheus_own_parser(line: str) -> None:
    (family,) = text_string_to_metric_families(line + "\n")
    (expected,) = family.samples
    (read,) = samples(line + "\n")
    assert tuple(read) == (expected.name, expected.labels, expected.value)


@pytest.mark.parametrize(
    "line", ["x1", "{} 3", '{"a"="b"} 3', "x", 'x{a="b"}', 'x{a="b 1', "# x 1"]
)
def test_a_line_without_a_name_or_a_value_is_no_sample(line: str) -> None:
    assert list(samples(line)) == []
