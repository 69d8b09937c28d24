"""What every benchmark owes the rest of the template; a new one with settings is tested here by itself."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmark import benchmark
from lightning.pytorch import LightningDataModule

import datamodules
from configs.run import benchmarks
from datamodules import datamodule_by_name, make_benchmark

ROOT = Path(__file__).parents[2]
SMALL = {"train_size": 40, "val_size": 20, "test_size": 24, "batch_size": 8, "capacity": 500}
SUPERVISED = {"regression": torch.float32, "classification": torch.int64}


@pytest.fixture(params=benchmarks())
def make(request, root, series):
    """Makes a benchmark with the small sizes that it knows, ready for a fit, as one of several processes."""
    known = vars(benchmarks()[request.param]())
    files = {"root": str(series if request.param == "series" else root)}
    small = {name: value for name, value in {**files, **SMALL}.items() if name in known}

    def make(seed: int = 0, world_size: int = 1, rank: int = 0):
        data = benchmark(request.param, **small, seed=seed)
        if world_size > 1:
            data.trainer = SimpleNamespace(world_size=world_size, global_rank=rank)
        data.prepare_data()
        data.setup("fit")
        return data

    return make


def sequences(batches, count: int = 4) -> list[torch.Tensor]:
    return [batch[0] for batch in islice(batches, count)]


def same(ones: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(ones) == len(others) and all(map(torch.equal, ones, others))


def test_it_offers_what_the_protocol_asks_for(make):
    data = make()
    assert isinstance(data, LightningDataModule)
    assert data.task in (*SUPERVISED, "control")
    for batch in (data.first_test_batch(8), next(iter(data.warmup_dataloader(8)))):
        assert batch[0].shape[::2] == (8, data.input_size)
        assert batch[0].dtype == torch.float32


def test_a_supervised_batch_is_sequences_targets_and_steps(make):
    data = make()
    if data.task == "control":
        pytest.skip("its batches are transitions")
    data.setup("test")
    tests = data.test_dataloader()
    assert len(tests) == 1 + len(data.test_names)
    for loader in (data.train_dataloader(), data.val_dataloader(), *tests):
        for inputs, targets, steps in loader:
            assert inputs.shape[2] == data.input_size
            assert targets.dtype == SUPERVISED[data.task]
            own = (steps >= 0) if steps.dim() == 2 else torch.ones(len(inputs), len(steps), dtype=torch.bool)
            assert targets.shape[:2] == own.shape
            assert own.any(1).all()
            assert -1 <= steps.min() <= steps.max() < inputs.shape[1]
            if data.task == "regression":
                assert targets.shape[2] == data.output_size
            else:
                assert 0 <= targets.min() <= targets.max() < data.output_size
    for loader, length in zip(tests[1:], data.test_lengths, strict=False):
        assert sequences(loader, 1)[0].shape[1] == length


def test_the_seed_decides_all_but_the_test_and_the_global_stream_is_left_alone(make):
    before = torch.get_rng_state()
    one, again, other = make(seed=1), make(seed=1), make(seed=2)
    for loader in ("train_dataloader", "val_dataloader"):
        first, repeated, different = (sequences(getattr(data, loader)()) for data in (one, again, other))
        assert same(first, repeated)
        assert not same(first, different)
    first, repeated, different = (sequences(data.warmup_dataloader(8)) for data in (one, again, other))
    assert same(first, repeated)
    assert not same(first, different)
    assert torch.equal(one.first_test_batch(8)[0], other.first_test_batch(8)[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_two_processes_share_the_batches_of_one(make):
    def batches(world_size: int) -> list[torch.Tensor]:
        ranks = [make(0, world_size, rank) for rank in range(world_size)]
        shares = [sequences(data.train_dataloader()) + sequences(data.warmup_dataloader(8)) for data in ranks]
        return [torch.cat(parts) for parts in zip(*shares, strict=True)]

    assert same(batches(1), batches(2))
    with pytest.raises(ValueError, match=r"batch_size=8: must be divisible by .* \(3\)"):
        make(0, 3).train_dataloader()


def test_training_resumes_in_the_middle_of_an_epoch(make):
    whole = sequences(make().train_dataloader())
    loader = make().train_dataloader()
    assert same(sequences(loader, 2), whole[:2])
    resumed = make().train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    assert same(sequences(resumed, 2), whole[2:])


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file into a folder that ``datamodules`` looks into as if it were its own."""
    monkeypatch.setattr(datamodules, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(datamodules, "__path__", [str(tmp_path)])

    def write(name: str, content: str) -> None:
        (tmp_path / f"{name}.py").write_text(f"from lightning.pytorch import LightningDataModule\n{content}")
        monkeypatch.delitem(sys.modules, f"datamodules.{name}", raising=False)

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"datamodules.{path.stem}", None)


def test_a_benchmark_is_found_by_its_file_whatever_the_name_of_its_class(write):
    write(
        "xor_task",
        "from datamodules.sequences import SequenceDataModule\n"
        "class _Base(LightningDataModule): pass\n"
        "class Helper: pass\n"
        "class LogicOfTwo(_Base): pass\n",
    )
    assert datamodule_by_name("xor_task").__name__ == "LogicOfTwo"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "none"),
        ("class _Hidden(LightningDataModule): pass", "none"),
        ("from datamodules.copy_first_input import CopyFirstInput", "none"),
        ("class One(LightningDataModule): pass\nclass Two(LightningDataModule): pass", "One, Two"),
    ],
)
def test_a_file_without_one_benchmark_is_refused_in_one_line(write, content, found):
    write("ambiguous", content)
    with pytest.raises(ValueError, match=rf"data.name='ambiguous': .*ambiguous.py must .*, not {found}$"):
        datamodule_by_name("ambiguous")


@pytest.mark.parametrize("name", ["generated", "sequences", "mnist", "loader", "copy", "../train"])
def test_what_is_no_benchmark_is_refused(name):
    with pytest.raises(ValueError, match=f"data.name='{name}'"):
        datamodule_by_name(name)


@pytest.mark.parametrize(
    ("task", "lacks"),
    [
        ("regression", "output_size, trivial_loss, first_test_batch"),
        (
            "control",
            "output_size, trivial_loss, first_test_batch, gradient_steps, episodes_played, judged_by, solved, "
            "collect, evaluate, test",
        ),
    ],
)
def test_a_benchmark_that_lacks_something_is_refused_in_one_line(write, task, lacks):
    write(
        "lacking",
        f"class Lacking(LightningDataModule):\n    input_size, task = 1, {task!r}\n"
        "    def __init__(self, *given): pass\n",
    )
    with pytest.raises(ValueError, match=f"data.name='lacking': Lacking must have {lacks}$"):
        make_benchmark(SimpleNamespace(name="lacking"))


def test_train_says_what_a_benchmark_lacks_before_anything_is_trained(tmp_path):
    code = """if True:
        import sys, train
        from datamodules.sequences import SequenceDataModule
        del SequenceDataModule.first_test_batch
        sys.exit(train.main(sys.argv[1:]))
    """
    command = [sys.executable, "-c", code, f"run_dir={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    message = "error: data.name='copy_first_input': CopyFirstInput must have first_test_batch\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, datamodules; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
