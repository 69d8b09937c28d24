"""Warm up, train and test a recurrent network: ``python train.py [overlay.yaml ...] key=value ...``.

configuration -> data -> module -> Trainer (pretraining, warmup, epochs, best checkpoint, test) -> report
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from configs.command import command
from configs.launch import started_by
from configs.run import Config
from configs.run_folder import CHECKPOINTS, RunFolder, go_on
from configs.values import ConfigError

# What needs torch is imported where it is used: help and mistakes are shown without it.


def main(argv: list[str]) -> int:
    """Run the command and return its exit status: 0 done, 1 failed, 2 a mistake in the arguments."""
    return command(argv, run)


def run(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Run the stages of a configuration in a run folder, and return the content of its ``report.json``.

    Raises:
        ConfigError: If the configuration asks for what the library does not have.
    """
    if config.stages == ["predict"]:
        return predict(config, folder)
    if config.stages == ["export"]:
        return export(config, folder)
    from lightning.pytorch import Trainer, seed_everything

    from lightning_warmup.callbacks.proof import prove_network
    from lightning_warmup.callbacks.report import Report
    from lightning_warmup.reporting.figures import draw_run
    from lightning_warmup.reporting.table import table
    from lightning_warmup.runtime import checkpoints, files, loggers, metrics_file, process, provenance

    process.prepare_process(parent=started_by(os.environ))
    seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = folder.checkpoint
    try:
        datamodule, module = make_data_and_module(config)
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
    with loggers.open_loggers(metrics, origin["id"], content, **dict(config.tracking)) as opened:
        trainer = Trainer(
            **dict(config.trainer),
            logger=opened,
            callbacks=callbacks,
            plugins=[checkpoints.AtomicCheckpointIO()],
            default_root_dir=folder.path,
            use_distributed_sampler=False,  # the loaders share their batches themselves
        )
        if "fit" in config.stages:
            trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
            checkpoint = checkpoints.restore_best(trainer, report)
            if config.proof.steps and checkpoint is not None:
                checkpoint = prove_network(trainer, report, **dict(config.proof), checkpoint=checkpoint)
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


def predict(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Write ``predictions.csv``: what the network of a checkpoint says of new sequences.

    Raises:
        ConfigError: If the checkpoint and the sequences do not go together.
    """
    from lightning.pytorch import Trainer

    from lightning_warmup.runtime import checkpoints, files, process

    process.prepare_process(parent=started_by(os.environ))
    assert folder.checkpoint is not None
    try:
        datamodule, module = make_data_and_module(config, checkpoints.read_checkpoint(folder.checkpoint))
        checkpoints.check_same_network(folder.checkpoint, module)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    go_on(config, folder)
    trainer = Trainer(**dict(config.trainer), logger=False, default_root_dir=folder.path)
    outputs = trainer.predict(module, datamodule, ckpt_path=folder.checkpoint, weights_only=True)
    if trainer.is_global_zero:
        path, rows = folder.path / "predictions.csv", datamodule.predictions(outputs)
        files.write_rows(path, list(rows[0]), rows)
        print(f"\npredictions  {path}")
    process.leave_process_group()
    return {}


def export(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Write ``step.onnx``: one step of the network of a checkpoint, states in and out.

    Raises:
        ConfigError: If the checkpoint is of another network, the network cannot be exported, or ONNX is missing.
    """
    from lightning_warmup.networks.export import export_step
    from lightning_warmup.runtime import checkpoints

    assert folder.checkpoint is not None
    try:
        _, module = make_data_and_module(config)
        checkpoints.check_same_network(folder.checkpoint, module)
        module.load_state_dict(checkpoints.read_checkpoint(folder.checkpoint)["state_dict"])
        go_on(config, folder)
        path = folder.path / "step.onnx"
        export_step(module.network, path)
    except (ValueError, ModuleNotFoundError) as error:
        raise ConfigError(str(error)) from error
    print(f"\nstep  {path}")
    return {}


def make_data_and_module(config: Config, trained: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """Return the datamodule of a configuration, and the module for its kind of task with a new network.

    Args:
        config: The configuration.
        trained: The content of the checkpoint that is to predict, if one is.

    Raises:
        ValueError: If one of them refuses the configuration.
    """
    from datamodules import make_benchmark
    from lightning_warmup.modules import DQNModule, SequenceModule

    datamodule = make_benchmark(config.data, config.seed, trained)
    config.check_against(datamodule)
    sizes = {"input_size": datamodule.input_size, "output_size": datamodule.output_size}
    network = {**sizes, **config.model.model_dump()}
    if datamodule.task == "control":
        return datamodule, DQNModule(network, partial(config.optim.make, mode="max"), **dict(config.agent))
    return datamodule, SequenceModule(network, datamodule.task, config.optim.make)


def make_callbacks(config: Config, module: Any, folder: Path, report: Any) -> list[Any]:
    """Return the callbacks of a run; add your own at the end. Those that save act after all others."""
    from lightning.pytorch.callbacks import EarlyStopping

    from lightning_warmup.callbacks.monitor import MultistabilityMonitor
    from lightning_warmup.callbacks.pretrain import PretrainStage
    from lightning_warmup.callbacks.progress import ProgressBar
    from lightning_warmup.callbacks.warmup import WarmupStage
    from lightning_warmup.runtime.checkpoints import checkpoint_callbacks

    metric, mode = module.monitor
    common = {"network": "network", "sequences": module.sequences, "seed": config.seed}
    callbacks = [*checkpoint_callbacks(folder / CHECKPOINTS, metric, mode, config.ckpt_interval), report]
    if config.pretrain.task != "none":
        callbacks.append(PretrainStage(**common, **dict(config.pretrain)))
    if config.warmup.enabled:
        own = {name: value for name, value in config.warmup if name != "enabled"}
        callbacks.append(WarmupStage(**common, **own))
    if (every := config.monitor.every_n_epochs) is not None:
        callbacks.append(MultistabilityMonitor(**common, every_n_epochs=every))
    if (patience := config.optim.patience) is not None:
        callbacks.append(EarlyStopping(metric, config.optim.min_delta, patience, mode=mode))
    if config.trainer.enable_progress_bar is not False:
        callbacks.append(ProgressBar())
    return callbacks


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
