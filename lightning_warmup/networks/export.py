"""One step of a network as an ONNX file, state in and state out, to run it without torch."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_warmup.engine.gates import as_tuple, stacked_weights
from lightning_warmup.engine.scan import loop
from lightning_warmup.networks.recurrent import RecurrentNetwork, gated_cells

OPSET = 20
"""Version of the ONNX operators in the file."""


class Step(nn.Module):
    """One step of a network in plain operations: the ``step`` of its cells.

    Shapes: input ``(B, I)`` and states ``(L, B, H)``, one tensor, or two for an LSTM. A step returns the output
    ``(B, O)`` and the next states. States start at zero.

    Raises:
        ValueError: If a layer is no cell with gates.
    """

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        self.network = network
        self.cells = gated_cells(network)
        self.states = int(self.cells[0][0].states)

    def forward(self, input: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        rows: list[tuple[Tensor, ...]] = []
        gains, heard = getattr(self.network.layers, "gains", None), input
        for index, halves in enumerate(self.cells):
            before = [state[index].chunk(len(halves), 1) for state in states]
            after = [
                as_tuple(loop(cell.step, cell.gates, given[None], each, stacked_weights(cell))[1:])
                for cell, given, *each in zip(halves, (input, heard)[: len(halves)], *before, strict=True)
            ]
            rows.append(tuple(torch.cat(parts, 1) for parts in zip(*after, strict=True)))
            input = heard = rows[-1][0]
            if gains is not None:  # the plain half of a side memory hears the memory by its gain
                (memory, *_), (plain, *_) = after
                heard = plain + gains[index] * memory
                output = torch.cat([gains[index] * memory, plain], 1)
        after_all = (torch.stack(layers) for layers in zip(*rows, strict=True))
        return self.network.readout(input if gains is None else output), *after_all


def export_step(network: RecurrentNetwork, path: str | Path) -> None:
    """Write one step of a network to an ONNX file, whose batch size is free.

    Inputs are named ``input`` and ``state``, outputs ``output`` and ``next_state``; an LSTM has ``cell`` and
    ``next_cell`` as well. Shapes are those of :class:`Step`. What runs it feeds ``next_state`` back as ``state``.

    Args:
        network: The network; it is exported in eval mode, on the CPU and in the precision of its weights.
        path: The file.

    Raises:
        ModuleNotFoundError: Without the packages ``onnx`` and ``onnxscript``.
        ValueError: As :class:`Step`.
    """
    for name in ("onnx", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"step.onnx: needs the package {name}: pip install onnx onnxscript onnxruntime"
            )
    network = copy.deepcopy(network).cpu()
    step = Step(network).eval()
    names = ["state", "cell"][: step.states]
    weight = network.readout.weight
    features = int(step.cells[0][0].input_size)
    shape = len(step.cells), 2, network.readout.in_features  # a batch of 1 would be taken for a constant
    states = [weight.new_zeros(shape) for _ in names]
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        step,
        (weight.new_zeros(2, features), *states),
        str(path),
        input_names=["input", *names],
        output_names=["output", *(f"next_{name}" for name in names)],
        dynamic_shapes=({0: batch}, tuple({1: batch} for _ in names)),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
