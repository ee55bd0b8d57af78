"""The echo service, running in this process, and a client for it."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from chassis.http.auth import ISSUER, USER_AUDIENCE, ServiceTokens
from chassis.service import Service

SECRET = "a-secret-of-at-least-thirty-two-bytes"
LAB_TOKEN = "lab-token"


@dataclass
class Echo:
    """A running echo service and a client for it."""

    url: str
    service: Service
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        async with self.http.request(method, self.url + path, **options) as answer:
            content = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(content) if is_json else content, answer.headers

    @property
    def lab(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {LAB_TOKEN}"}

    def service_token(self, caller: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {ServiceTokens(caller, SECRET).mint('echo')}"}

    def user_token(self, key: Any, **claims: Any) -> dict[str, str]:
        body = {"iss": ISSUER, "aud": USER_AUDIENCE, "sub": "u1", "exp": 4102444800, **claims}
        token = jwt.encode(body, key, algorithm="EdDSA", headers={"kid": "k1"})
        return {"Authorization": f"Bearer {token}"}
