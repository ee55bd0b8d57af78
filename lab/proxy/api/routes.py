"""The HTTP API: Toxiproxy's calls, and `/breakwater`, which Toxiproxy does not have."""

import hmac
import itertools
import json
from typing import Any

from aiohttp import web

from lab.prometheus_text import CONTENT_TYPE
from lab.proxy.api import metrics
from lab.proxy.api.json_fields import Fields
from lab.proxy.errors import ApiError, UnauthorizedError
from lab.proxy.proxies import Proxies
from lab.proxy.toxic import new_toxic, read_change
from lab.proxy.toxics import REGISTRY

VERSION = "2.12.0"  # of the Toxiproxy whose API this is; clients check it
BODY_BYTES_MAX = 16 * 1024 * 1024


class Api:
    """Parses requests, calls the proxies and builds the answers; contains no rules."""

    def __init__(self, proxies: Proxies, token: str | None = None) -> None:
        self._proxies = proxies
        self._deviations = proxies.context.deviations
        self._token = token.encode() if token is not None else None
        self._request_ids = itertools.count(1)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MAX)
        app.add_routes(self._routes(""))
        if self._token is not None:  # for clients that take a URL but no header
            app.add_routes(self._routes(f"/{self._token.decode()}"))
        return app

    def _routes(self, prefix: str) -> list[web.RouteDef]:
        proxies, proxy = f"{prefix}/proxies", f"{prefix}/proxies/{{proxy}}"
        toxics, toxic = f"{proxy}/toxics", f"{proxy}/toxics/{{toxic}}"
        routes = [
            web.get(proxies, self.list_proxies),
            web.post(proxies, self.create_proxy),
            web.post(f"{prefix}/populate", self.populate),
            web.post(f"{prefix}/reset", self.reset),
            web.get(proxy, self.show_proxy),
            web.post(proxy, self.change_proxy),
            web.patch(proxy, self.change_proxy),
            web.delete(proxy, self.remove_proxy),
            web.get(toxics, self.list_toxics),
            web.post(toxics, self.add_toxic),
            web.get(toxic, self.show_toxic),
            web.post(toxic, self.change_toxic),
            web.patch(toxic, self.change_toxic),
            web.delete(toxic, self.remove_toxic),
            web.get(f"{prefix}/version", self.version),
            web.get(f"{prefix}/metrics", self.metrics),
        ]
        if self._deviations.extras:
            routes.append(web.get(f"{prefix}/breakwater", self.about))
        return routes

    async def list_proxies(self, request: web.Request) -> web.Response:
        return _json({proxy.name: proxy.view() for proxy in self._proxies.all()})

    async def create_proxy(self, request: web.Request) -> web.Response:
        proxy = await self._proxies.create(Fields.of(await request.read()))
        return _json(proxy.view(), status=201)

    async def populate(self, request: web.Request) -> web.Response:
        done, error = await self._proxies.populate(await request.read())
        body: dict[str, Any] = {"proxies": [proxy.view() for proxy in done]}
        if not done and not self._deviations.json_errors:
            body["proxies"] = None  # Go encodes an empty slice as null
        if error is None:
            return _json(body, status=201)
        return _json({"error": error.message, "status": error.status, **body}, error.status)

    async def reset(self, request: web.Request) -> web.Response:
        await self._proxies.reset()
        return web.Response(status=204)

    async def show_proxy(self, request: web.Request) -> web.Response:
        return _json(self._proxies.get(request.match_info["proxy"]).view())

    async def change_proxy(self, request: web.Request) -> web.Response:
        name = request.match_info["proxy"]
        self._proxies.get(name)  # an unknown proxy is reported before a bad body
        proxy = await self._proxies.change(name, Fields.of(await request.read()))
        return _json(proxy.view())

    async def remove_proxy(self, request: web.Request) -> web.Response:
        self._proxies.remove(request.match_info["proxy"])
        return web.Response(status=204)

    async def list_toxics(self, request: web.Request) -> web.Response:
        proxy = self._proxies.get(request.match_info["proxy"])
        return _json([toxic.view(self._deviations) for toxic in proxy.listed_toxics()])

    async def add_toxic(self, request: web.Request) -> web.Response:
        body = await request.read()
        proxy = self._proxies.get(request.match_info["proxy"])
        seed = self._proxies.context.seed
        toxic = new_toxic(Fields.of(body), proxy.name, seed, self._deviations)
        proxy.add(toxic)
        return _json(toxic.view(self._deviations))

    async def show_toxic(self, request: web.Request) -> web.Response:
        proxy = self._proxies.get(request.match_info["proxy"])
        return _json(proxy.find(request.match_info["toxic"]).view(self._deviations))

    async def change_toxic(self, request: web.Request) -> web.Response:
        body = await request.read()
        proxy = self._proxies.get(request.match_info["proxy"])
        toxic = proxy.find(request.match_info["toxic"])
        proxy.update(toxic, read_change(toxic, Fields.of(body), self._deviations))
        return _json(toxic.view(self._deviations))

    async def remove_toxic(self, request: web.Request) -> web.Response:
        proxy = self._proxies.get(request.match_info["proxy"])
        proxy.remove(proxy.find(request.match_info["toxic"]), by="api")
        return web.Response(status=204)

    async def version(self, request: web.Request) -> web.Response:
        text = f'{{"version": "{VERSION}"}}\n'
        return web.Response(text=text, content_type="application/json", charset="utf-8")

    async def metrics(self, request: web.Request) -> web.Response:
        text = metrics.render(self._proxies.all(), extras=self._deviations.extras)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def about(self, request: web.Request) -> web.Response:
        """The seed, the known types of toxic, and the last removed faults with their records."""
        context = self._proxies.context
        return _json(
            {"seed": context.seed, "toxics": sorted(REGISTRY), "removed": list(context.removed)}
        )

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response = await self._answer(request, handler)
        except ApiError as error:
            response = self._error(error)
        except web.HTTPNotFound:
            response = _plain("404 page not found\n", 404)
        except web.HTTPMethodNotAllowed as error:
            response = web.Response(status=405, headers={"Allow": error.headers["Allow"]})
        except web.HTTPRequestEntityTooLarge:
            response = self._error(ApiError("request body too large"), 413)
        response.headers["X-Toxiproxy-Request-Id"] = f"{next(self._request_ids):020d}"
        return response

    async def _answer(self, request: web.Request, handler: Any) -> web.Response:
        # a web page in the user's browser must not be able to control the proxy
        if request.headers.get("User-Agent", "").startswith("Mozilla/"):
            return _plain("User agent not allowed\n", 403)
        if self._token is not None and request.path != "/version":  # the version is not secret
            given = request.headers.get("Authorization", "").encode()
            in_path = request.path.encode().startswith(b"/" + self._token + b"/")
            if not in_path and not hmac.compare_digest(given, b"Bearer " + self._token):
                raise UnauthorizedError()
        response: web.Response = await handler(request)
        return response

    def _error(self, error: ApiError, status: int | None = None) -> web.Response:
        status = status or error.status
        text = json.dumps({"error": error.message, "status": status}) + "\n"
        if self._deviations.json_errors:
            return web.Response(text=text, status=status, content_type="application/json")
        return _plain(text, status)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value, separators=(",", ":")).encode(),
        status=status,
        content_type="application/json",
    )


def _plain(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/plain", charset="utf-8")
