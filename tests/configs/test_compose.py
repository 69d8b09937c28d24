"""Composition of a configuration: what is accepted, what is refused and how."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.compose import compose, to_yaml
from configs.run import benchmarks
from configs.values import ConfigError
from lightning_warmup.procedures.objectives.rest import Rest

# Argument, and the value that its key then has.
VALID = [
    ("seed=3", 3),
    ("seed=4294967295", 2**32 - 1),
    ("trainer.max_steps=+5", 5),
    ("warmup.lr=1e-3", 0.001),
    ("warmup.lr=.5", 0.5),
    ("warmup.lr=1", 1.0),
    ("warmup.enabled=false", False),
    ("warmup.enabled=True", True),
    ("optim.patience=3", 3),
    ("optim.patience=null", None),
    ("stages=[test]", ["test"]),
    ("stages=[fit, test]", ["fit", "test"]),
    ("data.test_lengths=[]", []),
    ("data.test_lengths=[200]", [200]),
    ("data.name=denoising", "denoising"),
    ("model.cell=gru", "gru"),
    # Texts stay as they were typed.
    ("tracking.project=12e4567", "12e4567"),
    ("tracking.project=012", "012"),
    ("tracking.project=12:30:00", "12:30:00"),
    ("tracking.project=1e3", "1e3"),
    ("tracking.project=true", "true"),
    ("tracking.project=null", "null"),
    ("tracking.project=~", "~"),
    ("tracking.project=[a", "[a"),
    ("tracking.project={a: b}", "{a: b}"),
    ("tracking.project='a'", "'a'"),
    ("tracking.project=a=b", "a=b"),
    ("tracking.project= a # b", " a # b"),
    ("tracking.project=$HOME", "$HOME"),
    ("tracking.project=x.yaml", "x.yaml"),
    ("tracking.name=012", "012"),
    ("tracking.name=None", "None"),
    ("tracking.name=null", None),
    ("tracking.tags=[a, 012, 1e3, 'null', \"b c\"]", ["a", "012", "1e3", "null", "b c"]),
    ("trainer.max_time=00:12:30:00", "00:12:30:00"),
    ("trainer.devices=2", "2"),
    ("trainer.devices=0,1", "0,1"),
    ("trainer.precision=16", "16"),
    # To Lightning one batch and the whole epoch.
    ("trainer.limit_train_batches=1", 1),
    ("trainer.limit_train_batches=1.0", 1.0),
    ("trainer.limit_train_batches=0.25", 0.25),
    ("trainer.limit_train_batches=null", None),
    ("trainer.fast_dev_run=true", True),
    ("trainer.fast_dev_run=1", 1),
    ("run_dir=runs/a=b", "runs/a=b"),
]

# Arguments, and what the one line has to name: key, value, what is allowed.
INVALID = [
    (["warmup.lr=abc"], ["warmup.lr='abc'", "number > 0"]),
    (["warmup.lr=0"], ["warmup.lr='0'", "number > 0"]),
    (["warmup.lr=nan"], ["warmup.lr='nan'", "number > 0"]),
    (["warmup.lr=inf"], ["warmup.lr='inf'", "number > 0"]),
    (["warmup.lr=1e999"], ["warmup.lr='1e999'", "number > 0"]),
    (["warmup.lr=null"], ["warmup.lr='null'", "number > 0"]),
    (["warmup.lr=1_0"], ["warmup.lr='1_0'", "number > 0"]),
    (["warmup.lr=0x1"], ["warmup.lr='0x1'", "number > 0"]),
    (["warmup.lr=[1]"], ["warmup.lr='[1]'", "number > 0"]),
    (["warmup.lr="], ["warmup.lr=''", "number > 0"]),
    (["warmup.target=1.5"], ["warmup.target='1.5'", "> 0 and <= 1"]),
    (["warmup.steps=1.5"], ["warmup.steps='1.5'", "whole number >= 1"]),
    (["warmup.steps=1e2"], ["warmup.steps='1e2'", "whole number >= 1"]),
    (["warmup.steps=0"], ["warmup.steps='0'", "whole number >= 1"]),
    (["warmup.steps=010"], ["warmup.steps='010'", "whole number >= 1"]),
    (["warmup.steps=true"], ["warmup.steps='true'", "whole number >= 1"]),
    (["warmup.steps= 5"], ["warmup.steps=' 5'", "whole number >= 1"]),
    (["warmup.steps=٣"], ["warmup.steps=", "whole number >= 1"]),
    (["warmup.steps=" + "9" * 5000], ["warmup.steps=", "whole number >= 1"]),
    (["seed=-1"], ["seed='-1'", ">= 0"]),
    (["seed=4294967296"], ["seed='4294967296'", "<= 4294967295"]),
    (["warmup.enabled=1"], ["warmup.enabled='1'", "true or false"]),
    (["warmup.enabled=yes"], ["warmup.enabled='yes'", "true or false"]),
    (["optim.patience=0"], ["optim.patience='0'", "whole number >= 1 or null"]),
    (["optim.patience=None"], ["optim.patience='None'", "whole number >= 1 or null"]),
    (["trainer.strategy=fsdp"], ["trainer.strategy='fsdp'", "auto, ddp"]),
    (
        ["trainer.strategy=deepspeed_stage_2"],
        ["trainer.strategy='deepspeed_stage_2'", "needs all weights"],
    ),
    (["trainer.strategy=ddp_spawn"], ["trainer.strategy='ddp_spawn'", "end with the training"]),
    (
        ["trainer.strategy=ddpp"],
        ["trainer.strategy='ddpp'", "one of auto, ddp, ddp_find_unused_parameters_false"],
    ),
    (["model.cell=gruu"], ["model.cell='gruu'", "gru"]),
    (["model.cell=__init__"], ["model.cell='__init__'", "one of"]),
    (["data.name=minst"], ["data.name='minst'", "copy_first_input, denoising"]),
    (["data.name=Data"], ["data.name='Data'", "copy_first_input, denoising"]),
    (["stages=fit"], ["stages='fit'", "list of: one of fit, test, predict, export, written as [a,b]"]),
    (["stages=[fit,train]"], ["stages='[fit,train]'", "list of: one of fit, test, predict, export"]),
    (["stages=[]"], ["stages=[]", "[fit], [test], [fit,test], [predict] or [export]"]),
    (["stages=[test,fit]"], ["stages=[test,fit]", "[fit], [test], [fit,test], [predict] or [export]"]),
    (["stages=[fit,predict]"], ["stages=[fit,predict]", "[fit], [test], [fit,test], [predict] or [export]"]),
    (["stages=[fit"], ["stages='[fit'", "YAML"]),
    (["stages=null"], ["stages='null'", "list of"]),
    (["stages="], ["stages=''", "list of"]),
    (["data.test_lengths=[200,1.5]"], ["data.test_lengths='[200,1.5]'", "whole number >= 2"]),
    (["data.test_lengths=[200,[300]]"], ["data.test_lengths=", "whole number >= 2"]),
    (["data.test_lengths=['200']"], ["data.test_lengths=", "whole number >= 2"]),
    (["tracking.tags={a: b}"], ["tracking.tags='{a: b}'", "list of: text"]),
    (["tracking.tags=[a: b]"], ["tracking.tags='[a: b]'", "list of: text"]),
    (["tracking.tags=[!!python/name:os.system x]"], ["tracking.tags=", "tags are not allowed"]),
    (["tracking.tags=[&a b, *a]"], ["tracking.tags=", "aliases and tags are not allowed"]),
    (["tracking.tags=" + "[" * 1000], ["tracking.tags=", "nested too deeply"]),
    (["tracking.project="], ["tracking.project=''", "not empty"]),
    (["tracking.project=a\nb"], ["tracking.project='a\\nb'", "printable"]),
    (["tracking.project=\udcff"], ["tracking.project='\\udcff'", "printable"]),
    (["tracking.project=???"], ["tracking.project='???'", "reserved"]),
    (["tracking.project=${seed}"], ["tracking.project='${seed}'", "${oc.env:NAME}"]),
    (["tracking.project=${oc.decode:1}"], ["tracking.project=", "the only interpolation is ${oc.env:NAME}"]),
    (["tracking.project=${oc.env:NOT_THERE_}"], ["tracking.project=", "NOT_THERE_"]),
    (["tracking.project=${oc.env:"], ["tracking.project='${oc.env:'"]),
    (["trainer.max_time=12:30:00"], ["trainer.max_time='12:30:00'", "01:12:30:00"]),
    (["trainer.devices=0"], ["trainer.devices='0'", "auto"]),
    (["trainer.devices=[0,1]"], ["trainer.devices='[0,1]'", "auto"]),
    (["trainer.limit_val_batches=1.5"], ["trainer.limit_val_batches=1.5", "up to 1.0"]),
    (["trainer.limit_val_batches=-1"], ["trainer.limit_val_batches='-1'", "number >= 0 or null"]),
    # Keys.
    (["warmup.lrr=1"], ["'warmup.lrr'", "did you mean warmup.lr"]),
    (["data.lenght=5"], ["'data.lenght'", "data.seq_length"]),
    (["max_epochs=5"], ["'max_epochs'", "trainer.max_epochs"]),
    (["trainer.max_epoch=5"], ["'trainer.max_epoch'", "trainer.max_epochs"]),
    (["lr=5"], ["'lr'", "warmup.lr", "optim.lr"]),
    (["qqqq=5"], ["'qqqq'", "--help"]),
    (["stages.0=fit"], ["'stages.0'", "stages"]),
    (["seed.x=1"], ["'seed.x'", "seed"]),
    (["+seed=1"], ["'+seed'", "seed"]),
    ([" seed=1"], ["' seed'", "seed"]),
    (["a\nb=1"], ["'a\\nb'"]),
    (["x" * 10**5 + "=1"], ["no setting"]),
    (["data.pad_length=9"], ["data.pad_length", "data.name=copy_first_input", "denoising"]),
    (["warmup={steps: 3}"], ["'warmup' is a section", "warmup.enabled=..."]),
    (["warmup=false"], ["'warmup' is a section", "warmup.enabled=false"]),
    (["data=denoising"], ["'data' is a section", "data.name=denoising"]),
    (["trainer={max_epochs: 1}"], ["'trainer' is a section"]),
    (["run_dir=~no-such-user/a"], ["run_dir='~no-such-user/a'", "no such home folder"]),
    (["~no-such-user/a.yaml"], ["'~no-such-user/a.yaml'", "no such home folder"]),
    # Arguments that are none.
    (["seed"], ["'seed'", "key=value"]),
    ([""], ["''", "key=value"]),
    (["=5"], ["'=5'", "key=value"]),
    (["="], ["'='", "key=value"]),
    (["--foo"], ["'--foo'", "--help"]),
    (["--seed=1"], ["'--seed=1'", "key=value"]),
    (["nowhere.yaml"], ["'nowhere.yaml'", "No such file"]),
    (["lr=0.1/nowhere.yaml"], ["'lr'", "did you mean"]),
    (["runs/lr=0.1/nowhere.yaml"], ["'runs/lr=0.1/nowhere.yaml'", "No such file"]),
    (["a\nb.yaml"], ["'a\\nb.yaml'"]),
    (["a" * 5000 + ".yaml"], ["can't be read"]),
    # Settings that don't go together.
    (["model.double=true", "model.hidden_size=33"], ["model.hidden_size=33", "even"]),
    (["data.name=denoising", "data.seq_length=9"], ["data.seq_length=9", ">= data.pad_length + 5 = 10"]),
    (["data.name=denoising", "data.pad_length=4"], ["data.pad_length='4'", ">= 5"]),
    (["data.name=denoising", "data.test_lengths=[99,9]"], ["data.test_lengths=9", "= 10"]),
    (["data.name=flip_flop", "data.test_lengths=[8,9]"], ["data.test_lengths=9", "even"]),
    (["data.name=flip_flop", "data.test_ignore=[0.5,0.5]"], ["data.test_ignore=[0.5, 0.5]", "different"]),
    (["ckpt=last"], ["ckpt='last'", "run_dir"]),
    # A mistake is one, even where a later argument sets the same key.
    (["seed=abc", "seed=1"], ["seed='abc'"]),
]

# Overlays, and what the one line has to name beside the file.
INVALID_OVERLAYS = [
    ("warmup:\n  lr: abc\n", ["line 2", "warmup.lr='abc'", "number > 0"]),
    ("warmup:\n  lr: .inf\n", ["warmup.lr='.inf'", "number > 0"]),
    ("warmup:\n  steps: 1.5\n", ["warmup.steps='1.5'", "whole number >= 1"]),
    ("warmup:\n  steps: '5'\n", ["warmup.steps='5'", "whole number >= 1"]),
    ("warmup:\n  steps: [5]\n", ["warmup.steps=a list", "whole number >= 1"]),
    ("warmup:\n  steps: {a: 5}\n", ["'warmup.steps.a'", "warmup.steps"]),
    ("warmup:\n  steps: {}\n", ["warmup.steps=a mapping", "whole number >= 1"]),
    ("pretrain:\n  steps:\n", ["pretrain.steps=null", "whole number >= 1"]),
    ("warmup:\n  enabled: on\n", ["warmup.enabled='on'", "true or false"]),
    ("warmup: false\n", ["'warmup' is a section", "warmup.enabled=false"]),
    ("warmup:\n", ["'warmup' is a section"]),
    ("warmup: {}\n", ["'warmup' is a section"]),
    ("warmup: [1]\n", ["'warmup' is a section"]),
    ("data: {name: [tmaze]}\n", ["line 1", "data.name=a list", "one of copy_first_input"]),
    ("data: {name: {tmaze: 1}}\n", ["'data.name.tmaze'", "data.name"]),
    ("warmups:\n  steps: 1\n", ["'warmups.steps'", "warmup.steps"]),
    ("nothing: {}\n", ["'nothing'"]),
    ("stages: fit\n", ["stages='fit'", "list of: one of fit, test"]),
    ("stages: {fit: 1}\n", ["'stages.fit'"]),
    ("tracking:\n  project:\n", ["tracking.project=null", "text"]),
    ("tracking:\n  project: null\n", ["tracking.project=null", "text"]),
    ("tracking:\n  project: ''\n", ["tracking.project=''", "not empty"]),
    ("tracking:\n  project: |\n    a\n    b\n", ["tracking.project='a\\nb\\n'", "printable"]),
    (
        "tracking:\n  project: ${seed}\n",
        ["tracking.project='${seed}'", "the only interpolation is ${oc.env:NAME}"],
    ),
    ("tracking:\n  project: ${oc.env:NOT_THERE_}\n", ["tracking.project=", "NOT_THERE_"]),
    ("tracking:\n  tags: !!python/tuple [a]\n", ["tags are not allowed"]),
    ("seed: !!python/object/apply:os.system [ls]\n", ["tags are not allowed"]),
    ("data: &a\n  name: *a\n", ["aliases"]),
    ("seed: 1\nseed: 2\n", ["line 2", "'seed' is given twice"]),
    ("warmup:\n  steps: 1\n  steps: 1\n", ["line 3", "'warmup.steps' is given twice"]),
    ("warmup: {steps: 1}\nwarmup: {lr: 1}\n", ["line 2", "'warmup' is given twice"]),
    ("1: 2\n", ["'1'"]),
    ("? [a]\n: 1\n", ["plain text"]),
    ("", ["must hold settings"]),
    ("# nothing\n", ["must hold settings"]),
    ("- seed\n", ["must hold settings"]),
    ("seed\n", ["must hold settings"]),
    ("seed: [\n", ["not well-formed YAML"]),
    ("seed: 1\n---\nseed: 2\n", ["not well-formed YAML"]),
    ("\tseed: 1\n", ["not well-formed YAML"]),
    ("seed: '\x01'\n", ["not well-formed YAML"]),
    ("[" * 1000, ["nested too deeply"]),
    ("seed: 1\ndata:\n  pad_length: 9\n", ["line 3", "data.pad_length", "data.name=copy_first_input"]),
]


def error_of(argv: list[str]) -> str:
    """The one line that a command with a mistake gives."""
    with pytest.raises(ConfigError) as caught:
        compose(argv)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(("argument", "expected"), VALID, ids=[argument for argument, _ in VALID])
def test_a_valid_argument_sets_its_key(argument: str, expected: Any) -> None:
    value = attrgetter(argument.partition("=")[0])(compose([argument]))
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("argv", "named"), INVALID, ids=[repr(argv)[:60] for argv, _ in INVALID])
def test_an_invalid_command_line_gives_one_line(argv: list[str], named: list[str]) -> None:
    message = error_of(argv)
    for text in named:
        assert text in message


@pytest.mark.parametrize(("text", "named"), INVALID_OVERLAYS, ids=[text[:40] for text, _ in INVALID_OVERLAYS])
def test_an_invalid_overlay_gives_one_line_that_names_the_file(
    text: str, named: list[str], overlay: Any
) -> None:
    path = overlay(text)
    message = error_of([path])
    for part in [path, *named]:
        assert part in message


def test_an_overlay_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"seed: \xff\xfe\n")
    assert "UTF-8" in error_of([str(path)])
    assert "can't be read" in error_of([str(tmp_path.with_suffix(".yaml"))])


def test_the_later_wins_wherever_it_comes_from(overlay: Any) -> None:
    first = overlay("seed: 1\nmodel: {num_layers: 3}\ndata: {test_lengths: [7, 8]}\n", "first.yaml")
    second = overlay("seed: 2\nwarmup:\n  steps: 7\ndata:\n  test_lengths: [9]\n", "second.yml")
    config = compose([first, "seed=3", second, "warmup.steps=8"])
    assert (config.seed, config.model.num_layers, config.warmup.objective.steps) == (2, 3, 8)
    assert config.data == type(config.data)(test_lengths=[9])
    assert compose([second, first, "seed=3"]).seed == 3


def test_the_name_of_the_benchmark_may_come_after_its_settings() -> None:
    config = compose(["data.pad_length=7", "data.name=denoising"])
    assert config.data == benchmarks()["denoising"](pad_length=7)
    assert config.data.name == "denoising"


def test_an_overlay_reads_scalars_by_the_type_of_the_setting(overlay: Any) -> None:
    text = """
    warmup: {lr: 1e-3}
    tracking: {project: 012, name: 12:30:00, group: 'null', entity: null, tags: [1e3, 'null', true]}
    """
    config = compose([overlay(text)])
    assert config.warmup.lr == 0.001
    assert (config.tracking.project, config.tracking.name) == ("012", "12:30:00")
    assert (config.tracking.group, config.tracking.entity) == ("null", None)
    assert config.tracking.tags == ["1e3", "null", "true"]


def test_environment_variables_in_overlays(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TEXT", "012")
    monkeypatch.setenv("A_NUMBER", "17")
    monkeypatch.setenv("A_LIST", "[a, b]")
    monkeypatch.setenv("A_TRAP", "${oc.env:A_TEXT}")
    text = """
    seed: ${oc.env:A_NUMBER}
    run_dir: ${oc.env:NOT_THERE_,/scratch}/runs
    tracking: {project: "p-${oc.env:A_TEXT}", name: "${oc.env:NOT_THERE_,null}", tags: "${oc.env:A_LIST}"}
    """
    config = compose([overlay(text)])
    assert (config.seed, config.run_dir) == (17, "/scratch/runs")
    assert (config.tracking.project, config.tracking.name) == ("p-012", None)
    assert config.tracking.tags == ["a", "b"]
    assert "whole number" in error_of([overlay("seed: ${oc.env:A_LIST}\n")])
    assert "reserved" in error_of([overlay("run_dir: ${oc.env:A_TRAP}\n")])


def test_an_objective_has_settings_of_its_own() -> None:
    config = compose(["warmup.rest_weight=0.5", "warmup.objective=rest", "warmup.steps=7"])
    assert config.warmup.objective == Rest(rest_weight=0.5, steps=7)
    again = yaml.safe_load(to_yaml(config))["warmup"]
    assert (again["objective"], again["rest_weight"], again["epsilon"]) == ("rest", 0.5, Rest().epsilon)
    with pytest.raises(ConfigError, match="only with rest"):
        compose(["warmup.rest_weight=0.5"])


def test_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    overlay("seed: 4\ndata: {name: series, root: ~/a.npz}\n", "home.yaml")
    config = compose(["~/home.yaml", "run_dir=~/run", "ckpt=~/a.ckpt", "data.test_root=~/b.npz"])
    assert config.seed == 4
    assert [config.run_dir, config.ckpt] == [f"{tmp_path}/run", f"{tmp_path}/a.ckpt"]
    assert vars(config.data) == vars(config.data) | {
        "root": f"{tmp_path}/a.npz",
        "test_root": f"{tmp_path}/b.npz",
    }
    assert compose(["data.name=row_mnist", "data.root=~"]).data.model_dump()["root"] == str(tmp_path)


GYM = "data.name=gym"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        ("{is_slippery: false}", {"is_slippery": False}),
        ("{a: 1, b: 1.0, c: 1e-3, d: null}", {"a": 1, "b": 1.0, "c": 0.001, "d": None}),
        ('{map_name: 8x8, n: "3", yes: no}', {"map_name": "8x8", "n": "3", "yes": "no"}),
    ],
)
def test_a_mapping_is_given_whole(tmp_path: Path, text: str, value: dict[str, object]) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"data: {{name: gym, env_kwargs: {text}}}")
    first = compose([GYM, f"data.env_kwargs={text}"])
    (tmp_path / "again.yaml").write_text(to_yaml(first))
    for config in (first, compose([str(overlay)]), compose([str(tmp_path / "again.yaml")])):
        given = dict(config.data)["env_kwargs"]
        assert given == value
        assert [*map(type, given.values())] == [*map(type, value.values())]
    assert dict(compose([str(overlay), "data.env_kwargs={}"]).data)["env_kwargs"] == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3", "expected mapping from names to: true or false or number or text or null"),
        ("[1]", "expected mapping from names"),
        ("{a: [1]}", "expected mapping from names"),
        ("{a: 1, a: 2}", "'a' is given twice"),
        ("{a: ", "not well-formed YAML"),
    ],
)
def test_a_wrong_mapping_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([GYM, f"data.env_kwargs={text}"])
    assert str(caught.value).startswith(f"data.env_kwargs={text!r}: {why}")
