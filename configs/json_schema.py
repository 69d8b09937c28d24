"""The settings as a JSON schema for editors: ``python -m configs.json_schema > configs/schema.json``."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from typing import Any, Literal

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from configs.run import Choice, Config, choices
from lightning_warmup.settings import Settings


class _ForOverlays(GenerateJsonSchema):
    """A schema that accepts numbers for text, since YAML reads some texts as numbers."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def str_schema(self, schema: Any) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}

    def literal_schema(self, schema: Any) -> dict[str, Any]:
        names = schema["expected"]
        return {"enum": [*names, *(int(name) for name in names if name.isdigit())]}


def json_schema() -> str:
    """Return the JSON schema of an overlay, one setting per line."""
    sections: dict[str, Any] = {name: (_alternatives(choice), ...) for name, choice in choices().items()}
    overlay = create_model("Config", __base__=Config, **sections)
    schema = overlay.model_json_schema(schema_generator=_ForOverlays)
    schema.pop("required")
    text = json.dumps(schema)
    return text.replace('}, "', '},\n"') + "\n"


def _alternatives(choice: Choice) -> Any:
    """Return the type of a section that depends on a choice: a union with one model per value."""
    section = choice.key.partition(".")[0]
    kinds = []
    for value in choice.kinds:
        fields: dict[str, Any] = {}
        for setting in choice.settings(value):
            kind = Literal[value] if setting.key == choice.key else setting.kind
            name = setting.key.rpartition(".")[2]
            fields[name] = (kind, Field(setting.default, description=setting.sentence))
        kinds.append(create_model(f"{section}_{value}", __base__=Settings, **fields))
    return reduce(or_, kinds)


if __name__ == "__main__":
    print(json_schema(), end="")
