"""Words that made sentences hard to read stay away: from code, comments, messages and pages."""

import re
import subprocess

from lab.topology import PROJECT

# Each was used as a riddle or gave code a will of its own. CONTRIBUTING.md has the rule.
WORDS = r"nobody|whoever|whomever|somebody|anybody|tells?|told|lends?|lent|anew|thereof|whilst"
FILES = (
    "*.py",
    "*.md",
    "*.toml",
    "*.yaml",
    "*.yml",
    "*.sql",
    "*.conf",
    "*.ipynb",
    "*.sh",
    "Makefile",
)
# Names and words of others: the system user, a shell command, this list.
ALLOWED = re.compile(r"NOBODY|user nobody|\bnobody\b(?=['\"`])|WORDS = ")


def test_no_page_and_no_code_uses_a_word_of_the_list() -> None:
    found = subprocess.run(
        ["git", "grep", "-nwiE", "-e", WORDS, "--", *FILES, ":!*.lock"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode in (0, 1), found.stderr
    lines = [line for line in found.stdout.splitlines() if not ALLOWED.search(line)]
    assert not lines, "\n".join(line[:200] for line in lines[:40])
