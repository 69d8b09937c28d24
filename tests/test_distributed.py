"""Two processes see what one sees: gloo on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from command import ROOT, Command
from torch import Tensor, distributed, multiprocessing, nn

from lightning_warmup import SideMemory, warmup
from lightning_warmup.distributed import gather_batch, rank, take_from_first, world_size
from lightning_warmup.dynamics.functional import at_rest, vaa, vaa_star
from lightning_warmup.dynamics.metrics import VAA, RestingFraction, VAAStar
from lightning_warmup.procedures.objectives import make_objective
from lightning_warmup.procedures.plan import WarmupPlan
from lightning_warmup.procedures.pretrain import TASKS, PretrainPlan, pretrain_steps
from lightning_warmup.procedures.regularize import add_gradient
from lightning_warmup.procedures.sequences import Batch
from lightning_warmup.procedures.warmup import warmup_steps

DDP = ["trainer.strategy=ddp", "trainer.devices=2"]


def states() -> Tensor:
    return 1e-3 * torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


def procedures(rows: slice) -> tuple[list[float], list[Tensor]]:
    """Losses and weights of all procedures on these rows of every global batch."""
    losses, tensors = [], []
    whole = torch.randn(5, 10, 12, 1, generator=torch.Generator().manual_seed(1))
    plain = [(name, partial(nn.GRU, 1, 6, num_layers=2)) for name in ("published", "rest", *TASKS)]
    sides = [(name, partial(SideMemory, "gru", 1, 6, num_layers=2)) for name in ("published", "rest")]
    for name, make in [*plain, *sides]:
        torch.manual_seed(0)
        network = make()
        batches = [gather_batch((batch[:, rows], None)) for batch in whole]
        if name in TASKS:
            losses += [step.loss for step in pretrain_steps(network, batches, PretrainPlan(name, 5))]
        else:
            plan = WarmupPlan(make_objective(name, steps=5))
            losses += [step.loss for step in warmup_steps(network, batches, plan)]
            add_gradient(plan, network, batches[0], step=0)
            tensors += [p.grad.clone() for p in network.parameters() if p.grad is not None]
        tensors += [p.detach() for p in network.parameters()]
    return losses, tensors


def share(number: int, sequences: int = 6) -> Batch:
    """Sequences that are longer on the second process, and their lengths."""
    length = 10 + 3 * number
    values = torch.arange(length * sequences).reshape(length, sequences, 1) + 1000.0 * (number + 1)
    return values, torch.arange(sequences) + 5 + 3 * number


def in_process(number: int, store: str, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    mine = slice(6 * number, 6 * number + 6)
    rows = states()[mine]
    found: dict[str, object] = {"world": (rank(), world_size())}
    metrics = [VAA(), VAAStar(), RestingFraction()]
    for metric in metrics[:2]:
        metric.update(rows)
    metrics[2].update(rows, rows + 1e-6 * (torch.arange(6)[:, None] % 3))
    found["metrics"] = [metric.compute() for metric in metrics]
    found["procedures"] = procedures(mine)
    sequences, lengths = share(number, sequences=6 + number)
    found["batches"] = gather_batch((sequences, lengths)), gather_batch((sequences, None))
    torch.manual_seed(0)
    own = torch.randn(10, 20 + number, 1, generator=torch.Generator().manual_seed(number))
    found["own data"] = [step.loss for step in warmup(nn.GRU(1, 6), own, steps=3)]
    found["first"] = take_from_first(torch.tensor([1.0 + number]))
    torch.save(found, Path(folder) / f"{number}.pt")
    distributed.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    multiprocessing.spawn(in_process, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{number}.pt") for number in range(2))
    assert first["world"] == (0, 2)
    assert second["world"] == (1, 2)

    moved = states() + 1e-6 * (torch.arange(12)[:, None] % 6 % 3)
    expected = [vaa(states()), vaa_star(states().detach()), at_rest(states(), moved).float().mean()]
    losses, tensors = procedures(slice(None))
    (one, ends), (other, other_ends) = share(0), share(1, sequences=7)
    for found in (first, second):
        torch.testing.assert_close(torch.stack(found["metrics"]), torch.stack(expected))
        found_losses, found_tensors = found["procedures"]
        assert found_losses == pytest.approx(
            losses, rel=1e-5
        )  # products are rounded as their rows lie in memory
        torch.testing.assert_close(found_tensors, tensors)
        (padded, lengths), (whole, counts) = found["batches"]
        assert torch.equal(lengths, torch.cat([ends, other_ends[:6]]))
        assert torch.equal(padded[:10, :6], one)
        assert not padded[10:, :6].any()
        assert torch.equal(padded[:, 6:], other[:, :6])
        assert torch.equal(whole, padded)
        assert counts.tolist() == [10] * 6 + [13] * 6
        assert float(found["first"]) == 1.0
    assert first["own data"] == second["own data"]


def flat(report: dict[str, object]) -> dict[str, float]:
    """The figures of a report by path."""
    found = {}
    for key, value in report.items():
        for name, figure in value.items() if isinstance(value, dict) else ():
            if isinstance(figure, dict):
                found |= {f"{key}/{name}/{part}": number for part, number in figure.items()}
            else:
                found[f"{key}/{name}"] = figure
    return found


def assert_alike(train: Command, run: Path, folder: Path) -> None:
    """Two runs have the same figures, to rounding."""
    two, one = flat(train.report(run)), flat(train.report(folder))
    two_residuals = {key for key in two if key.startswith("residual")}
    assert {k: v for k, v in two.items() if k not in two_residuals} == pytest.approx(
        {k: v for k, v in one.items() if k not in two_residuals}, rel=1e-3
    )
    rows = [row for row in train.metrics(run) if "warmup/loss" in row]
    expected = [row for row in train.metrics(folder) if "warmup/loss" in row]
    for row, other in zip(rows, expected, strict=True):
        assert float(row["warmup/loss"]) == pytest.approx(float(other["warmup/loss"]), rel=1e-2)


def test_a_run_in_two_processes_equals_a_run_in_one(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    """Killed after its first epoch and resumed, on top."""
    folder, _ = whole_run
    run = tmp_path / "run"
    process = train.start(f"run_dir={run}", *train.small, *DDP)
    train.wait(process, lambda: list((run / "checkpoints").glob("best-epoch=0*")))
    train.kill(process)
    train(f"run_dir={run}", "ckpt=last")
    assert_alike(train, run, folder)
    assert len(list(run.parent.iterdir())) == 1
    json.loads((run / "provenance.json").read_text())


def test_a_memory_at_the_side_learns_the_same_in_two_processes(train: Command, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, processes in zip(folders, ([], DDP), strict=True):
        train(f"run_dir={folder}", *train.small, "model.double=true", *processes)
    assert_alike(train, folders[1], folders[0])


def test_a_batch_that_does_not_divide_is_refused(train: Command, tmp_path: Path) -> None:
    _, errors = train(f"run_dir={tmp_path / 'run'}", *train.small, *DDP, "warmup.batch_size=15", status=2)
    assert "batch_size=15" in errors


def test_two_agents_of_torchrun_make_one_run(
    train: Command, whole_run: tuple[Path, str], tmp_path: Path
) -> None:
    """As two machines would, each with one process."""
    folder, _ = whole_run
    run = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"]
    settings = ["trainer.strategy=ddp", "trainer.devices=1", "trainer.num_nodes=2", f"run_dir={run}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    agents = [
        subprocess.Popen(
            [*command, f"--node-rank={number}", str(ROOT / "train.py"), *train.small, *settings],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    deadline = time.monotonic() + 120
    while None in (ended := [agent.poll() for agent in agents]):
        if any(ended) or time.monotonic() > deadline:  # the other one would wait for long
            for agent in agents:
                agent.terminate()
            break
        time.sleep(0.1)
    errors = [agent.communicate()[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], errors
    assert_alike(train, run, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


STRANGE = """
import sys
from pathlib import Path
import torch
from lightning.pytorch.strategies import DDPStrategy
from stranger import Stranger, loader, trainer
from torch import nn
from lightning_warmup import Rest, WarmupStage


class Seldom(Stranger):
    \"\"\"Does not call its network in each first batch, or on the second process in the fifth step.\"\"\"

    def training_step(self, batch, batch_idx):
        when = {"first": batch_idx == 0, "fifth": self.trainer.global_step == 4 and self.global_rank == 1}
        if when.get(sys.argv[1], False):
            return (self.head.bias - 1).square().sum()
        return super().training_step(batch, batch_idx)


class Failing(Stranger):
    def training_step(self, batch, batch_idx):
        if self.global_rank == 1:
            raise KeyError("a bad record")
        return super().training_step(batch, batch_idx)


if __name__ == "__main__":
    case = sys.argv[1]
    strategy = DDPStrategy(static_graph=True) if case == "static" else "ddp_find_unused_parameters_true"
    module = Failing() if case == "failing" else Seldom()
    objective = Rest(steps=2, regularize=0.1) if case == "fifth" else "published"
    stage = WarmupStage(objective=objective, steps=2, batch_size=8)
    trainer(Path(), stage, accelerator="cpu", devices=2, strategy=strategy, max_epochs=3).fit(module, loader())
    weights = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    torch.save(weights, f"{module.global_rank}.pt")
"""


def strange(folder: Path, case: str) -> subprocess.CompletedProcess[str]:
    (folder / "fit.py").write_text(STRANGE)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "fit.py", case]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("case", ["static", "first", "fifth"])
def test_a_stage_does_not_disturb_what_ddp_counts(tmp_path: Path, case: str) -> None:
    done = strange(tmp_path, case)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt"))


def test_a_training_step_that_fails_on_one_process_ends_both_and_is_shown(tmp_path: Path) -> None:
    done = strange(tmp_path, "failing")
    assert done.returncode != 0
    assert "KeyError: 'a bad record'" in done.stderr
