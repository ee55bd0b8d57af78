"""The mail addresses of the shop: one grammar for the service that accepts them and the one that writes to them.

RFC 5321 with a dot-atom as local part and a host name as domain, in ASCII. Quoted local parts, address literals
and SMTPUTF8 are left out: not every mail server delivers to them.
"""

import re

LENGTH_MAX = 254
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
PATTERN = rf"^(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+$"  # without the limit of the length
_ADDRESS = re.compile(PATTERN, re.ASCII)


def is_address(text: str) -> bool:
    """Whether mail can be sent to this address."""
    return len(text) <= LENGTH_MAX and _ADDRESS.fullmatch(text) is not None
