"""Kills small runs at random moments, resumes them, and compares what they leave with undisturbed runs.

``python -m tests.random_kills --kills 50 --seed 0`` from the root of the repository. A command of its own, not
part of the suite. Runs are forked from a process that has imported everything, and are killed by SIGKILL.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import pkgutil
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

import train

MOMENTS = {
    "anywhere": "config.yaml",
    "warmup": "metrics.csv",
    "training": "checkpoints/last.ckpt",
    "writing": "checkpoints/*.partial",
    "end": "*.png",
}
"""The file that is new when it begins."""

COMMON = [
    "model.hidden_size=8", "warmup.steps=4", "warmup.batch_size=16", "monitor.steps=20",
    "monitor.every_n_epochs=1", "ckpt_interval=0", "trainer.accelerator=cpu", "trainer.max_epochs=2",
    "trainer.log_every_n_steps=2",
    "trainer.enable_model_summary=false", "trainer.enable_progress_bar=false", "tracking.wandb=disabled",
]  # fmt: skip
SEQUENCES = [
    *COMMON, "data.seq_length=12", "data.train_size=96", "data.val_size=32", "data.test_size=64",
    "data.test_lengths=[20]", "data.batch_size=16",
]  # fmt: skip
TMAZE = [
    *COMMON, "data.name=tmaze", "data.length=3", "data.capacity=512", "data.batch_size=8",
    "data.gradient_steps=2", "data.episodes_per_epoch=4", "data.test_multiples=[2]",
]  # fmt: skip
KINDS = {
    "sequences": (SEQUENCES, 1),
    "T-Maze": (TMAZE, 1),
    "two processes": ([*SEQUENCES, "trainer.strategy=ddp", "trainer.devices=2"], 2),
}


def fork(arguments: list[str], log: Path, environment: dict[str, str]) -> int:
    """Starts ``train.py`` in a fork of this process; returns its number."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        return number
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("LOCAL_RANK", 0))  # read at import, in a process of its own
    status = 70
    try:
        status = train.main(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Run:
    """One run, in one or several processes, as often as it takes.

    Args:
        folder: Its run folder.
        arguments: Those of its command.
        processes: Their number.
    """

    def __init__(self, folder: Path, arguments: list[str], processes: int) -> None:
        self.folder = folder
        self.arguments = [*arguments, f"run_dir={folder}", "ckpt=last"]
        self.processes = processes
        self.log = folder.with_suffix(".log")
        self.running: dict[int, int] = {}
        self.before: dict[Path, int] = {}

    def new(self, pattern: str) -> bool:
        """Whether there are such files that were not there when it was started, or were others."""
        return any(self.before.get(path) != time for path, time in self._files(pattern).items())

    def _files(self, pattern: str) -> dict[Path, int]:
        found = {}
        for path in self.folder.glob(pattern):
            with suppress(FileNotFoundError):  # a partial file has been moved
                found[path] = path.stat().st_mtime_ns
        return found

    def start(self, port: int) -> None:
        """Starts its processes."""
        self.before = self._files("**/*")
        world = {"WORLD_SIZE": str(self.processes), "NODE_RANK": "0", "MASTER_PORT": str(port)}
        for rank in range(self.processes):
            environment = {**world, "LOCAL_RANK": str(rank)} if self.processes > 1 else {}
            self.running[fork(self.arguments, self.log, environment)] = rank

    def wait(self, seconds: float, pattern: str = "no file") -> dict[int, int]:
        """Waits for its processes to end, or for a file to be new; returns statuses by rank."""
        ended, until = {}, time.monotonic() + seconds
        while self.running and time.monotonic() < until and not self.new(pattern):
            for number in list(self.running):
                found, status = os.waitpid(number, os.WNOHANG)
                if found:
                    ended[self.running.pop(number)] = os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return ended

    def kill(self, ranks: list[int]) -> None:
        """Kills some of its processes; the others have to end by themselves within a minute."""
        for number, rank in self.running.items():
            if rank in ranks:
                os.kill(number, signal.SIGKILL)
        self.wait(60)
        if self.running:
            for number in self.running:
                os.kill(number, signal.SIGKILL)
            raise AssertionError(f"ranks {sorted(self.running.values())} outlived rank {ranks} by a minute")

    def phase(self) -> str:
        """What it has been doing, by its folder."""
        if self.new("checkpoints/*.partial"):
            return "writing a checkpoint"
        if self.new("*.png"):
            return "end"
        if self.new("checkpoints/last.ckpt"):
            return "training or test"
        return (
            "warmup"
            if (self.folder / "metrics.csv").exists() and not list(self.folder.glob("checkpoints/*.ckpt"))
            else "start"
        )

    def check(self) -> None:
        """Reads every checkpoint and JSON file that has its final name."""
        for path in self.folder.glob("checkpoints/*.ckpt"):
            assert torch.load(path, weights_only=True)["state_dict"], path
        for path in self.folder.glob("*.json"):
            assert json.loads(path.read_text()), path

    def results(self) -> tuple[dict[str, Any], list[str]]:
        """The report without times, and the rows of the log in any order."""
        report = json.loads((self.folder / "report.json").read_text())
        report["checkpoint"] = Path(report["checkpoint"]).name
        del report["seconds"]
        with (self.folder / "metrics.csv").open(newline="") as file:
            rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
        return report, sorted(json.dumps(row, sort_keys=True) for row in rows)


def ports() -> Iterator[int]:
    """Ports for process groups, a new one for each start."""
    yield from range(20000 + os.getpid() % 10000, 65536)


def kill_until_done(run: Run, rng: random.Random, seconds: float, port: Iterator[int]) -> list[str]:
    """Kills a run one to five times and lets it end.

    Args:
        run: The run.
        rng: Decides when.
        seconds: How long it takes undisturbed on a free core.
        port: Where its processes meet.

    Returns:
        What it was doing when it was killed.
    """
    phases = []
    for _ in range(rng.randint(1, 5)):
        run.start(next(port))
        moment = rng.choice(list(MOMENTS))
        ended = run.wait(600, MOMENTS[moment])
        late = {"anywhere": seconds, "writing": 0.0}.get(moment, seconds / 5)
        ended |= run.wait(rng.uniform(0, late))
        assert not any(ended.values()), f"{run.log}: status {ended}"
        if not run.running:
            continue
        ranks = list(range(run.processes))
        met = moment in ("training", "writing")  # before they have, it is the launcher that ends the others
        run.kill([rng.choice(ranks)] if met and rng.random() < 0.7 else ranks)
        phases.append(run.phase())
        run.check()
    run.start(next(port))
    ended = run.wait(600)
    assert set(ended.values()) == {0}, f"{run.log}: status {ended}"
    return phases


def main() -> int:
    """Runs the command; returns 1 if a run did not come to the same results."""
    parser = argparse.ArgumentParser("python -m tests.random_kills", description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="how many kills at least")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args()
    for package in ("lightning_warmup", "datamodules"):  # as it is imported late
        for module in pkgutil.walk_packages([str(Path(train.__file__).with_name(package))], f"{package}."):
            with suppress(ImportError):  # of what is not installed
                import_module(module.name)
    rng, port = random.Random(options.seed), ports()
    found: Counter[tuple[str, str]] = Counter()
    runs = failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        expected, seconds = {}, {}
        for kind, (arguments, processes) in KINDS.items():
            run = Run(Path(temporary, kind.replace(" ", "_")), arguments, processes)
            begin = sum(os.times()[2:4])  # of the children, whatever else the machine does
            run.start(next(port))
            assert set(run.wait(600).values()) == {0}, run.log.read_text()
            seconds[kind], expected[kind] = (sum(os.times()[2:4]) - begin) / processes, run.results()
            print(f"{kind}: {seconds[kind]:.1f} s undisturbed", flush=True)
        while found.total() < options.kills:
            kind = rng.choices(list(KINDS), [2, 2, 1])[0]
            run = Run(Path(temporary, str(runs)), *KINDS[kind])
            runs += 1
            try:
                phases = kill_until_done(run, rng, seconds[kind], port)
                found.update((kind, phase) for phase in phases)
                (report, rows), (known, others) = run.results(), expected[kind]
                assert report == known, f"{report}, not {known}"
                assert rows == others, f"rows of one only: {set(rows) ^ set(others)}"
            except AssertionError as error:
                failures += 1
                print(f"{kind}, run {runs}: {error}\n{run.log.read_text()[-3000:]}", flush=True)
                run.kill([0, 1])
                continue
            print(f"{kind}: killed in {', '.join(phases) or 'vain'}; the same results", flush=True)
    for (kind, phase), count in sorted(found.items()):
        print(f"{count:4}  {kind}: {phase}")
    print(f"{found.total()} kills of {runs} runs, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
