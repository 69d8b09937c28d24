"""What a configuration says comes back from YAML, and any command line composes or is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from configs.compose import compose, to_yaml
from configs.run import benchmarks, settings_of
from configs.values import ConfigError


@pytest.mark.parametrize("benchmark", benchmarks())
@pytest.mark.parametrize(
    "argv",
    [
        [],
        [
            "tracking.tags=[a,'null',012]",
            "tracking.name=1e3",
            "trainer.limit_val_batches=1.0",
            "warmup.lr=1e-7",
        ],
    ],
    ids=["defaults", "changed"],
)
def test_a_configuration_survives_the_way_through_yaml(benchmark: str, argv: list[str], overlay: Any) -> None:
    config = compose([f"data.name={benchmark}", *argv])
    assert compose([overlay(to_yaml(config))]) == config


@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12))
@example(text="null")
@example(text="???")
@example(text="- a")
@example(text="a: b # c")
@example(text="\x85")
@settings(max_examples=100, deadline=None, database=None, derandomize=True)
def test_any_text_that_is_accepted_survives_the_way_through_yaml(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        config = compose([f"tracking.project={text}"])
    except ConfigError:
        assert not text.isprintable() or "${" in text or text == "???"
        return
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert config.tracking.project == text
    assert compose([str(path)]) == config


KEYS = st.sampled_from(sorted({key for name in benchmarks() for key in settings_of(data=name)}))
VALUES = st.sampled_from(
    [
        "1",
        "-1",
        "0",
        "1.5",
        "1e999",
        "nan",
        "true",
        "null",
        "[1, 2]",
        "[fit]",
        "{a: b}",
        "[",
        "${x}",
        "???",
        "gru",
        "'",
        "",
    ]
)
NAMES = KEYS | KEYS.map(lambda key: key[:-1]) | KEYS.map(lambda key: f"{key}.x") | st.text(max_size=8)
ARGUMENTS = st.tuples(NAMES, st.sampled_from(["=", "=", "=", ""]), VALUES | st.text(max_size=8)).map("".join)
YAML = st.lists(
    st.tuples(
        NAMES | st.sampled_from(["data", "warmup", "  name", "  steps", "- "]), VALUES | st.text(max_size=8)
    ),
    max_size=4,
).map(lambda pairs: "".join(f"{key}: {value}\n" for key, value in pairs))


@given(arguments=st.lists(ARGUMENTS, max_size=4), text=st.none() | YAML)
@settings(
    max_examples=1000,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_command_line_composes_or_is_refused_in_one_line(
    arguments: list[str], text: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8", errors="replace")
        arguments = [str(path), *arguments]
    try:
        config = compose(arguments)
    except ConfigError as error:
        message = str(error)
    else:
        path.write_text(to_yaml(config), encoding="utf-8")
        assert compose([str(path)]) == config
        return
    assert len(message.splitlines()) == 1
    keys = [argument.partition("=")[0] for argument in arguments]
    keys += [line.partition(":")[0].strip() for line in (text or "").splitlines() if line.strip()]
    assert any(repr(key)[1:-1] in message for key in keys)
