"""One module a command, with a function or typer application of its name. lab/cli.py imports only that one."""
