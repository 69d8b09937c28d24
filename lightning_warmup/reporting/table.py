"""The table that a run ends with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def table(report: dict[str, Any], trivial_loss: float | None) -> str:
    """Return the report as lines of text.

    Args:
        report: Content of ``report.json``.
        trivial_loss: Loss of the best constant predictor, None if it has no meaning.
    """
    rows = [
        (
            f"VAA (N={report['vaa_sequences']}, M={report['vaa_steps']})",
            _list(report["vaa"], "{:.2f}".format),
        ),
        ("  of states at rest", _list(report["resting_vaa"], "{:.2f}".format)),
        ("resting fraction", _list(report["rest"], "{:.2f}".format)),
    ]
    if attractors := _list(report.get("attractors", {}), _shares):
        rows.append(("attractors, one draw", attractors))
    rows += [(f"best validation {name}", f"{value:.4g}") for name, value in report["val"].items()]
    for name, value in report.get("test", {}).items():
        compared = name == "loss" and trivial_loss is not None
        trivial = f"   (trivial predictor {trivial_loss:g})" if compared else ""
        rows.append((f"test {name}", f"{value:.4g}{trivial}"))
    for group in sorted(name for name in report if "_at_" in name):
        rows.append((group.replace("_", " "), _list(report[group], "{:.4g}".format)))
    if certified := report.get("certified"):
        rows.append(("states repeat", _certificate(certified)))
        if before := report.get("certified_before"):
            rows.append(("  before consolidation", _certificate(before)))
    rows.append(("seconds", _list(report["seconds"], "{:.1f}".format)))
    rows.append(("checkpoint", report["checkpoint"] or "none"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _certificate(certified: Mapping[str, Any]) -> str:
    first, rest = certified["from_length"], certified["rest_after"]
    found = "not found" if first is None else f"without errors from length {first} on"
    parts, failures = [found], (certified["first_failure"], certified["last_failure"])
    if failures[0] is not None:
        followed = failures[1] == certified["steps"] + 1
        parts.append("fails from {} to {}".format(*failures) + ", the longest seen" * followed)
    parts.append("not at rest" if rest is None else f"at rest after {rest} steps")
    return ", ".join([*parts, f"states {certified['distance']:.2g} apart"])


def _list(values: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    return "  ".join(f"{name}: {text(value)}" for name, value in values.items() if value is not None)


def _shares(values: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in values.items() if share)
