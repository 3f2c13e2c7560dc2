"""Let a person choose among an image's platforms. Loads no pandas: saving waits for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from didlab.cli.connection import at_terminal
from didlab.errors import DidlabError, InvalidArgument, printable
from didlab.model.manifest import Manifest
from didlab.oci.platform import Platform, default_platform, select
from didlab.sizes import human

_PARALLEL = 4
#: Seconds that the sizes may take: the question does not wait for a slow registry.
_PATIENCE = 3.0


def possible() -> bool:
    """Whether somebody is there to ask and to answer; stdout may go to a file."""
    return at_terminal(sys.stdin) and at_terminal(sys.stderr)


def choose(manifest: Manifest) -> Manifest:
    """Return the image for the platform that the person chooses; the same where there is no choice.

    Raises
    ------
    KeyboardInterrupt
        The person has thought better of it.
    """
    declared = (platform for _, platform in manifest._snapshot.images())
    platforms = [one for one in dict.fromkeys(declared) if str(one) and one.os != "unknown"]
    if len(platforms) < 2:
        return manifest
    default = select(default_platform(), platforms)
    _show(manifest, platforms, default)
    while True:
        answer = _ask(_prompt(platforms, default))
        at = understood(answer, platforms, default)
        if at is not None:
            return manifest[platforms[at]]
        _write("There is no such platform.\n")


def understood(text: str, platforms: Sequence[Platform], default: int | None) -> int | None:
    """Return the index that an answer means, None when it means nothing.

    >>> offered = [Platform("linux", "amd64"), Platform("linux", "arm64", "v8")]
    >>> understood("2", offered, 0), understood("", offered, 0), understood("arm64", offered, 0)
    (1, 0, 1)
    """
    if not text:
        return default
    if text.isascii() and text.isdigit():
        number = int(text[:9])
        return number - 1 if 1 <= number <= len(platforms) else None
    try:
        return select(Platform.parse(text), platforms)
    except InvalidArgument:
        return None


def _show(manifest: Manifest, platforms: Sequence[Platform], default: int | None) -> None:
    names = [printable(platform, 60) for platform in platforms]
    sizes = _sizes(manifest, platforms)
    wide = max(map(len, names))
    lines = [f"{printable(manifest.reference.familiar())} is made for several platforms:"]
    for number, (name, size) in enumerate(zip(names, sizes, strict=True), 1):
        mark = "  (default here)" if number - 1 == default else ""
        lines.append(f"{number:4}  {name:{wide}}  {size:>8}{mark}")
    _write("\n".join(lines) + "\n")


def _sizes(manifest: Manifest, platforms: Sequence[Platform]) -> list[str]:
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="didlab-sizes")
    try:
        asked = [pool.submit(_size, manifest, platform) for platform in platforms]
        wait(asked, _PATIENCE)
    finally:
        # Not `with`: that would wait, also after Ctrl+C.
        pool.shutdown(wait=False, cancel_futures=True)
    return [one.result() if one.done() and not one.cancelled() else "?" for one in asked]


def _size(manifest: Manifest, platform: Platform) -> str:
    try:
        return human(manifest[platform].size())
    except DidlabError:
        return "?"  # the choice is still there; saving it will say what is wrong


def _prompt(platforms: Sequence[Platform], default: int | None) -> str:
    enter = "" if default is None else f", Enter for {default + 1}"
    return f"Which one? [1-{len(platforms)}{enter}, q to quit] "


def _ask(prompt: str) -> str:
    # Not input(): that writes to stdout, which may be somebody's file.
    _write(prompt)
    line = sys.stdin.readline()
    answer = line.strip()
    if not line or answer.lower() in ("q", "quit"):
        if not line:
            _write("\n")
        raise KeyboardInterrupt
    return answer


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
