"""What all figures share: files without a screen, named axes, and lines that differ without colour too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
"""Palette of Okabe and Ito, which colour-blind readers can tell apart, without its yellow, too pale for a line."""

GREY = "0.65"
"""What lies behind the lines that matter."""

LINES = ("-", "--", "-.", ":")
MARKERS = "os^DvXP"


def style(index: int) -> dict[str, Any]:
    """Return colour, marker and line of the line ``index``; the latter two tell lines apart in grey print."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def label_axes(axes: Axes, title: str | None, x: str | None, y: str, log: bool = False) -> None:
    """Give axes a title, names, a grid, and a legend if lines have labels."""
    if title:
        axes.set_title(title)
    if x:
        axes.set_xlabel(x)
    axes.set_ylabel(y)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def save(figure: Figure, output: Path) -> Path:
    """Write a figure to a file and let go of it; return the file."""
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return output
