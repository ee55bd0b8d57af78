"""The supervisor: the process that starts, restarts, breaks and stops the parts of a running lab."""
