"""What stands for the name of an image that lies in a file: its own name, or none."""

from __future__ import annotations

from dataclasses import dataclass

from didlab import errors
from didlab.oci.descriptor import Descriptor
from didlab.oci.reference import Reference

__all__ = ["CONTAINERD_NAME", "REF_NAME", "LocalName", "named", "reference_of", "same_name"]

#: Where an OCI layout's index says what an image is called: containerd's full name, and a tag.
CONTAINERD_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"

_SUFFIXES = (".tar.gz", ".tar.zst", ".tgz", ".tar")


@dataclass(frozen=True, slots=True)
class LocalName(Reference):
    """A file and which of its images is meant; printable, but no name at any registry.

    ``label`` is what the user wrote behind the file: a name, a bare tag, a digest or ``@1`` for
    the second image; None where nothing was written. It never becomes a tag anywhere.

    Examples
    --------
    >>> str(LocalName.of("images/app.tar")), str(LocalName.of("images/app.tar", "web:2"))
    ('app.tar', 'app.tar:web:2')
    """

    file: str = ""
    label: str | None = None

    @classmethod
    def of(cls, path: str, label: str | None = None) -> LocalName:
        """Return the name for an image in the file or folder ``path``."""
        file = path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path
        stem = file
        for suffix in _SUFFIXES:
            if file.lower().endswith(suffix) and len(file) > len(suffix):
                stem = file[: -len(suffix)]
                break
        return cls("", stem, None, None, file, label)

    def __post_init__(self) -> None:
        # Nothing to check: it goes neither into URLs nor into an archive as a name.
        pass

    @property
    def name(self) -> str:
        """The file."""
        return self.file

    @property
    def target(self) -> str:
        """Which image of the file."""
        return self.label or ""

    def __str__(self) -> str:
        return self.file if self.label is None else f"{self.file}:{self.label}"

    def familiar(self) -> str:
        """Return the same as ``str``."""
        return str(self)


def reference_of(name: object) -> Reference | None:
    """Return the reference that a name in an archive spells out; None for anything else.

    A bare tag is none: nobody says of which repository. Nor is a name without a tag.

    >>> str(reference_of("app:1")), reference_of("1.27"), reference_of("<script>")
    ('docker.io/library/app:1', None, None)
    """
    if not isinstance(name, str) or ":" not in name.rpartition("/")[2]:
        return None
    try:
        found = Reference.parse(name)
    except errors.InvalidReference:
        return None
    return found if found.tag is not None and found.digest is None else None


def same_name(written: str, wanted: str) -> bool:
    """Whether a name in an archive is the one that somebody asks for.

    >>> same_name("docker.io/library/app:1", "app:1"), same_name("1.27", "1.27")
    (True, True)
    """
    if written == wanted:
        return True
    ours = reference_of(written)
    if ours is None:
        return False
    try:
        return ours == Reference.parse(wanted)
    except errors.InvalidReference:
        return False


def named(descriptor: Descriptor, asked: LocalName) -> Reference:
    """Return the name that an archive's own descriptor has for an image, else what was asked."""
    names = [descriptor.annotations.get(key) for key in (CONTAINERD_NAME, REF_NAME)]
    for name in names:
        found = reference_of(name)
        if found is not None:
            return found
    label = names[1]
    if label and asked.label is None:
        return LocalName.of(asked.file, errors.printable(label, 200))
    return asked
