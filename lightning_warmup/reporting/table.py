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
        rows.append(("proof", _proof(certified)))
    rows.append(("seconds", _list(report["seconds"], "{:.1f}".format)))
    rows.append(("checkpoint", report["checkpoint"] or "none"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _proof(certified: Mapping[str, Any]) -> str:
    if not certified["proven"]:
        return f"not proven: {certified['condition']}"
    length, radius = certified["from_length"], certified["radius"]
    return f"proven right at every length from {length} on, units free within {radius:.2g}"


def _list(values: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    return "  ".join(f"{name}: {text(value)}" for name, value in values.items() if value is not None)


def _shares(values: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in values.items() if share)
