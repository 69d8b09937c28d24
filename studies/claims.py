"""The five claims of the paper on RESULTS.md, each with a figure and a table over `studies/results`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studies.figures import draw_curves, draw_pairs
from studies.groups import Result, group, pick
from studies.results import RISEN
from studies.section import CHRONO, DOUBLE, NONE, TASK, WARM, Section
from studies.tables import LEARNT, comparison, counts, share, table

COPY = "copy first input, seq length=50"


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
    seen = [run for run in pick(results, study="restitution") if "curve.vaa.1" in run.metrics]
    learnt = [run.metrics for run in seen if LEARNT in run.metrics]
    before = sum(run.get("epochs_until_risen", float("inf")) <= run[LEARNT] for run in learnt)
    risen = [run for run in seen if "epochs_until_risen" in run.metrics]
    copied, denoised = (
        share([run for run in risen if run["benchmark"].startswith(task)]) for task in ("copy", "denoising")
    )
    plain = [run for run in pick(results, procedure=NONE) if {LEARNT, "vaa.final"} <= run.metrics.keys()]
    played = [
        run for run in plain if run["benchmark"].startswith("tmaze") or "RepeatFirst" in run["benchmark"]
    ]
    low = sum(run.metrics["vaa.final"] < RISEN for run in played)
    runs = pick(results, study="restitution", benchmark=COPY, cell=["LSTM", "nBRC"])
    runs = pick(runs, procedure=[NONE, WARM, CHRONO])
    text = f"""
True for copying if all places count, as in the VAA, but not if only places at rest do. The VAA was watched in
{len(seen)} runs of copying and denoising. {len(learnt)} of them learnt, and in {before} of these it had passed 0.1
by then. Of the runs that passed 0.1, {copied} learnt to copy, but only {denoised} to denoise: there it is not
enough. Most runs that learnt were warmed up or bistable from the start. In the LSTM with chrono initialisation the
VAA rises by itself, and learning follows some epochs later. Few of these places are at rest. It is not true of
shorter memory: of {len(played)} networks that learnt the T-Maze or RepeatFirst without a warmup, {low} ended with a
VAA below 0.1. They hold for as long as they were trained to, and not for 2,000 steps.
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
    studies = ["restitution", "row_mnist", "pixel_mnist"]
    runs = pick(results, study=studies, procedure=[NONE, WARM])
    rates = pick(results, study="learning_rate")
    procedures, metrics = [NONE, WARM], ["test.accuracy", "test.loss"]
    text = """
It is clear for copying, and for row MNIST with a GRU. At the default learning rate no GRU, LSTM or MGU learns to
copy without a warmup, and with it all do. No GRU or LSTM learns row MNIST, and with it all GRUs and two LSTMs of
three do. Denoising is learnt by one GRU of five after a warmup, and by none without. For BRCs and one nBRC of five
a warmup found nothing better than their own start, and left their weights as they were. No run learns permuted
MNIST with 300 black pixels: four epochs of 12,000 images are too few.
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
Learning is faster after a warmup on RepeatFirst Easy, and in the T-Maze of length 20 with `samples=prefixes`, the
authors' rule: the network learns from prefixes of episodes. In the other rows the median is better too, but the
interval includes no change. The corridor has length 20 unless given, and an epoch is 20 episodes. For RepeatFirst
Easy the table counts the episodes until it is solved. None of these runs solves Medium or Hard within 300 episodes,
so their return is compared. It is that of the validation episodes, by which the checkpoint was chosen. In the
passive T-Maze of Ni et al. (2023) three of three runs [0.29, 1.00] with the published warmup are optimal at length
100, after 65 to 68 epochs. One run at length 500 was not, after 20 epochs.
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
The double layer is clearly better than the plain warmed layer on JapaneseVowels alone; on BasicMotions it may be.
On row MNIST with a GRU it is worse with every seed, though the interval still includes no change, and one LSTM of
five did not learn to copy with it. Earlier runs supported
the claim for a GRU on denoising at T = 100 without clipping (commit bec289f, medians of three seeds: 0.145 without
a warmup, 0.191 with it, 0.0498 with the double layer). Their rows are not kept; `studies/claims.yaml` computes them
again.
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
