"""A repository: its tags, and the manifests behind them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from didlab.errors import DidlabError, InvalidArgument
from didlab.model.completion import Completer
from didlab.model.manifest import Manifest
from didlab.oci.digest import is_digest
from didlab.oci.manifest import ImageManifest
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources import chain
from didlab.sources.base import Source, WrapperSource
from didlab.sources.foreign import following, follows
from didlab.sources.registry import RegistrySource
from didlab.transport.options import Options
from didlab.views import cards, frames, text

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.plotting import RepositoryPlots
    from didlab.model.registry import Registry

#: Tags that are looked into at the same time.
_PARALLEL = 8


class Repository:
    """A named collection of tags at a registry. Made by ``registry["nginx"]``: no request.

    Attributes
    ----------
    name : str
        The full path at the registry: ``library/nginx``.
    registry : Registry
        The registry.
    """

    def __init__(self, registry: str, options: Options, name: str, foreign: bool = False) -> None:
        self._inner = RegistrySource(registry, options, name)
        self._source = following(chain.registry(registry, options, name), foreign)
        self._completer = Completer(lambda: list(self._source.tags()))

    @classmethod
    def _of(cls, source: Source) -> Repository | None:
        """Return the repository that a source reads, if it reads one at a registry."""
        foreign = follows(source)
        while isinstance(source, WrapperSource):
            source = source.inner
        if isinstance(source, RegistrySource):
            return cls(source.registry, source.options, source.repository, foreign)
        return None

    @property
    def name(self) -> str:
        """The full path at the registry."""
        return self._inner.repository

    @property
    def registry(self) -> Registry:
        """The registry it lies at."""
        from didlab.model.registry import Registry

        return Registry._of(self._inner.registry, self._inner.options, follows(self._source))

    @property
    def plot(self) -> RepositoryPlots:
        """Plots of the repository, by matplotlib: ``repository.plot.growth()``."""
        from didlab.model.plotting import RepositoryPlots

        return RepositoryPlots(self)

    def tags(self, *, details: bool = False) -> pd.DataFrame:
        """List the tags, in the registry's order.

        Parameters
        ----------
        details : bool
            Look into every tag: two or three requests each, eight tags at a time. Tags that
            cannot be read have missing values; ``frame.attrs["errors"]`` says why.

        Returns
        -------
        DataFrame
            tag : text; with ``details`` also digest : text, created : datetime64[us, UTC],
            size : Int64 (bytes to download for the default platform, else the first one),
            platforms : text (separated by commas).

        Raises
        ------
        RepositoryNotFound, AuthError, TransportError

        Notes
        -----
        One request for each 1,000 tags, or fewer as the registry decides.
        """
        names = list(self._source.tags())
        where = f"{self._inner.registry}/{self.name}"
        if not details:
            return frames.frame("tags", [(name,) for name in names], reference=where)
        return self._details(names)

    def _details(self, names: list[str]) -> pd.DataFrame:
        pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="didlab-tags")
        try:
            looked = list(pool.map(self._look, names))
        finally:
            # Not `with`: after Ctrl+C that would wait for every tag that is left.
            pool.shutdown(wait=False, cancel_futures=True)
        where = f"{self._inner.registry}/{self.name}"
        made = frames.frame("tags+details", [row for row, _ in looked], reference=where)
        made.attrs["errors"] = {
            name: error for name, (_, error) in zip(names, looked, strict=True) if error is not None
        }
        return made

    def _look(self, name: str) -> tuple[tuple[Any, ...], str | None]:
        manifest = self[name]
        digest: str | None = None
        try:
            digest = manifest.digest()
            platforms = _image_platforms(manifest)
            one = manifest
            if platforms and not isinstance(manifest._document(), ImageManifest):
                one = _default_or_first(manifest, platforms)
            created = one._config().created if one._image().is_image else None
            return (name, digest, created, one.size(), ", ".join(platforms) or None), None
        except DidlabError as error:
            return (name, digest, None, None, None), str(error)

    def manifest(
        self, reference: str = "latest", *, platform: str | Platform | None = None
    ) -> Manifest:
        """Return the manifest under a tag or digest: no request, as ``repository[reference]``.

        Parameters
        ----------
        reference : str
            ``1.27``, ``sha256:…``, or ``1.27@sha256:…``.
        platform : str, optional
            As `Manifest.platform` takes it.

        Raises
        ------
        InvalidReference
        """
        made = self[reference]
        return made if platform is None else made[platform]

    def __getitem__(self, reference: str) -> Manifest:
        if not isinstance(reference, str):
            raise InvalidArgument(
                f"a repository is indexed by a tag or digest, not by {type(reference).__name__}"
            )
        name = f"{self._inner.registry}/{self.name}"
        bare = reference.removeprefix("@")
        between = "@" if is_digest(bare) else ":"
        return Manifest(self._source, Reference.parse(f"{name}{between}{bare}"))

    #: The tags are a question, not a sequence in memory: ask `tags`.
    __iter__ = None

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Repository):
            return self._source.location == other._source.location
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._source.location)

    def __reduce__(self) -> tuple[Any, ...]:
        place = self._inner.registry, self._inner.options, self.name
        return Repository, (*place, follows(self._source))

    def __repr__(self) -> str:
        return text.repository(self._facts())

    def _repr_html_(self) -> str:
        return cards.repository({**self._facts(), "tags": list(self._completer._names)})

    def _facts(self) -> dict[str, Any]:
        return {"registry": self._inner.registry, "name": self.name}

    def _ipython_key_completions_(self) -> list[str]:
        return self._completer()


def _image_platforms(manifest: Manifest) -> list[str]:
    root = manifest._document()
    if isinstance(root, ImageManifest):
        if not root.is_image:
            return []
        from didlab.model.snapshot import config_platform

        return [str(config_platform(manifest._config()))]
    return manifest._platform_names()


def _default_or_first(manifest: Manifest, platforms: list[str]) -> Manifest:
    try:
        manifest._image()
    except LookupError:
        return manifest[platforms[0]]
    return manifest
