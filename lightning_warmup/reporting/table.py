"""The table that a run ends with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

MANY, STILL = 0.5, 0.5
"""VAA from which a network can remember; the share of it at rest below which its memory may fade."""
DRIFTS = "its states still move: warmup.objective=rest, or more of its steps, brings them to rest, and memory lasts"
Rows = list[tuple[str, str]]


def table(report: dict[str, Any]) -> str:
    """Return the content of ``report.json`` as lines of text, the verdict on its memory first."""
    rows = [*_verdict(report), *_multistability(report), *_tests(report)]
    if report.get("certified"):
        rows.append(("proof", _proof(report["certified"])))
    rows.append(("seconds", _list(report["seconds"], "{:.1f}".format)))
    rows.append(("checkpoint", report["checkpoint"] or "none"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _verdict(report: Mapping[str, Any]) -> Rows:
    """Return how long the network remembers at each moment, and what to try if its states drift."""
    memory = {when: it for when, it in (report.get("memory") or {}).items() if it}
    spans = [_span(it, report["vaa"][when], report["vaa_sequences"]) for when, it in memory.items()]
    rows = [("memory", " -> ".join(spans))] if memory else []
    moments = [when for when in ("final", "after") if report["vaa"].get(when) is not None]
    if moments:
        vaa, resting = report["vaa"][moments[0]], report["resting_vaa"][moments[0]]
        if vaa >= MANY and resting < STILL * vaa:
            rows.append(("memory may fade", DRIFTS))
    return rows


def _span(memory: Mapping[str, Any], vaa: float, sequences: int) -> str:
    """Return how long a network remembers, and how much if it has few places.

    Only pairs of sequences that end in different places stay apart: with K equal places, 1 - 1/K of the pairs.
    """
    apart, pairs, limit = memory["apart"], memory["pairs"], memory["limit"]
    if apart == 0:
        steps = math.ceil(memory["steps"])
        return f"forgets within {steps:,} {'step' if steps == 1 else 'steps'}"
    text = f"holds for more than {limit:,}"
    if apart < pairs:
        text = f"{apart} of {pairs} pairs still apart after {limit:,} steps"
    places = round(vaa * sequences)
    if vaa >= MANY or places < 2:
        return text
    return f"{text} ({places} places, {math.log2(places):.2g} {'bits' if places > 2 else 'bit'})"


def _multistability(report: Mapping[str, Any]) -> Rows:
    """Return what is measured under a constant input."""
    steps = f"{report['vaa_steps']:,} steps"
    rows = [
        (f"VAA of {report['vaa_sequences']} after {steps}", _list(report["vaa"], "{:.2f}".format)),
        ("  of states at rest", _list(report["resting_vaa"], "{:.2f}".format)),
        ("  share at rest", _list(report["rest"], "{:.2f}".format)),
    ]
    if attractors := _list(report.get("attractors", {}), _shares):
        # A state that is not at rest yet may be on its way to a fixed point.
        rows.append(("  what they approach", attractors))
    return rows


def _tests(report: Mapping[str, Any]) -> Rows:
    rows = [(f"best validation {name}", f"{value:.4g}") for name, value in report["val"].items()]
    for name, value in report.get("test", {}).items():
        known = name == "loss" and report["trivial_loss"] is not None
        trivial = f"   (trivial predictor {report['trivial_loss']:g})" if known else ""
        rows.append((f"test {name}", f"{value:.4g}{trivial}"))
    groups = sorted(name for name in report if "_at_" in name)
    return rows + [(group.replace("_", " "), _list(report[group], "{:.4g}".format)) for group in groups]


def _proof(certified: Mapping[str, Any]) -> str:
    if not certified["proven"]:
        return f"not proven: {certified['condition']}"
    length, radius = certified["from_length"], certified["radius"]
    return f"proven right at every length from {length} on, units free within {radius:.2g}"


def _list(values: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    return "  ".join(f"{name}: {text(value)}" for name, value in values.items() if value is not None)


def _shares(values: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in values.items() if share)
