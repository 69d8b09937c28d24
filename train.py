"""Warms up, trains and tests a recurrent network: ``python train.py [overlay.yaml ...] key=value ...``.

configuration -> datamodule -> module -> Trainer (warmup, epochs, best checkpoint, test) -> report
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.compose import Config, ConfigError, compose, help_text, to_yaml
from configs.run_folder import CHECKPOINTS, RunFolder, open_run_folder, save_config

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule
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
    trace = folder.path / "error.txt"
    try:
        trace.unlink(missing_ok=True)
        run(config, folder)
    except Exception as error:
        trace.write_text(traceback.format_exc())
        print(f"error: {_first_line(error)} (trace in {trace})", file=sys.stderr)
        return 1
    return 0


def run(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Runs the stages of a configuration.

    Args:
        config: What to run.
        folder: Where to keep what the run leaves, and the checkpoint it goes on from.

    Returns:
        The content of ``report.json``.
    """
    from lightning.pytorch import Trainer, seed_everything

    from lightning_warmup.figures import draw_run
    from lightning_warmup.json_file import write_json
    from lightning_warmup.report import Report, table
    from lightning_warmup.tracking import finish, log_results

    quieten()
    seed_everything(config.seed, workers=True, verbose=False)
    datamodule = make_datamodule(config)
    module = make_module(config, datamodule)
    report = Report(config.monitor.steps)
    loggers = make_loggers(config, folder)
    failed = True  # until it is not
    try:
        trainer = Trainer(
            **vars(config.trainer),
            logger=loggers,
            callbacks=[report, *make_callbacks(config, folder.path / CHECKPOINTS)],
            default_root_dir=folder.path,
            use_distributed_sampler=False,  # the loaders share their batches themselves
        )
        checkpoint = folder.checkpoint
        if "fit" in config.stages:
            trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
            best = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
            checkpoint = Path(best) if best else None
        if "test" in config.stages:
            trainer.test(module, datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
        result = report.summary() | {
            "seed": config.seed,
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
    """The benchmark: a LightningDataModule that tells its ``input_size``, ``output_size`` and ``task``."""
    from datamodules import datamodule_by_name

    settings = {name: value for name, value in vars(config.data).items() if name != "name"}
    return datamodule_by_name(config.data.name)(**settings, seed=config.seed)


def make_module(config: Config, datamodule: Any) -> LightningModule:
    """The network with its loss and optimiser."""
    from lightning_warmup.module import SequenceModule

    sizes = datamodule.input_size, datamodule.output_size
    return SequenceModule(*sizes, datamodule.task, **vars(config.model), lr=config.optim.lr)


def make_callbacks(config: Config, checkpoints: Path) -> list[Callback]:
    """The warmup, early stopping, and the checkpoints."""
    from lightning.pytorch.callbacks import EarlyStopping

    from lightning_warmup.checkpoints import LatestCheckpoint, best_checkpoint
    from lightning_warmup.stage import WarmupStage

    callbacks: list[Callback] = []
    settings = dict(vars(config.warmup))
    if settings.pop("enabled"):
        callbacks.append(WarmupStage("network", seed=config.seed, **settings))
    if config.optim.patience is not None:
        callbacks.append(
            EarlyStopping("val/loss", config.optim.min_delta, config.optim.patience, check_finite=True)
        )
    latest = LatestCheckpoint(checkpoints, config.ckpt_interval)
    return [*callbacks, best_checkpoint(checkpoints, "val/loss", "min"), latest]


def make_loggers(config: Config, folder: RunFolder) -> list[Logger]:
    """Notes configuration and provenance in the run folder, and opens the logs."""
    from lightning_warmup.provenance import record
    from lightning_warmup.tracking import csv_logger, wandb_logger

    save_config(config, folder.path)
    origin = record(folder.path, Path(__file__).parent, resumed=folder.checkpoint is not None)
    tracking = dict(vars(config.tracking))
    mode = tracking.pop("wandb")
    tracking["name"] = tracking["name"] or folder.path.name
    wandb = wandb_logger(mode, folder.path, origin["id"], asdict(config) | {"provenance": origin}, **tracking)
    return [csv_logger(folder.path, folder.checkpoint), *([wandb] if wandb else [])]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
