"""What runs here, for reports of faults."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import TextIO

#: What didlab needs, and what it works with where that is there.
_REQUIRED = ("requests", "urllib3", "PySocks", "pandas", "numpy", "ipywidgets", "tqdm")
_RELATED = (
    "publicsuffixlist",
    "platformdirs",
    "zlib-ng",
    "backports.zstd",
    "certifi",
    "fsspec",
    "matplotlib",
    "anywidget",
    "cryptography",
    "ipython",
    "ipykernel",
    "jupyterlab",
    "notebook",
)

#: Variables that change how didlab talks to registries; in capitals or not, as requests reads them.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_OTHERS = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "DOCKER_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "DOCKER_DEFAULT_PLATFORM",
)


def versions(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the versions of Python, the system, didlab and its dependencies: no I/O beyond that.

    Variables of the environment that matter are named, their values left out: those of proxies
    hold passwords.
    """
    from didlab import __version__

    system = " ".join(part for part in (platform.system(), platform.release()) if part)
    found = {
        "didlab": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": f"{system or 'unknown'}, {platform.machine() or 'unknown'}",
    }
    for name in (*_REQUIRED, *_RELATED):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in _REQUIRED:
                found[name] = "not installed"
    found["proxies set"] = _names(environ, _PROXIES)
    found["also set"] = _names(environ, _OTHERS, prefix="DIDLAB_")
    return found


def _names(environ: Mapping[str, str], known: tuple[str, ...], prefix: str | None = None) -> str:
    names = [
        name
        for name in sorted(environ)
        if environ[name]
        and (name.upper() in known or (prefix is not None and name.startswith(prefix)))
    ]
    return ", ".join(names) or "none"


def show_versions(file: TextIO | None = None) -> None:
    """Print what a report of a fault should say: versions, system, and which proxies are set.

    Proxies and other settings of the environment are named only; no value is shown.

    Parameters
    ----------
    file : text file, optional
        Where to print to; standard output if not given.

    See Also
    --------
    didlab.versions.versions : The same as a dict.
    """
    found = versions()
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {value}", file=file or sys.stdout)
