"""What a runtime needs of the operating system: processes by pid, ports, memory, spawned children."""
