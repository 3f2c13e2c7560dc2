"""An archive or layout as a whole: both of its lists, every member, every loader."""

from __future__ import annotations

from typing import Any

from didlab.errors import FileChanged, TarInvalid
from didlab.export import progress as progresses
from didlab.export import thin
from didlab.export.thin import Needs
from didlab.model.checking import BROKEN, Checker
from didlab.model.findings import Findings
from didlab.model.verifying_docker import DockerCheck
from didlab.model.verifying_members import Inventory, open_members
from didlab.oci import loaders, media_types, strict_json
from didlab.oci import manifest as manifests
from didlab.oci.descriptor import Descriptor
from didlab.oci.loaders import ArchiveFacts, EntryFacts, ImageFacts
from didlab.oci.local_name import CONTAINERD_NAME, REF_NAME, reference_of, same_name
from didlab.oci.manifest import MANIFEST_LIMIT, ImageIndex
from didlab.sources.local import view as views
from didlab.sources.local.docker import DockerView, Item
from didlab.sources.local.members import Member
from didlab.sources.local.source import LocalSource

_LAYOUT_LIMIT = 4096


class ArchiveCheck:
    """One archive."""

    def __init__(self, source: LocalSource, found: Findings) -> None:
        self._path = source._path
        self._found = found
        self._needs: Needs | None = None
        self._inside: Inventory

    def run(self, progress: Any) -> None:
        """Check everything."""
        opened = open_members(self._path, self._found)
        if opened is None:
            return
        here = self._inside = Inventory(opened, self._found)
        here.look()
        index, manifest = here.find("index.json"), here.find("manifest.json")
        whole = here.ended()
        if index is None and manifest is None:
            if not whole:
                return
            views.of(opened, "")  # says what it is instead
        here.progress = progresses.start(progress, here.total(), f"verify {opened.name}")
        try:
            self._thin()
            layout, fits = self._layout()
            oci = self._oci(index, here) if index is not None else None
            paths = {one.path for one in self._needs.layers} if self._needs else set()
            docker = DockerCheck(here, self._found, paths)
            items = docker.items(manifest) if manifest is not None else None
            images = None if items is None else tuple(map(docker.item, items))
            first = self._first(paths)
            best = self._best() if oci is not None else None
            self._agree(items, images, oci)
            here.once()
            here.unreferenced()
        finally:
            here.progress.close()
        self._ids(manifest, items, images, oci if layout else None)
        facts = ArchiveFacts(
            opened.kind, layout, images, oci, fits, docker.legible, here.later(), first, best
        )
        for verdict in loaders.verdicts(facts):
            self._found.verdict(verdict)

    # --- OCI ---------------------------------------------------------------------------------

    def _layout(self) -> tuple[bool, bool]:
        """Return whether it is there, and whether it is as it must be."""
        member = self._inside.find("oci-layout")
        if member is None:
            return False, True
        version: object = None
        try:
            raw = self._inside.read(member, _LAYOUT_LIMIT)
            value = strict_json.loads(raw, limit=_LAYOUT_LIMIT, error=TarInvalid, what="oci-layout")
            version = value.get("imageLayoutVersion") if isinstance(value, dict) else None
        except FileChanged:
            raise
        except BROKEN as error:
            self._found.failed("layout", "oci-layout", error)
            return True, False
        return True, self._found.check(
            "layout", "oci-layout", version == "1.0.0", expected="1.0.0", actual=version
        )

    def _first(self, paths: set[str]) -> tuple[ImageFacts, ...] | None:
        """Return the images of ``manifest.json`` by the first of members that come twice."""
        if self._inside.first is None:
            return None
        here = self._inside.beside(self._inside.first)
        docker = DockerCheck(here, here.found, paths)
        manifest = here.find("manifest.json")
        return None if manifest is None else tuple(map(docker.item, docker.items(manifest)))

    def _best(self) -> tuple[EntryFacts, ...] | None:
        """Return the entries of ``index.json`` by those of two blobs that are whole."""
        if self._inside.best is None:
            return None
        here = self._inside.beside(self._inside.best)
        index = here.find("index.json")
        return None if index is None else self._oci(index, here)

    def _oci(self, member: Member, here: Inventory) -> tuple[EntryFacts, ...]:
        try:
            index = manifests.parse(here.read(member, MANIFEST_LIMIT), media_types.OCI_INDEX)
        except FileChanged:
            raise
        except BROKEN as error:
            here.found.failed("index", "index.json", error)
            return ()
        if not isinstance(index, ImageIndex):
            here.found.check("index", "index.json", False, detail="it is no index")
            return ()
        here.found.check("index", "index.json", True, actual=f"{len(index.manifests)} entries")
        left_out = {one.digest for one in self._needs.layers} if self._needs else set()
        checker = Checker(here, here.found, left_out)
        return tuple(_entry(checker, one, here.found) for one in index.manifests)

    # --- both --------------------------------------------------------------------------------

    def _thin(self) -> None:
        member = self._inside.find(thin.MEMBER)
        if member is None:
            return
        try:
            self._needs, _ = thin.parse(self._inside.read(member, thin.LIMIT))
        except FileChanged:
            raise
        except BROKEN as error:
            self._found.failed("thin", thin.MEMBER, error)
            return
        for layer in self._needs.layers:
            here = self._inside.find(layer.path) is not None
            self._found.check(
                "thin", layer.digest, here, severity="warning", expected=layer.diff_id,
                actual=None if here else "missing",
                detail=f"left out, for whoever has {self._needs.since}; didlab complete adds it",
            )  # fmt: skip

    def _agree(
        self,
        items: tuple[Item, ...] | None,
        images: tuple[ImageFacts, ...] | None,
        oci: tuple[EntryFacts, ...] | None,
    ) -> None:
        """Check that both lists have one image under one name."""
        if items is None or images is None or not oci:
            return
        everything = {image.image_id for entry in oci for image in entry.images}
        for item, image in zip(items, images, strict=True):
            if image.image_id is None:
                continue
            for tag in item.tags:
                meant = [entry for entry in oci if entry.name and same_name(entry.name, tag)]
                behind = {one.image_id for entry in meant for one in entry.images}
                if meant:
                    self._found.check(
                        "agreement", tag, image.image_id in behind,
                        expected=image.image_id,
                        actual=", ".join(sorted(one for one in behind if one)) or None,
                        detail="image IDs by manifest.json and by index.json",
                    )  # fmt: skip
                elif any(entry.name for entry in oci):
                    self._found.check(
                        "agreement", tag, False, severity="warning", expected=image.image_id,
                        detail="manifest.json has this name, index.json has not",
                    )  # fmt: skip
            if not item.tags:
                self._found.check(
                    "agreement", image.subject, image.image_id in everything,
                    severity="warning", expected=image.image_id,
                    detail="an image of manifest.json, looked for in index.json",
                )  # fmt: skip

    def _ids(
        self,
        manifest: Member | None,
        items: tuple[Item, ...] | None,
        images: tuple[ImageFacts, ...] | None,
        oci: tuple[EntryFacts, ...] | None,
    ) -> None:
        """Note which IDs Docker will show."""
        for item, image in zip(items or (), images or (), strict=True):
            for name in item.tags or (item.config,):
                if image.image_id is not None:
                    self._found.check(
                        "image id", name, True, loader="docker", actual=image.image_id
                    )
        if oci is not None:
            for entry in oci:
                whole = entry.sound and entry.honest
                if whole and entry.images and not any(one.missing for one in entry.images):
                    self._found.check(
                        "image id", entry.subject, True, loader="containerd", actual=entry.digest
                    )
        elif manifest is not None and items:
            self._made_ids(manifest)

    def _made_ids(self, manifest: Member) -> None:
        """Note the digests of the manifests that containerd makes of a docker-archive."""
        try:
            for image in DockerView(self._inside.members, manifest).listed():
                try:
                    digest = image.describe(None).digest
                except BROKEN:
                    continue  # told already
                for name in image.names or (f"@{image.position}",):
                    self._found.check("image id", name, True, loader="containerd", actual=digest)
        except FileChanged:
            raise
        except BROKEN:
            return


def _entry(checker: Checker, descriptor: Descriptor, found: Findings) -> EntryFacts:
    name = descriptor.annotations.get(CONTAINERD_NAME)
    if name is not None and not found.check(
        "name", name, reference_of(name) is not None, severity="warning",
        expected="REGISTRY/NAME:TAG", detail="containerd cannot use it",
    ):  # fmt: skip
        name = None
    tag = descriptor.annotations.get(REF_NAME)
    name = name or (tag if tag is not None and reference_of(tag) is not None else None)
    return checker.entry(descriptor, name or tag or descriptor.digest, name)
