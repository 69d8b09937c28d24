"""The order of the batches: a function of seed and epoch, shared by processes, and resumable."""

from collections.abc import Iterator, Sized
from itertools import count
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from datamodules.streams import stream


def share_of(rows: int, world_size: int, rank: int) -> slice:
    """Return the rows of a global batch that belong to a process."""
    return slice(rank * rows // world_size, (rank + 1) * rows // world_size)


def processes(datamodule: LightningDataModule, batch_size: int) -> tuple[int, int]:
    """Return the number of processes that share a global batch, and the rank of this one."""
    trainer = datamodule.trainer
    world_size, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
    check_batch_size(batch_size, world_size)
    return world_size, rank


def check_batch_size(batch_size: int, world_size: int) -> None:
    """Raise a ValueError if a global batch is empty or the processes can't share it evenly."""
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be at least 1")
    if batch_size % world_size:
        raise ValueError(
            f"batch_size={batch_size}: must be divisible by the number of processes ({world_size})"
        )


class BatchOrder(DistributedSampler[list[int]]):
    """The indices of each batch of an epoch, a function of seed and epoch; Lightning calls ``set_epoch``.

    Each of W processes takes a contiguous share of a global batch; in order of rank, the shares are the batch of a
    single process. The last batch of an epoch may be smaller. With shuffling (training), it is cut to a multiple of
    W, because gradients are averaged over processes and each must have equally many samples. Without shuffling
    (evaluation), each sample comes exactly once, so some processes may have one batch fewer.

    Args:
        dataset: The dataset.
        batch_size: Samples in a global batch, a multiple of ``num_replicas``.
        name: Name of the random stream of the order.
        sampler: Arguments of :class:`DistributedSampler`; by default there is a single process.

    Raises:
        ValueError: If ``batch_size`` is not positive or not divisible by ``num_replicas``.
    """

    def __init__(self, dataset: Sized, batch_size: int, *, name: str = "order", **sampler: Any) -> None:
        super().__init__(dataset, **{"num_replicas": 1, "rank": 0, **sampler})  # type: ignore[arg-type]
        check_batch_size(batch_size, self.num_replicas)
        self.batch_size, self.name = batch_size, name
        self.first = 0  # where the next iteration begins
        self._full, remainder = divmod(len(dataset), batch_size)
        if self.shuffle:
            remainder -= remainder % self.num_replicas
        self._last = share_of(0 if self.drop_last else remainder, self.num_replicas, self.rank)

    def __len__(self) -> int:
        return self._full + (self._last.stop > self._last.start)

    def __iter__(self) -> Iterator[list[int]]:
        size = len(self.dataset)  # type: ignore[arg-type]
        generator = stream(self.seed, self.name, self.epoch)
        order = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
        share = share_of(self.batch_size, self.num_replicas, self.rank)
        for k in range(self.first, len(self)):
            batch = order[k * self.batch_size :]
            yield batch[share if k < self._full else self._last].tolist()


class ResumableLoader(DataLoader[Any]):
    """A loader whose batches are ``dataset[indices]``, and which resumes in the middle of an epoch.

    Lightning saves its state in every checkpoint and restores it on resume. If the next iteration is in the same
    epoch, it yields only the remaining batches; all later iterations are complete.

    Args:
        dataset: Returns a whole batch for a list of indices.
        order: Yields the lists of indices.
        sampler: Only for Lightning: ``overfit_batches`` makes a new loader with a sequential sampler, which here
            means ``order`` without shuffling.
        kwargs: Further arguments of :class:`torch.utils.data.DataLoader`, such as ``num_workers``.
    """

    def __init__(
        self, dataset: Dataset[Any], order: BatchOrder, sampler: Sampler[Any] | None = None, **kwargs: Any
    ) -> None:
        if sampler is not None:
            order.shuffle = False
        # Each iteration of a DataLoader draws a seed for its workers: here, and not from the global stream.
        kwargs.setdefault("generator", stream(order.seed, order.name, "workers"))
        kwargs.update(batch_size=None, collate_fn=_as_it_is)
        super().__init__(dataset, sampler=order, **kwargs)
        self.order = order
        self._progress, self._resumed = {"epoch": 0, "batches": 0}, False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # Runs at the first ``next``: Lightning calls ``iter`` before it sets the epoch.
        order = self.order
        resumes = self._resumed and self._progress["epoch"] == order.epoch
        order.first = self._progress["batches"] if resumes else 0
        self._resumed = False
        self._progress = progress = {"epoch": order.epoch, "batches": order.first}
        for batch in super().__iter__():
            progress["batches"] += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch of the last iteration and how many batches it has yielded."""
        return dict(self._progress)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._progress, self._resumed = dict(state_dict), True


def endless(loader: ResumableLoader) -> Iterator[Any]:
    """Yield the batches of a loader without end; every pass has its own order."""
    for epoch in count():
        loader.order.set_epoch(epoch)
        yield from loader


def _as_it_is(batch: Any) -> Any:
    return batch
