"""The images of ``manifest.json`` against the files that they name."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace

from didlab.errors import FileChanged
from didlab.model.checking import BROKEN, dates, unpacked_as
from didlab.model.findings import Findings
from didlab.model.verifying_config import odd_config, odd_item
from didlab.model.verifying_members import Inventory, algorithm_of, subject_of
from didlab.oci import config as configs
from didlab.oci import digest as digests
from didlab.oci.config import CONFIG_LIMIT
from didlab.oci.loaders import ImageFacts, LayerFacts, Odd
from didlab.oci.local_name import reference_of
from didlab.oci.manifest import MANIFEST_LIMIT
from didlab.sources.local import docker
from didlab.sources.local.docker import Item
from didlab.sources.local.members import Member


class DockerCheck:
    """Checks images as docker load does; ``left_out`` are paths that are missing on purpose."""

    def __init__(self, members: Inventory, found: Findings, left_out: Collection[str]) -> None:
        self._inside = members
        self._found = found
        self._left_out = left_out
        self._odd: tuple[Odd, ...] = ()
        #: Whether ``manifest.json`` can be read.
        self.legible = True

    def items(self, member: Member) -> tuple[Item, ...]:
        """Read ``manifest.json``; none where that cannot be."""
        try:
            raw = self._inside.read(member, MANIFEST_LIMIT)
            items = docker.parse(raw, self._inside.members.name)
        except FileChanged:
            raise
        except BROKEN as error:
            self._found.failed("manifest.json", "manifest.json", error)
            self.legible = False
            return ()
        self._found.check("manifest.json", "manifest.json", True, actual=f"{len(items)} images")
        for item in json.loads(raw):  # one that is wrong makes all of it unreadable
            self._odd += odd_item(self._found, item)
        return items

    def item(self, item: Item) -> ImageFacts:
        """Check one image."""
        who = item.tags[0] if item.tags else item.config
        bad = [tag for tag in item.tags if not self._tag(tag)]
        config, image_id = self._config(item)
        odd = self._odd
        for name in dict.fromkeys((item.config, *item.layers)):
            odd += self._inside.named(name)
        if config is not None and self._inside.link(item.config) == "hard":
            odd += (Odd("the config is a hard link", ("containerd", "podman", "skopeo")),)
            self._found.check(
                "member", item.config, False, severity="warning",
                detail="a hard link, which only docker load follows",
            )  # fmt: skip
        layers = [self._inside.find(name) for name in item.layers]
        counted = True
        diff_ids: tuple[str | None, ...] = (None,) * len(layers)
        if config is not None:
            counted = self._found.check(
                "layer count", item.config, len(config.diff_ids) == len(layers),
                expected=len(config.diff_ids), actual=len(layers),
                detail="diff_ids of the config, layers of manifest.json",
            )  # fmt: skip
            if counted:
                diff_ids = config.diff_ids
        facts = []
        before: set[str] = set()
        for name, member, diff_id in zip(item.layers, layers, diff_ids, strict=True):
            made = self._layer(name, member, diff_id)
            if member is not None:
                made = replace(made, link=self._inside.link(name), again=diff_id in before)
            facts.append(made)
            before |= {diff_id} if diff_id is not None else set()
        steps = sum(not step.empty_layer for step in config.history) if config else 0
        dated = config is None or dates(self._found, subject_of(item.config), config)
        if config is not None:
            odd += odd_config(self._found, subject_of(item.config), config.json, docker=True)
        return ImageFacts(
            who, image_id, tuple(facts), True, counted, tuple(bad), steps=steps, dated=dated,
            odd=odd, platform=None if config is None else (config.os, config.architecture),
        )  # fmt: skip

    def _tag(self, tag: str) -> bool:
        return self._found.check(
            "tag", tag, reference_of(tag) is not None, expected="NAME:TAG",
            detail=None if reference_of(tag) else "docker load fails with invalid tag or reference",
        )  # fmt: skip

    def _config(self, item: Item) -> tuple[configs.ImageConfig | None, str | None]:
        member = self._inside.find(item.config)
        if member is None:
            self._missing(item.config, "config")
            return None, None
        try:
            raw = self._inside.read(member, CONFIG_LIMIT)
            # A lie, but no loader takes a digest from a member's name.
            self._inside.claimed(item.config, digests.of(raw))
            return configs.parse(raw), digests.of(raw)
        except FileChanged:
            raise
        except BROKEN as error:
            self._found.failed("config", subject_of(item.config), error)
            return None, None

    def _layer(self, name: str, member: Member | None, diff_id: str | None) -> LayerFacts:
        subject = subject_of(name)
        if member is None:
            left_out = name in self._left_out
            if not left_out:
                self._missing(name, "layer")
            return LayerFacts(subject, None, left_out=left_out)
        wanted = {digests.algorithm(one) for one in (diff_id, subject) if digests.is_digest(one)}
        measured = self._inside.measure(member, wanted)
        self._inside.claimed(name, measured.digests.get(algorithm_of(name)))
        made = LayerFacts(subject, measured.kind, behind=bool(measured.behind))
        if diff_id is not None:
            made = replace(made, unpacks=unpacked_as(self._found, subject, measured, diff_id))
        return made

    def _missing(self, name: str, what: str) -> None:
        self._found.check(
            "reference target", subject_of(name), False, actual="missing",
            detail=f"the {what} {name} of manifest.json",
        )  # fmt: skip
