"""didlab: pandas for container images.

Look inside container images and download them, without Docker::

    import didlab

    m = didlab.open("nginx:1.27")
    m.platforms()  # DataFrame: one row for each platform
    m.layers()  # DataFrame: sizes, digests, the command that made each
    m.config().env["PATH"]
    m.save("nginx.tar")  # docker load -i nginx.tar

Nothing here touches the network until it is called; ``import didlab`` itself loads neither
requests nor pandas, ipywidgets, tqdm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from didlab import errors as errors
    from didlab import plot as plot
    from didlab.audits.diff.images import diff as diff
    from didlab.audits.fleet.auditing import audit as audit
    from didlab.audits.fleet.check import check as check
    from didlab.audits.fleet.policies import policy as policy
    from didlab.audits.fleet.report import Report as Report
    from didlab.audits.fleet.rule import rule as rule
    from didlab.blobs.info import cache_info as cache_info
    from didlab.blobs.info import clear_cache as clear_cache
    from didlab.demo import sandbox as sandbox
    from didlab.filesystem import ImageFileSystem as ImageFileSystem
    from didlab.model.attestation import Attestation as Attestation
    from didlab.model.bundle import endpoints as endpoints
    from didlab.model.bundle import plan as plan
    from didlab.model.bundle import save as save
    from didlab.model.completing import complete as complete
    from didlab.model.configuration import show_config as show_config
    from didlab.model.copying import copy as copy
    from didlab.model.images import images as images
    from didlab.model.layer import Layer as Layer
    from didlab.model.manifest import Manifest as Manifest
    from didlab.model.opening import open as open
    from didlab.model.registry import Registry as Registry
    from didlab.model.repository import Repository as Repository
    from didlab.model.verifying import verify as verify
    from didlab.oci.reference import Reference as Reference
    from didlab.settings import set_options as set_options
    from didlab.versions import show_versions as show_versions
    from didlab.widgets.exploring import explore as explore

# Public name -> the module that has it; resolved on first use (PEP 562), so that importing
# didlab stays cheap. test_import_cost.py holds this table equal to the block above.
_PUBLIC = {
    "Attestation": "didlab.model.attestation",
    "ImageFileSystem": "didlab.filesystem",
    "Layer": "didlab.model.layer",
    "Manifest": "didlab.model.manifest",
    "Reference": "didlab.oci.reference",
    "Registry": "didlab.model.registry",
    "Report": "didlab.audits.fleet.report",
    "Repository": "didlab.model.repository",
    "audit": "didlab.audits.fleet.auditing",
    "cache_info": "didlab.blobs.info",
    "clear_cache": "didlab.blobs.info",
    "check": "didlab.audits.fleet.check",
    "complete": "didlab.model.completing",
    "copy": "didlab.model.copying",
    "diff": "didlab.audits.diff.images",
    "endpoints": "didlab.model.bundle",
    "explore": "didlab.widgets.exploring",
    "images": "didlab.model.images",
    "open": "didlab.model.opening",
    "plan": "didlab.model.bundle",
    "policy": "didlab.audits.fleet.policies",
    "rule": "didlab.audits.fleet.rule",
    "sandbox": "didlab.demo",
    "save": "didlab.model.bundle",
    "set_options": "didlab.settings",
    "show_config": "didlab.model.configuration",
    "show_versions": "didlab.versions",
    "verify": "didlab.model.verifying",
}

#: What needs an extra: not among what ``from didlab import *`` loads.
_EXTRA = {"ImageFileSystem"}

#: Public modules.
_MODULES = ("errors", "plot")

__all__ = ["__version__", *_MODULES, *sorted(_PUBLIC.keys() - _EXTRA)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"didlab.{name}")
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module 'didlab' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_EXTRA})
