"""Drives any recurrent module, of torch's call ``output, h_n = rnn(input, h_0)``, layer by layer, time first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from lightning_warmup._compat import call_hooks, uncompiled
from lightning_warmup.cells import LSTM, GatedCell
from lightning_warmup.engine.denormals import chunked
from lightning_warmup.engine.state import State
from lightning_warmup.networks import observed
from lightning_warmup.networks.double import Call, DoubleLayer, half_of
from lightning_warmup.networks.layout import batch_first
from lightning_warmup.networks.recurrent import RecurrentNetwork
from lightning_warmup.networks.side_memory import SideMemory
from lightning_warmup.networks.torch_layer import TorchLayer, rows_at
from lightning_warmup.networks.unrolled import Unrolled
from lightning_warmup.networks.whole import Whole

Run = Callable[[Tensor, State | None], tuple[Tensor, State]]
RunTo = Callable[[Tensor, State | None, Tensor], tuple[Tensor, State]]
HalvesRun = Callable[[Tensor, State | None, Call], tuple[Tensor, State]]


@dataclass(frozen=True)
class Layer:
    """One recurrent layer, time first.

    Attributes:
        run: ``(input, state) -> (output, state)``, ``(T, B, I)`` to ``(T, B, H)``; the state None is zero.
        input_size: Features I of its input; None if the module does not tell: then those of the sequences.
        warmed: Parameters that a warmup may move.
        frozen: Parameters that a partial warmup does not move.
        part: Picks from the layer's state the part that is warmed up.
        run_to: ``(input, state, steps) -> (output, state)``, the state of each row after so many steps of its own,
            ``(B,)``, from 1 to T; None if the layer can't.
        alone: The layer that runs the warmed part alone, with its state; None where that is the whole layer.
    """

    run: Run
    input_size: int | None
    warmed: list[nn.Parameter]
    frozen: list[nn.Parameter] = field(default_factory=list)
    part: Callable[[State], State] = lambda state: state
    run_to: RunTo | None = None
    alone: Layer | None = None


def layers_of(rnn: nn.Module | Sequence[nn.Module] | Sequence[Layer]) -> list[Layer]:
    """Split a recurrent module into the layers it is made of.

    Args:
        rnn: A :class:`RecurrentNetwork`, a :class:`SideMemory`, ``torch.nn.LSTM``, ``GRU`` or ``RNN`` of any
            depth, or a sequence of layers. ``torch.nn.LSTMCell``, ``GRUCell`` and ``RNNCell`` are unrolled over
            time. Any other module with torch's call is driven whole, with states of any nesting, ``(L, B, H)`` or
            ``(B, H)`` each; so are a subclass with a ``forward`` of its own and a module of torch with hooks. The
            attribute ``batch_first`` is respected. Of a :class:`SideMemory` and a :class:`DoubleLayer`, also inside
            a module that is driven whole, a warmup moves one half alone; their own hooks are not called.

    Raises:
        ValueError: If this is no network; if it is bidirectional: a backward half has no state to settle; or if its
            weights are computed elsewhere. Where a layer runs: if it does not have torch's call.
    """
    rnn = uncompiled(rnn)
    if isinstance(rnn, RecurrentNetwork) and has_forward_of(rnn, RecurrentNetwork):
        return layers_of(rnn.layers)
    if isinstance(rnn, (nn.ModuleList, list, tuple)):
        return [layer for part in rnn for layer in ([part] if isinstance(part, Layer) else layers_of(part))]
    if not isinstance(rnn, nn.Module):
        raise ValueError(f"network={type(rnn).__name__}: must be a recurrent torch.nn.Module")
    if isinstance(rnn, torch.jit.ScriptModule):
        raise ValueError("network=ScriptModule: must not be scripted or traced; do that after the training")
    if getattr(rnn, "bidirectional", False):
        raise ValueError(
            "bidirectional=True: must be False, a backward half has no state to warm up or measure"
        )
    if isinstance(rnn, SideMemory) and has_forward_of(rnn, SideMemory):
        return [_side_layer(rnn, index) for index in range(rnn.num_layers)]
    if isinstance(rnn, DoubleLayer) and has_forward_of(rnn, DoubleLayer):
        return [_double_layer(rnn)]
    if isinstance(rnn, nn.RNNBase) and not _hooks(rnn) and has_forward_of(rnn, nn.RNN, nn.GRU, nn.LSTM, LSTM):
        return [_torch_layer(TorchLayer(rnn, index)) for index in range(rnn.num_layers)]
    if isinstance(rnn, GatedCell):
        return [_cell_layer(rnn)]
    whole = Whole(Unrolled(rnn) if isinstance(rnn, nn.RNNCellBase) else rnn)
    untouched = _untouched(rnn)
    warmed = [parameter for parameter in rnn.parameters() if parameter not in untouched]
    return [Layer(partial(chunked, whole), whole.input_size, warmed, list(untouched))]


def has_forward_of(rnn: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Return whether a module's forward pass is that of one of these classes."""
    own = "forward" in vars(rnn) or type(rnn).__call__ is not nn.Module.__call__
    return not own and any(type(rnn).forward is kind.forward for kind in kinds)


def _hooks(rnn: nn.Module) -> bool:
    """Return whether the module has hooks that may change what it computes."""
    return any(hook.__module__ != observed.__name__ for hook in call_hooks(rnn))  # those only look


def _untouched(rnn: nn.Module) -> dict[nn.Parameter, None]:
    """Return the parameters of the halves that a warmup leaves alone, and of the gains, in the module's order."""
    parts: list[nn.Module] = []
    for module in rnn.modules():
        if isinstance(module, SideMemory):
            parts += [module.plain, module.gains]
        elif isinstance(module, DoubleLayer):
            parts.append(module.second)
    return dict.fromkeys(parameter for part in parts for parameter in part.parameters())


def _time_first(rnn: nn.Module) -> Run:
    def run(input: Tensor, state: State | None) -> tuple[Tensor, State]:
        if not batch_first(rnn):
            return rnn(input, state)
        output, state = rnn(input.transpose(0, 1), state)
        return output.transpose(0, 1), state

    return run


def _cell_layer(cell: GatedCell) -> Layer:
    """Return a cell of this library as a layer."""
    run = _time_first(cell)

    def run_to(input: Tensor, state: State | None, steps: Tensor) -> tuple[Tensor, State]:
        output, _ = run(input, state)
        return output, rows_at(output, steps)

    whole = cell.states == 1  # then its output is its state
    return Layer(run, cell.input_size, list(cell.parameters()), run_to=run_to if whole else None)


def _double_layer(rnn: DoubleLayer) -> Layer:
    """Return a double layer, of which the first half is warmed up."""
    return _layer_of_halves(_time_first(rnn), rnn.run, rnn.first, rnn.second)


def _side_layer(rnn: SideMemory, index: int) -> Layer:
    """Return a layer of a memory and its plain network."""
    run, below = partial(rnn.run_layer, index), [rnn.gains[index - 1]] if index else []
    return _layer_of_halves(run, run, rnn.memory[index], rnn.plain[index], below)


def _layer_of_halves(
    run: Run, run_halves: HalvesRun, first: nn.Module, second: nn.Module, frozen: Sequence[nn.Parameter] = ()
) -> Layer:
    """Return a layer of two cells, of which the first is warmed up; ``run_halves`` runs each by a given call."""
    (warmed,), (other,) = layers_of(first), layers_of(second)
    return Layer(
        run,
        warmed.input_size,
        warmed.warmed,
        [*other.warmed, *frozen],
        part=partial(half_of, index=0),
        run_to=_halves_to(run_halves, {first: warmed.run_to, second: other.run_to}),
        alone=warmed,
    )


def _halves_to(run: HalvesRun, ends: dict[nn.Module, RunTo | None]) -> RunTo | None:
    """Return how a layer of two halves ends each row at a step of its own; None if a half can't."""
    able = {half: end for half, end in ends.items() if end is not None}
    if len(able) < len(ends):
        return None

    def run_to(input: Tensor, state: State | None, steps: Tensor) -> tuple[Tensor, State]:
        return run(input, state, lambda half, heard, held: able[half](heard, held, steps))

    return run_to


def _torch_layer(layer: TorchLayer) -> Layer:
    """Return a layer of a torch module."""
    run_to = layer.run_to if layer.stops else None
    return Layer(layer.run, layer.input_size, layer.parameters, run_to=run_to)
