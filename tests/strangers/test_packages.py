"""The recipes of ``lightning_warmup/RECIPES.md``, where the packages of the extra ``strangers`` are installed."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_warmup import SideMemory, Unrolled, WarmupStage, warmup

PLAIN: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
TIMES = torch.arange(120)
SERIES = [torch.sin(TIMES / 7 + number) + 2 for number in range(8)]


def frame(series: str, time: str) -> Any:
    pandas = pytest.importorskip("pandas")
    rows = [pandas.DataFrame({series: str(n), time: TIMES, "y": y}) for n, y in enumerate(SERIES)]
    return pandas.concat(rows, ignore_index=True)


def test_neuralforecast() -> None:
    models = pytest.importorskip("neuralforecast.models")
    from neuralforecast import NeuralForecast

    model = models.LSTM(h=12, input_size=36, max_steps=1, callbacks=[WarmupStage(steps=2)], **PLAIN)
    forecasts = NeuralForecast(models=[model], freq=1)
    forecasts.fit(frame("unique_id", "ds"))
    assert [
        c.done for c in forecasts.models[0].trainer_kwargs["callbacks"] if isinstance(c, WarmupStage)
    ] == [True]


@pytest.mark.parametrize("networks", [["lstm_encoder", "lstm_decoder"], [None]])
def test_pytorch_forecasting(tmp_path: Path, networks: list[str | None]) -> None:
    package = pytest.importorskip("pytorch_forecasting")
    data = package.TimeSeriesDataSet(
        frame("group", "time"), time_idx="time", target="y", group_ids=["group"], max_encoder_length=30,
        max_prediction_length=10, time_varying_unknown_reals=["y"],
    )  # fmt: skip
    model = package.DeepAR if networks == [None] else package.TemporalFusionTransformer
    stages = [WarmupStage(network, steps=2) for network in networks]
    trainer = Trainer(max_steps=1, callbacks=[*stages], default_root_dir=tmp_path, **PLAIN)
    trainer.fit(model.from_dataset(data), data.to_dataloader(train=True))
    assert all(stage.done for stage in stages)


def test_darts(tmp_path: Path) -> None:
    darts = pytest.importorskip("darts")
    from darts.models import RNNModel

    stage, path = WarmupStage(steps=2), str(tmp_path / "model.pt")
    model = RNNModel(
        24, model="LSTM", training_length=36, n_epochs=1, work_dir=str(tmp_path),
        pl_trainer_kwargs=PLAIN | {"callbacks": [stage]},
    )  # fmt: skip
    model.fit([darts.TimeSeries.from_values(y.numpy()) for y in SERIES])
    assert stage.done
    model.save(path)
    RNNModel.load(path, trusted=True)


def test_gluonts(tmp_path: Path) -> None:
    pytest.importorskip("gluonts")
    import pandas
    from gluonts.dataset.common import ListDataset
    from gluonts.torch.model.deepar import DeepAREstimator

    start, stage = pandas.Period("2020-01-01", freq="D"), WarmupStage(steps=2)
    dataset = ListDataset([{"start": start, "target": y.numpy()} for y in SERIES], freq="D")
    settings = PLAIN | {"max_epochs": 1, "callbacks": [stage], "default_root_dir": tmp_path}
    DeepAREstimator("D", 12, trainer_kwargs=settings, num_batches_per_epoch=1).train(dataset)
    assert stage.done


def test_recurrent_ppo() -> None:
    package = pytest.importorskip("sb3_contrib")
    agent = package.RecurrentPPO("MlpLstmPolicy", "CartPole-v1", n_steps=512, n_epochs=1)
    agent.learn(512)
    steps = agent.policy.extract_features(agent.policy.obs_to_tensor(agent.rollout_buffer.observations)[0])
    for network in (agent.policy.lstm_actor, agent.policy.lstm_critic):
        before = network.weight_hh_l0.clone()
        warmup(network, steps.detach().unflatten(0, (-1, 16)).transpose(0, 1), steps=2)
        assert not torch.equal(network.weight_hh_l0, before)


def recipe(name: str, **names: Any) -> dict[str, Any]:
    """Run the first lines of all recipes and the code of one up to its usage; return what it defines."""
    text = (Path(__file__).parents[2] / "lightning_warmup" / "RECIPES.md").read_text()
    first, *others = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (code,) = (block for block in others if f"class {name}(" in block)
    defined: dict[str, Any] = {}
    exec(first, defined)
    defined |= names
    exec(code.rpartition("\n\n\n")[0], defined)  # the last paragraph uses the classes
    return defined


@pytest.mark.parametrize(
    ("cell", "settings"), [("lstm", {}), ("mgu", {}), ("mgu", {"enable_critic_lstm": False})]
)
def test_recurrent_ppo_with_a_memory_at_its_side(cell: str, settings: dict[str, bool]) -> None:
    package = pytest.importorskip("sb3_contrib")

    def quick(network: SideMemory, sequences: torch.Tensor) -> None:
        warmup(network, sequences, steps=2)

    parts = recipe("SidePolicy", warmup=quick)
    agent = package.RecurrentPPO(
        parts["SidePolicy"], "CartPole-v1", n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu",
        policy_kwargs={"cell": cell, "lstm_hidden_size": 16, **settings},
    )  # fmt: skip
    network = agent.policy.lstm_actor if cell == "lstm" else agent.policy.lstm_actor.rnn
    before = copy.deepcopy(network)
    callback = parts["WarmUp"]()
    agent.learn(64, callback)
    assert callback.done
    assert not torch.equal(network.memory[0].weight_hh_l0, before.memory[0].weight_hh_l0)
    assert network.gains[0].abs().max().item() > 0  # the update has taken the memory up
    agent.predict(agent.env.observation_space.sample())


def test_darts_with_a_memory_at_its_side(tmp_path: Path) -> None:
    darts = pytest.importorskip("darts")
    from darts.models import RNNModel

    parts, stage = recipe("Remembering"), WarmupStage(steps=2)
    model = RNNModel(
        24, model=parts["Remembering"], hidden_dim=8, training_length=36, n_epochs=1, work_dir=str(tmp_path),
        pl_trainer_kwargs=PLAIN | {"callbacks": [stage]},
    )  # fmt: skip
    series = [darts.TimeSeries.from_values(y.numpy()) for y in SERIES]
    model.fit(series)
    assert stage.done
    assert len(model.predict(30, series[0])) == 30


class Model(LightningModule):
    """Holds a recurrent network that the stage does not know by its class."""

    def __init__(self, rnn: torch.nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.rnn(batch[0])[0].square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def warmed_up(rnn: torch.nn.Module, folder: Path) -> bool:
    stage, before = WarmupStage("rnn", steps=2), copy.deepcopy(rnn.state_dict())
    settings = PLAIN | {"enable_checkpointing": False, "default_root_dir": folder}
    data = DataLoader(TensorDataset(torch.randn(40, 20, 1)), batch_size=20)
    Trainer(max_steps=0, callbacks=[stage], **settings).fit(Model(rnn), data)
    return any(not torch.equal(value, before[name]) for name, value in rnn.state_dict().items())


@pytest.mark.parametrize("name", ["MGU", "TLSTM"])
def test_torchrecurrent(tmp_path: Path, name: str) -> None:
    package = pytest.importorskip("torchrecurrent")
    assert warmed_up(getattr(package, name)(1, 8, batch_first=True), tmp_path)
    cell = Unrolled(package.MGUCell(1, 8))
    assert len(warmup(cell, torch.randn(20, 32, 1), steps=2)) == 2


def test_ncps(tmp_path: Path) -> None:
    package = pytest.importorskip("ncps.torch")
    from ncps.wirings import AutoNCP

    assert warmed_up(package.CfC(1, AutoNCP(12, 2)), tmp_path)
    assert warmed_up(package.LTC(1, 8), tmp_path)
