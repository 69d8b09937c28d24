"""Sequences of one's own: the files, what is refused in them, the batches, and real data where there are any."""

from __future__ import annotations

import csv
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark import benchmark

from configs.run import benchmarks
from datamodules import make_benchmark
from datamodules.series import Series
from datamodules.series_files import read_sequences

ONE_LINE = r"^[^\n]+$"
HEADER = "#Données\n@problemName Small\n@timeStamps False\n@univariate false\n"


@pytest.fixture
def sequences() -> list[np.ndarray]:
    """30 sequences of 3 to 9 steps with 2 channels, each beginning with its index; a third one is constant."""
    rng = np.random.default_rng(0)
    found = [rng.normal(5.0, 2.0, (int(length), 3)) for length in rng.integers(3, 10, 30)]
    for index, sequence in enumerate(found):
        sequence[0, 0], sequence[:, 2] = index, 0.1
    return found


def save(path: Path, sequences: list[np.ndarray], y: np.ndarray) -> Path:
    """Writes sequences into a .npz file, as an array (N, T, I) if they are equally long."""
    lengths = np.array([len(sequence) for sequence in sequences])
    if len(set(lengths)) == 1:
        np.savez(path, x=np.stack(sequences), y=y)
    else:
        np.savez(path, x=np.concatenate(sequences), lengths=lengths, y=y)
    return path


def save_ts(path: Path, sequences: list[np.ndarray], labels: np.ndarray, tag: str) -> Path:
    lines = [
        ":".join([*(",".join(map(str, channel)) for channel in sequence.T), str(label)])
        for sequence, label in zip(sequences, labels, strict=True)
    ]
    path.write_text(f"{HEADER}{tag}\n@data\n" + "\n".join(lines), encoding="latin-1")
    return path


def everything(data: Series, name: str):
    dataset = data.split(name)
    return dataset[list(range(len(dataset)))]


@pytest.mark.parametrize(
    ("y", "tag", "classes"),
    [
        (np.arange(30) % 3 + 7, "@classLabel true 7 8 9", ("7", "8", "9")),
        (np.array(["on", "off"] * 15), "@classLabel true off on", ("off", "on")),
        (np.linspace(-1, 1, 30), "@targetlabel true", ()),
    ],
)
def test_both_kinds_of_files_are_read_alike(tmp_path, sequences, y, tag, classes):
    npz = save(tmp_path / "some.npz", sequences, y)
    ts = save_ts(tmp_path / "some.ts", sequences, y, tag)
    for read in map(read_sequences, (npz, ts)):
        assert np.array_equal(read.values, np.concatenate(sequences))
        assert read.lengths.tolist() == [len(sequence) for sequence in sequences]
        assert read.classes == classes
    one, other = (benchmark("series", root=str(path), seed=3) for path in (npz, ts))
    assert all(map(torch.equal, everything(one, "train"), everything(other, "train")))


def test_a_batch_is_padded_to_its_longest_sequence_and_read_at_the_last_step_of_each(tmp_path, sequences):
    data = benchmark("series", root=str(save(tmp_path / "some.npz", sequences, np.arange(30) % 2)))
    dataset = data.split("train")
    shortest = int(dataset.lengths.argmin())
    x, targets, steps = dataset[[shortest, 0]]
    lengths = dataset.lengths[[shortest, 0]]
    assert x.shape == (2, lengths.max(), 3)
    assert (x.dtype, targets.dtype, targets.shape) == (torch.float32, torch.int64, (2, 1))
    assert torch.equal(steps, lengths.unsqueeze(1) - 1)
    assert lengths[0] < lengths[1]
    assert (x[0, lengths[0] :] == 0).all()
    assert torch.equal(x[1:], dataset[[0]][0])


def test_channels_and_values_are_normalised_by_the_training_split_alone(tmp_path, sequences):
    values = np.arange(30.0) ** 2
    root = save(tmp_path / "some.npz", sequences, values)
    test_root = save(tmp_path / "test.npz", [100 * sequence for sequence in sequences], 100 * values)
    data = benchmark("series", root=str(root), test_root=str(test_root))
    x, targets, steps = everything(data, "train")
    real = x[torch.arange(x.shape[1]) <= steps]
    assert real[:, :2].mean(0).abs().max() < 1e-6
    assert (real[:, :2].var(0, correction=0) - 1).abs().max() < 1e-5
    assert real[:, 2].abs().max() < 1e-6  # constant
    assert targets.mean().abs() < 1e-6
    assert abs(targets.var(correction=0) - 1) < 1e-5
    chosen = data.rows["train"].numpy()
    tested, expected = everything(data, "test")[1], values[chosen]
    found = np.sort(tested.flatten().numpy())
    assert np.allclose(found, (100 * values - expected.mean()) / expected.std(), rtol=1e-5)
    assert data.trivial_loss == pytest.approx(found.var(), rel=1e-5)


def test_every_sequence_is_in_one_split_and_the_seed_draws_the_validation(tmp_path, sequences):
    path = str(save(tmp_path / "some.npz", sequences, np.arange(30.0)))
    one, other = (benchmark("series", root=path, seed=seed) for seed in (1, 2))
    assert one.sizes == other.sizes == {"train": 18, "val": 6, "test": 6}
    for data in (one, other):
        assert sorted(torch.cat(list(data.rows.values())).tolist()) == list(range(30))
    assert torch.equal(one.rows["test"], other.rows["test"])
    assert not torch.equal(one.rows["val"].sort().values, other.rows["val"].sort().values)
    both = benchmark("series", root=path, test_root=path, val_fraction=0.1)
    assert both.sizes == {"train": 27, "val": 3, "test": 30}
    with pytest.raises(ValueError, match=r"data.val_fraction=0.6: must be < 0.6, 1 - data.test_fraction"):
        benchmark("series", root=path, val_fraction=0.6, test_fraction=0.4)


def test_classes_of_a_test_file_are_those_of_the_training_file_in_its_order(tmp_path, sequences):
    labels = np.array(["b", "a", "c"] * 10)
    root = save_ts(tmp_path / "train.ts", sequences, labels, "@classLabel true c b a")
    test_root = save_ts(tmp_path / "test.ts", sequences, labels, "@classLabel true a b c")
    data = benchmark("series", root=str(root), test_root=str(test_root))
    assert data.output_size == 3
    order = everything(data, "test")[1].flatten()[data.rows["test"].argsort()]
    assert order.tolist() == [1, 2, 0] * 10
    assert data.trivial_loss == pytest.approx(np.log(3))


TS_MISTAKES = {
    "1,2:3,?:a": "line 7: value '?': must be a finite number; fill in what is missing beforehand",
    "1,2:3,NaN:a": "line 7: value 'NaN': must be a finite number; fill in what is missing beforehand",
    "1,2:3,1e999:a": "line 7: value '1e999': must be a finite number; fill in what is missing beforehand",
    "1,2:3,:a": "line 7: value '': must be a finite number; fill in what is missing beforehand",
    "1,2:3:a": "line 7: channels of 1 to 2 values: must be equally many",
    "1,2:a": "line 7: channels=1: must be 2 as in line 6",
    "1,2:3,4:c": "line 7: class=c: must be one of a, b",
    "1,2:3,4": "line 7: channels=1: must be 2 as in line 6",
    "1,2": "line 7: '1,2': must be values, a colon and a label",
}


@pytest.mark.parametrize("line", TS_MISTAKES)
def test_a_wrong_line_is_named_with_what_is_wrong(tmp_path, line):
    path = tmp_path / "some.ts"
    path.write_text(
        f"{HEADER.replace('@univariate false', '@classLabel true a b')}@data\n1,2:3,4:a\n{line}\n"
    )
    with pytest.raises(ValueError, match=ONE_LINE) as error:
        benchmark("series", root=str(path))
    assert str(error.value) == f"{path}, {TS_MISTAKES[line]}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": must have a line @data and sequences after it"),
        ("@classLabel true a b\n@data\n", ": must have a line @data and sequences after it"),
        ("1,2:a", ", line 1: '1,2:a': must be a tag like @classLabel, and @data before the sequences"),
        (
            "@data\n1,2:a",
            ", line 1: @data: must follow '@classLabel true' with the classes, or '@targetLabel true'",
        ),
        ("@timeStamps true", ", line 1: @timeStamps: must be false, with a value for each step"),
        (
            "@targetLabel true\n@data\n1:2\n1:high",
            ", line 4: value 'high': must be a finite number; fill in what is missing beforehand",
        ),
        (
            "@classLabel true a\n@data\n1:a",
            ": all sequences are of the class a: must be two or more classes",
        ),
        (
            "@targetLabel true\n@data\n1:2\n1:2",
            ": 2 sequences are too few: 0 for the train split, 1 for the val split, 1 for the test split",
        ),
    ],
)
def test_a_wrong_ts_file_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "some.ts"
    path.write_text(content)
    with pytest.raises(ValueError, match=ONE_LINE) as error:
        benchmark("series", root=str(path))
    assert str(error.value) == f"{path}{message}"


X, Y, NAN = np.zeros((4, 3, 2)), np.array([0, 1, 0, 1]), np.array([0, 1, np.nan, 1])
ROWS = "must be (4,), a label for each sequence, or (4, 3), for each step; values may have one axis more"
NPZ_MISTAKES = [
    ({"x": X}, ": has 'x': must have x and y"),
    ({"y": Y}, ": has 'y': must have x and y"),
    ({"x": X[0], "y": Y}, ": x (3, 2): must be (N, T, I), or (sum of lengths, I) with lengths"),
    ({"x": X[:0], "y": Y[:0]}, ": x (0, 3, 2): must be (N, T, I), or (sum of lengths, I) with lengths"),
    (
        {"x": X[0], "y": Y[:2], "lengths": [2, 2]},
        ": lengths: must be (N,), each at least 1, in sum the 3 steps of x",
    ),
    (
        {"x": X[0], "y": Y[:2], "lengths": [0, 3]},
        ": lengths: must be (N,), each at least 1, in sum the 3 steps of x",
    ),
    (
        {"x": X[0], "y": Y[:3], "lengths": np.array([2**63 - 1, 2**63 - 1, 5], np.uint64)},
        ": lengths: must be (N,), each at least 1, in sum the 3 steps of x",
    ),
    ({"x": X[0], "y": Y[:2], "lengths": [1.0, 2.0]}, ": lengths of type float64: must be whole numbers"),
    ({"x": X, "y": Y[:3]}, f": y (3,): {ROWS}"),
    ({"x": X, "y": np.zeros((4, 2), int)}, f": y (4, 2): {ROWS}"),
    ({"x": X, "y": np.zeros((4, 0))}, f": y (4, 0): {ROWS}"),
    ({"x": X, "y": np.zeros((4, 3, 2, 1))}, f": y (4, 3, 2, 1): {ROWS}"),
    (
        {"x": X[0], "y": np.zeros(1), "lengths": [2, 1]},
        ": y (1,): must be (2,), a label for each sequence, or (3,), for each step; values may have one axis more",
    ),
    (
        {"x": X.swapaxes(1, 2), "y": Y},
        ": x (4, 2, 3): 2 steps of 3 channels: give data.layout=NTC, or NCT for the reverse",
    ),
    (
        {"x": X[0].T, "y": Y[:2], "lengths": [2, 1]},
        ": x (2, 3): has its 3 steps in the last axis: give data.layout=NCT",
    ),
    ({"x": X, "y": 1j * Y}, ": y of type complex128: must be numbers or texts"),
    ({"x": X.astype(str), "y": Y}, ": x of type <U32: must be numbers"),
    ({"x": X, "y": NAN}, ": y[2]=nan: must be a finite number"),
    ({"x": X + NAN[:, None, None], "y": Y}, ": x[2, 0, 0]=nan: must be a finite number"),
    ({"x": X, "y": 0 * Y}, ": all sequences are of the class 0: must be two or more classes"),
    (
        {"x": X, "y": np.array([0, 1, 0, None])},
        ": damaged, or no .npz file; x, y and lengths must be plain numbers or texts, and no lists of arrays",
    ),
]


@pytest.mark.parametrize(("arrays", "message"), NPZ_MISTAKES)
def test_a_wrong_npz_file_is_refused_in_one_line(tmp_path, arrays, message):
    path = tmp_path / "some.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=ONE_LINE) as error:
        benchmark("series", root=str(path))
    assert str(error.value) == f"{path}{message}"


def test_the_axes_of_an_array_may_be_swapped(tmp_path, sequences):
    x, y = np.random.default_rng(0).normal(size=(12, 9, 2)), np.arange(12) % 2
    straight, swapped, flat, wide = (tmp_path / f"{name}.npz" for name in ("a", "b", "c", "d"))
    np.savez(straight, x=x, y=y)
    np.savez(swapped, x=x.swapaxes(1, 2), y=y)
    np.savez(flat, x=x.reshape(-1, 2).T, lengths=np.full(12, 9), y=y)
    np.savez(wide, x=x[:, :1], y=y)
    expected = everything(benchmark("series", root=str(straight), layout="NTC"), "train")
    for path in (swapped, flat):
        found = everything(benchmark("series", root=str(path), layout="NCT"), "train")
        assert all(map(torch.equal, found, expected))
    assert benchmark("series", root=str(wide), layout="NTC").first_test_batch(1)[0].shape == (1, 1, 2)


TARGETS = {
    "values": (False, (12, 3), "regression"),
    "each step": (True, (12, 9), "regression"),
    "values each step": (True, (12, 9, 3), "regression"),
    "classes each step": (True, (12, 9), "classification"),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("ragged", [False, True])
def test_targets_of_several_values_and_for_each_step(tmp_path, kind, ragged):
    """Each label names its sequence and step, so that it can be found in the batches."""
    each_step, shape, task = TARGETS[kind]
    lengths = np.arange(12) % 5 + 4 if ragged else np.full(12, 9)
    places = np.array([(n, t) for n, length in enumerate(lengths) for t in range(length)])
    x = places.astype(float)
    labels = places @ [100.0, 1.0] if each_step else np.arange(12) * 100.0
    y = np.stack([labels, labels + 0.25, -labels], axis=1) if shape[-1] == 3 else labels
    if task == "classification":
        y = (places.sum(1) % 3).astype(int)
    arrays = {"x": x, "lengths": lengths, "y": y}
    if not ragged:
        arrays = {"x": x.reshape(12, 9, 2), "y": y.reshape(shape)}
    np.savez(tmp_path / "some.npz", **arrays)
    data = benchmark("series", root=str(tmp_path / "some.npz"), batch_size=4)
    assert (data.task, data.output_size) == (task, 3 if shape[-1] == 3 or task == "classification" else 1)
    seen = 0
    for inputs, targets, steps in data.train_dataloader():
        assert (steps.dim() == 2) == ragged
        for row in range(len(inputs)):
            own = steps[row][steps[row] >= 0] if ragged else steps
            assert each_step == (len(own) > 1)
            mean, scale = data.units.mean, data.units.scale
            sequence, step = (inputs[row, own].double() * scale + mean).round().T
            found = targets[row, : len(own)]
            if task == "classification":
                assert torch.equal(found, (sequence + step).long() % 3)
            else:
                expected = 100 * sequence + step * each_step
                assert np.allclose(data.units.original(found)[:, 0], expected, atol=1e-3)
            seen += len(own)
    assert seen == (sum(lengths[data.rows["train"]]) if each_step else data.sizes["train"])
    test = data.split("test")
    targets = test.targets[test.steps >= 0] if ragged else test.targets
    if task == "regression":
        assert data.trivial_loss == pytest.approx(targets.flatten(0, -2).numpy().var(0).mean(), rel=1e-5)


def test_units_and_classes_are_those_of_the_training_after_a_checkpoint_is_loaded(tmp_path, sequences):
    labels = np.array(["b", "a", "c"] * 10)
    first = benchmark("series", root=str(save(tmp_path / "first.npz", sequences, labels)))
    moved = [5 + 2 * sequence for sequence in sequences]
    later = benchmark("series", root=str(save(tmp_path / "later.npz", moved, np.array(["c", "b"] * 15))))
    state = torch.load(save_state(tmp_path / "state.pt", first.state_dict()), weights_only=True)
    assert set(everything(later, "test")[1].flatten().tolist()) == {0, 1}
    later.load_state_dict(state)
    assert set(everything(later, "test")[1].flatten().tolist()) == {1, 2}  # b and c of a, b, c
    x, _, steps = everything(later, "test")
    again = x[0, : steps[0] + 1].double() * first.units.scale + first.units.mean
    assert np.allclose(again, moved[later.rows["test"][0]], atol=1e-4)
    assert later.state_dict().keys() == state.keys()


def save_state(path: Path, state: dict) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", TARGETS)
def test_outputs_for_new_sequences_become_rows_in_the_units_of_the_file(tmp_path, kind, ragged):
    each_step, shape, task = TARGETS[kind]
    rng = np.random.default_rng(0)
    y = rng.normal(3, 2, shape) if task == "regression" else rng.integers(5, 8, shape)
    np.savez(tmp_path / "old.npz", x=rng.normal(size=(12, 9, 2)), y=y)
    old = benchmark("series", root=str(tmp_path / "old.npz"))
    lengths = [3, 7, 5] if ragged else [7, 7, 7]
    x = rng.normal(size=(sum(lengths), 2))
    np.savez(tmp_path / "new.npz", x=x, lengths=lengths)  # without y
    settings = benchmarks()["series"](root=str(tmp_path / "new.npz"), test_root="is not read", batch_size=2)
    new = make_benchmark(settings, trained={"Series": old.state_dict()})
    assert (new.task, new.input_size, new.output_size) == (old.task, old.input_size, old.output_size)
    outputs, written = [], []
    for sequences, _, steps in new.predict_dataloader():
        read = steps if steps.dim() == 2 else steps.expand(len(sequences), -1)
        assert read.shape[1] == (sequences.shape[1] if each_step else 1)
        outputs.append(torch.randn(*read.shape, new.output_size, generator=torch.Generator().manual_seed(0)))
        written += [o[: int((r >= 0).sum())] for o, r in zip(outputs[-1], read, strict=True)]
    rows = new.predictions(outputs)
    assert [row["sequence"] for row in rows] == [n for n, found in enumerate(written) for _ in found]
    if each_step:
        assert [row["step"] for row in rows] == [t for length in lengths for t in range(length)]
    flat = torch.cat(written).double()
    if task == "classification":
        assert [row["class"] for row in rows] == [str(5 + int(n)) for n in flat.argmax(1)]
    else:
        names = ["value"] if new.output_size == 1 else ["value_1", "value_2", "value_3"]
        found = [[row[name] for name in names] for row in rows]
        assert np.allclose(found, flat * old.units.target_scale + old.units.target_mean)


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("", ""),
        ("@classLabel false\n", ""),
        ("@classLabel true on off\n", ":on"),
        ("@targetLabel true\n", ":?"),
    ],
)
def test_a_ts_file_for_predictions_needs_no_labels(tmp_path, tag, label):
    header = HEADER.replace("@univariate false", tag)
    (tmp_path / "new.ts").write_text(f"{header}@data\n1,2,3:4,5,6{label}\n7,8:9,10{label}\n")
    found = read_sequences(tmp_path / "new.ts", labelled=False)
    assert found.values.tolist() == [[1, 4], [2, 5], [3, 6], [7, 9], [8, 10]]
    assert (found.lengths.tolist(), found.classes) == ([3, 2], ())


def test_predictions_need_a_checkpoint_of_series_and_the_channels_of_the_training(tmp_path, sequences):
    root = str(save(tmp_path / "some.npz", sequences, np.arange(30) % 2))
    state = {"Series": benchmark("series", root=root).state_dict()}
    narrow = save(tmp_path / "narrow.npz", [x[:, :2] for x in sequences], np.arange(30) % 3)
    for settings, trained, message in [
        (benchmarks()["series"](root=str(narrow)), state, f"{narrow}: channels=2: must be 3 as in training"),
        (benchmarks()["series"](root=root), {}, r"ckpt: does not hold the units of series; .*"),
        (benchmarks()["tmaze"](), state, r"data.name='tmaze': has no predictions; .*"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            make_benchmark(settings, trained=trained)


def damaged() -> list[bytes]:
    """What is no .npz file: nothing, text, a single array, a cut and an altered archive."""
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, X)
    np.savez(archive, x=X, y=Y)
    altered = bytearray(archive.getvalue())
    altered[200] ^= 1  # a value of x
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as file:
        file.writestr("x.npy", "text")
        file.writestr("y.npy", b"\x93NUMPY")
    return [b"", b"1,2,3", array.getvalue(), archive.getvalue()[:-30], bytes(altered), text.getvalue()]


@pytest.mark.parametrize("content", damaged())
def test_a_damaged_npz_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "some.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"some.npz: damaged, or no .npz file; x, y and"):
        read_sequences(path)


def test_what_is_no_file_of_sequences_is_refused_in_one_line(tmp_path, sequences):
    (tmp_path / "folder.ts").mkdir()
    (tmp_path / "some.csv").write_text("1,2")
    for name in ("none.npz", "folder.ts"):
        with pytest.raises(
            ValueError,
            match=rf"^data.root='.*{name}': must be a .npz or a .ts file, and there is no such file$",
        ):
            benchmark("series", root=str(tmp_path / name))
    with pytest.raises(ValueError, match=r"some.csv: must be a .npz or a .ts file$"):
        benchmark("series", root=str(tmp_path / "some.csv"))
    root = save(tmp_path / "some.npz", sequences, np.arange(30.0))
    with pytest.raises(ValueError, match=r"^data.test_root='none.ts': must be"):
        benchmark("series", root=str(root), test_root="none.ts")


def test_two_files_that_do_not_fit_are_refused_in_one_line(tmp_path, sequences):
    classes = save(tmp_path / "classes.npz", sequences, np.arange(30) % 3)
    values = save(tmp_path / "values.npz", sequences, np.arange(30.0))
    narrow = save(tmp_path / "narrow.npz", [x[:, :2] for x in sequences], np.arange(30) % 3)
    more = save(tmp_path / "more.npz", sequences, np.arange(30) % 4)
    for other, message in [
        (values, f"{values}: y=values: must be classes as in {classes}"),
        (narrow, f"{narrow}: channels=2: must be 3 as in {classes}"),
        (more, rf"{more}, y\[3\]: class=3: must be one of 0, 1, 2"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            benchmark("series", root=str(classes), test_root=str(other))


def predict(train, run: Path, folder: Path, x: np.ndarray, lengths: np.ndarray) -> list[dict[str, str]]:
    """What the command predicts for new sequences, which have no labels, with the checkpoint of a run."""
    np.savez(folder / "new.npz", x=x, lengths=lengths)
    report = (run / "report.json").read_bytes()
    settings = f"data.root={folder / 'new.npz'}", "trainer.fast_dev_run=true"  # which leaves none out
    train(f"run_dir={run}", "ckpt=last", "stages=[predict]", *settings)
    assert (run / "report.json").read_bytes() == report
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_predicts_values_in_the_units_of_the_file(tmp_path, train):
    rng = np.random.default_rng(0)
    x = rng.normal(50, 20, (300, 4, 1))
    np.savez(tmp_path / "sums.npz", x=x, y=np.concatenate([x, 1000 - x], axis=2))  # of each step
    small = [argument for argument in train.small if not argument.startswith("data.")]
    train(f"run_dir={tmp_path / 'run'}", "data.name=series", f"data.root={tmp_path / 'sums.npz'}", *small,
          "optim.lr=0.02", "trainer.max_epochs=12", "warmup.enabled=false")  # fmt: skip
    assert train.report(tmp_path / "run")["test"]["loss"] < 0.02
    new = rng.normal(50, 20, (9, 1))
    rows = predict(train, tmp_path / "run", tmp_path, new, np.array([4, 2, 3]))
    assert [(row["sequence"], row["step"]) for row in rows] == [
        (str(n), str(step)) for n, length in enumerate((4, 2, 3)) for step in range(length)
    ]
    found = np.array([[float(row["value_1"]), float(row["value_2"])] for row in rows])
    assert np.abs(found - np.concatenate([new, 1000 - new], axis=1)).max() < 15
    other = tmp_path / "other.npz"
    np.savez(other, x=np.zeros((2, 5, 3)))
    arguments = (f"run_dir={tmp_path / 'run'}", "ckpt=last", "stages=[predict]", f"data.root={other}")
    _, errors = train(*arguments, status=2)
    assert errors == f"error: {other}: channels=3: must be 1 as in training\n"


def test_a_run_learns_from_a_file_of_sequences_of_several_lengths(tmp_path, train):
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 9, 120)
    x = np.concatenate([np.eye(length, 1) * sign for length, sign in zip(lengths, [-1, 1] * 60, strict=True)])
    root = tmp_path / "signs.npz"
    np.savez(root, x=x, lengths=lengths, y=np.array(["minus", "plus"] * 60))
    small = [argument for argument in train.small if not argument.startswith("data.")]
    train(f"run_dir={tmp_path / 'run'}", "data.name=series", f"data.root={root}", *small, "data.batch_size=16",
          "optim.lr=0.02", "trainer.max_epochs=12")  # fmt: skip
    report = train.report(tmp_path / "run")
    assert report["test"]["accuracy"] == 1
    assert report["vaa_sequences"] == 24
    predicted = predict(train, tmp_path / "run", tmp_path, x[: lengths[:40].sum()], lengths[:40])
    assert predicted == [{"sequence": str(n), "class": name} for n, name in enumerate(["minus", "plus"] * 20)]
    _, errors = train("data.name=series", f"data.root={root}", "warmup.batch_size=99", status=2)
    assert errors == "error: warmup.batch_size=99: must be at most 72, the number of training sequences\n"
    np.savez(root, x=np.zeros((3, 5, 1)), y=np.array(["minus", "plus", "plus"]))
    _, errors = train("data.name=series", f"data.root={root}", status=2)
    assert errors == "error: warmup: needs at least 2 training sequences, and there is only 1\n"


@pytest.mark.parametrize(
    ("name", "shape", "classes", "sizes"),
    [
        ("ACSF1", (20, 1460, 1), 10, (80, 20, 100)),
        ("BasicMotions", (20, 100, 6), 4, (32, 8, 40)),
        ("JapaneseVowels", (20, 21, 12), 9, (216, 54, 370)),
    ],
)
def test_real_data_of_the_archives(name, shape, classes, sizes):
    installed = find_spec("sktime")  # not imported: its files are all that is needed
    if installed is None:
        pytest.skip("the real sequences are in the extra `series`")
    folder = Path(installed.submodule_search_locations[0], "datasets", "data", name)
    data = benchmark(
        "series", root=str(folder / f"{name}_TRAIN.ts"), test_root=str(folder / f"{name}_TEST.ts")
    )
    assert data.output_size == classes
    assert tuple(data.sizes.values()) == sizes
    x, targets, steps = data.first_test_batch(20)
    assert x.shape == shape
    assert int(steps.max()) == shape[1] - 1
    assert targets.max() < classes
