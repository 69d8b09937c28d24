"""The package as it is installed: the library alone, without the template's rooms."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
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
    assert (installed / package / "py.typed").is_file()
    assert (installed / package / "__init__.pyi").is_file()
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, str(installed)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_source_distribution_holds_the_template(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "runs", "build", "site", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = BUILD.replace("wheel", "sdist")
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    tops = ("train.py", "mkdocs.yml", "constraints.txt", "CHANGELOG.md", "RESULTS.md")
    rooms = (
        "configs",
        "datamodules",
        "studies",
        "benchmarks",
        "docs",
        "tests",
        "lightning_warmup",
        ".ci",
        ".github",
    )
    expected = {
        path.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()
    }
    expected = {path for path in expected if "__pycache__" not in path.parts}
    assert {*map(Path, tops), *expected} <= held, {*map(Path, tops), *expected} - held
