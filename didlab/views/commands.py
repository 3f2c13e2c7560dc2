"""The commands of an image's history as a Dockerfile has them, without what builders add."""

from __future__ import annotations

import re

#: No command that people read is longer; what comes behind is not looked at.
_MOST = 20_000

# Docker's classic builder runs everything by the shell, and marks what only changes the config.
_NOP = re.compile(r"^(?:/bin/(?:ba|da|a)?sh -c|cmd /S /C|powershell -Command)\s+#\(nop\)\s+")
_SHELL = re.compile(r"^(?:RUN\s+)?(?:/bin/(?:ba|da|a)?sh -c|cmd /S /C)\s+")
# |2 A=1 B=2 /bin/sh -c …: build arguments, counted.
_ARGUMENTS = re.compile(r"^(RUN\s+)?\|([0-9]{1,3})\s+(?=\S)")
_BUILDKIT = re.compile(r"\s*#\s*buildkit(?:\.\S*)?\s*$")
_CHECKSUM = re.compile(r"\b((?:file|dir|multi|sha256):[0-9a-f]{6})[0-9a-f]{20,}")
_SPACE = re.compile(r"[ \t\r\n]+")
_INSTRUCTION = re.compile(
    r"^(?:ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN"
    r"|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)\s"
)


def clean(created_by: str) -> str:
    r"""Return a history's ``created_by`` as one line of a Dockerfile.

    >>> clean('/bin/sh -c #(nop)  CMD ["nginx"]')
    'CMD ["nginx"]'
    >>> clean("RUN /bin/sh -c apt-get update \t && true # buildkit")
    'RUN apt-get update && true'
    >>> clean("/bin/sh -c set -x"), clean("|1 A=b /bin/sh -c make")
    ('RUN set -x', 'RUN make')
    """
    text = _BUILDKIT.sub("", created_by[:_MOST].strip(" \t\r\n"))
    plain = _NOP.sub("", text)
    if plain != text:
        return _joined(plain)
    argued = _ARGUMENTS.match(text)
    if argued:
        shell = re.search(r"(?:^|\s)(/bin/\S*sh -c\s)", text)
        if shell:
            text = text[shell.start(1) :]
    ran = _SHELL.sub("", text)
    if ran != text:
        return _joined(ran if _INSTRUCTION.match(ran) else f"RUN {ran}")
    return _joined(text)


def _joined(text: str) -> str:
    return _SPACE.sub(" ", _CHECKSUM.sub(r"\1…", text)).strip(" ")
