"""What RESULTS.md says beside the claims: where a warmup harms, how long memory lasts, proofs, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_warmup.reporting.rows import markdown
from studies import regret
from studies.figures import draw_curves, draw_pairs
from studies.groups import Result, group, pick
from studies.section import NONE, REST, TASK, WARM, Section
from studies.tables import comparison, counts, share, spread, table


def no_regret(results: Sequence[Result], figures: Path) -> Section:
    """Whether a memory at the network's side can be left in."""
    absent = ", ".join(regret.missing(results))
    not_run = f"Not yet run with none, or not with silent-equal: {absent}." if absent else ""
    equal = "silent-equal"
    text = f"""
The question for anybody's project: can the warmup be left in? A network with a memory at its side (the default, and
`SideMemory`) starts as the plain network of its other half, and only that memory is warmed up. *none* is the
network without a warmup, and *warmup* the same, warmed up as a whole. *silent* has a memory at its side, *double*
is the published double layer, and *silent-rest* is the silent one with the warmup for rest, in as many attempts as
it takes, and with gradients clipped at 1. These have as many units as *none*; *silent-equal* is a silent one with
more units, and as many parameters as *none*, within 8 %. An entry is the median, with all runs in brackets. Tasks
that ask for a long memory come first: copying to RepeatFirst Medium. An epoch is ten episodes of RepeatFirst and
RepeatPrevious, and 20 of the other environments. CartPole counts as solved at a mean return of 195, or of .95 if
only its positions are seen. co2 is a forecast of the CO2 that was measured each week on Mauna Loa.

*No harm* means that the median is at least as good as the worst run of none. The test is lenient. Of procedures
that are as good as none, 80 % pass it with three seeds, and 92 % with five; of procedures that are worse by a
standard deviation 43 and 57 %. With as many parameters, silent-equal does no harm in
{regret.harmless(results, equal)} rows with three seeds or more. In {regret.unlearnt(results, equal)} of them
no run of none has learnt, so there was nothing to lose. Where memory is asked for it
learns what none does not learn, such as copying or row MNIST with a GRU, or learns sooner. With a GRU permuted
MNIST reaches an accuracy of .4 with and without it. An LSTM is less sure. It copies after ten epochs with three
seeds of five at T = 50, and two of three at T = 300. It learns row MNIST only after the warmup for rest, and of
permuted MNIST less than without (.11, not .23; one seed each).

With as many units, silent does no harm in {regret.harmless(results, "silent")} rows; it harms
{
        regret.harmed(results, "silent")
    }. Its plain half has half of the units, which may cost a little where nothing has
to be held for long. The published warmup of the whole network does no harm in {
        regret.harmless(results, "warmup")
    }
rows; it harms {regret.harmed(results, "warmup")}. The published double layer harms
{regret.harmed(results, "double")}, and silent-rest {regret.harmed(results, "silent-rest")}.

*As the best* is asked of the silent networks where a task needs a long memory: the median is at least as good as
the worst run of the best other procedure with three seeds or more. Fewer than three seeds settle nothing. The rows
of one task with two cells are not independent. The intervals say what is known of each.

All this is said of sequences as long as those of the training. What a memory holds after the published objective
drifts. In copying it is then read as a wrong value, and a network that has learnt nothing may do better. A forecast
at twice the length is worse, with some seeds by far. In a T-Maze of 50 times the length
{regret.still(results, "gru", regret.SILENT)} silent GRUs are still right, and
{regret.still(results, "gru", ("none",))} without a warmup; of LSTMs {
        regret.still(results, "lstm", regret.SILENT)
    }
and {
        regret.still(results, "lstm", ("none",))
    }. With the warmup for rest a memory lasts in copying; in the T-Maze it
does not always.

Half of the steps may do where the whole fit is short: *silent-short*, with as many parameters as none and 50 steps
instead of 100, does no harm in {
        regret.harmless(results, regret.SHORT)
    } rows. On the three shortest tasks its stage
takes about a third of the seconds of the fit, where that of 100 steps takes about half. LSTMs may then be left with
few places.

{not_run}"""
    tasks = {
        "repeat_first": "RepeatFirst: hold a card over 51 answers",
        "repeat_previous": "RepeatPrevious: recall three steps ago",
    }
    return Section(
        "## Does it ever harm?",
        text,
        [
            regret.draw_learning(results, tasks, figures / "regret.png"),
            regret.measured(results),
            "Is the median as good as the worst run of none?",
            regret.judged(results),
            "The mean change from none to the silent networks, over pairs of equal seeds:",
            regret.changes(results),
            "The same networks on the longest sequences that they were tested on:",
            regret.longer(results),
            "How many runs learnt, of tasks that have runs with all three procedures, not all of equal seeds:",
            regret.learnt(results),
            "Seconds of the stage, in parts of those of the training that follows:",
            regret.seconds(results),
            "A warmup of 50 steps instead of 100, with as many parameters as none:",
            regret.halved(results),
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
It can harm where a short memory is enough. Without a warmup three of three GRUs of 64 units [0.29, 1.00] solve
RepeatPrevious, after 110 to 140 episodes; with the published one none of three [0.00, 0.71] does within 300. On
JapaneseVowels (at most 29 steps) GRUs of 64 units make more errors after it, and so do GRUs and LSTMs of 128 units,
above. On BasicMotions (100 steps) it is undecided. The intervals over three pairs are wide, and include no change.
"""
    return Section(
        "## Where the published warmup harms",
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
Denoising overwrites what it holds. Here (T = 100, gradients clipped at 1) it has a shorter warmup for rest:
`warmup.steps=100 warmup.epsilon=0.0001 warmup.regularize=0`. Here `epsilon` is the distance that counts as one
place. The medians are below those of earlier runs with the published warmup (commit fea5481, three seeds: GRU
0.0932, LSTM 0.992, MGU 0.310, nBRC 0.446), for MGU and nBRC by little. How many learnt, and their loss:
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
    rows = []
    for key, runs in group(tried, ["benchmark", "cell", "procedure"]).items():
        proven = [run for run in runs if "certified.radius" in run.metrics]
        columns = [spread(proven, f"certified.{name}") for name in ("radius", "disturbance", "from_length")]
        rows.append([*key, share(runs, "certified.radius"), *columns, spread(runs, "seconds.proof")])
    header = ["benchmark", "cell", "procedure", "proven", "radius", "disturbance", "right from length"]
    text = f"""
`proof.steps` trains a network on until boxes of its states prove it right for every string of its task, however
long, in real arithmetic. A box lets each unit be 0.05 or more to either side of its middle; the least such distance
is the radius. The disturbance is how far all units may be moved in every step, once they are in their boxes. A
network without a proof is left as it was. A proof was found in {share(tried, "certified.radius")} runs. Entries are
medians over seeds, with the range. The seconds, of the proof alone, were measured on a core that was often shared.

Two networks that got no proof at first, an MGU and an LSTM of seed 21, were looked at: one unit alone remembers the
cue, and slowly forgets it. Such networks practise on longer strings, with states that were moved, and it is tried
again: the MGU is then proven. Of the LSTMs with a memory at their side two of three are proven, and three of three
if the warmup is kept up in the training (`warmup.regularize=0.1`).

The figure (`python -m studies.boxes`) has 64 histories in a corridor of 2,000 steps, moved at random by as much as
the proof tolerates. They enter the boxes of a proven policy (with the warmup for rest, seed 22, trained at length
40) and never leave. After the published warmup, in a policy trained at length 20, the distance of the two cues'
states falls from 4.1 after 20 steps to 0.68.

Without a warmup, and after the published one, none of eight policies of the T-Maze of length 40 [0.00, 0.37] is
right at length 2,000.
"""
    boxes = figures / "boxes.png"  # drawn by studies.boxes
    return Section("### Proven for every length", text, (boxes, markdown([*header, "seconds"], rows)))


def cost(results: Sequence[Result]) -> Section:
    """Seconds of the stage and of the training."""
    names = ["cell", "procedure"]
    metrics = {"seconds of the warmup": "seconds.warmup", "seconds of the fit": "seconds.fit"}
    text = """
One core, one layer of 64 units, T = 100, ten epochs, on a machine that was often shared. The fit is the
training alone, without the warmup. Deeper networks take longer, and so does a warmup that misses its goal.
"""
    return Section(
        "## What it costs", text, [table(group(pick(results, study="memory"), names), names, metrics)]
    )
