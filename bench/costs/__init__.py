"""What bench/cost.py measures with: the load, the CPU of a lab by process, and its causes."""
