"""What all figures share: files without a screen, axes with names, and lines that differ in grey too."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MARKERS = "os^DvXP"
"""Lines differ by marker and by grey level, so that a figure can be printed in grey."""


def label_axes(axes: Axes, title: str | None, x: str | None, y: str, log: bool = False) -> None:
    """Gives axes a title, names for what they show, a grid, and a legend if lines have labels."""
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
    """Writes a figure to a file and lets go of it; returns the file."""
    figure.savefig(output, dpi=150)
    plt.close(figure)
    return output
