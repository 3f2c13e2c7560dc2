"""Rows to DataFrames. Column names, order and dtypes are an API, written down here once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, the kind of its dtype, and what it means."""

    name: str
    kind: str
    meaning: str


#: Kind -> dtype as `documentation` names it. Text is pandas' default: ``str`` on pandas 3,
#: ``object`` on 2.2, so test for neither.
KINDS: Mapping[str, str] = {
    "text": "text",
    "category": "category",
    "int": "int64",
    "Int": "Int64 (nullable)",
    "float": "float64",
    "bool": "bool",
    "time": "datetime64[us, UTC]",
}


def _columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


SCHEMAS: Mapping[str, tuple[Column, ...]] = {
    "platforms": _columns(
        ("platform", "category", "as m[…] takes it: linux/arm64/v8; unknown for attestations"),
        ("os", "category", "operating system"),
        ("architecture", "category", "architecture in Go's words: amd64, arm64 …"),
        ("variant", "category", "variant of the architecture, or missing"),
        ("os_version", "text", "version of the operating system (Windows), or missing"),
        ("kind", "category", "image, attestation, index or other"),
        ("digest", "text", "digest of the platform's manifest"),
        ("manifest_size", "int", "bytes of the manifest itself (not of the image)"),
    ),
    "platforms+sizes": _columns(
        ("layers", "Int", "number of layers; missing where the row is no image"),
        ("size", "Int", "bytes of the layers as stored (compressed)"),
    ),
    "layers": _columns(
        ("position", "int", "0 is the base"),
        ("digest", "text", "digest of the layer as stored (compressed)"),
        ("diff_id", "text", "digest of the uncompressed tar, from the config"),
        ("media_type", "category", "declared format"),
        ("size", "int", "bytes as stored"),
        ("created", "time", "when the layer was made, from the history"),
        ("created_by", "text", "the command that made it, from the history"),
        ("comment", "text", "the history's comment"),
    ),
    "history": _columns(
        ("position", "int", "0 is the oldest step"),
        ("created", "time", "when the step ran"),
        ("created_by", "text", "its command"),
        ("comment", "text", "its comment"),
        ("author", "text", "its author"),
        ("empty_layer", "bool", "whether it made no layer"),
        ("layer", "Int", "position of the layer it made; missing where it made none"),
        ("digest", "text", "digest of that layer"),
        ("size", "Int", "bytes of that layer as stored"),
    ),
    "tags": _columns(
        ("tag", "text", "name of the tag"),
    ),
    "tags+details": _columns(
        ("tag", "text", "name of the tag"),
        ("digest", "text", "digest of what the tag names"),
        ("created", "time", "from the config of the default platform, or of the first"),
        ("size", "Int", "bytes to download for that platform"),
        ("platforms", "text", "the platforms, separated by commas"),
    ),
    "plan": _columns(
        ("digest", "text", "digest of the blob"),
        ("kind", "category", "index, manifest, config or layer"),
        ("media_type", "category", "declared format"),
        ("size", "int", "bytes"),
        ("stored", "bool", "whether the local store has it"),
        ("images", "text", "the references that need it, separated by commas"),
    ),
    "endpoints": _columns(
        ("host", "text", "host, with its port where that is unusual"),
        ("scheme", "category", "http or https"),
        ("role", "category", "registry, mirror, token server or content"),
        ("registry", "category", "the registry on whose behalf"),
    ),
    "images": _columns(
        ("position", "int", 'place in the archive\'s own list, from 0: name="@0" opens it'),
        ("name", "text", "name, as the archive has it; missing where it has none"),
        ("kind", "category", "image, index or other"),
        ("platform", "text", "its platform; those of an index, separated by commas"),
        ("digest", "text", "digest of the manifest or index"),
        ("image_id", "text", "digest of the config; missing where there are several"),
        ("layers", "Int", "number of layers; missing where there are several images"),
        ("size", "Int", "bytes of config and layers as stored"),
        ("format", "category", "oci or docker-archive: the list that was read"),
    ),
    "repositories": _columns(
        ("repository", "text", "name of the repository"),
    ),
    "requests": _columns(
        ("started", "time", "when the request was sent"),
        ("method", "category", "GET, HEAD or POST"),
        ("host", "category", "host, with its port where that is unusual"),
        ("path", "text", "path, without the query (which may hold signatures)"),
        ("status", "Int", "status of the answer; missing where there was none"),
        ("bytes", "int", "bytes of the answer's body that were read"),
        ("seconds", "float", "from sending to the last byte read"),
        ("attempt", "int", "1 for the first try"),
        ("mirror", "category", "the mirror that was asked; missing for the registry itself"),
        ("error", "category", "name of the error, where there was no usable answer"),
    ),
    "files": _columns(
        ("path", "text", "absolute path in the image"),
        ("type", "category", "file, dir, symlink, hardlink, char, block or fifo"),
        ("size", "int", "bytes of the content; of a hardlink 0 as stored, its file's when merged"),
        ("mode", "int", "permission bits with setuid, setgid and sticky"),
        ("permissions", "category", "type and mode as ls shows them"),
        ("uid", "int", "owner's number"),
        ("gid", "int", "group's number"),
        ("mtime", "time", "last change of the content; missing where nobody states it"),
        ("linkname", "text", "where a symlink leads, as stored; the path that a hardlink shares"),
        ("layer", "int", "position of the layer that wrote the entry"),
    ),
    "files+layer": _columns(
        ("whiteout", "category", "file: removes a path below; opaque: hides a folder's content"),
    ),
    "changes": _columns(
        ("path", "text", "absolute path in the image"),
        ("change", "category", "added, replaced or deleted"),
        ("type", "category", "as in files(); of what was there, where it was deleted"),
        ("size", "Int", "bytes of the new content; missing where it was deleted"),
        ("size_before", "Int", "bytes of what was there before; missing where it was added"),
        ("mode", "Int", "permission bits; missing where it was deleted"),
        ("permissions", "category", "type and mode as ls shows them"),
        ("uid", "Int", "owner's number"),
        ("gid", "Int", "group's number"),
        ("mtime", "time", "last change of the content"),
        ("linkname", "text", "where a link leads"),
        ("layer", "int", "position of the layer that did it"),
        ("created_by", "category", "the command that made the layer, from the history"),
    ),
    "referrers": _columns(
        ("kind", "category", "signature, attestation, provenance, sbom or other"),
        ("artifact_type", "category", "as declared; of older signatures, that of their content"),
        ("digest", "text", "digest of the manifest that is attached"),
        ("size", "int", "bytes of that manifest (not of what it holds)"),
        ("subject", "text", "digest of what it is attached to"),
        ("platform", "category", "platform of the subject; missing where it has or says none"),
        ("created", "time", "by its annotation; mostly missing"),
        ("found", "category", "api, tag (in the API's place), cosign tag or index"),
    ),
    "attestations": _columns(
        ("kind", "category", "provenance, sbom, signature or attestation; nothing is verified"),
        ("predicate_type", "category", "what kind of statement it is"),
        ("digest", "text", "digest of the blob with the statement"),
        ("size", "int", "bytes of that blob"),
        ("media_type", "category", "its format: plain, or in a signed envelope or bundle"),
        ("subject", "text", "digest of what it is attached to"),
        ("platform", "category", "platform of the subject; missing where it has or says none"),
        ("manifest", "text", "digest of the manifest that holds it"),
        ("found", "category", "as in referrers()"),
    ),
    "sbom": _columns(
        ("name", "text", "name of the package"),
        ("version", "text", "its version"),
        ("type", "category", "its ecosystem, from the package URL: deb, pypi, npm …"),
        ("license", "text", "its licence, as the SBOM has it"),
        ("purl", "text", "its package URL"),
    ),
    "packages": _columns(
        ("ecosystem", "category", "deb, apk, rpm, pypi, npm or golang: type of its package URL"),
        ("name", "text", "name of the package"),
        ("version", "text", "with epoch and revision; missing where it is not told"),
        ("architecture", "category", "in the ecosystem's words; missing where it has none"),
        ("source", "text", "the source package it was built from; missing where not told"),
        ("license", "text", "its licence, as the database has it"),
        ("purl", "text", "its package URL"),
        ("path", "text", "the database or file that tells of it"),
        ("layer", "int", "position of the layer that brought this version"),
    ),
    "diff_files": _columns(
        ("path", "text", "absolute path"),
        ("change", "category", "added, removed, changed; maybe: only the content may differ"),
        ("changed", "category", "type, content, mode, owner, link, xattrs, device, mtime"),
        ("content", "category", "same, different or unknown; missing without content on each side"),
        ("type", "category", "as in files(); of what was there, where it was removed"),
        ("size_before", "Int", "bytes before; missing where it was added"),
        ("size_after", "Int", "bytes after; missing where it was removed"),
        ("permissions_before", "category", "type and mode before, as ls shows them"),
        ("permissions_after", "category", "type and mode after"),
        ("owner_before", "category", "numbers of owner and group before: 0:0"),
        ("owner_after", "category", "numbers of owner and group after"),
        ("layer_before", "Int", "position of the layer that wrote it, in the image before"),
        ("layer_after", "Int", "position of the layer that wrote it, in the image after"),
    ),
    "diff_packages": _columns(
        ("ecosystem", "category", "as in packages()"),
        ("name", "text", "name of the package"),
        ("architecture", "category", "as in packages()"),
        ("change", "category", "added, removed, upgraded, downgraded; changed: order unknown"),
        ("before", "text", "version before; missing where it was added"),
        ("after", "text", "version after; missing where it was removed"),
        ("layer_before", "Int", "position of the layer that brought it, in the image before"),
        ("layer_after", "Int", "position of the layer that brought it, in the image after"),
    ),
    "diff_config": _columns(
        ("key", "text", "where it stands: Env.PATH, Labels.version, Cmd, architecture"),
        ("change", "category", "added, removed or changed"),
        ("before", "text", "value before, secrets hidden; missing where it was added"),
        ("after", "text", "value after, secrets hidden; missing where it was removed"),
    ),
    "diff_layers": _columns(
        ("status", "category", "shared, recompressed (the same diff_id), removed or added"),
        ("position_before", "Int", "position in the image before; missing where it was added"),
        ("position_after", "Int", "position in the image after; missing where it was removed"),
        ("digest", "text", "digest as stored, in the image after where it has it"),
        ("size_before", "Int", "bytes as stored, in the image before"),
        ("size_after", "Int", "bytes as stored, in the image after"),
        ("created_by", "text", "the command that made it, from the history"),
    ),
    "diff_sizes": _columns(
        ("name", "text", "a folder, a layer's command, or a package"),
        ("before", "int", "bytes before"),
        ("after", "int", "bytes after"),
        ("delta", "int", "after less before"),
    ),
    "waste": _columns(
        ("path", "text", "absolute path"),
        ("kind", "category", "overwritten, metadata (only owner or mode changed), deleted, hidden"),
        ("size", "int", "bytes of content that the layer stores, uncompressed"),
        ("layer", "int", "position of the layer that stores it"),
        ("by_layer", "int", "position of the layer that took away its last name"),
        ("created_by", "category", "the command that made that layer, from the history"),
    ),
    "duplicates": _columns(
        ("digest", "text", "digest of the content"),
        ("path", "text", "absolute path"),
        ("size", "int", "bytes"),
        ("copies", "int", "files with this content"),
        ("wasted", "int", "size, but 0 for the first of the copies"),
        ("layer", "int", "position of the layer that has the content"),
    ),
    "caches": _columns(
        ("kind", "category", "who left it: apt lists, apt archives, apk, dnf, pip, npm, conda …"),
        ("path", "text", "the folder"),
        ("files", "int", "number of files in it"),
        ("size", "int", "bytes of their content, uncompressed"),
        ("layer", "int", "position of the layer that has them"),
        ("created_by", "category", "the command that made that layer, from the history"),
    ),
    "secrets": _columns(
        ("rule", "category", "what it is: private-key, aws-secret-key, password …"),
        ("severity", "category", "high, medium or low"),
        ("where", "category", "file, env, label, command, history or build argument"),
        ("path", "text", "the file; missing where it is in the config"),
        ("line", "Int", "line of the file, from 1; missing where the file itself is meant"),
        ("name", "text", "variable, key or label that has it; missing where there is none"),
        ("redacted", "text", "what the secret begins with, where that is public, and its length"),
        ("deleted", "bool", "whether the file is deleted or replaced by a later layer"),
        ("layer", "Int", "position of the layer; missing where no layer has it"),
        ("created_by", "text", "the command that made the layer, secrets hidden"),
    ),
    "setuid": _columns(
        ("path", "text", "absolute path in the image"),
        ("kind", "category", "setuid, setgid or capability: a row for each"),
        ("permissions", "category", "type and mode as ls shows them"),
        ("uid", "int", "owner's number"),
        ("gid", "int", "group's number"),
        ("size", "int", "bytes"),
        ("capabilities", "text", "as getcap writes them; missing where there are none"),
        ("layer", "int", "position of the layer that wrote the entry"),
    ),
    "users": _columns(
        ("user", "text", "name"),
        ("uid", "Int", "number; missing where it is none"),
        ("gid", "Int", "number of the first group"),
        ("groups", "text", "names of the groups, the first one first, separated by commas"),
        ("home", "text", "home directory"),
        ("shell", "text", "shell; missing means /bin/sh"),
        ("password", "category", "none, locked, hashed or empty; never the hash"),
        ("layer", "int", "position of the layer that brought the user"),
    ),
    "certificates": _columns(
        ("subject", "text", "whose it is (RFC 4514)"),
        ("issuer", "text", "who signed it"),
        ("not_before", "time", "valid from"),
        ("not_after", "time", "valid until"),
        ("expired", "bool", "whether that is over now"),
        ("serial", "text", "serial number in hexadecimal digits"),
        ("key", "category", "kind of key and its bits, or curve: RSA 2048, EC secp256r1"),
        ("ca", "bool", "whether it may sign others"),
        ("path", "text", "the file"),
        ("layer", "int", "position of the layer that has the file"),
        ("sha256", "text", "fingerprint: digest of the certificate in DER, hexadecimal"),
    ),
    "base": _columns(
        ("reference", "text", "the candidate"),
        ("platform", "category", "its platform; missing where it has no image for this one"),
        ("digest", "text", "digest of its manifest"),
        ("shared_layers", "int", "layers from the bottom up that both have"),
        ("shared_bytes", "int", "bytes of these as stored"),
        ("is_base", "bool", "whether all of its layers are the image's first ones"),
    ),
    "verify": _columns(
        ("check", "category", "what was compared: digest, size, diff_id, loader, image id …"),
        ("subject", "text", "digest, member, name, or a loader's command"),
        ("loader", "category", "docker, containerd, podman, ctr, skopeo, crane; or missing"),
        ("passed", "bool", "whether it is as it should be"),
        ("severity", "category", "error, warning or info; info where it passed"),
        ("expected", "text", "what is claimed or demanded"),
        ("actual", "text", "what is there"),
        ("detail", "text", "why, or what else is to be known"),
    ),
    "audit_images": _columns(
        ("reference", "text", "name of the image, as it was named"),
        ("platform", "category", "its platform; missing where it could not be resolved"),
        ("digest", "text", "digest of its manifest"),
        ("created", "time", "when it was made, as its config says"),
        ("size", "Int", "bytes to download: config and distinct layers"),
        ("layers", "Int", "number of layers"),
        ("error", "text", "why nothing is known of it; missing where that is not so"),
        ("seconds", "float", "how long the checks took, without reading layers"),
    ),
    "audit_errors": _columns(
        ("reference", "text", "name of the image"),
        ("platform", "category", "its platform; missing where it could not be resolved"),
        ("digest", "text", "digest of its manifest"),
        ("check", "category", "the check that failed; missing where it is the image itself"),
        ("error", "text", "what went wrong"),
    ),
    "audit_config": _columns(
        ("user", "text", "user that it runs as; missing means root"),
        ("entrypoint", "text", "words of the entrypoint, secrets hidden"),
        ("cmd", "text", "words of the command, secrets hidden"),
        ("working_dir", "text", "directory that it begins in"),
        ("ports", "text", "exposed ports, separated by commas"),
        ("volumes", "text", "volumes, separated by commas"),
        ("healthcheck", "bool", "whether it has one"),
        ("env", "text", "names of environment variables, separated by commas"),
        ("labels", "text", "names of labels, separated by commas"),
    ),
    "audit_labels": _columns(
        ("name", "text", "name of the label"),
        ("value", "text", "its value, secrets hidden"),
    ),
    "audit_size": _columns(
        ("size", "int", "bytes to download: config and distinct layers"),
        ("layers", "int", "number of layers"),
        ("largest", "Int", "bytes of the largest layer; missing where there is none"),
        ("largest_layer", "Int", "position of that layer"),
    ),
    "audit_os": _columns(
        ("id", "category", "as os-release has it: debian, alpine; missing where it does not say"),
        ("version", "category", "its version: 12"),
        ("codename", "category", "its code name: bookworm"),
        ("name", "category", "its name for people"),
        ("eol", "text", "last day of support (ISO 8601), known of Debian and Ubuntu"),
        ("eol_lts", "text", "last day of long-term support"),
        ("supported", "bool", "whether it was supported when it was looked at; or missing"),
    ),
    "policy": _columns(
        ("reference", "text", "name of the image"),
        ("platform", "category", "its platform; missing where it could not be resolved"),
        ("digest", "text", "digest of its manifest"),
        ("rule", "category", "name of the rule"),
        ("severity", "category", "high, medium or low"),
        ("passed", "bool", "whether it is kept; False, too, where that could not be found out"),
        ("evidence", "text", "what is against it, or why it could not be found out"),
    ),
    "show_config": _columns(
        ("option", "text", "name of the option"),
        ("value", "text", "what holds; missing where nothing is set, passwords never shown"),
        ("source", "text", "who set it: environment NAME, a file with its table, or default"),
    ),
}


def frame(
    name: str,
    rows: Iterable[Sequence[Any]],
    *,
    also: str | None = None,
    reference: str | None = None,
) -> pd.DataFrame:
    """Make the DataFrame ``name`` of ``rows``, whose values stand in the columns' order.

    ``also`` names further columns to the right. ``reference`` goes to ``attrs["reference"]``.
    """
    import pandas as pd

    columns = SCHEMAS[name] + (SCHEMAS[also] if also else ())
    data = list(zip(*rows, strict=True)) or [()] * len(columns)
    if len(data) != len(columns):
        raise AssertionError(f"{name}: {len(data)} values for {len(columns)} columns")
    made = pd.DataFrame(
        {
            column.name: _series(column.kind, values)
            for column, values in zip(columns, data, strict=True)
        }
    )
    if reference is not None:
        made.attrs["reference"] = reference
    return made


def columns_frame(
    name: str,
    data: Mapping[str, Any],
    *,
    also: str | None = None,
    reference: str | None = None,
) -> pd.DataFrame:
    """Make the DataFrame ``name`` of whole columns: for tables of many thousand rows.

    Text comes as a list of str or None, categories as `Codes`, numbers as anything that NumPy
    takes for an array, times in microseconds since 1970 (the least int64 is missing).
    """
    import pandas as pd

    columns = SCHEMAS[name] + (SCHEMAS[also] if also else ())
    if [column.name for column in columns] != list(data):
        raise AssertionError(f"{name}: {list(data)}")
    made = pd.DataFrame({one.name: _whole(one.kind, data[one.name]) for one in columns})
    if reference is not None:
        made.attrs["reference"] = reference
    return made


@dataclass(frozen=True, slots=True)
class Codes:
    """A category column: for each row the number of its category, -1 for none."""

    numbers: Any
    categories: Sequence[str]


def _whole(kind: str, values: Any) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    text = pd.Series(["x"]).dtype
    if kind == "text":
        return pd.Series(values, dtype=text)
    if kind == "category":
        categories = pd.Index([_storable(value) for value in values.categories], dtype=text)
        return pd.Series(pd.Categorical.from_codes(values.numbers, categories=categories))
    if kind == "time":
        times = np.asarray(values, dtype="int64").view("datetime64[us]")
        return pd.Series(times).dt.tz_localize("UTC")
    if kind == "Int":
        return pd.Series(values, dtype="Int64")
    return pd.Series(np.asarray(values, dtype="int64"))


def _series(kind: str, values: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    text = pd.Series(["x"]).dtype
    if kind == "text":
        return pd.Series([_storable(value) for value in values], dtype=text)
    if kind == "category":
        cells = [_storable(value) for value in values]
        known = sorted({value for value in cells if value is not None})
        categories = pd.Index(known, dtype=text)
        return pd.Series(pd.Categorical(cells, categories=categories))
    if kind == "time":
        import numpy as np

        # By way of microseconds: pandas 2 would make nanoseconds, which end in the year 2262.
        naive = [value.astimezone(UTC).replace(tzinfo=None) if value else None for value in values]
        return pd.Series(np.array(naive, dtype="datetime64[us]")).dt.tz_localize("UTC")
    dtype = {"int": "int64", "Int": "Int64", "float": "float64", "bool": "bool"}[kind]
    return pd.Series(list(values), dtype=dtype)


def _storable(value: str | None) -> str | None:
    """Return text without lone surrogates: neither Arrow nor a notebook's messages take them."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def documentation(name: str) -> str:
    """Return the columns of a frame as lines of text, for docs and help.

    >>> print(documentation("repositories"))
    repository : text — name of the repository
    """
    return "\n".join(
        f"{column.name} : {KINDS[column.kind]} — {column.meaning}" for column in SCHEMAS[name]
    )
