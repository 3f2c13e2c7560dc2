"""The calls of a Manifest that say what is in an image, what is wasted, what must not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from didlab.model.imagecomparing import ImageComparing
from didlab.model.indexing import Manner

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from didlab.audits.distribution import OperatingSystem
    from didlab.audits.sbom.document import Sbom
    from didlab.model.inside import Layers
    from didlab.model.manifest import Manifest
    from didlab.oci.config import ImageConfig
    from didlab.oci.reference import Reference


class ImageAudits(ImageComparing):
    """Audits of one image."""

    @property
    def reference(self) -> Reference:
        """The name it was opened under."""
        raise NotImplementedError

    def _layers(self, manner: Manner) -> Layers:
        raise NotImplementedError

    def _config(self) -> ImageConfig:
        raise NotImplementedError

    def packages(
        self, ecosystem: str | None = None, *, progress: Any = None, keep: bool = False
    ) -> pd.DataFrame:
        """List the packages that are installed, as the image's own databases have them.

        Read are the databases of dpkg, apk and rpm, Python's and npm's metadata beside the
        modules, and what Go writes into its binaries; no package manager runs.

        Parameters
        ----------
        ecosystem : str, optional
            Only these: ``deb``, ``apk``, ``rpm``, ``pypi``, ``npm``, ``golang``.
        progress, keep
            As `files`.

        Returns
        -------
        DataFrame
            ecosystem : category (type of its package URL), name : text, version : text (with
            epoch and revision), architecture : category (missing where it has none),
            source : text (name of the source package), license : text (as the database has it),
            purl : text (package URL), path : text (the database or file that says so),
            layer : int64 (position of the layer that brought this version). Sorted by ecosystem,
            name, version and path.

        Raises
        ------
        InvalidArgument
            An ecosystem that is not known.
        NotAnImage
            And as `files`.

        Notes
        -----
        Costs what `files` costs, and nothing after it: what a listing sees of package databases
        is kept with it. Of layers that an older version listed, the few files that matter are
        read: at most 10 requests for a layer, or one for all of it where they lie all over it.
        A database that cannot be read is left out; a warning says so.
        """
        from didlab.audits import packages

        return packages.frame(
            self._layers(Manner(progress, keep)), str(self.reference), ecosystem=ecosystem
        )

    def sbom(
        self,
        format: str = "cyclonedx",  # noqa: A002 - as save() has it
        *,
        created: datetime | None = None,
        progress: Any = None,
        keep: bool = False,
    ) -> Sbom:
        """Make a bill of materials: what `packages` lists, as CycloneDX 1.6 or SPDX 2.3.

        One that its publisher attached to the image is `attached_sbom`'s.

        Parameters
        ----------
        format : str
            ``"cyclonedx"`` or ``"spdx"``; both JSON.
        created : datetime, optional
            What the bill says of its own time, with a time zone; else when the image was made,
            so that the same image gives the same bill.
        progress, keep
            As `files`.

        Returns
        -------
        Sbom
            A mapping over the JSON, with ``json()``, ``save(path)`` and ``packages()``.

        Raises
        ------
        InvalidArgument
            Another format.
        NotAnImage
            And as `files`.

        Notes
        -----
        Costs what `packages` costs, manifest and config. Licenses are SPDX expressions only
        where the package's own metadata has them so; other spellings are told as they are.
        """
        from didlab.audits.sbom import document

        document.check(format, created)
        layers = self._layers(Manner(progress, keep))
        return document.make(cast("Manifest", self), layers, format, created)

    def secrets(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List what looks like a secret: keys, tokens, passwords; none is ever shown.

        Looked at are text files of at most 1 MiB in every layer, so that deleted files are found,
        too; files that hold credentials by their name; environment, labels, commands, and the
        history with its build arguments. Values that examples use are left out, as are references
        to variables and files. What lies in documentation, tests and libraries has severity low.

        Returns
        -------
        DataFrame
            rule : category (private-key, aws-secret-key, password …), severity : category (high,
            medium, low), where : category (file, env, label, command, history, build argument),
            path : text (missing but for files), line : Int64 (from 1; missing where the file
            itself is meant), name : text (variable, key or label), redacted : text (at most four
            characters, of a public prefix, and the length), deleted : bool (a later layer deleted
            or replaced the file; the layer has it still), layer : Int64 (missing where no layer
            has it), created_by : text (the command that made the layer, secrets hidden). The
            worst first; 20,000 rows at most.

        Raises
        ------
        NotAnImage
            And as `files`.

        Notes
        -----
        The first time one pass over every layer that was not looked at for secrets, none
        afterwards: findings are kept by layer, without the secrets and without digests of them.
        """
        from didlab.audits.secrets import table

        return table.frame(
            self._layers(Manner(progress, keep)), self._config(), str(self.reference)
        )

    def setuid(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List the files that run with more rights than their caller's.

        Returns
        -------
        DataFrame
            path : text, kind : category (setuid, setgid, capability: a row for each),
            permissions : category (as ``ls`` shows it), uid : int64, gid : int64, size : int64,
            capabilities : text (as getcap writes them; missing where there are none),
            layer : int64 (position of the layer that wrote the entry). Sorted by path.

        Raises
        ------
        As `files`.

        Notes
        -----
        Costs what `files` costs. Folders, where setgid hands on the group, are left out.
        """
        from didlab.audits import setuid

        return setuid.frame(self._layers(Manner(progress, keep)), str(self.reference))

    def users(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List the users that the image knows, in the order of ``/etc/passwd``.

        Returns
        -------
        DataFrame
            user : text, uid : Int64, gid : Int64 (missing where it is no number), groups : text
            (names separated by commas, the first one is that of ``gid``), home : text,
            shell : text, password : category (``none``: nothing says so, ``locked``, ``hashed``,
            ``empty``: anybody may log in; never the hash), layer : int64 (position of the layer
            that brought the user, or gave it these numbers). Empty where there is no passwd.

        Raises
        ------
        LimitExceeded
            passwd, group or shadow has more than 8 MiB or 100,000 lines.
        As `files`.

        Notes
        -----
        Costs what `files` does, and once a request for each ``/etc/shadow`` in layers that were
        listed before. What is no entry is left out, as libc does.
        """
        from didlab.audits import users

        return users.frame(self._layers(Manner(progress, keep)), str(self.reference))

    def certificates(self, *, progress: Any = None, keep: bool = False) -> pd.DataFrame:
        """List the certificates: those of trust stores, and others in files named for them.

        Read are ``*.pem *.crt *.cer *.der`` and bundles of at most 4 MiB, in PEM or DER, one row
        for each certificate in each file. Nothing is verified.

        Returns
        -------
        DataFrame
            subject : text, issuer : text (RFC 4514), not_before : datetime64[us, UTC],
            not_after : datetime64[us, UTC], expired : bool (now), serial : text (hexadecimal),
            key : category (``RSA 2048``, ``EC secp256r1``, ``Ed25519``), ca : bool (may sign
            others), path : text, layer : int64 (position of the layer that has the file),
            sha256 : text (fingerprint). Sorted by path, subject.

        Raises
        ------
        ImportError
            cryptography is not installed: with the command.
        NotAnImage
            And as `files`.

        Notes
        -----
        Costs as `packages`: of layers that are listed already, the few files that matter.
        """
        from didlab.audits import certificates

        certificates.check()
        return certificates.frame(self._layers(Manner(progress, keep)), str(self.reference))

    def os(self, *, progress: Any = None, keep: bool = False) -> OperatingSystem:
        """Return the operating system, as ``/etc/os-release`` says, and when its support ends.

        Returns
        -------
        OperatingSystem
            ``id version codename pretty_name eol eol_lts source dated``; ``supported(on=None)``.
            All None where the image does not say. Ends are known of Debian and Ubuntu.

        Raises
        ------
        As `files`.

        Notes
        -----
        Costs what `files` costs, and nothing after it. The dates are a table in didlab, of
        distro-info-data, of the day in ``dated``.
        """
        from didlab.audits import distribution

        manifest = cast("Manifest", self)
        found = distribution.of(self._layers(Manner(progress, keep)))
        # Its card says so from now on.
        manifest._snapshot.systems[manifest._image().digest] = found._facts()
        return found

    def base(self, candidates: Any) -> pd.DataFrame:
        """List which of some images this one was built on: by the layers both begin with.

        Parameters
        ----------
        candidates : str, Reference, Manifest, Repository, or several of them
            Of a Repository all tags. Of an index the image for this one's platform.

        Returns
        -------
        DataFrame
            reference : text, platform : category (missing where there is no image for this
            platform), digest : text, shared_layers : int64 (from the bottom up),
            shared_bytes : int64 (as stored here), is_base : bool (all of its layers are this
            image's first ones). The best first: the longest shared chain, then what adds least.

        Raises
        ------
        InvalidArgument
            No images.
        NotAnImage, ManifestNotFound, TransportError

        Notes
        -----
        Costs the manifest and the config of each, no layer. Layers are the same where their
        digest is, or that of the tar in them (diff_id): packed anew they still count.
        """
        from didlab.audits import base

        return base.frame(cast("Manifest", self), candidates)
