"""RESULTS.md: the page about the studies of this repository, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studies import claims, limits
from studies.groups import Result, pick
from studies.section import Section
from studies.tables import studies_table

STUDIES = {"restitution", "row_mnist", "tmaze", "popgym", "learning_rate", "series", "memory", "certified"}
"""What the page cannot do without."""


def page(results: Sequence[Result], figures: Path) -> list[Section]:
    """Return the sections of RESULTS.md; their figures are drawn into a folder."""
    in_order = (
        *(claims.start, claims.rise, claims.hold, claims.speed, claims.double, claims.chrono),
        *(limits.harm, limits.overwrite, limits.memory, limits.certified),
    )
    return [
        Section("# Results", INTRODUCTION),
        *([limits.no_regret(results, figures)] if pick(results, study="no_regret") else []),
        *(section(results, figures) for section in in_order),
        limits.cost(results),
        Section("## Runs", RUNS, [studies_table(results)]),
    ]


INTRODUCTION = """
This page tests the five claims of the paper's abstract ([arXiv 2106.01001](https://arxiv.org/abs/2106.01001)). It
also says where a warmup harms, how long memory lasts, and what it costs.

| claim | verdict |
| --- | --- |
| 1. Standard cells start with a single equilibrium | True for GRU, LSTM and MGU; false for BRC and nBRC |
| 2. Learning needs many reachable equilibria | For copying, a VAA above 0.1; for the T-Maze it does not |
| 3. Warmup makes learning faster and better | Clear for copying and for row MNIST with a GRU |
| 4. A double layer wins lost precision back | Shown on one short series only |
| 5. Other procedures raise multistability too | Chrono initialisation does, for a time |

**How to read it.** A number is the median over seeds; (a to b) is the full range. Figures show every run. Square
brackets hold 95 % intervals: Clopper-Pearson for counts, and for the mean change Student's t over pairs of equal
seeds. A change is a factor where less is better and no run is at 0 (`x 0.5` is half; its interval is that of the
logarithm), and a difference elsewhere; it compares the last procedure of a row with the one before it. P(better) is
the probability that a run of the last procedure beats a run of the other. Most rows have three or five seeds, so
the intervals are wide: 5 of 5 still allows any share above .48, and 3 of 3 any above .29.

**Words.** The VAA counts the places where 64 states end under one constant input, divided by 64; they read it for
2,000 steps unless a number is given. One place gives 0.0156. The resting VAA counts only places that one more step
does not move. A run has learnt when its validation loss is below half that of the best constant prediction, or
when its policy is optimal or solves the environment. "With warmup" is the published procedure, tried once
(`warmup.extension=1`). The double layer warms up one half of its units. The warmup for rest aims at places where
states stay. MGU, BRC and nBRC are gated cells; BRC and nBRC were designed to be bistable.

**Tasks.** *Copying* gives back the first of T inputs. *Denoising* gives back five marked values, which are held for
`pad length` steps or more. *Row MNIST* reads an image row by row and then 72 black rows, *permuted MNIST* its
pixels in a fixed random order. The *T-Maze* asks at the end of a corridor for the cue at its start, POPGym's
*RepeatFirst* at every step for the suit of the first card, *RepeatPrevious* for that of three cards ago, and
*flip-flop* for the bit that was last written. *Forecast* asks for the next values of a seasonal series.
*BasicMotions* and *JapaneseVowels* are classes of short series. Test results are those of the epoch with the best
validation.
"""

RUNS = """
Every run is a row in `studies/results`, with its commit and all settings that differ from the defaults, so the row
alone repeats it, except where a study says "with changes": some of its runs had code that was not committed yet.
Hours leave out the training of runs that were paused. The study file of the same name starts them. This command
writes the page: `python -m studies.page studies/results/*.csv --output RESULTS.md --figures .github/results`
"""
