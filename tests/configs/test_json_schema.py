"""The JSON schema for editors: it is up to date, takes our overlays, and refuses what the composer refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.compose import compose, to_yaml
from configs.json_schema import json_schema
from configs.run import benchmarks

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted((ROOT / "configs").glob("*.yaml"))
SCHEMA = json.loads(json_schema())
TYPES = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits a schema, of which only the words that ours uses are known."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return any(fits(value, member) for member in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return False
    if isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties")
        known = value if other else properties
        return all(key in known and fits(v, properties.get(key, other)) for key, v in value.items())
    if isinstance(value, list):
        return all(fits(item, schema["items"]) for item in value)
    if isinstance(value, str):
        return True
    above = value is None or value > schema.get("exclusiveMinimum", float("-inf"))
    return above and (value is None or schema.get("minimum", value) <= value <= schema.get("maximum", value))


def test_the_file_is_up_to_date() -> None:
    command = "python -m configs.json_schema > configs/schema.json"
    assert (ROOT / "configs" / "schema.json").read_text(encoding="utf-8") == json_schema(), f"run {command}"


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_the_overlays_of_the_repository_fit(path: Path) -> None:
    assert fits(yaml.safe_load(path.read_text(encoding="utf-8")), SCHEMA)


@pytest.mark.parametrize("name", benchmarks())
def test_every_whole_configuration_fits(name: str) -> None:
    assert fits(yaml.safe_load(to_yaml(compose([f"data.name={name}"]))), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "trainer: {devices: 2, precision: 16}",
        "tracking: {project: 12}",
        "data: {name: gym, env_kwargs: {a: 1}}",
    ],
)
def test_texts_that_look_like_numbers_fit(text: str) -> None:
    assert fits(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize(
    "text",
    ["sed: 1", "seed: a", "seed: -1", "warmup: {lr: 0}", "model: {cell: gruu}", "data: {name: denoising, rows: 5}",
     "data: {test_lengths: [1]}", "stages: fit", "warmup: false", "data: {name: gym, env_kwargs: {a: [1]}}"],
)  # fmt: skip
def test_what_the_composer_refuses_does_not_fit(text: str) -> None:
    assert not fits(yaml.safe_load(text), SCHEMA)
