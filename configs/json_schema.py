"""The settings as a JSON schema for editors: ``python -m configs.json_schema > configs/schema.json``."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from configs.run import Config


class _ForOverlays(GenerateJsonSchema):
    """What an overlay may hold: YAML reads some texts as numbers, and `data` need not name its benchmark."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def str_schema(self, schema: Any) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}

    def literal_schema(self, schema: Any) -> dict[str, Any]:
        names = schema["expected"]
        return {"enum": [*names, *(int(name) for name in names if name.isdigit())]}

    def tagged_union_schema(self, schema: Any) -> dict[str, Any]:
        return {"anyOf": super().tagged_union_schema(schema)["oneOf"]}


def json_schema() -> str:
    """Return the JSON schema of an overlay, a setting a line."""
    text = json.dumps(Config.model_json_schema(schema_generator=_ForOverlays))
    return text.replace('}, "', '},\n"') + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
