"""The examples in the docstrings of the library give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import lightning_warmup

MODULES = ["lightning_warmup"] + [
    module.name for module in pkgutil.walk_packages(lightning_warmup.__path__, "lightning_warmup.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert failed == 0


def test_there_are_examples_of_the_measures() -> None:
    finder = doctest.DocTestFinder()
    for name, least in (("functional", 2), ("metrics", 3)):
        module = importlib.import_module(f"lightning_warmup.dynamics.{name}")
        assert sum(bool(found.examples) for found in finder.find(module)) >= least
