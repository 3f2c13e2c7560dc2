"""The calls of a Manifest about what is attached to it: signatures, attestations, SBOMs."""

from __future__ import annotations

import logging
import operator
from typing import TYPE_CHECKING, cast

from didlab.errors import InvalidArgument, NotFound, PlatformNotFound, Unsupported, printable
from didlab.oci.digest import is_digest
from didlab.oci.manifest import ImageIndex
from didlab.views import frames

_log = logging.getLogger("didlab")

if TYPE_CHECKING:
    import pandas as pd

    from didlab.model.attached import Part
    from didlab.model.attestation import Attestation
    from didlab.model.manifest import Manifest


class ImageAttached:
    """What others attached to an image; listed and read, never verified."""

    def referrers(self, artifact_type: str | None = None) -> pd.DataFrame:
        """List what is attached: signatures, attestations, SBOMs and anything else.

        On an index, what is attached to the index itself and to each of its images (column
        ``subject``); on a platform of it, what is attached to that image. Signatures mostly hang
        on the index.

        **Nothing is verified**: a row says that something is there, not that it is good. For
        signatures there are ``cosign verify`` and ``notation verify``.

        Parameters
        ----------
        artifact_type : str, optional
            Only what is of exactly this type: ``"application/spdx+json"``.

        Returns
        -------
        DataFrame
            kind : category (signature, attestation, provenance, sbom, other),
            artifact_type : category (of older signatures, the type of their content; missing
            where nothing says), digest : text (of the manifest that is attached), size : int64
            (bytes of that manifest), subject : text (digest of what it is attached to),
            platform : category (of the subject; missing where that is an index, or does not
            say), created : datetime64[us, UTC] (by its annotation, mostly missing),
            found : category (api: the referrers API; tag: the tag in its place; cosign tag;
            index: BuildKit's entry in the image's own index).

        Raises
        ------
        Unsupported
            ``offline=True``: what is attached changes, so only the registry can say.
        ManifestNotFound, AuthError, TransportError, ProtocolError, ManifestInvalid, LimitExceeded

        Notes
        -----
        For the index and each of its images four requests, several at a time: the referrers
        API and cosign's three tags (``.sig``, ``.att``, ``.sbom``); where the registry has no
        API (404), one more to find that out. Further ones where the API answers in pages, and
        for each entry that does not say its artifact type (the first hundred). Asked anew each
        time, like tags.
        """
        from didlab.model import attached

        rows = [
            (
                one.kind,
                one.artifact_type,
                one.descriptor.digest,
                one.descriptor.size,
                one.subject,
                None if one.platform is None else str(one.platform),
                one.created,
                one.found,
            )
            for one in attached.gather(self._self(), artifact_type)
        ]
        return frames.frame("referrers", rows, reference=str(self._self().reference))

    def attestations(self) -> pd.DataFrame:
        """List the in-toto statements that are attached: provenance, SBOMs and any other claim.

        **Nothing is verified**: anybody who may write to the repository can attach any claim.

        Returns
        -------
        DataFrame
            kind : category (provenance, sbom, signature, attestation), predicate_type : category,
            digest : text (of the blob with the statement), size : int64 (bytes of that blob),
            media_type : category (plain, or in a signed envelope or bundle), subject : text
            (digest of what it is attached to), platform : category (of the subject, or missing),
            manifest : text (digest of the manifest that holds it), found : category (as
            `referrers`).

        Raises
        ------
        Unsupported, MalformedContent
            And as `referrers`.

        Notes
        -----
        Costs what `referrers` does, then one request for each manifest with statements (none for
        those found by cosign's tags), and one for each statement whose type no annotation tells.
        The statements themselves are not read: `attestation` does that, and says what they are
        about. What was found is remembered; `refresh` forgets it.
        """
        from didlab.model import attached

        rows = [
            (
                part.kind,
                part.predicate_type,
                part.descriptor.digest,
                part.descriptor.size,
                part.descriptor.media_type,
                part.origin.subject,
                None if part.origin.platform is None else str(part.origin.platform),
                part.origin.descriptor.digest,
                part.origin.found,
            )
            for part in attached.parts(self._self())
            if part.is_statement
        ]
        return frames.frame("attestations", rows, reference=str(self._self().reference))

    def attestation(self, which: int | str = 0) -> Attestation:
        """Return one statement: its JSON as a mapping, taken out of its envelope.

        Parameters
        ----------
        which : int or str
            The row of `attestations`; or a digest of it; or a ``kind`` (``"provenance"``,
            ``"sbom"``) or predicate type where there is one of it. On an index, the default
            platform's goes first.

        Raises
        ------
        NotFound
            With the digests that there are (a KeyError, too).
        InvalidArgument
            Several match.
        MalformedContent, DigestMismatch, LimitExceeded, TransportError

        Notes
        -----
        Costs what `attestations` does, and one request for the statement (32 MiB at most).
        """
        from didlab.model import attached
        from didlab.model.attestation import Attestation
        from didlab.oci import statement

        found = [part for part in attached.parts(self._self()) if part.is_statement]
        part = self._choose(found, which, "attestation")
        source = self._self()._snapshot.source
        read = statement.parse(attached.content(source, part.descriptor))
        if read is None:
            raise Unsupported(f"{part.descriptor.digest} is a bare signature, it states nothing")
        return Attestation(read, part.descriptor.digest, part.origin.subject)

    def attached_sbom(self, which: int | str = "sbom") -> pd.DataFrame:
        """List the packages that an attached bill of materials names: SPDX 2 or CycloneDX.

        **Nothing is verified**: it is what somebody wrote down about the image. `sbom` makes one
        of what is in the image itself.

        Parameters
        ----------
        which : int or str
            As `attestation` takes it, counting all SBOMs: those in statements, and those that
            are attached as they are. On an index, the default platform's goes first.

        Returns
        -------
        DataFrame
            name : text, version : text, type : category (``deb``, ``pypi`` …, from the package
            URL), license : text, purl : text. Missing where the SBOM does not say.

        Raises
        ------
        NotFound, InvalidArgument, Unsupported, MalformedContent, LimitExceeded, TransportError

        Notes
        -----
        Costs what `attestations` does, and one request for the SBOM (32 MiB at most).
        """
        from didlab.model import attached
        from didlab.model.attestation import package_frame
        from didlab.oci import statement

        found = [part for part in attached.parts(self._self()) if part.kind == "sbom"]
        part = self._choose(found, which, "SBOM")
        raw = attached.content(self._self()._snapshot.source, part.descriptor)
        if part.is_statement:
            read = statement.parse(raw)
            if read is not None and not any(
                one.is_digest(part.origin.subject) for one in read.subjects
            ):
                _log.warning(
                    "the SBOM %s is attached to %s, but says that it is about something else",
                    part.descriptor.digest,
                    part.origin.subject,
                )
            predicate = None if read is None else read.json.get("predicate")
            document = predicate if isinstance(predicate, dict) else {}
        else:
            document = statement.json_object(raw, "the SBOM")
        return package_frame(document, str(self._self().reference))

    # --- how ---------------------------------------------------------------------------------

    def _self(self) -> Manifest:
        return cast("Manifest", self)

    def _choose(self, found: list[Part], which: int | str, what: str) -> Part:
        there = tuple(part.descriptor.digest for part in found)
        name = str(self._self().reference)
        if not isinstance(which, str):
            position = _position(which, what)
            if -len(found) <= position < len(found):
                return found[position]
            raise NotFound(
                f"{name} has {len(found)} of the kind {what}, there is no {position}",
                reference=name,
                available=there,
            )
        if is_digest(which):
            match = [part for part in found if part.descriptor.digest == which]
            match = match or [part for part in found if part.origin.descriptor.digest == which]
            match = match[:1] if len({part.descriptor.digest for part in match}) == 1 else match
        else:
            match = [part for part in found if which in (part.kind, part.predicate_type)]
        if len(match) > 1:
            match = self._for_default(match)
        if len(match) == 1:
            return match[0]
        if not match:
            raise NotFound(
                f"{name} has no {what} {printable(which, 200)!r} attached",
                reference=name,
                available=there,
                hint="attestations() and referrers() list what there is",
            )
        several = ", ".join(part.descriptor.digest for part in match[:3])
        raise InvalidArgument(
            f"{name} has {len(match)} attached that are meant by {printable(which, 200)!r}",
            hint=f"choose by digest: {several}{' …' if len(match) > 3 else ''}",
            reference=name,
        )

    def _for_default(self, match: list[Part]) -> list[Part]:
        """Return those of the default platform's image, of an index; else what came."""
        manifest = self._self()
        if not isinstance(manifest._document(), ImageIndex):
            return match
        try:
            digest = manifest._image().digest
        except PlatformNotFound:
            return match
        return [part for part in match if part.origin.subject == digest] or match


def _position(which: object, what: str) -> int:
    if not isinstance(which, bool):
        try:
            return operator.index(which)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise InvalidArgument(
        f"an {what} is chosen by its row, a digest or a kind, not by {type(which).__name__}"
    )
