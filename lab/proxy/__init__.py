"""The lab's TCP fault proxy: one listener per edge, with Toxiproxy's HTTP API.

__main__    the command line; server.py puts the parts together
api/        the HTTP API: routes, JSON bodies, /metrics
proxies.py  all proxies by name; proxy.py is one of them, toxic.py one toxic on it
data_path/  sockets and timers: listener, connection, link (one direction), sender
toxics/     one file per type of toxic; stage.py is their base class
client.py   the Python client of the API
"""
