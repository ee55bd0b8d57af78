"""Lists and shows the mails, as a page and as JSON."""

import html
import time

from lab.httpd import HttpError, Request, Response, json_response
from lab.mail.sink import Mail, Mailbox, as_json, text_of

LISTED_MAX = 200

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; }}
pre {{ white-space: pre-wrap; background: #f6f6f4; padding: 1rem; }}
</style></head><body><h1>{title}</h1>{content}</body></html>
"""


class Page:
    """GET /              the newest mails, ?to=ADDRESS filters
    GET /mails/ID      one mail
    GET /mails/ID.eml  its file
    GET /api/mails     {"count", "mails": [...]}, oldest first; ?to=ADDRESS, ?limit=N (the newest N)
    GET /api/mails/ID  one mail with its text
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def answer(self, request: Request) -> Response:
        if request.method != "GET":
            raise HttpError(405, "only GET is supported")
        path = request.path
        if path == "/":
            return self._list(request)
        if path == "/health":
            return json_response({"status": "ok"})
        if path == "/api/mails":
            return self._list_json(request)
        for prefix, show in (("/api/mails/", self._show_json), ("/mails/", self._show)):
            if path.startswith(prefix):
                return show(path.removeprefix(prefix))
        raise HttpError(404, "expected /, /mails/ID or /api/mails")

    def _chosen(self, request: Request) -> list[Mail]:
        wanted = request.query.get("to", "")
        return [mail for mail in self._mailbox.all() if wanted in mail.recipients]

    def _list(self, request: Request) -> Response:
        mails = self._chosen(request)
        rows = "".join(
            f"<tr><td>{_time(mail.received_s)}</td><td>{html.escape(mail.recipients)}</td>"
            f'<td><a href="/mails/{mail.id}">{html.escape(mail.subject) or "(no subject)"}</a></td></tr>'
            for mail in reversed(mails[-LISTED_MAX:])
        )
        content = f"<p>{len(mails)} mails, the newest {min(len(mails), LISTED_MAX)} below; all as "
        content += '<a href="/api/mails">JSON</a>.</p>'
        content += f"<table><tr><th>received</th><th>to</th><th>subject</th></tr>{rows}</table>"
        return _page("Mails of the shop", content)

    def _list_json(self, request: Request) -> Response:
        mails = self._chosen(request)
        limit = request.query.get("limit", "")
        if limit and (not limit.isdigit() or limit == "0"):
            raise HttpError(400, f"limit {limit!r}: expected a number from 1")
        shown = mails[-int(limit) :] if limit else mails
        return json_response({"count": len(mails), "mails": [as_json(mail) for mail in shown]})

    def _show(self, name: str) -> Response:
        mail, content = self._read(name.removesuffix(".eml"))
        if name.endswith(".eml"):
            return Response(content, "text/plain; charset=utf-8")
        # always shown as text: HTML of a mail must not run in this page
        head = f"from {mail.sender}\nto   {mail.recipients}\nat   {_time(mail.received_s)}"
        if mail.repeats:
            head += f"\nsent again {mail.repeats} times, delivered once"
        body = f"<pre>{html.escape(head)}</pre><pre>{html.escape(text_of(content))}</pre>"
        body += f'<p><a href="/">all mails</a> | <a href="/mails/{mail.id}.eml">source</a></p>'
        return _page(mail.subject, body)

    def _show_json(self, name: str) -> Response:
        mail, content = self._read(name)
        return json_response({**as_json(mail), "text": text_of(content)})

    def _read(self, name: str) -> tuple[Mail, bytes]:
        found = self._mailbox.read(name)
        if found is None:
            raise HttpError(404, f"no mail {name}")
        return found


def _page(title: str, content: str) -> Response:
    text = PAGE.format(title=html.escape(title), content=content)
    return Response(text.encode(), "text/html; charset=utf-8")


def _time(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))
