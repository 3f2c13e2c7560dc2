"""HTML cards: one for each kind of object, each drawn from one plain dict of facts.

A card never raises and never asks anybody: `manifest` alone may have its facts completed first,
within some seconds. It holds no script, style sheet or id, stays below `parts.MOST` bytes, and
shows no remote text unescaped and nothing that looks like a secret.
"""

from __future__ import annotations

from didlab.views.cards.documents import attestation, config
from didlab.views.cards.image import manifest
from didlab.views.cards.layer import layer
from didlab.views.cards.places import registry, repository
from didlab.views.cards.reports import copied, extracted, loaded, saved

__all__ = [
    "attestation",
    "config",
    "copied",
    "extracted",
    "layer",
    "loaded",
    "manifest",
    "registry",
    "repository",
    "saved",
]
