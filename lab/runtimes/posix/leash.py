"""`python leash.py FD COMMAND...`: runs COMMAND and kills it when the pipe FD ends.

For platforms without a parent-death signal (macOS): only the process that started this one has the other end of
the pipe open. The pipe ends when that process ends, for any reason.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        print("usage: python leash.py FD COMMAND...", file=sys.stderr)
        return 2
    pipe, command = int(sys.argv[1]), sys.argv[2:]
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals from before the child was started

    def pass_on(number: int, _frame: object) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, pass_on)
    child = started = subprocess.Popen(command)
    for number in early:
        started.send_signal(number)

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        started.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = started.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
