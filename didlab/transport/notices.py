"""``Warning`` headers: what a registry wants its users to be told, told once."""

from __future__ import annotations

import logging
import re

from didlab.errors import printable
from didlab.transport.wire import Answer

#: Most texts that are remembered as told, and so shown, in one process.
LIMIT = 100

# The only form that the distribution specification knows: 299 - "text".
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')

_log = logging.getLogger("didlab")
_told: set[tuple[str, str]] = set()


def show(answer: Answer) -> None:
    """Log the warnings of a registry's answer, each once in the life of the process."""
    for value in answer.all_headers("Warning"):
        for text in _WARNING.findall(value[:8192]):
            key = (answer.host, text)
            if key not in _told and len(_told) < LIMIT:
                _told.add(key)
                _log.warning("%s: %s", answer.host, printable(text, 300))
