"""What is done to a recurrent network before, or beside, its training; free of torch, as the objectives are."""

from __future__ import annotations


def require(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise a ValueError that names a setting, its value and what is allowed, unless that holds."""
    if not holds:
        shape = getattr(value, "shape", None)
        raise ValueError(
            f"{name}={value if shape is None else f'a tensor {tuple(shape)}'}: must be {allowed}"
        )
