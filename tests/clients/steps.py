"""What the Python scripts share: one line for each step, and environment variables that cannot be done without."""

import os
import sys


def environment(*names: str) -> list[str]:
    """The values of these variables, in order."""
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        sys.exit(f"set {', '.join(missing)}: tests/clients/mod.rs says what they hold")
    return [os.environ[name] for name in names]


def step(text: str) -> None:
    """Tells that something works."""
    print(f"ok: {text}", flush=True)


def check(holds: object, claim: str) -> None:
    """Ends the run unless the claim holds."""
    if not holds:
        raise AssertionError(f"not so: {claim}")


def same(actual: object, expected: object, what: str) -> None:
    """Ends the run unless both are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")
