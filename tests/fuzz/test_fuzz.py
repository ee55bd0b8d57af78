"""A small sample of `make fuzz`."""

from pathlib import Path

import pytest

from tests.fuzz import run

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_the_public_api_does_what_its_document_says(tmp_path: Path) -> None:
    with run.shop(tmp_path) as api:
        code, answers = run.fuzz(api, tmp_path, seed=1, examples=3)
    assert code == 0
    assert {200, 201, 400, 401, 404, 405, 422} <= answers.keys()
    assert max(answers) < 500
