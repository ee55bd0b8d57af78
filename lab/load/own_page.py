"""Locust's page starts load by plain form posts: a web page of another origin must not send them."""

from urllib.parse import urlsplit

from flask import Flask, Response, request  # Locust brings it

from lab.httpd import is_own_host


def refuse_other_pages(app: Flask) -> None:
    """Answer 403 to a request for another host or from a page of another origin."""

    @app.before_request
    def check() -> Response | None:
        origin = request.headers.get("Origin")
        same = origin is None or urlsplit(origin).netloc == request.host
        return None if same and is_own_host(request.host) else Response(status=403)
