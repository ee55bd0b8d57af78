"""The names that the recorder writes and the analysis of an archive looks for."""

RECORDER = "recorder"  # its name as an instance
RECORDED = ("spans", "logs", "metrics", "breakers", "faults")
NUMBERED = RECORDED[:-1]  # by the recorder, in `seq`; to `faults` other programs append too
ROWS_TOTAL = "recorder_rows_total"  # by table, in the last rows of `metrics`
