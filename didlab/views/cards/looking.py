"""A look that takes some seconds at most: what did not come by then is not waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from didlab.errors import DidlabError


def within(look: Callable[[], object], seconds: float) -> str | None:
    """Return what went wrong with a look, None if nothing did. Never raises."""
    said: list[str] = []

    def run() -> None:
        try:
            look()
        except DidlabError as error:
            said.append(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001
            said.append(type(error).__name__)

    worker = threading.Thread(target=run, name="didlab-card", daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        return f"no answer within {seconds:.0f} s; m.config() waits for it"
    return said[0] if said else None
