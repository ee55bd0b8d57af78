"""Renders the OpenAPI document as one HTML page, with a form to try each operation. It loads nothing else."""

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

from chassis.http.problems import MEDIA_TYPE

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1b2733}
section{border-top:1px solid #d5dde5;padding:.8rem 0}h2{font-size:1.05rem;margin:.2rem 0}
code,pre,output,textarea,input{font:14px/1.45 ui-monospace,monospace;background:#f2f5f8;border-radius:4px}
code{padding:.1rem .3rem}output{display:block;white-space:pre-wrap;overflow-wrap:anywhere;padding:0 .6rem}
.verb{color:#0a6;font-weight:700}.note{color:#5b6b7a}label{display:block;margin:.3rem 0}
input,textarea{border:1px solid #b8c4cf;padding:.2rem .4rem;width:24rem;max-width:100%}
textarea{width:100%;height:8rem}
table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
"""
SCRIPT = Path(__file__).with_name("try_it.js").read_text()


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# only this script and this style, and requests to this server only
POLICY = f"default-src 'none'; connect-src 'self'; script-src {_digest(SCRIPT)}; style-src {_digest(STYLE)}"


def docs_page(document: dict[str, Any]) -> str:
    """The page as HTML, with all operations in the order of the document. Send it with POLICY."""
    schemas = document.get("components", {}).get("schemas", {})
    sections = "".join(
        _operation(path, verb.upper(), operation, schemas)
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
    )
    title = escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>Requests and answers are JSON. Amounts are integer cents. "
        'Errors are RFC 9457 problem details. <a href="openapi.json">OpenAPI</a></p>'
        "<p><label>The user's token, which a log-in fills in: <input id=token autocomplete=off></label></p>"
        f"{sections}<script>{SCRIPT}</script></html>"
    )


def _operation(path: str, verb: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    user = operation.get("security")
    need = "<p class=note>Requires the user's token.</p>" if user else ""
    fields = "".join(_field(each) for each in operation.get("parameters", []))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if body:
        example = json.dumps(_example(body["schema"]), indent=1)
        fields += f"<label>Body <textarea spellcheck=false>{escape(example)}</textarea></label>"
    rows = "".join(
        f"<tr><td>{escape(status)}<td>{escape(answer.get('description', ''))}<td>{_answer(answer, schemas)}"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><span class=verb>{verb}</span> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</h2>{need}"
        f'<form data-method={verb} data-path="{escape(path)}"{" data-user" if user else ""}>{fields}'
        f"<button>Send</button><output></output></form>"
        f"<details><summary>Answers</summary><table>{rows}</table></details></section>"
    )


def _field(parameter: dict[str, Any]) -> str:
    name, where = parameter["name"], parameter["in"]
    optional = "" if parameter.get("required") else " (optional)"
    value = escape((parameter["schema"].get("examples") or [""])[0])
    more = " <button type=button data-new-key>New</button>" if where == "header" else ""
    # a header is the Idempotency-Key; the script fills it in
    return (
        f"<label>{escape(name)}{optional} "
        f'<input name="{escape(name)}" data-in={where} value="{value}">{more}</label>'
    )


def _answer(answer: dict[str, Any], schemas: dict[str, Any]) -> str:
    content = answer.get("content", {})
    if MEDIA_TYPE in content or "application/json" not in content:
        return ""
    return f"<code>{escape(_shape(content['application/json']['schema'], schemas))}</code>"


def _example(schema: dict[str, Any]) -> Any:
    """A value of a schema without references: its example if it has one, else made of its parts."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "properties" in schema:
        return {name: _example(each) for name, each in schema["properties"].items()}
    return [_example(schema["items"])] if schema.get("type") == "array" else ""


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """`{"id": "SKU-0001", "price_cents": integer}`: the schema's example if it has one, else its type."""
    if "$ref" in schema:
        return _shape(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("examples"):
        return json.dumps(schema["examples"][0])
    if "anyOf" in schema:
        return " or ".join(_shape(choice, schemas) for choice in schema["anyOf"])
    if "properties" in schema:
        fields = (f'"{n}": {_shape(value, schemas)}' for n, value in schema["properties"].items())
        return "{" + ", ".join(fields) + "}"
    if schema.get("type") == "array":
        return f"[{_shape(schema.get('items', {}), schemas)}, ...]"
    return str(schema.get("type", "any"))
