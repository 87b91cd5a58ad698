"""`GET /docs`: the OpenAPI document as a page, without scripts and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from chalicelib import settings
from chalicelib.api import openapi, table
from chalicelib.api.answering import Request, Text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h2 { border-top: 1px solid #d0d7de; padding-top: 1.2rem; margin-top: 2rem }
code, pre { font: 13px/1.45 ui-monospace, monospace; background: #f6f8fa; border-radius: 4px; padding: .1rem .3rem }
pre { padding: .7rem; overflow-x: auto }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem }
td, th { border: 1px solid #d0d7de; padding: .3rem .6rem; text-align: left; vertical-align: top }
.method { font-weight: 700; margin-right: .5rem }
.scope { color: #57606a }
"""


def show(request: Request) -> Text:
    return Text(html(openapi.document(settings.current().api_url or request.address)), table.HTML)


def html(document: dict[str, Any]) -> str:
    """The page that shows a document of `openapi.document`."""
    about = document["info"]
    address = document["servers"][0]["url"].rstrip("/")
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [
        f"<h1>{escape(about['title'])} {escape(about['version'])}</h1>",
        f"<p>{_words(about['description'])}</p>",
        "<ul>",
        *(
            f'<li><a href="#{escape(o["operationId"])}"><code>{m.upper()} {escape(p)}</code></a> {_words(o["summary"])}'
            for p, m, o in operations
        ),
        "</ul>",
    ]
    for path, method, operation in operations:
        parts += _operation(address, path, method, operation)
    parts.append("<h2>Schemas</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += [f'<h3 id="schema-{escape(name)}"><code>{escape(name)}</code></h3>', *_schema(schema)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(about["title"])}: API</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _operation(address: str, path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{escape(operation["operationId"])}"><span class="method">{method.upper()}</span>'
    yield f"<code>{escape(path)}</code></h2>\n<p>{_words(operation['summary'])}"
    if scope := operation.get("x-scope"):
        yield f' <span class="scope">Scope: {escape(scope)}.</span>'
    yield "</p>"
    yield f"<pre>{escape(_curl(address, path, method, operation))}</pre>"
    if parameters := operation.get("parameters"):
        yield "<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>"
        for each in parameters:
            need = "" if each["required"] else " (optional)"
            yield f"<tr><td><code>{escape(each['name'])}</code>{need}</td><td>{each['in']}</td>"
            yield f"<td>{_type(each['schema'])}</td><td>{_words(each.get('description', ''))}</td></tr>"
        yield "</table>"
    if body := operation.get("requestBody"):
        yield f"<p>Body: {_type(body['content'][table.JSON]['schema'])}</p>"
    yield "<table><tr><th>Status</th><th></th><th>Content</th></tr>"
    for status, answer in operation["responses"].items():
        content = ", ".join(f"<code>{escape(m)}</code> {_type(c['schema'])}" for m, c in answer["content"].items())
        yield f"<tr><td>{status}</td><td>{_words(answer['description'])}</td><td>{content}</td></tr>"
    yield "</table>"


def _curl(address: str, path: str, method: str, operation: dict[str, Any]) -> str:
    words = ["curl"]
    if operation["security"]:
        words += ['-H "Authorization: Bearer $TOKEN"']
    if "requestBody" in operation:
        words += ["-H 'Content-Type: application/json'", "-d @body.json"]
    return " ".join([*words, f"{address}{path}"])


def _schema(schema: dict[str, Any]) -> Iterator[str]:
    if told := schema.get("description"):
        yield f"<p>{_words(told)}</p>"
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p>"
        return
    yield "<table><tr><th>Field</th><th>Type</th><th></th></tr>"
    for name, about in schema["properties"].items():
        yield f"<tr><td><code>{escape(name)}</code></td><td>{_type(about)}</td>"
        yield f"<td>{_words(about.get('description', ''))}</td></tr>"
    yield "</table>"


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if choices := schema.get("anyOf"):
        return " or ".join(map(_type, choices))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return ", ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    told = f"{kind}, {schema['format']}" if "format" in schema else kind
    for bound, words in (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"), ("pattern", "like")):
        if bound in schema:
            told += f", {words} {schema[bound]}"
    return escape(str(told))


def _words(text: str) -> str:
    """Text with its `code` as such."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
