"""The OpenAPI 3.1 description, made from the table of routes and the models that serve them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from web.problems import CONTENT_TYPE, TYPE_PREFIX
from web.routes import Answer, Route

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PROBLEM: Json = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "pattern": f"^{TYPE_PREFIX}"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "One for each mistake: a JSON pointer into the body, or a query parameter or header.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {name: {"type": "string"} for name in ("pointer", "parameter", "header", "detail")},
            },
        },
    },
}


def describe(routes: Sequence[Route]) -> Json:
    """The description of ``routes``."""
    schemas, definitions = _schemas(routes)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Aside", "version": "1", "description": "A bot that can speak first."},
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Problem": _PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


_Schemas = dict[tuple[type[BaseModel], JsonSchemaMode], Json]


def _schemas(routes: Sequence[Route]) -> tuple[_Schemas, Json]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for route in routes:
        if route.body:
            wanted[route.body, "validation"] = None
        for answer in route.answers.values():
            if answer.model:
                wanted[answer.model, "serialization"] = None
    refs, document = models_json_schema(list(wanted), ref_template=_REF)
    return {(model, mode): ref for (model, mode), ref in refs.items() if issubclass(model, BaseModel)}, document.get(
        "$defs", {}
    )


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "summary": route.summary,
        "operationId": f"{route.handler.__self__.__class__.__name__}.{route.handler.__name__}",  # type: ignore[attr-defined]
        "parameters": _parameters(route),
        "responses": {str(status): _response(answer, schemas) for status, answer in sorted(route.answers.items())},
    }
    if route.body:
        schema = schemas[route.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    problems = set(route.problems)
    if route.scope:
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
        operation["description"] = f"Needs the scope `{route.scope.value}`." + (
            " No key is needed on loopback." if route.free_on_loopback else ""
        )
        problems |= {401, 403}
    for status in sorted(problems - route.answers.keys()):
        content = {CONTENT_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
        operation["responses"][str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return operation


def _response(answer: Answer, schemas: _Schemas) -> Json:
    if answer.model:
        schema = schemas[answer.model, "serialization"]
        return {"description": answer.description, "content": {answer.content_type: {"schema": schema}}}
    return {"description": answer.description, "content": {answer.content_type: {}}}


def _parameters(route: Route) -> list[Json]:
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.template)
    ]
    if route.query:
        for name, schema in route.query.model_json_schema(ref_template=_REF)["properties"].items():
            parameters.append({"name": name, "in": "query", "required": False, "schema": _inlined(schema, route.query)})
    parameters += [
        {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}
        for name, description in route.headers.items()
    ]
    return parameters


def _inlined(schema: Json, model: type[BaseModel]) -> Json:
    """A parameter's schema without references, which point into a document that is not there."""
    definitions = model.model_json_schema(ref_template=_REF).get("$defs", {})

    def inline(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return inline(definitions[value["$ref"].rpartition("/")[2]])
            return {key: inline(item) for key, item in value.items()}
        return [inline(item) for item in value] if isinstance(value, list) else value

    inlined: Json = inline(schema)
    return inlined
