"""The package as it is installed: the library alone, without the template's rooms."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
for room in ("configs", "datamodules", "studies", "benchmarks", "train"):
    sys.modules[room] = None  # an import of it fails
import lightning_warmup
assert lightning_warmup.__file__.startswith(sys.argv[1]), lightning_warmup.__file__
for module in pkgutil.walk_packages(lightning_warmup.__path__, "lightning_warmup."):
    importlib.import_module(module.name)
"""


def test_the_wheel_holds_the_library_alone_and_imports_without_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source, wheels, installed = tmp_path / "source", tmp_path / "wheels", tmp_path / "installed"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "tests"))
    wheels.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(wheels)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert names == {"lightning_warmup"}
    package = Path("lightning_warmup")
    sources = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
    assert {path.relative_to(installed) for path in (installed / package).rglob("*.py")} == sources
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, str(installed)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
