"""Does a proof hold outside torch? ``python -m studies.deployed RUN_FOLDER ... [--steps 1000000]``.

Each certified network is exported as ONNX in three precisions, and onnxruntime runs it on strings of its language.
A row of ``studies/deployed.csv`` says how far one step is from real arithmetic, and whether the states stay in
their boxes and the answers are right. ``proven`` says whether there is a proof if weights, inputs and states are
rounded to float32 or float16, these in every step, and all else is real arithmetic; then every string of
``from_length`` symbols or more is answered right. Other rounding, and all that of int8, is only measured.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lightning_warmup.networks import RecurrentNetwork
from lightning_warmup.networks.checkpoint import network_of
from lightning_warmup.networks.export import export_step
from lightning_warmup.proofs import Automaton, certify
from lightning_warmup.proofs.certify import check_again, read
from lightning_warmup.proofs.check import Boxes, check
from lightning_warmup.proofs.machine import Machine
from studies.fill import fill

TABLE = Path(__file__).with_suffix(".csv")
STRINGS, LOOK = 2, 100
"""Number of strings, and steps from one check whether the states are in their boxes to the next."""
PRECISIONS = "float16", "int8", "float32"


class Deployed:
    """One step of a network in onnxruntime, in one precision."""

    def __init__(self, network: RecurrentNetwork, precision: str, folder: Path) -> None:
        import onnxruntime
        from onnxruntime.quantization import quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process

        path = folder / f"{precision}.onnx"
        half = precision == "float16"
        export_step(copy.deepcopy(network).half() if half else network, path)
        if precision == "int8":
            plain = folder / "plain.onnx"
            quant_pre_process(path, plain, skip_symbolic_shape=True)  # weights become constants
            quantize_dynamic(plain, path)
        self.bytes = path.stat().st_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]
        self.dtype = np.float16 if half else np.float32
        self.shape = network.arguments["num_layers"], STRINGS, network.readout.in_features
        self.states = [np.zeros(self.shape, self.dtype) for _ in self.names[1:]]

    def step(self, inputs: np.ndarray) -> np.ndarray:
        """Take one step and return the outputs ``(STRINGS, O)``."""
        values = inputs.astype(self.dtype), *self.states
        output, *self.states = self.session.run(None, dict(zip(self.names, values, strict=True)))
        return output

    def joined(self, machine: Machine) -> Tensor:
        """Return the states in the layout of a machine."""
        tensors = tuple(torch.from_numpy(state).double() for state in self.states)
        return machine.joined(tensors if len(tensors) > 1 else tensors[0])


def walk(automaton: Automaton, steps: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the symbols of random strings that can go on for ever, and the states that they lead to."""
    chance, endless = random.Random(0), set(automaton.endless)
    options: dict[int, list[tuple[int, int]]] = {}
    for source, symbol, target in automaton.edges.tolist():
        if target in endless:
            options.setdefault(source, []).append((symbol, target))
    states = [0] * STRINGS
    for _ in range(steps):
        chosen = [chance.choice(options[state]) for state in states]
        states = [target for _, target in chosen]
        yield [symbol for symbol, _ in chosen], states


@torch.no_grad()
def follow(network: RecurrentNetwork, certificate: Path, precision: str, steps: int) -> dict[str, Any]:
    """Run a certified network on strings of its language in one precision; return what was measured.

    Raises:
        ValueError: If the certificate does not prove the network.
    """
    automaton, boxes, _ = read(certificate)
    checked = check_again(network, certificate)
    if (entered := checked.entered) is None:
        raise ValueError(f"{certificate}: does not prove the network, {checked.condition}")
    dtype = {"float32": torch.float32, "float16": torch.float16}.get(precision)
    from_length = None if dtype is None else stands(network, automaton, boxes, dtype)
    machine, real = Machine(network), automaton.lower.numpy()
    with tempfile.TemporaryDirectory() as folder:
        deployed = Deployed(network, precision, Path(folder))
    inside, right, error, seconds = True, True, 0.0, 0.0
    for number, (symbols, states) in enumerate(walk(automaton, steps), start=1):
        look = number % LOOK == 0
        before = deployed.joined(machine) if look else None
        since = time.perf_counter()
        output = deployed.step(real[symbols])
        seconds += time.perf_counter() - since
        if number < entered:
            continue
        right &= answered(automaton, states, output)
        if before is not None:
            after = deployed.joined(machine)
            box = boxes.of(torch.tensor(states))
            inside &= bool(((box.lower <= after) & (after <= box.upper)).all())
            error = max(error, float((machine.step(automaton.lower[symbols], before) - after).abs().max()))
    right &= ends_right(automaton, deployed, states)
    return {
        "bytes": deployed.bytes,
        "step_error": f"{error:.2g}",
        "steps": steps,
        "in_boxes": inside,
        "right": right,
        "proven": from_length is not None,
        "from_length": "" if from_length is None else from_length,
        "microseconds": f"{1e6 * seconds / steps:.0f}",
    }


def stands(network: RecurrentNetwork, automaton: Automaton, boxes: Boxes, dtype: torch.dtype) -> int | None:
    """Return the length from which on every string is proven right in a precision; None without a proof.

    Weights are rounded to it, and so are inputs and states in every step, from the first on; all else is real.
    """
    rounded = copy.deepcopy(network).to(dtype).float()
    found = certify(rounded, automaton, boxes=boxes)
    if found.boxes is None:
        return None
    return check(Machine(rounded, precision=dtype), automaton, found.boxes).from_length


def answered(automaton: Automaton, states: list[int], output: np.ndarray) -> bool:
    """Return whether the right answer has the greatest output wherever the language has an answer."""
    pairs = zip(automaton.answer_of[states].tolist(), output.argmax(1).tolist(), strict=True)
    return all(answer in (-1, given) for answer, given in pairs)


def ends_right(automaton: Automaton, deployed: Deployed, states: list[int]) -> bool:
    """Return whether the answer is right after every symbol that may come last."""
    right, held = True, deployed.states
    for symbol in range(len(automaton.symbols)):
        targets = {s: t for s, a, t in automaton.edges.tolist() if a == symbol}
        output = deployed.step(np.repeat(automaton.lower[symbol].numpy()[None], STRINGS, 0))
        deployed.states = held
        rows = [row for row, state in enumerate(states) if state in targets]
        right &= answered(automaton, [targets[states[row]] for row in rows], output[rows])
    return right


def main(argv: list[str]) -> int:
    """Run the command; rows that exist are not computed again."""
    parser = argparse.ArgumentParser(prog="python -m studies.deployed", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="run folders with a certificate")
    parser.add_argument(
        "--steps", type=int, default=1_000_000, help="steps in float32; a hundredth in the others"
    )
    arguments = parser.parse_args(argv)
    folders = {folder.name: folder for folder in arguments.folders}

    def measure(run: str, precision: str) -> dict[str, Any]:
        folder = folders[run]
        network = network_of(folder / "checkpoints" / "proven.ckpt")
        steps = arguments.steps if precision == "float32" else arguments.steps // 100
        found = follow(network, folder / "certificate.npz", precision, steps)
        tqdm.write(f"{run}, {precision}: {found}")
        return found

    cases = [(run, precision) for precision, run in product(PRECISIONS, folders)]
    fill(TABLE, ("run", "precision"), cases, measure)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
