"""The operating system: processes by pid, ports, memory, spawned children."""
