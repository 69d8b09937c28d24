"""RESULTS.md: the claims of the paper, each with a verdict, a figure and a table over `studies/results`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from studies import regret
from studies.figures import draw_curves, draw_pairs
from studies.groups import Result, group, pick
from studies.tables import LEARNT, comparison, counts, share, studies_table, table

STUDIES = {"restitution", "row_mnist", "tmaze", "popgym", "learning_rate", "series", "memory", "certified"}
"""What the page cannot do without."""
NONE, WARM, DOUBLE = "without warmup", "with warmup", "with warmup, double layer"
REST, CHRONO = "with warmup for rest", "chrono initialisation"
COPY = "copy first input, seq length=50"
TASK = ("benchmark", "cell")


class Section(NamedTuple):
    """A part of a page: its heading, a few sentences, and its tables and figures in their order."""

    title: str
    text: str
    parts: Sequence[str | Path | None] = ()


def page(results: Sequence[Result], figures: Path) -> list[Section]:
    """Return the sections of RESULTS.md; their figures are drawn into a folder."""
    drawn = (start, rise, hold, speed, double, chrono, harm, overwrite, memory)
    return [
        Section("# Results", INTRODUCTION),
        *([no_regret(results, figures)] if pick(results, study="no_regret") else []),
        *(section(results, figures) for section in drawn),
        certified(results, figures),
        cost(results),
        Section("## Runs", RUNS, [studies_table(results)]),
    ]


INTRODUCTION = """
This page tests the five claims of the paper's abstract ([arXiv 2106.01001](https://arxiv.org/abs/2106.01001)). It
also says where a warmup harms, how long memory lasts, and what it costs.

| claim | verdict |
| --- | --- |
| 1. Standard cells start with a single equilibrium | True for GRU, LSTM and MGU; false for BRC and nBRC |
| 2. Learning needs many reachable equilibria | It needs a high VAA; most of the states still drift |
| 3. Warmup makes learning faster and better | Clear for copying and for row MNIST with a GRU |
| 4. A double layer wins lost precision back | Only on one short series; elsewhere it is no better |
| 5. Other procedures raise multistability too | Chrono initialisation does, for a time |

**How to read it.** A number is the median over seeds; (a to b) is the full range. Figures show every run. Square
brackets hold 95 % intervals: Clopper-Pearson for counts, a bootstrap over pairs of equal seeds for the mean
change. A change is a factor where less is better (`x 0.5` is half) and a difference elsewhere; it compares the
last procedure of a row with the one before it. P(better) is the probability that a run of the last procedure beats
a run of the other. Most rows have three or five seeds, so the intervals are wide: 5 of 5 still allows any share
above .48, and 3 of 3 any above .29.

**Words.** The VAA counts the places where 64 states end under one constant input, divided by 64; they read it for
2,000 steps unless a number is given. One place gives 0.0156. The resting VAA counts only places that one more step
does not move. A run has learnt when its validation loss is below half that of the best constant prediction, or
when its policy is optimal or solves the environment. "With warmup" is the published procedure, tried once
(`warmup.extension=1`). MGU, BRC and nBRC are gated cells; BRC and nBRC were designed to be bistable.
"""


def no_regret(results: Sequence[Result], figures: Path) -> Section:
    """Whether a silent double layer can be left in."""
    absent = ", ".join(regret.missing(results))
    rest = (
        f"\n{textwrap.fill(f'Not yet run without a warmup, or not with silent: {absent}.', 116)}\n"
        if absent
        else ""
    )
    text = f"""
The question for anybody's project: can the warmup be left in? A network with a memory at its side
(`model.double=true`, `SideMemory`) starts as the plain network of its other half, and only that memory is warmed
up. *silent* is this network, *double* the published one, *silent-rest* the silent one with the warmup for rest.
These have as many units as *none*; only *silent-equal* has more, so that it has as many parameters. An entry is the
median, with all runs in brackets.

With as many units, silent does no harm in {regret.harmless(results, "silent")} rows with three seeds.
Its plain half has half of the units. Where nothing has to be held for long that costs a little: RepeatPrevious
takes an epoch more, and JapaneseVowels has some errors more, of 370. With as many parameters, silent-equal does no
harm in {regret.harmless(results, "silent-equal")}. Where memory is asked for, silent learns what none does not
learn, or sooner. The published warmup of the whole network still harms: RepeatPrevious is learnt late or never.

*No harm* means that the median is at least as good as the worst run without a warmup. *As the best* means
the same against the best other procedure; it is asked where a task needs a long memory. Fewer than three seeds
settle nothing.
{rest}"""
    tasks = {
        "repeat_first": "RepeatFirst: hold a card for 52 steps",
        "repeat_previous": "RepeatPrevious: recall four steps ago",
    }
    return Section(
        "## Does it ever harm?",
        text,
        [
            regret.draw_learning(results, tasks, figures / "regret.png"),
            regret.measured(results),
            "The silent networks against none:",
            regret.judged(results),
            "How many runs learnt, by what their task asks for:",
            regret.learnt(results),
            "The memory that a network begins its training with (`memory_horizon`) against what it learnt:",
            regret.horizons(results),
            "Seconds of the stage, as a part of the fit:",
            regret.seconds(results),
        ],
    )


def start(results: Sequence[Result], figures: Path) -> Section:
    """Claim 1."""
    runs = pick(results, study="restitution", benchmark=COPY, procedure=NONE)
    metrics = {"VAA": "vaa.before", "resting VAA": "resting_vaa.before", "share at rest": "rest.before"}
    text = """
True for the cells in common use: all states of a GRU, an LSTM or an MGU end in one place, in every run. BRC and
nBRC start with many places. The figure uses one constant input, the table the mean of three.
"""
    return Section(
        "## Claim 1: Most standard cells have a single stable equilibrium when they are initialised",
        text,
        [
            draw_curves("vaa_at.", runs, ["benchmark"], ["cell"], figures / "start.png"),
            table(group(runs, ["cell"]), ["cell"], metrics),
        ],
    )


def rise(results: Sequence[Result], figures: Path) -> Section:
    """Claim 2."""
    watched = [run.metrics for run in pick(results, study="restitution") if "curve.vaa.1" in run.metrics]
    learnt = [run for run in watched if LEARNT in run]
    before = sum(run.get("epochs_until_risen", float("inf")) <= run[LEARNT] for run in learnt)
    unlearnt = sum("epochs_until_risen" in run and LEARNT not in run for run in watched)
    runs = pick(results, study="restitution", benchmark=COPY, cell=["LSTM", "nBRC"])
    runs = pick(runs, procedure=[NONE, WARM, CHRONO])
    text = f"""
True if all places count, as in the VAA, but not if only places at rest do. The VAA was watched in
{len(watched)} runs. {len(learnt)} of them learnt, and in {before} of these it had passed 0.1 by then. A VAA of 0.1
is not enough: {unlearnt} runs passed it and did not learn. Most runs that learnt were warmed up or bistable from
the start. In the LSTM with chrono initialisation the VAA rises by itself, and learning follows some epochs later.
Few of these places are at rest.
"""
    metrics = {
        "VAA before": "vaa.before",
        "VAA after training": "vaa.final",
        "resting VAA after": "resting_vaa.final",
        "epochs until VAA > 0.1": "epochs_until_risen",
        "epochs until learnt": LEARNT,
    }
    names = ["cell", "procedure"]
    return Section(
        "## Claim 2: Long dependencies are learnt once the number of reachable equilibria has risen",
        text,
        [
            draw_curves("curve.vaa.", runs, names[:1], names[1:], figures / "monitored.png"),
            table(group(pick(runs, procedure=[NONE, CHRONO]), names), names, metrics),
        ],
    )


def hold(results: Sequence[Result], figures: Path) -> Section:
    """Claim 3: tasks that are learnt or not."""
    runs = pick(
        results, study=["restitution", "row_mnist", "pixel_mnist"], cell=["GRU", "LSTM", "MGU", "nBRC"]
    )
    runs = [run for run in pick(runs, procedure=[NONE, WARM]) if not run["benchmark"].startswith("denoising")]
    rates = pick(results, study="learning_rate")
    procedures, metrics = [NONE, WARM], ["test.accuracy", "test.loss"]
    text = """
It is clear where something has to be held for long. Without a warmup no GRU, LSTM or MGU learns to copy, or learns
row MNIST: an image is read row by row, and 72 black rows follow. With it all do, except one LSTM of three on row
MNIST. No run learns permuted MNIST: four epochs of 12,000 images are too few.
"""
    return Section(
        "## Claim 3: Warmup, a few gradient steps, makes learning faster and its result better",
        text,
        [
            draw_pairs(runs, TASK, procedures, metrics, figures / "pairs.png"),
            comparison(runs, TASK, procedures, metrics),
            "How many of these runs learnt:",
            counts(runs, TASK, procedures),
            "The learning rate does not explain the difference. How many runs learnt to copy at T = 50:",
            counts(rates, ["cell", "optim.lr"], procedures),
        ],
    )


def speed(results: Sequence[Result], figures: Path) -> Section:
    """Claim 3 in reinforcement learning: how soon."""
    runs = pick(results, study=["tmaze", "popgym"], procedure=[NONE, WARM])
    runs = [run for run in runs if "RepeatPrevious" not in run["benchmark"]]
    metrics = ["val.solved_at", LEARNT, "test.return"]
    text = """
A warmup is faster on RepeatFirst Easy, and in the T-Maze with `samples=prefixes`, the authors' rule: the network
learns from prefixes of episodes. With whole episodes the interval includes 1. The corridor has length 20 unless
given, and an epoch is 20 episodes. RepeatFirst of POPGym asks at every step for the suit of the first card. For
Easy the table counts the episodes until it is solved. No run solves Medium or Hard within 300 episodes, so their
return is compared.
In the passive T-Maze of Ni et al. (2023) three of three runs [0.29, 1.00] with the published warmup are optimal at
length 100, after 65 to 68 epochs. One run at length 500 was not, after 20 epochs.
"""
    return Section(
        "### Speed, in reinforcement learning",
        text,
        [
            draw_pairs(runs, TASK, [NONE, WARM], metrics, figures / "speed.png"),
            comparison(runs, TASK, [NONE, WARM], metrics),
        ],
    )


def double(results: Sequence[Result], figures: Path) -> Section:
    """Claim 4."""
    runs = pick(results, study=["restitution", "row_mnist", "series"])
    tasks = {(run["benchmark"], run["cell"]) for run in pick(runs, procedure=DOUBLE)}
    runs = [run for run in runs if (run["benchmark"], run["cell"]) in tasks]
    procedures, metrics = [NONE, WARM, DOUBLE], ["test.accuracy", "test.loss"]
    runs = pick(runs, procedure=procedures)
    text = """
The double layer is better than the plain warmed layer on JapaneseVowels alone. It is worse on row MNIST with a
GRU, and one LSTM of five did not learn to copy with it. Denoising gives back five marked values; `pad length` is
the least time that they are held. Earlier runs supported the claim for a GRU on denoising at T = 100 without
clipping (commit bec289f, medians of three seeds: 0.145 without a warmup, 0.191 with it, 0.0498 with the double
layer). Their rows are not kept; `studies/claims.yaml` computes them again.
"""
    return Section(
        "## Claim 4: Warmup sometimes costs precision; a double layer of which one half is warmed keeps both",
        text,
        [
            draw_pairs(runs, TASK, procedures, metrics, figures / "double.png"),
            comparison(runs, TASK, procedures, metrics),
        ],
    )


def chrono(results: Sequence[Result], figures: Path) -> Section:
    """Claim 5."""
    runs = pick(results, study="restitution", benchmark=COPY, cell="LSTM", procedure=[NONE, CHRONO, WARM])
    metrics = {f"VAA at {steps}": f"vaa_at.{steps}" for steps in (10, 100, 1000)}
    metrics |= {"VAA at 2000": "vaa_at.full", "test loss": "test.loss"}
    text = """
Chrono initialisation does, for a time. All LSTMs learn with it, but their states only forget slowly: the VAA falls
the longer they are watched. This page has no runs with the others. In earlier runs at T = 100 (commit bec289f,
three seeds each), forget-bias, identity, orthogonal and torch's own initialisation and both pretrainings left one
place after 2,000 steps, and no run learnt after them. `studies/claims.yaml` computes them again.
"""
    return Section(
        "## Claim 5: Other initialisations and pretrainings raise reachable multistability without aiming at it",
        text,
        [
            draw_curves("vaa_at.", runs, ["cell"], ["procedure"], figures / "vaa.png"),
            table(group(runs, ["procedure"]), ["procedure"], metrics),
        ],
    )


def harm(results: Sequence[Result], figures: Path) -> Section:
    """Where a warmup does not pay."""
    runs = pick(results, study="series", procedure=[NONE, WARM])
    runs += [run for run in pick(results, study="popgym") if "RepeatPrevious" in run["benchmark"]]
    metrics, flips = ["test.accuracy", "test.return"], pick(results, study="flip_flop")
    errors = {"test": "test.errors"}
    errors |= {f"{rate} ignored": f"errors_at_ignore.{rate}" for rate in (0.1, 0.98)}
    errors |= {f"{length} tokens": f"errors_at_length.{length}" for length in (5120, 100_000)}
    text = """
It harms where a short memory is enough. RepeatPrevious of POPGym asks for the suit of four cards ago: without a
warmup three of three runs [0.29, 1.00] solve it, after 110 to 140 episodes; with the published one none of three
[0.00, 0.71] does within 300. BasicMotions (100 steps) and JapaneseVowels (at most 29) are short series; the
accuracy falls on both, on BasicMotions not in every seed.
"""
    return Section(
        "## Where a warmup harms",
        text,
        [
            draw_pairs(runs, TASK, [NONE, WARM], metrics, figures / "harm.png"),
            comparison(runs, TASK, [NONE, WARM], metrics),
            "Flip-flop asks for the bit that was last written in 512 tokens. It needs no warmup. Wrong reads:",
            table(group(flips, ["cell", "procedure"]), ["cell", "procedure"], errors),
        ],
    )


def overwrite(results: Sequence[Result], figures: Path) -> Section:
    """Denoising after the short warmup for rest."""
    runs = pick(results, study="rest")
    metrics = {"test loss": "test.loss", "at length 400": "test_at_length.400"}
    text = """
Tasks that overwrite what they hold, such as denoising (T = 100, gradients clipped at 1), need a shorter warmup for
rest: `warmup.steps=100 warmup.epsilon=0.0001 warmup.regularize=0`. Here `epsilon` is the distance that counts as
one place. The medians are below those of earlier runs with the published warmup (commit fea5481, three seeds: GRU
0.0932, LSTM 0.992, MGU 0.310, nBRC 0.446), for the nBRC by little. How many learnt, and their loss:
"""
    return Section(
        "## Holding and overwriting",
        text,
        [counts(runs, ["cell"], [REST]), table(group(runs, ["cell"]), ["cell"], metrics)],
    )


def memory(results: Sequence[Result], figures: Path) -> Section:
    """Memory beyond the length of the training."""
    runs, names = pick(results, study="memory"), ["cell", "procedure"]
    metrics = {"test loss": "test.loss"}
    metrics |= {f"at length {n}": f"test_at_length.{n}" for n in (1000, 10_000, 100_000)}
    rested = [run.metrics for run in pick(runs, procedure=REST)]
    longest = max(run["test_at_length.100000"] / run["test.loss"] for run in rested)
    most = max(value for run in rested for name, value in run.items() if name.startswith("test_at_length."))
    text = f"""
After the published warmup, what a GRU has learnt at T = 100 does not last. After a warmup for rest it does, if the
objective stays in the training: at a thousand times the training length the loss is at most {longest:.1f} times
that at T, in each of {len(rested)} runs. At lengths in between, a few of 256 sequences raise the mean loss, to at
most {most:.1g}.
"""
    return Section(
        "## Memory beyond the training length",
        text,
        [
            draw_curves("test_at_length.", runs, names[:1], names[1:], figures / "lengths.png"),
            table(group(pick(runs, procedure=[WARM, REST]), names), names, metrics),
        ],
    )


def certified(results: Sequence[Result], figures: Path) -> Section:
    """Networks that are proven right for strings of every length."""
    tried = [run for run in pick(results, study=["certified", "proofs"]) if "seconds.proof" in run.metrics]
    names = ["benchmark", "cell", "seed"]
    metrics = {
        "radius": "certified.radius",
        "disturbance": "certified.disturbance",
        "right from length": "certified.from_length",
        "seconds of the proof": "seconds.proof",
    }
    text = f"""
`proof.steps` trains a network on until boxes of its states prove it right for every string of its task, however
long, in real arithmetic. In a box each unit may be at least 0.05 from the middle; the least such distance is the
radius. The disturbance is how far all units may be moved at every step. A run without a radius has no proof, and
its network is left as it was. A proof was found in {share(tried, "certified.radius")} runs. The seconds were
measured on a core that was often shared.

The figure (`python -m studies.boxes`) has 64 histories in a corridor of 2,000 steps, moved at random by as much as
the proof tolerates. They enter the boxes of a proven policy (seed 22) and never leave. After the published warmup,
in a policy trained at length 20, the distance of the two cues' states falls from 4.1 after 20 steps to 0.68.

Earlier, ten policies of the T-Maze were trained on until their float32 states repeated (`consolidated` in
`studies/results/certified.csv`). That holds for one computation in float32 and is no proof. Without a warmup, and
after the published one, none of eight [0.00, 0.37] is right at length 2,000.
"""
    boxes = figures / "boxes.png"  # drawn by studies.boxes
    return Section("### Proven for every length", text, (boxes, table(group(tried, names), names, metrics)))


def cost(results: Sequence[Result]) -> Section:
    """Seconds of the stage and of the training."""
    names = ["cell", "procedure"]
    metrics = {"seconds of the warmup": "seconds.warmup", "seconds of the fit": "seconds.fit"}
    text = """
One core, one layer of 64 units, T = 100, ten epochs, on a machine that was often shared. The fit includes the
warmup. Deeper networks take longer, and so does a warmup that misses its goal.
"""
    return Section(
        "## What it costs", text, [table(group(pick(results, study="memory"), names), names, metrics)]
    )


RUNS = """
Every run is a row in `studies/results`, with all settings that differ from the defaults, so the row alone repeats
it. The study file of the same name starts them. This command writes the page: `python -m studies.page
studies/results/*.csv --output RESULTS.md --figures .github/results`
"""
