"""The kinds of faults outside the services, as data: whole processes and edges."""
