"""Warm up, train and test a recurrent network: ``python train.py [overlay.yaml ...] key=value ...``.

configuration -> data -> module -> Trainer (pretraining, warmup, epochs, best checkpoint, test) -> report
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from configs.command import command
from configs.launch import started_by
from configs.run import Config
from configs.run_folder import CHECKPOINTS, REPORT, RunFolder, go_on
from configs.values import mistakes

# What needs torch is imported where it is used: help and errors do not wait for it.


def main(argv: list[str]) -> int:
    """Run the command and return its exit status: 0 done, 1 failed, 2 wrong arguments, 130 interrupted."""
    return command(argv, run)


def run(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Run the stages of a configuration in a run folder, and return the content of ``report.json``.

    Raises:
        ConfigError: If the settings do not fit the data, the network or the checkpoint.
    """
    if config.stages == ["export"]:
        return export(config, folder)
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    from lightning_warmup.callbacks.proof import prove_network
    from lightning_warmup.callbacks.report import Report
    from lightning_warmup.reporting.figures import draw_run
    from lightning_warmup.reporting.table import table
    from lightning_warmup.runtime import checkpoints, files, loggers, metrics_file, process, provenance

    process.prepare_process(parent=started_by(os.environ))
    seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = folder.checkpoint
    with mistakes():
        datamodule, module = make_data_and_module(config, checkpoint)
    if config.stages == ["predict"]:
        return predict(config, folder, datamodule, module)
    with mistakes():
        report = Report(folder.path, config.monitor.steps, module.sequences, "network")
        callbacks = make_callbacks(config, module, folder.path, report)
    go_on(config, folder)
    metrics = metrics_file.resumed_metrics_file(folder.path, checkpoint, training="fit" in config.stages)
    origin = provenance.record(folder.path, Path(__file__).parent)
    content = config.model_dump(warnings=False) | {"provenance": origin}
    with loggers.open_loggers(metrics, origin["id"], content, **dict(config.tracking)) as opened:
        with mistakes(MisconfigurationException):  # such as an accelerator that is not there
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
            files.write_json(folder.path / REPORT, result)
            loggers.log_results(opened, result, draw_run(folder.path))
            print(f"\n{table(result)}\nfiles  {folder.path}")
    process.leave_process_group()
    return result


def predict(config: Config, folder: RunFolder, datamodule: Any, module: Any) -> dict[str, Any]:
    """Write ``predictions.csv``: the outputs of a trained network for new sequences."""
    from lightning.pytorch import Trainer

    from lightning_warmup.runtime import files, process

    go_on(config, folder)
    settings = dict(config.trainer) | {"fast_dev_run": False}  # all sequences have a prediction
    trainer = Trainer(**settings, logger=False, default_root_dir=folder.path)
    outputs = trainer.predict(module, datamodule)
    if trainer.is_global_zero:
        path, rows = folder.path / "predictions.csv", datamodule.predictions(outputs)
        files.write_rows(path, list(rows[0]), rows)
        print(f"\npredictions  {path}")
    process.leave_process_group()
    return {}


def export(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Write ``step.onnx``: one step of the network of a checkpoint, for wherever there is no torch.

    Raises:
        ConfigError: If the checkpoint is none, a layer can't be exported, or a package is missing.
    """
    from lightning_warmup.networks.checkpoint import network_of
    from lightning_warmup.networks.export import export_step
    from lightning_warmup.runtime.files import replacing

    assert folder.checkpoint is not None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that are not needed
    path = folder.path / "step.onnx"
    with mistakes(ModuleNotFoundError), replacing(path) as unfinished:
        export_step(network_of(folder.checkpoint), unfinished)
    go_on(config, folder)
    print(f"\nstep  {path}")
    return {}


def make_data_and_module(config: Config, checkpoint: Path | None) -> tuple[Any, Any]:
    """Return the datamodule of a configuration, and the module for its task with the weights of the checkpoint.

    Raises:
        ValueError: If the data, the network or the checkpoint do not fit the configuration.
    """
    from datamodules import make_benchmark
    from lightning_warmup.modules import DQNModule, SequenceModule
    from lightning_warmup.runtime.checkpoints import check_same_network, read_checkpoint

    saved = {} if checkpoint is None else read_checkpoint(checkpoint)
    datamodule = make_benchmark(config.data, config.seed, saved if config.stages == ["predict"] else None)
    config.check_against(datamodule)
    sizes = {"input_size": datamodule.input_size, "output_size": datamodule.output_size}
    network = {**sizes, **config.model.model_dump()}
    module: Any
    if datamodule.task == "control":
        agent = dict(config.agent) | {"judged_by": datamodule.judged_by}
        module = DQNModule(network, partial(config.optim.make, mode="max"), **agent)
    else:
        module = SequenceModule(network, datamodule.task, config.optim.make)
    if checkpoint is not None:
        check_same_network(checkpoint, saved, module)
        module.load_state_dict(saved["state_dict"])
    return datamodule, module


def make_callbacks(config: Config, module: Any, folder: Path, report: Any) -> list[Any]:
    """Return the callbacks of a run; add your own at the end. Lightning calls those that save last."""
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
