"""Serves the subject as `chassis.run` serves a service of the shop."""

from chassis import run


def main() -> None:
    run.APP = "tests.chassis.{name}_app"
    raise SystemExit(run.serve("subject"))
