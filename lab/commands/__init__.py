"""One module a group of commands; each has `register(app)`. lab/cli.py imports only the one that is asked for."""
