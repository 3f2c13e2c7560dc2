"""What every listing of a layer looks at, besides what it was asked for."""

from __future__ import annotations

from didlab.files.looks import Look


def always() -> tuple[Look, ...]:
    """Return the looks that go along with every pass over a layer."""
    from didlab.audits.ecosystems.look import PackagesLook

    return (PackagesLook(),)
