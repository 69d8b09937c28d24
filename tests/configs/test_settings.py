"""Every setting: its default, what help says of it, and what it is to Lightning."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from pydantic import Field

from configs import warmup as warmup_settings
from configs.compose import compose
from configs.help import as_argument, help_text
from configs.run import choices, settings_of
from configs.setting import Setting, require_defaults, settings_in
from configs.trainer import Trainer as TrainerSettings
from configs.values import ConfigError, members
from lightning_warmup.procedures.objectives import Objective
from lightning_warmup.settings import Settings

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted((ROOT / "configs").glob("*.yaml"))
SETTINGS = {
    f"{value}:{setting.key}": (f"{choice.key}={value}", setting)
    for section, choice in choices().items()
    for value in choice.kinds
    for setting in settings_of(**{section: value}).values()
}


@pytest.mark.parametrize(("chosen", "setting"), SETTINGS.values(), ids=SETTINGS)
def test_a_default_is_allowed_and_written_as_help_shows_it(chosen: str, setting: Setting) -> None:
    argument = f"{setting.key}={as_argument(setting.default)}"
    assert compose([chosen, argument]) == compose([chosen])


@pytest.mark.parametrize(("chosen", "setting"), SETTINGS.values(), ids=SETTINGS)
def test_help_tells_about_every_setting(chosen: str, setting: Setting) -> None:
    lines = [line for line in help_text().splitlines() if line.split()[:1] == [setting.key]]
    if chosen.partition(".")[0] == setting.key.partition(".")[0] and len(lines) > 1:
        section = help_text().split(f"with {chosen}\n")[1].split("\n\n")[0]
        lines = [line for line in section.splitlines() if line.split()[:1] == [setting.key]]
    if f"{setting.key}=" not in chosen:
        assert as_argument(setting.default) in lines[0]
    assert setting.allowed() in lines[0]
    assert lines[0].endswith(setting.sentence)
    assert setting.sentence[0].isupper()
    assert setting.sentence.endswith(".")


class NotImported(Settings):
    items: PositiveInt = 3  # type: ignore[name-defined]  # noqa: F821
    """Its type is not imported."""


class NotReadable(Settings):
    root: Path = Path()
    """Its type is none of a setting."""


class Numbers(Settings):
    k: Literal[2, 4] = 2
    """Its choices are no texts."""


class Without(Settings):
    k: int
    """It has no default."""


class Made(Settings):
    k: list[int] = Field(default_factory=list)
    """Its default is made by a function."""


@pytest.mark.parametrize("section", [Without, Made])
def test_a_setting_without_a_plain_default_is_named(section: type[Settings]) -> None:
    with pytest.raises(ConfigError, match=f"{section.__name__}.k: must have a default, a plain value"):
        require_defaults(section)


def test_a_default_is_checked_as_any_value() -> None:
    class Wrong(Settings):
        k: int = 3.5  # type: ignore[assignment]
        """A whole number."""

    with pytest.raises(ValueError, match=r"k=3.5: must be whole number"):
        Wrong()


class Clashing(Objective):
    """Has a setting that the warmup has."""

    lr: float = 5.0
    """Its own."""

    def layer_loss(self, layer: Any) -> Any:
        return layer.vaa_star


def test_an_objective_can_not_take_a_setting_of_the_warmup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup_settings, "objective_by_name", lambda name: Clashing)
    with pytest.raises(ConfigError, match=r"Clashing.lr: warmup.lr exists; choose another name"):
        warmup_settings.Warmup(lr=0.5)


@pytest.mark.parametrize(
    ("section", "start"),
    [
        (NotImported, "NotImported.items: PositiveInt: "),
        (NotReadable, "NotReadable.root: Path: "),
        (Numbers, "Numbers.k: Literal: "),
    ],
)
def test_a_type_that_cannot_be_read_is_named(section: type[Settings], start: str) -> None:
    with pytest.raises(ConfigError, match=f"{start}must be int, float, bool, str, a Literal"):
        settings_in(section)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["warmup.leaky=true", "model.double=false"],
            r"warmup\.leaky=true: must be false with model\.double",
        ),
        (
            ["optim.schedule=cosine", "trainer.max_epochs=-1"],
            r"optim\.schedule=cosine: needs trainer\.max_epo",
        ),
        (
            ["data.name=tmaze", "data.test_multiples=[2,2]"],
            r"data\.test_multiples=\[2, 2\]: must be different",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose(arguments)


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_overlay_of_the_repository_composes(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n# ")
    assert compose([str(path)]) != compose([])


PROGRAM = """
import sys
from configs.compose import compose, to_yaml
from configs.help import help_text
from configs.values import ConfigError
from configs import run_folder
if sys.argv[1:] == ["--help"]:
    print(help_text())
else:
    try:
        print(to_yaml(compose(sys.argv[1:])))
    except ConfigError as error:
        print(error)
assert not {"torch", "lightning", "numpy"} & set(sys.modules)
"""


@pytest.mark.parametrize("argv", [["--help"], ["seed=1"], ["data.lenght=5"]], ids=lambda argv: argv[0])
def test_help_and_errors_come_without_torch(argv: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *argv], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout


# Lightning trains without end by default, or for 1,000 epochs with a warning.
OTHER_DEFAULTS = {"max_epochs": 6}


def test_trainer_settings_are_lightnings_with_its_defaults() -> None:
    from lightning.pytorch import Trainer

    parameters = inspect.signature(Trainer).parameters
    for setting in settings_in(TrainerSettings):
        assert setting.key in parameters
        assert setting.default == OTHER_DEFAULTS.get(setting.key, parameters[setting.key].default)
        assert type(setting.default) is type(OTHER_DEFAULTS.get(setting.key, parameters[setting.key].default))


def test_trainer_choices_are_lightnings() -> None:
    from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT_STR, _PRECISION_INPUT_STR_ALIAS
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import StrategyRegistry

    known = {
        "accelerator": {"auto", "gpu", *AcceleratorRegistry.available_accelerators()},
        "strategy": {"auto", *StrategyRegistry.available_strategies()},
        "precision": {*get_args(_PRECISION_INPUT_STR), *get_args(_PRECISION_INPUT_STR_ALIAS)},
    }
    choices = {setting.key: members(setting.kind)[0] for setting in settings_in(TrainerSettings)}
    for key, names in known.items():
        offered = get_args(choices[key])
        assert offered
        assert set(offered) <= names
