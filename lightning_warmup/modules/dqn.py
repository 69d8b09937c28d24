"""The LightningModule of a deep recurrent Q-network (Hausknecht and Stone 2015), for control."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lightning_warmup.modules.finite import check_finite
from lightning_warmup.modules.parts import MakeOptimizer, NetworkModule, adam
from lightning_warmup.networks.mode import in_mode

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class DQNModule(NetworkModule):
    """Learns the values of actions from whole histories, and plays by them.

    The network gives ``Q(history, action)`` for every action at every step. A training batch is ``(inputs, actions,
    rewards, terminated, weights)``: inputs ``(B, T + 1, I)``, the others ``(B, T)``. The loss is

        sum of weights * (Q(history_t, action_t) - y_t)^2,
        y_t = reward_t + gamma * (0 if terminated_t else max over actions of Q_target(history_t+1, action)),

    where ``Q_target`` is a copy of the network. It is renewed every ``target_update`` episodes, for the first time
    after the warmup.

    ``trainer.datamodule`` plays the episodes, see :class:`datamodules.ControlBenchmark`: ``collect`` plays one
    every ``gradient_steps`` training batches, ``evaluate`` plays without exploration after every epoch. Its metrics
    are logged as ``val/...``. ``val/value`` is the greatest Q, averaged over a fixed set of histories.

    Args:
        network: A network with one output for each of O actions, see :class:`NetworkModule`.
        optimizer: As for :class:`SequenceModule`.
        gamma: Discount factor per step, in [0, 1].
        epsilon: Probability in [0, 1] that an action is random, for exploration.
        target_update: Episodes between two updates of the target network.
        stop_when_optimal: Whether to end the fit as soon as the task is solved.
        judged_by: Metric of a validation by which the best checkpoint is chosen. With ``gamma=0`` the discounted
            return is only the first reward, so the return is used.

    Attributes:
        target: The copy of the network that gives the targets.

    Raises:
        ValueError: As :class:`NetworkModule`.
    """

    may_differ = NetworkModule.may_differ | {
        "gamma",
        "epsilon",
        "target_update",
        "stop_when_optimal",
        "judged_by",
    }
    solved_at: Tensor
    latest_return: Tensor

    def __init__(
        self,
        network: nn.Module | dict[str, Any] | None = None,
        optimizer: MakeOptimizer = adam,
        *,
        gamma: float = 0.98,
        epsilon: float = 0.2,
        target_update: int = 20,
        stop_when_optimal: bool = False,
        judged_by: str = "discounted_return",
    ) -> None:
        settings = {
            "gamma": gamma,
            "epsilon": epsilon,
            "target_update": target_update,
            "judged_by": judged_by,
        }
        super().__init__(network, optimizer, **settings, stop_when_optimal=stop_when_optimal)
        self.gamma, self.epsilon = gamma, epsilon
        self.target_update, self.stop_when_optimal = target_update, stop_when_optimal
        self.monitor = f"val/{judged_by if gamma else 'return'}", "max"
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        for name in ("solved_at", "latest_return"):
            self.register_buffer(name, torch.tensor(torch.nan))

    @staticmethod
    def sequences(batch: tuple[Tensor, Tensor] | Batch) -> tuple[Tensor, Tensor]:
        """Return the histories ``(B, T, I)`` of a batch and their lengths ``(B,)``, for the warmup.

        A batch of two parts is already that. In a training batch, a history ends at the last step with a loss.
        """
        if len(batch) == 2:
            return batch
        inputs, _, _, _, weights = batch
        steps = torch.arange(1, weights.shape[1] + 1, device=weights.device)
        return inputs, ((weights > 0) * steps).amax(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the values ``(B, T, O)`` of all actions after each step."""
        return self.network(inputs)[0]

    @torch.no_grad()
    def act(self, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the best actions ``(B,)`` after further inputs ``(B, T, I)``, and the new state."""
        values, state = self.network(inputs.to(next(self.network.parameters())), state)
        return values[:, -1].argmax(1).cpu(), state

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        tasks = self._tasks()
        if batch_idx % tasks.gradient_steps == 0:
            if tasks.episodes_played % self.target_update == 0:
                self.target.load_state_dict(self.network.state_dict())
            with in_mode(self.network, training=False):
                self.latest_return.fill_(tasks.collect(self.act, self.epsilon))
        self.log("train/return", self.latest_return)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, actions, rewards, terminated, weights = batch
        values = self(inputs[:, :-1]).gather(2, actions.unsqueeze(2)).squeeze(2)
        with torch.no_grad(), in_mode(self.target, training=False):
            following = self.target(inputs)[0][:, 1:].amax(2)
        targets = rewards + self.gamma * following * ~terminated
        loss = (weights * (values - targets).square()).sum()
        check_finite(loss, self, (inputs, rewards))
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        tasks, (sequences, lengths) = self._tasks(), batch
        metrics = tasks.evaluate(self.act, self.gamma)
        seen = torch.arange(sequences.shape[1], device=lengths.device) < lengths.unsqueeze(1)
        metrics["value"] = self(sequences).amax(2)[seen].mean()
        solved, solved_at = tasks.solved
        if metrics.get(solved) and not self.trainer.sanity_checking:
            if self.solved_at.isnan():
                self.solved_at.fill_(tasks.episodes_played)
            self.trainer.should_stop |= self.stop_when_optimal
        if not self.solved_at.isnan():
            metrics[solved_at] = self.solved_at
        for name, metric in metrics.items():
            self.log(f"val/{name}", metric, prog_bar=name == "return")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log_dict(self._tasks().test(self.act, self.gamma))

    def _tasks(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]
