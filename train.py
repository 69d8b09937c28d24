"""Warms up, trains and tests a recurrent network: ``python train.py [overlay.yaml ...] key=value ...``.

configuration -> datamodule -> module -> Trainer (warmup, epochs, best checkpoint, test) -> report
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.compose import Config, ConfigError, compose, help_text, to_yaml
from configs.run_folder import CHECKPOINTS, RunFolder, give_up, open_run_folder, started_by

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from lightning.pytorch.loggers import Logger


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status: 0 done, 1 failed, 2 a mistake in the arguments."""
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
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        run(config, folder)
    except ConfigError as error:
        give_up(config, folder)
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"error: {_first_line(error)}{_keep_trace(folder.path)}", file=sys.stderr)
        return 1
    return 0


def run(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Runs the stages of a configuration.

    Args:
        config: What to run.
        folder: Where to keep what the run leaves, and the checkpoint it goes on from.

    Returns:
        The content of ``report.json``.

    Raises:
        ConfigError: If the configuration asks for what the library does not have.
    """
    from lightning.pytorch import Trainer, seed_everything

    from lightning_warmup.callbacks.report import Report
    from lightning_warmup.procedures.objectives.rest import heard_channels
    from lightning_warmup.reporting.figures import draw_run
    from lightning_warmup.reporting.table import table
    from lightning_warmup.runtime.checkpoints import AtomicCheckpointIO, check_same_network, read_checkpoint
    from lightning_warmup.runtime.json_file import write_json
    from lightning_warmup.runtime.loggers import finish, log_results
    from lightning_warmup.runtime.signals import end_with_parent

    quieten()
    if parent := started_by(os.environ):
        end_with_parent(parent)
    seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = folder.checkpoint
    try:
        datamodule = make_datamodule(config)
        module = make_module(config, datamodule)
        # For its error, before anything is trained.
        heard_channels(datamodule.input_size, config.warmup.silent)
        if checkpoint is not None:
            check_same_network(checkpoint, read_checkpoint(checkpoint).get("hyper_parameters", {}), module)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    report = Report(folder.path, config.monitor.steps, module.sequences, "network")
    loggers: list[Logger] = []
    failed = True  # until it is not
    try:
        loggers += make_loggers(config, folder)
        trainer = Trainer(
            **vars(config.trainer),
            logger=loggers,
            callbacks=[report, *make_callbacks(config, module, folder.path)],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder.path,
            use_distributed_sampler=False,  # the loaders share their batches themselves
        )
        if "fit" in config.stages:
            trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
            best = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
            checkpoint = Path(best) if best else None
            if checkpoint is not None:
                report.load_state_dict(read_checkpoint(checkpoint)["callbacks"][report.state_key])
        if "test" in config.stages:
            trainer.test(module, datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
        result = report.summary() | {
            "seed": config.seed,
            "trivial_loss": datamodule.trivial_loss,
            "checkpoint": None if checkpoint is None else str(checkpoint),
        }
        if trainer.is_global_zero:
            write_json(folder.path / "report.json", result)
            log_results(loggers, result, draw_run(folder.path))
            print(f"\n{table(result, datamodule.trivial_loss)}\nfiles  {folder.path}")
        failed = False
    finally:
        finish(loggers, failed)
    return result


def quieten() -> None:
    """Silences advertisements, and advice that does not apply: data are in memory, run folders are reused."""
    for text in ("many workers", "exists and is not empty", "LeafSpec"):
        warnings.filterwarnings("ignore", f".*{text}.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip: For seamless" not in record.getMessage()
    )


def make_datamodule(config: Config) -> Any:
    """The benchmark: a LightningDataModule that is a :class:`datamodules.Benchmark`."""
    from datamodules import make_benchmark

    settings = {name: value for name, value in vars(config.data).items() if name != "name"}
    return make_benchmark(config.data.name, **settings, seed=config.seed)


def make_module(config: Config, datamodule: Any) -> Any:
    """The network with its loss and optimiser, a LightningModule of the benchmark's kind of task."""
    from lightning_warmup.modules.dqn import DQNModule
    from lightning_warmup.modules.sequence import SequenceModule

    settings = {
        "input_size": datamodule.input_size,
        "output_size": datamodule.output_size,
        **vars(config.model),
    }
    if datamodule.task == "control":
        return DQNModule(**settings, lr=config.optim.lr, **vars(config.agent))
    return SequenceModule(**settings, lr=config.optim.lr, task=datamodule.task)


def make_callbacks(config: Config, module: Any, folder: Path) -> list[Callback]:
    """The pretraining and the warmup, the monitor, early stopping, and the checkpoints."""
    from lightning.pytorch.callbacks import EarlyStopping

    from lightning_warmup.callbacks.monitor import MultistabilityMonitor
    from lightning_warmup.callbacks.pretrain import PretrainStage
    from lightning_warmup.callbacks.warmup import WarmupStage
    from lightning_warmup.runtime.checkpoints import BestCheckpoint, LatestCheckpoint
    from lightning_warmup.runtime.signals import Interruption

    figure, mode = module.monitor
    interruption = Interruption()
    callbacks: list[Callback] = [interruption]
    common = {"network": "network", "sequences": module.sequences, "seed": config.seed}
    if config.pretrain.task != "none":
        callbacks.append(PretrainStage(**common, **vars(config.pretrain)))
    settings = dict(vars(config.warmup))
    if settings.pop("enabled"):
        callbacks.append(WarmupStage(**common, **settings))
    if config.monitor.every_n_epochs is not None:
        callbacks.append(MultistabilityMonitor(**common, every_n_epochs=config.monitor.every_n_epochs))
    if config.optim.patience is not None:
        callbacks.append(EarlyStopping(figure, config.optim.min_delta, config.optim.patience, mode=mode))
    checkpoints = folder / CHECKPOINTS
    latest = LatestCheckpoint(checkpoints, config.ckpt_interval, interruption)
    return [*callbacks, BestCheckpoint(checkpoints, figure, mode), latest]


def make_loggers(config: Config, folder: RunFolder) -> list[Logger]:
    """Notes the provenance in the run folder, and opens the logs."""
    from lightning_warmup.runtime.loggers import csv_logger, wandb_logger
    from lightning_warmup.runtime.provenance import record

    origin = record(folder.path, Path(__file__).parent)
    tracking = dict(vars(config.tracking))
    mode = tracking.pop("wandb")
    tracking["name"] = tracking["name"] or folder.path.name
    csv = csv_logger(folder.path, folder.checkpoint, training="fit" in config.stages)
    settings = config.model_dump(warnings=False)  # Lightning's profiler may be an object
    wandb = wandb_logger(mode, folder.path, origin["id"], settings | {"provenance": origin}, **tracking)
    return [csv, *([wandb] if wandb else [])]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _keep_trace(folder: Path) -> str:
    """Writes the trace of the current exception into the run folder, if it can; says where it is."""
    path = folder / "error.txt"
    try:
        path.write_text(traceback.format_exc())
    except OSError as error:
        return f" (its trace could not be kept: {error.strerror})"
    return f" (trace in {path})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
