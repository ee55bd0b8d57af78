"""One run: load, faults, recording, quiescence, audit, verdict, report, in one directory."""
