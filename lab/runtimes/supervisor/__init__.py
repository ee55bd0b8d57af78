"""The process that runs a lab and outlives the command: starts, restarts, breaks and stops its parts."""
