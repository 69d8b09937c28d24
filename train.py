"""Warm up, train and test a recurrent network: ``python train.py [overlay.yaml ...] key=value ...``.

configuration -> datamodule -> module -> Trainer (warmup, epochs, best checkpoint, test) -> report
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from configs.compose import Config, ConfigError, compose, help_text, to_yaml
from configs.launch import started_by
from configs.run_folder import CHECKPOINTS, RunFolder, give_up, go_on, open_run_folder


def main(argv: list[str]) -> int:
    """Run the command and return its exit status: 0 done, 1 failed, 2 a mistake in the arguments."""
    if "--help" in argv or "-h" in argv:
        print(help_text())
        return 0
    try:
        config = compose([argument for argument in argv if argument != "--cfg"])
        if "--cfg" in argv:
            print(to_yaml(config), end="")
            return 0
        folder = open_run_folder(config)
    except ConfigError as error:
        return _fail(2, str(error))
    try:
        run(config, folder)
    except ConfigError as error:
        give_up(config, folder)
        return _fail(2, str(error))
    except Exception as error:
        first_line = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].removesuffix(": ")
        return _fail(1, first_line + _keep_trace(folder.path / "error.txt"))
    return 0


def run(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Run the stages of a configuration in a run folder, and return the content of its ``report.json``.

    Raises:
        ConfigError: If the configuration asks for what the library does not have.
    """
    from lightning.pytorch import Trainer, seed_everything

    from lightning_warmup.callbacks.report import Report
    from lightning_warmup.reporting.figures import draw_run
    from lightning_warmup.reporting.table import table
    from lightning_warmup.runtime import checkpoints, files, loggers, metrics_file, process, provenance

    process.prepare_process(parent=started_by(os.environ))
    seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = folder.checkpoint
    try:
        datamodule, module = build(config)
        if checkpoint is not None:
            checkpoints.check_same_network(checkpoint, module)
        report = Report(folder.path, config.monitor.steps, module.sequences, "network")
        callbacks = make_callbacks(config, module, folder.path, report)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    go_on(config, folder)
    metrics = metrics_file.resumed_metrics_file(folder.path, checkpoint, training="fit" in config.stages)
    origin = provenance.record(folder.path, Path(__file__).parent)
    content = config.model_dump(warnings=False) | {"provenance": origin}
    with loggers.open_loggers(metrics, origin["id"], content, **vars(config.tracking)) as opened:
        trainer = Trainer(
            **vars(config.trainer),
            logger=opened,
            callbacks=callbacks,
            plugins=[checkpoints.AtomicCheckpointIO()],
            default_root_dir=folder.path,
            use_distributed_sampler=False,  # the loaders share their batches themselves
        )
        if "fit" in config.stages:
            trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
            checkpoint = checkpoints.restore_best(trainer, report)
            if datamodule.task == "control" and config.agent.consolidate and checkpoint is not None:
                checkpoint = consolidated(trainer, module, checkpoint, report, config.agent.consolidate)
        if "test" in config.stages:
            trainer.test(module, datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
        result = report.summary() | {
            "seed": config.seed,
            "trivial_loss": module.trivial_loss(datamodule),
            "checkpoint": None if checkpoint is None else str(checkpoint),
        }
        if trainer.is_global_zero:
            files.write_json(folder.path / "report.json", result)
            loggers.log_results(opened, result, draw_run(folder.path))
            print(f"\n{table(result, result['trivial_loss'])}\nfiles  {folder.path}")
    process.leave_process_group()
    return result


def build(config: Config) -> tuple[Any, Any]:
    """Return the datamodule of a configuration and the module for its kind of task.

    Raises:
        ValueError: If one of them, or the warmup, refuses the configuration.
    """
    from datamodules import make_benchmark
    from lightning_warmup.modules import DQNModule, SequenceModule
    from lightning_warmup.networks import RecurrentNetwork

    data = dict(vars(config.data))
    datamodule = make_benchmark(data.pop("name"), **data, seed=config.seed)
    most = getattr(datamodule, "sizes", {}).get("train")
    stages = {"warmup": config.warmup.enabled, "pretrain": config.pretrain.task != "none"}
    for name in (name for name, runs in stages.items() if runs and most is not None):
        if (wanted := getattr(config, name).batch_size) > most:
            raise ValueError(f"{name}.batch_size={wanted}: must be at most {most}, the training sequences")
    sizes = {"input_size": datamodule.input_size, "output_size": datamodule.output_size}
    network = RecurrentNetwork(**sizes, **config.model.model_dump(), batch_first=True)
    if datamodule.task == "control":
        agent = dict(vars(config.agent))
        if (steps := agent.pop("consolidate")) and not getattr(datamodule, "waiting", lambda: None)():
            raise ValueError(
                f"agent.consolidate={steps}: must be 0, the right actions of {config.data.name} may change"
            )
        return datamodule, DQNModule(network, partial(config.optim.make, mode="max"), **agent)
    return datamodule, SequenceModule(network, datamodule.task, config.optim.make)


def consolidated(trainer: Any, module: Any, best: Path, report: Any, steps: int) -> Path:
    """Consolidate the best policy, and return its checkpoint; the report gets its certificate from before."""
    from dataclasses import asdict

    from lightning_warmup.dynamics.certificate import Waiting, certify
    from lightning_warmup.procedures.consolidate import consolidate
    from lightning_warmup.runtime.checkpoints import read_checkpoint

    module.load_state_dict(read_checkpoint(best)["state_dict"])
    task = Waiting(**trainer.datamodule.waiting())
    start = time.perf_counter()
    report.certified_before = asdict(certify(module.network, task))  # on the CPU, where Lightning has left it
    consolidate(module.network, task, trainer.datamodule.length - 1, steps=steps)
    report.seconds["consolidate"] = time.perf_counter() - start
    path = best.with_name("consolidated.ckpt")
    trainer.save_checkpoint(path)
    return path


def make_callbacks(config: Config, module: Any, folder: Path, report: Any) -> list[Any]:
    """Return the callbacks that save, measure, warm up, monitor and stop a run; those that save act last."""
    from lightning.pytorch.callbacks import EarlyStopping

    from lightning_warmup.callbacks.monitor import MultistabilityMonitor
    from lightning_warmup.callbacks.pretrain import PretrainStage
    from lightning_warmup.callbacks.warmup import WarmupStage
    from lightning_warmup.runtime.checkpoints import checkpoint_callbacks

    figure, mode = module.monitor
    common = {"network": "network", "sequences": module.sequences, "seed": config.seed}
    callbacks = checkpoint_callbacks(folder / CHECKPOINTS, figure, mode, config.ckpt_interval)
    callbacks.append(report)
    if config.pretrain.task != "none":
        callbacks.append(PretrainStage(**common, **vars(config.pretrain)))
    if config.warmup.enabled:
        own = config.warmup
        callbacks.append(
            WarmupStage(
                **common, objective=own.objective, lr=own.lr, batch_size=own.batch_size, leaky=own.leaky
            )
        )
    if config.monitor.every_n_epochs is not None:
        callbacks.append(MultistabilityMonitor(**common, every_n_epochs=config.monitor.every_n_epochs))
    if config.optim.patience is not None:
        callbacks.append(EarlyStopping(figure, config.optim.min_delta, config.optim.patience, mode=mode))
    return callbacks


def _fail(status: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def _keep_trace(path: Path) -> str:
    """Write the trace of the current exception, if that is possible, and say where it is."""
    try:
        path.write_text(traceback.format_exc())
    except OSError as error:
        return f" (its trace could not be kept: {error.strerror})"
    return f" (trace in {path})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
