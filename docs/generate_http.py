"""Writes ``docs/http.md`` from the description that the service gives of itself: ``python -m docs.generate_http``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

import settings as configuration
from app import Service

PAGE = Path(__file__).parent / "http.md"
HEAD = Path(__file__).parent / "http-head.md"
Json = dict[str, Any]

_BOUNDS = {
    "minLength": "from",
    "maxLength": "to",
    "minItems": "from",
    "maxItems": "to",
    "minimum": "from",
    "maximum": "to",
    "exclusiveMinimum": "above",
}


class Reference:
    """The page for an OpenAPI description."""

    def __init__(self, description: Json) -> None:
        self._paths: Json = description["paths"]
        self._schemas: Json = description["components"]["schemas"]

    def page(self) -> str:
        return "\n".join(self._lines()).rstrip() + "\n"

    def _lines(self) -> Iterator[str]:
        yield HEAD.read_text(encoding="utf-8")
        yield from ("## Calls", "")
        for path, operations in self._paths.items():
            for method, operation in operations.items():
                yield from (f"### `{method.upper()} {path}`", "", *self._operation(operation))
        yield from ("## Objects", "")
        for name, schema in sorted(self._schemas.items()):
            if schema.get("type") == "object":
                yield from (f"### {name}", "", *self._object(schema), "")

    def _operation(self, operation: Json) -> Iterator[str]:
        yield f"{operation['summary']}. {operation.get('description', '')}".strip()
        yield ""
        if operation["parameters"]:
            yield from ("| parameter | in | type | |", "| --- | --- | --- | --- |")
            for parameter in operation["parameters"]:
                schema = parameter["schema"]
                about = _cell(parameter.get("description") or schema.get("description"), _default(schema))
                yield f"| `{parameter['name']}` | {parameter['in']} | {self._type(schema)} | {about} |"
            yield ""
        if body := operation.get("requestBody"):
            yield f"The body is a {self._type(body['content']['application/json']['schema'])}."
            yield ""
        yield from ("| status | |", "| --- | --- |")
        for status, response in operation["responses"].items():
            if "application/problem+json" in response.get("content", {}):
                continue
            shown = [self._type(each["schema"]) for each in response.get("content", {}).values() if "schema" in each]
            yield f"| {status} | {_cell(response['description'], *shown)} |"
        problems = [
            status
            for status, response in operation["responses"].items()
            if "application/problem+json" in response.get("content", {})
        ]
        if problems:
            yield f"| {', '.join(problems)} | {self._type({'$ref': '/Problem'})} |"
        yield ""

    def _object(self, schema: Json) -> Iterator[str]:
        if text := schema.get("description"):
            yield from (_cell(text), "")
        yield from ("| field | type | |", "| --- | --- | --- |")
        required = set(schema.get("required", ()))
        for name, field in schema.get("properties", {}).items():
            about = _cell(field.get("description"), _default(field), "Required." if name in required else None)
            yield f"| `{name}` | {self._type(field)} | {about} |"

    def _type(self, schema: Json) -> str:
        match schema:
            case {"$ref": str(reference)}:
                name = reference.rpartition("/")[2]
                if self._schemas[name].get("type") == "object":
                    return f"[{name}](#{name.lower()})"
                return self._type(self._schemas[name])
            case {"anyOf": list(choices)}:
                return " or ".join(self._type(choice) for choice in choices)
            case {"const": value}:
                return f"`{_plain(value)}`"
            case {"enum": list(values)}:
                return ", ".join(f"`{_plain(value)}`" for value in values)
            case {"type": "array"}:
                return f"list of {self._type(schema.get('items', {}))}"
            case {"format": "date-time"}:
                return "time"
        bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
        if bounds and schema.get("type") == "string":
            bounds.append("characters")
        return " ".join([schema.get("type", "anything"), *bounds])


def _default(schema: Json) -> str | None:
    default = schema.get("default")
    return None if default is None else f"Default `{_plain(default)}`."


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(*parts: str | None) -> str:
    return " ".join(" ".join(part for part in parts if part).replace("``", "`").replace("|", "\\|").split())


async def fetch() -> Json:
    """The description, from a service that is started for it."""
    settings = configuration.load({"REDIS_URL": "memory://", "PORT": "0"})
    async with (
        Service(settings) as service,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{service.port}/api/openapi.json") as response,
    ):
        description: Json = await response.json()
        return description


if __name__ == "__main__":
    PAGE.write_text(Reference(asyncio.run(fetch())).page(), encoding="utf-8")
