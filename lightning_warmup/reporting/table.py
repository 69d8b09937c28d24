"""The table that a run ends with."""

from __future__ import annotations

from typing import Any


def table(report: dict[str, Any], trivial_loss: float | None) -> str:
    """Return the report as lines of text.

    Args:
        report: Content of ``report.json``.
        trivial_loss: Loss of the best constant predictor, None if it has no meaning.
    """
    rows = [
        (f"VAA (N={report['vaa_sequences']}, M={report['vaa_steps']})", _moments(report["vaa"])),
        ("  of states at rest", _moments(report["resting_vaa"])),
        ("resting fraction", _moments(report["rest"])),
    ]
    if attractors := _attractors(report.get("attractors", {})):
        rows.append(("attractors", attractors))
    rows += [(f"best validation {name}", f"{value:.4g}") for name, value in report["val"].items()]
    for name, value in report.get("test", {}).items():
        compared = name == "loss" and trivial_loss is not None
        trivial = f"   (trivial predictor {trivial_loss:g})" if compared else ""
        rows.append((f"test {name}", f"{value:.4g}{trivial}"))
    for group in sorted(name for name in report if name.endswith("_at_length")):
        lengths = "  ".join(f"{length}: {value:.4g}" for length, value in report[group].items())
        rows.append((group.replace("_", " "), lengths))
    rows.append(("seconds", "  ".join(f"{name}: {value:.1f}" for name, value in report["seconds"].items())))
    rows.append(("checkpoint", report["checkpoint"] or "none"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _moments(values: dict[str, float | None]) -> str:
    return "  ".join(f"{moment}: {value:.2f}" for moment, value in values.items() if value is not None)


def _attractors(values: dict[str, dict[str, float] | None]) -> str:
    """Return the share of each kind of attractor that occurs, at each moment that was measured."""
    return "  ".join(
        f"{moment}: " + ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if share)
        for moment, shares in values.items()
        if shares
    )
