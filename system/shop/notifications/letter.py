"""Writes a mail in the format of RFC 5322. By a template, without the `email` package's object graph."""

import base64
from email.header import Header

from shop.notifications.domain import DOMAIN
from shop.notifications.smtp import Letter
from shop.notifications.store import Outgoing

_LINE_LENGTH_MAX = 998  # RFC 5322, 2.1.1


def letter_of(mail: Outgoing, date: str) -> Letter:
    """Plain text with an HTML alternative. Headers name the order and the trace."""
    boundary = f"=_{mail.id}"
    headers = {
        "From": f"Breakwater shop <shop@{DOMAIN}>",
        "To": mail.recipient,
        "Subject": mail.subject
        if mail.subject.isascii()
        else Header(mail.subject, "utf-8").encode(),
        "Date": date,
        "Message-ID": mail.message_id,
        "X-Order-Id": mail.order_id or "",
        "X-Trace-Id": mail.traceparent[3:35],
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/alternative; boundary="{boundary}"',
    }
    # a line end in a value would begin another header
    lines = [f"{name}: {' '.join(value.split())}" for name, value in headers.items() if value]
    for subtype, body in (("plain", mail.body_text), ("html", mail.body_html)):
        lines += ["", f"--{boundary}", *_part(subtype, body)]
    lines += ["", f"--{boundary}--", ""]
    return Letter(mail.recipient, "\r\n".join(lines).encode())


def _part(subtype: str, body: str) -> list[str]:
    lines = body.splitlines()
    if body.isascii() and all(len(line) <= _LINE_LENGTH_MAX for line in lines):
        return [f"Content-Type: text/{subtype}; charset=us-ascii", "", *lines]
    encoded = base64.encodebytes("\r\n".join((*lines, "")).encode()).decode().splitlines()
    head = f"Content-Type: text/{subtype}; charset=utf-8"
    return [head, "Content-Transfer-Encoding: base64", "", *encoded]
