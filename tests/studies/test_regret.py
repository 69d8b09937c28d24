"""The section on harm, from rows with known metrics."""

from __future__ import annotations

from pathlib import Path

from studies.groups import Result
from studies.regret import (
    by_task,
    draw_learning,
    harmed,
    harmless,
    judged,
    learnt,
    longer,
    measured,
    metric_of,
    missing,
    unlearnt,
    verdict,
)


def run(task: str, variant: str, seed: int, data: str = "copy_first_input", **metrics: float) -> Result:
    """A finished run of the study."""
    name = f"{task}-gru-{variant}-seed_{seed}"
    metrics = {key.replace("_at_", "."): value for key, value in metrics.items()}
    return Result({"study": "no_regret", "run": name, "seed": str(seed), "data.name": data}, metrics)


def runs(task: str, data: str, metric: str, **values: list[float | None]) -> list[Result]:
    """Runs of a task by variant, one a seed; None is a run that never got there."""
    return [
        run(task, variant.replace("_", "-"), seed, data, **({metric: value} if value is not None else {}))
        for variant, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]


def told(results: list[Result], ours: str = "silent") -> str:
    ((key, variants),) = by_task(results).items()
    return verdict(key[0], variants, metric_of(variants), ours)


def test_a_loss_is_harm_beyond_the_worst_run_without_a_warmup() -> None:
    none = [0.3, 0.1, 0.2]
    within = runs("forecast", "forecast", "test_at_loss", none=none, silent=[0.29, 0.5, 0.1])
    beyond = runs("forecast", "forecast", "test_at_loss", none=none, silent=[0.31, 0.5, 0.1])
    assert told(within) == "no harm"
    assert told(beyond) == "**harm**"


def test_the_longest_sequences_have_a_table_of_medians_and_ranges() -> None:
    results = [
        Result(run("copy_50", variant, seed).what, {"test_at_length.500": value, "test_at_length.90": 9})
        for variant, values in {"none": [1.0, 3.0, 2.0], "silent-equal": [5.0]}.items()
        for seed, value in enumerate(values)
    ]
    (row,) = [line for line in longer(results).splitlines() if "copy 50" in line]
    assert row == "| copy 50 | gru | loss | 500 | 2 (1 to 3) | not run | not run | not run | 5 | not run |"


def test_an_agent_that_never_learns_is_worst_and_one_seed_settles_nothing() -> None:
    learns = runs("cartpole", "gym", "epochs_until_learnt", none=[9], silent=[None])
    neither = runs("cartpole", "gym", "epochs_until_learnt", none=[None], silent=[None])
    assert told(learns) == "**harm** (one seed)"
    assert told(neither) == "no harm (one seed)"
    assert told(learns[:1]) == "not run"


def test_both_silent_networks_are_judged_and_counted_from_three_seeds_on() -> None:
    values = {"none": [12.0, 7.0, 11.0], "silent": [15.0, 15.0, 11.0], "silent_equal": [15.0, 8.0, 7.0]}
    results = runs("japanese_vowels", "series", "test_at_errors", **values)
    assert told(results) == "**harm**"
    assert told(results, "silent-equal") == "no harm"
    assert harmless(results, "silent") == "0 of 1 [0.00, 0.97]"
    assert harmless(results, "silent-equal") == "1 of 1 [0.03, 1.00]"
    assert harmless(results[:2], "silent") == "0 of 0"


def test_where_memory_is_asked_for_the_best_of_the_others_counts() -> None:
    slow = runs("tmaze_20", "tmaze", "epochs_until_learnt", none=[20] * 3, warmup=[5, 6, 7], silent=[9, 9, 9])
    as_fast = runs(
        "tmaze_20", "tmaze", "epochs_until_learnt", none=[20] * 3, warmup=[5, 6, 7], silent=[7, 7, 9]
    )
    assert told(slow) == "no harm, warmup is better"
    assert told(as_fast) == "no harm, as the best"


def test_procedures_with_few_seeds_are_no_measure() -> None:
    learns: dict[str, list[float | None]] = {"none": [3, 5, 9], "silent": [8, 8, 8]}
    assert told(runs("tmaze_20", "tmaze", "epochs_until_learnt", **learns)) == "no harm"
    one = runs("tmaze_20", "tmaze", "epochs_until_learnt", **learns, double=[1])
    assert told(one) == "no harm"


def test_how_many_learnt_is_counted_over_tasks_that_all_three_have() -> None:
    all_three = runs(
        "tmaze_20", "tmaze", "epochs_until_learnt", none=[20, None], warmup=[5, 6], silent_equal=[9, 9]
    )
    two = runs("tmaze_50", "tmaze", "epochs_until_learnt", none=[None, None], silent_equal=[9, 9])
    (row,) = [line for line in learnt([*all_three, *two]).splitlines() if "a long memory" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == ["1", "1 of 2 [0.01, 0.99]", "2 of 2 [0.16, 1.00]", "2 of 2 [0.16, 1.00]"]


def test_tables_take_the_rows_there_are_and_name_the_rest(tmp_path: Path) -> None:
    first = runs("repeat_first", "gym", "epochs_until_learnt", none=[10, None], silent=[3, 2])
    for result in first:
        result.metrics.update({"epochs": 10.0, "curve.return.1": -0.5, "curve.return.last": 0.9})
    assert "10" in measured(first)
    assert "never" in measured(first)
    assert "not run" in measured(first)
    assert "no harm (2 seeds)" in judged(first)
    equal = runs("repeat_first", "gym", "epochs_until_learnt", **{"silent-equal": [4, 3]})
    assert "repeat first (gru and lstm)" in missing(first)
    assert "repeat first (lstm)" in missing([*first, *equal])
    assert "copy 50 (gru and lstm)" in missing(first)
    picture = draw_learning(first, {"repeat_first": "RepeatFirst"}, tmp_path / "curves.png")
    assert picture is not None
    assert picture.stat().st_size > 1000
    assert draw_learning(first, {"copy_50": "copying"}, tmp_path / "nothing.png") is None


def test_rows_that_are_harmed_are_named_and_those_without_anything_to_lose_are_counted() -> None:
    worse = runs("flip_flop", "flip_flop", "test_at_errors", none=[0, 0, 0], warmup=[1, 2, 3])
    later = runs("tmaze_20", "tmaze", "epochs_until_learnt", none=[9, 9, 9], warmup=[5, 6, 9])
    never = runs("copy_50", "copy_first_input", "test_at_loss", none=[1, 1, 1], warmup=[0, 0, 0])
    assert harmed([*worse, *later, *never], "warmup") == "flip flop (gru)"
    assert harmed(later, "warmup") == "none"
    assert unlearnt([*later, *never], "warmup") == 1
