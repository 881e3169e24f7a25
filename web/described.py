"""What is written below a field, as its description in the API's schemas.

pydantic can do this itself (``use_attribute_docstrings``), when a model is made: it would read and parse all source at
every start, which takes as long as the rest of the models. Here it happens when somebody asks for a schema.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel


def described(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """For ``json_schema_extra``: give every field its description."""
    texts = {name: text for cls in reversed(model.__mro__) for name, text in _below_fields(cls).items()}
    properties = schema.get("properties", {})
    for name, field in model.model_fields.items():
        if name in texts:
            properties[field.alias or name]["description"] = texts[name]


@functools.cache
def _below_fields(cls: type) -> dict[str, str]:
    if not issubclass(cls, BaseModel) or cls is BaseModel:
        return {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
