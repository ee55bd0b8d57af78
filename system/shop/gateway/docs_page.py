"""Renders the OpenAPI document as one HTML page, without scripts and without external files."""

from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1b2733}
section{border-top:1px solid #d5dde5;padding:.8rem 0}h2{font-size:1.05rem;margin:.2rem 0}
code,pre{font:14px/1.45 ui-monospace,monospace;background:#f2f5f8;border-radius:4px}code{padding:.1rem .3rem}
pre{padding:.6rem;overflow-x:auto}.verb{color:#0a6;font-weight:700}.note{color:#5b6b7a}
table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}
"""


def docs_page(document: dict[str, Any]) -> str:
    """The page as HTML, with all operations in the order of the document."""
    schemas = document.get("components", {}).get("schemas", {})
    sections = "".join(
        _operation(path, verb.upper(), operation, schemas)
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
    )
    title = escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>Requests and answers are JSON. Amounts are integer cents. "
        f'Errors are RFC 9457 problem details. <a href="openapi.json">OpenAPI</a></p>{sections}</html>'
    )


def _operation(path: str, verb: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    conditions = []
    if operation.get("security"):
        conditions.append("<code>Authorization: Bearer</code> with a user's token")
    for parameter in operation.get("parameters", []):
        need = "" if parameter.get("required") else " (optional)"
        if parameter["name"].lower() == "idempotency-key":
            need = " (any text, a new one for each new request; repeat it to retry)"
        conditions.append(f"{parameter['in']} <code>{escape(parameter['name'])}</code>{need}")
    needs = f"<p class=note>Requires: {'; '.join(conditions)}.</p>" if conditions else ""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    example = f"<pre>{escape(_shape(body['schema'], schemas))}</pre>" if body else ""
    rows = "".join(
        f"<tr><td>{escape(status)}<td>{escape(answer.get('description', ''))}<td>{_answer(answer, schemas)}"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><span class=verb>{verb}</span> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</h2>{needs}{example}<table>{rows}</table></section>"
    )


def _answer(answer: dict[str, Any], schemas: dict[str, Any]) -> str:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if not schema or schema.get("$ref", "").endswith("/ProblemDetails"):
        return ""
    return f"<code>{escape(_shape(schema, schemas))}</code>"


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """`{"sku": "SKU-0001", "quantity": 2}`: the schema's example if it has one, else its type."""
    if "$ref" in schema:
        return _shape(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("examples"):
        example = schema["examples"][0]
        return f'"{example}"' if isinstance(example, str) else str(example)
    if "anyOf" in schema:
        return " or ".join(_shape(choice, schemas) for choice in schema["anyOf"])
    if "properties" in schema:
        fields = (f'"{n}": {_shape(value, schemas)}' for n, value in schema["properties"].items())
        return "{" + ", ".join(fields) + "}"
    if schema.get("type") == "array":
        return f"[{_shape(schema.get('items', {}), schemas)}, ...]"
    return str(schema.get("type", "any"))
