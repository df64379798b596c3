"""The schema of plan documents as JSON Schema, for editors and other languages.

Promises: derived from `document`, so that it knows the fields that this release knows;
whatever it refuses, a plan has a fault there. The reverse does not hold: edges,
templates and what a declaration means are beyond it, and `validation` has the last
word. Knows nothing of files.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .document import PlanDocument

_TITLE = "A plan of celery-plans"
_ANYTHING_BUT_NULL: JsonSchemaValue = {"not": {"type": "null"}}


def build_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a plan document."""
    schema = PlanDocument.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": _AsWritten.schema_dialect, "title": _TITLE, **schema}


class _AsWritten(GenerateJsonSchema):
    """Describes what is written: a field that is not wanted is left out, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", True) is not None:
            return super().default_schema(schema)
        return self.generate_inner(schema["schema"]) or _ANYTHING_BUT_NULL

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        described.pop("title", None)
        # the rest of a docstring is for those who read the code
        described["description"] = described["description"].partition("\n\n")[0]
        return described

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        names = self.generate_inner(schema["keys_schema"])
        return {**described, "propertyNames": names}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
