"""Where a file lies: what its path says about secrets in it."""

from __future__ import annotations

import re

from didlab.audits.secrets.assignments import Manner

__all__ = ["is_binary", "is_dotenv", "is_others", "is_sample", "is_vendored", "manner"]

#: What is never text, or never tells (catalogues of translations, compiled code).
_BINARY = re.compile(
    rb"""\.(?:so(?:\.[0-9.]+)?|s?o|ko|a|la|lib|dylib|py[co]|png|jpe?g|gif|ico|webp|svgz|pdf|woff2?|ttf|otf|pf[ab]
    |gz|tgz|bz2|xz|txz|zst|lz4|zip|tar|jar|war|ear|class|whl|egg|deb|rpm|apk|gem|crate|nupkg
    |mo|gmo|iso|fw|ucode|wasm|bc|npy|npz|pt|pth|onnx|safetensors|parquet|h5|mp[34]|ogg|wav|webm
    |winmd|pdb|elc|rlib|rmeta|node|dll|sys|efi|exe|jmod|jsa|cache|md5sums|list|symbols|shlibs|triggers
    |sha256|sha512|asc|sig|gpg|map)\Z""",
    re.VERBOSE | re.IGNORECASE,
)
#: Code of others, brought by package managers: keys in it are everybody's.
_OTHERS = re.compile(
    rb"\A/(?:usr/(?:lib|lib32|lib64|libexec|share|include|src|sbin|bin)|lib|lib64|bin|sbin|snap|nix/store|gnu/store)/"
    rb"|\A/var/lib/(?:dpkg|apt|rpm|pacman|ucf|pam|systemd)/|\A/lib/apk/db/|\A/etc/ssl/certs/"
    rb"|/go/pkg/mod/"
    rb"|\A/(?:usr/local|opt)/[^\s]*/?(?:lib/python[0-9.]+|lib/ruby|lib/perl[0-9]*|share/(?:man|doc|perl))/"
    rb"|/(?:conda|miniconda3?|anaconda3?)/(?:pkgs|lib)/|/\.(?:cargo/registry|m2/repository|gradle/caches|nuget)/"
)
_VENDORED = re.compile(
    rb"/(?:site-packages|dist-packages|node_modules|vendor|gems|bower_components)/"
)
_SAMPLE = re.compile(
    rb"/(?:docs?|man|examples?|samples?|demos?|tests?|testing|testdata|test[-_]data|fixtures?|spec|mocks?)/"
    rb"|\A/usr/share/(?:doc|man|info)/|/(?:README|CHANGELOG|CHANGES|NEWS|HISTORY)[^/]*\Z"
    rb"|\.(?:md|rst|adoc|[1-8]|pod|html?|po|pot|tex)\Z|(?:[._-](?:example|sample|template|dist|tmpl|tpl|default))+\Z"
    rb"|/[^/]*(?:[._-]test|[._-]spec|_fixture)\.\w+\Z|/test_[^/]*\Z",
    re.IGNORECASE,
)
_SETTINGS = re.compile(
    rb"\.(?:ini|conf|cfg|cnf|config|properties|ya?ml|toml|json|xml|tfvars|plist|settings|credentials?|secrets?"
    rb"|passwords?|env|sh|bash|zsh|profile|list|repo|netrc|pgpass|service)\Z"
    rb"|/(?:\.[^/]+|credentials?|config|Dockerfile[^/]*|Makefile|docker-compose[^/]*|[^/.]+)\Z",
    re.IGNORECASE,
)
_DOTENV = re.compile(rb"/(?:\.env(?:\.[\w.-]+|rc)?|[\w.-]+\.env|environment)\Z")
#: ``passwd: files`` there is no password.
_NOT_SETTINGS = frozenset(
    [b"/etc/nsswitch.conf", b"/etc/login.defs", b"/etc/services", b"/etc/debconf.conf"]
)


def is_binary(path: bytes) -> bool:
    """Whether a file is no text, by its name."""
    return _BINARY.search(path.rpartition(b"/")[2]) is not None


def is_sample(path: bytes) -> bool:
    """Whether a file is documentation, an example or a test: less likely anybody's secret."""
    return _SAMPLE.search(path) is not None


def is_dotenv(path: bytes) -> bool:
    """Whether a file holds an environment: ``.env``, ``.env.production``; not ``.env.example``."""
    return _DOTENV.search(path) is not None and not is_sample(path)


def is_others(path: bytes) -> bool:
    """Whether a file came by a package manager: code and data of others."""
    return _OTHERS.search(path) is not None or is_vendored(path)


def is_vendored(path: bytes) -> bool:
    """Whether a file is part of a library, as package managers of languages bring it."""
    return _VENDORED.search(path) is not None


def manner(path: bytes) -> Manner | None:
    """Return how assignments in a file are looked at; None where they tell of nobody's secret."""
    if is_dotenv(path):
        return Manner.ENVIRON
    if path in _NOT_SETTINGS or is_sample(path) or is_others(path):
        return None
    return Manner.SETTINGS if _SETTINGS.search(path) else Manner.CODE
