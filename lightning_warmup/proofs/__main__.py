"""Check a run's certificate again, from weights and boxes: ``python -m lightning_warmup.proofs RUN_FOLDER``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lightning_warmup.networks.checkpoint import network_of
from lightning_warmup.proofs.certify import check_again


def main(argv: list[str]) -> int:
    """Run the command and return its exit status: 0 proven, 1 not proven, 2 a mistake in the arguments."""
    parser = argparse.ArgumentParser(prog="python -m lightning_warmup.proofs", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the run, with certificate.npz and checkpoints/")
    parser.add_argument("--checkpoint", type=Path, help="its checkpoint (default: checkpoints/proven.ckpt)")
    arguments = parser.parse_args(argv)
    boxes = arguments.folder / "certificate.npz"
    checkpoint = arguments.checkpoint or arguments.folder / "checkpoints" / "proven.ckpt"
    for path in (boxes, checkpoint):
        if not path.is_file():
            print(f"error: {path}: there is no such file", file=sys.stderr)
            return 2
    try:
        network = network_of(checkpoint)
        start = time.perf_counter()
        found = check_again(network, boxes)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = f"({time.perf_counter() - start:.2f} s)"
    if found.condition is not None:
        print(f"not proven: {found.condition} {seconds}")
        return 1
    print(f"proven for every string of {found.from_length} symbols or more, in real arithmetic {seconds}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
