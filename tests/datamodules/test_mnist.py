"""MNIST: the reader on small files, the download from a local server, and the sequences of images."""

from __future__ import annotations

import gzip
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark import benchmark

from datamodules import mnist
from datamodules.mnist import PERMUTATION

BENCHMARKS = ("sequential_mnist", "permuted_mnist", "row_mnist")
SIZES = {"train_size": 40, "val_size": 20, "test_size": 24, "batch_size": 8}


@pytest.fixture(scope="module")
def real_root() -> str:
    if "MNIST_ROOT" not in os.environ:
        pytest.skip("the real files are tested where MNIST_ROOT names their folder")
    return os.environ["MNIST_ROOT"]


def test_packed_and_unpacked_files_are_read_alike(root, files):
    packed = mnist.load(root, "train")
    for name, content in files.items():
        (root / f"{name}.gz").unlink()
        (root / name).write_bytes(content)
    unpacked = mnist.load(root, "train")
    assert packed[0].shape == (60, 28, 28)
    assert packed[0].dtype == torch.uint8
    assert packed[1].tolist() == [index % 10 for index in range(60)]
    assert all(map(torch.equal, packed, unpacked))


def damage(path: Path, content: bytes, how: str) -> None:
    altered = content[:-1] + bytes([content[-1] ^ 1])
    damaged = {
        "cut while packed": gzip.compress(content)[:-20],
        "altered while packed": gzip.compress(content)[:-6] + b"\x00" * 6,
        "altered and packed": gzip.compress(altered),
        "cut and packed": gzip.compress(content[:-1]),
        "not packed at all": content,
        "empty": b"",
    }
    path.write_bytes(damaged[how])


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "how",
    [
        "cut while packed",
        "altered while packed",
        "altered and packed",
        "cut and packed",
        "not packed at all",
        "empty",
    ],
)
def test_a_damaged_file_is_refused_by_name_and_left_as_it_is(root, files, name, how):
    path = root / f"{name}.gz"
    damage(path, files[name], how)
    before = path.read_bytes()
    data = benchmark("row_mnist", root=str(root), **SIZES)
    data.prepare_data()
    with pytest.raises(ValueError, match=f"{path}: truncated or altered") as error:
        data.setup("fit" if name.startswith("train") else "test")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_a_missing_file_is_named_when_nothing_was_prepared(root):
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte.gz of MNIST is missing in .*mnist"):
        benchmark("row_mnist", root=str(root), **SIZES).setup("test")


def test_a_folder_that_the_files_can_not_be_downloaded_to_is_refused_at_once(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"data.root='{tmp_path}/file/a': must be"):
        benchmark("row_mnist", root=f"{tmp_path}/file/a", **SIZES)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ValueError, match="or a writable one"):
        benchmark("row_mnist", root=f"{tmp_path}/new", **SIZES)
    benchmark("row_mnist", root=str(root), **SIZES)  # which has them all


@pytest.fixture
def server(root):
    """Serves the good files under ``/mnist/`` and damaged ones under ``/damaged/``."""
    damaged = root.parent / "damaged"
    damaged.mkdir()
    for path in root.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes()[:-9])
    handler = partial(SimpleHTTPRequestHandler, directory=str(root.parent))
    SimpleHTTPRequestHandler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_missing_files_come_from_the_first_mirror_that_has_them_undamaged(
    server, root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        mnist, "MIRRORS", [f"{server}/{folder}/" for folder in ("absent", "damaged", "mnist")]
    )
    target = tmp_path / "new" / "folder"
    mnist.download(target)
    assert sorted(path.name for path in target.iterdir()) == sorted(f"{name}.gz" for name in mnist.HASHES)
    assert all(
        torch.equal(a, b) for a, b in zip(mnist.load(target, "t10k"), mnist.load(root, "t10k"), strict=True)
    )
    assert "100%" in capsys.readouterr().err  # a progress bar


def test_files_that_are_there_are_not_downloaded(server, root, files, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", [f"{server}/mnist/"])
    target = tmp_path / "target"
    target.mkdir()
    (target / "train-images-idx3-ubyte").write_bytes(b"damaged")
    (target / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    mnist.download(target)
    assert len(list(target.iterdir())) == 4
    assert (target / "train-images-idx3-ubyte").read_bytes() == b"damaged"
    assert (target / "t10k-labels-idx1-ubyte.gz").read_bytes() == b"damaged"


def test_without_network_one_line_says_what_to_put_where(root, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", ["http://127.0.0.1:9/"])  # nobody listens
    (root / "t10k-images-idx3-ubyte.gz").unlink()
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as error:
        benchmark("row_mnist", root=str(root), **SIZES).prepare_data()
    message = str(error.value)
    assert "put t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz of MNIST into " + str(root) in message
    assert "\n" not in message
    assert sorted(path.suffix for path in root.iterdir()) == [".gz", ".gz"]


def expected(name, image: np.ndarray, rows: str = "permuted") -> np.ndarray:
    """The steps of an image, pixel by pixel as the benchmarks are defined."""
    order = np.random.RandomState(42).permutation(784)
    pixels = [float(image[k // 28, k % 28]) / 255 - 0.5 for k in range(784)]
    shuffled = [pixels[order[k]] for k in range(784)]
    if name == "row_mnist":
        return np.array(shuffled if rows == "permuted" else pixels, np.float32).reshape(28, 28)
    return np.array(pixels if name == "sequential_mnist" else shuffled, np.float32).reshape(784, 1)


@pytest.mark.parametrize("padding", [("black", -0.5), ("grey", 0.0)], ids=lambda padding: padding[0])
@pytest.mark.parametrize("black_pixels", [0, 3])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("sequential_mnist", {}), ("permuted_mnist", {}), ("row_mnist", {}), ("row_mnist", {"rows": "natural"})],
)
def test_an_image_becomes_the_sequence_of_its_benchmark(root, name, settings, black_pixels, padding):
    kind, value = padding
    data = benchmark(name, root=str(root), black_pixels=black_pixels, padding=kind, **settings, **SIZES)
    images, labels = mnist.load(root, "t10k")
    seen = []
    for sequences, targets, steps in data.test_dataloader()[0]:
        length = (28 if name == "row_mnist" else 784) + black_pixels
        assert sequences.shape == (len(targets), length, data.input_size)
        assert sequences.dtype == torch.float32
        assert steps.tolist() == [length - 1]
        assert targets.dtype == torch.int64
        for sequence, target in zip(sequences, targets.squeeze(1), strict=True):
            steps_of = {k: expected(name, images[k].numpy(), **settings) for k in range(24) if k not in seen}
            image_steps = sequence[: length - black_pixels].numpy()
            found = [
                k for k, oracle in steps_of.items() if np.allclose(oracle, image_steps, rtol=0, atol=1e-7)
            ]
            assert len(found) == 1
            assert labels[found[0]] == target
            assert (sequence[length - black_pixels :] == value).all()
            seen += found
    assert sorted(seen) == list(range(24))


def test_the_permutation_is_that_of_the_authors():
    assert PERMUTATION[:4].tolist() == [598, 590, 209, 637]
    assert PERMUTATION.sort().values.tolist() == list(range(784))


def indices(loader) -> list[int]:
    """Images of a row benchmark by the index in their last pixel."""
    return [
        round((value + 0.5) * 255) for sequences, _, _ in loader for value in sequences[:, 27, 27].tolist()
    ]


def splits(root: Path, seed: int = 0, **sizes: int) -> dict[str, list[int]]:
    data = benchmark("row_mnist", root=str(root), rows="natural", seed=seed, **SIZES | sizes)
    loaders = {
        "train": data.train_dataloader(),
        "val": data.val_dataloader(),
        "test": data.test_dataloader()[0],
    }
    return {name: indices(loader) for name, loader in loaders.items()}


def test_the_seed_splits_the_training_images_and_nothing_else(root):
    first, again, other = splits(root), splits(root), splits(root, seed=1)
    assert first == again
    assert sorted(first["train"] + first["val"]) == list(range(60))
    assert set(first["train"]) != set(other["train"])
    assert first["test"] == other["test"]
    assert sorted(first["test"]) == list(range(24))


def test_a_smaller_split_is_a_part_of_the_whole_one(root):
    whole, part = splits(root), splits(root, train_size=10, val_size=5, test_size=6)
    assert {name: len(split) for name, split in part.items()} == {"train": 10, "val": 5, "test": 6}
    assert all(set(part[name]) < set(whole[name]) for name in whole)
    assert sorted(part["test"]) != list(range(6))  # the first images of the file are the easier ones


def test_images_stay_bytes_until_they_are_batched(root):
    data = benchmark("permuted_mnist", root=str(root), **SIZES)
    data.setup("fit")
    tensors = [value for value in vars(data.split("train")).values() if isinstance(value, torch.Tensor)]
    assert sum(tensor.nbytes for tensor in tensors) < 40 * 784 + 40 * 8 + 100


def test_warmup_batches_are_training_images(root):
    data = benchmark("row_mnist", root=str(root), rows="natural", **SIZES)
    warmup = list(islice(data.warmup_dataloader(16), 4))
    assert [len(sequences) for sequences, _, _ in warmup] == [16] * 4
    assert set(indices(warmup)) <= set(indices(data.train_dataloader()))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_module_is_told_what_to_build(name):
    data = benchmark(name)
    assert (data.task, data.output_size, data.test_lengths) == ("classification", 10, ())
    assert data.input_size == (28 if name == "row_mnist" else 1)
    assert data.trivial_loss == pytest.approx(
        torch.nn.functional.cross_entropy(torch.zeros(1, 10), torch.tensor([3]))
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sequential_mnist", {"train_size": 50_000}, "data.train_size=50000: must be at most 48000"),
        ("sequential_mnist", {"test_size": 10_001}, "test_size=10001: must be .* <= 10000"),
        ("sequential_mnist", {"val_size": 0}, "val_size=0: must be whole number >= 1"),
        ("permuted_mnist", {"black_pixels": -1}, "black_pixels=-1: must be whole number >= 0"),
        ("permuted_mnist", {"padding": "white"}, "padding='white': must be one of black, grey"),
        ("row_mnist", {"rows": "shuffled"}, "rows='shuffled': must be one of permuted, natural"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(name, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        benchmark(name, **settings)
    assert "\n" not in str(error.value)


def test_the_real_files_have_the_known_images(real_root):
    images, labels = mnist.load(real_root, "train")
    assert images.shape == (60_000, 28, 28)
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert images.float().mean().div(255).item() == pytest.approx(0.1307, abs=1e-4)
    test_images, test_labels = mnist.load(real_root, "t10k")
    assert test_images.shape == (10_000, 28, 28)
    assert test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_real_splits_have_the_sizes_of_the_benchmark(real_root):
    data = benchmark("permuted_mnist", root=real_root)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [48_000, 12_000, 10_000]
    sequences, targets, steps = next(iter(data.train_dataloader()))
    assert (sequences.shape, targets.shape, steps.tolist()) == ((32, 789, 1), (32, 1), [788])
    assert sequences.min() == -0.5
    assert sequences.max() == 0.5
