"""Manifests that are no images: what kind of artifact they are, in a few words."""

from __future__ import annotations

from didlab.errors import printable
from didlab.oci import media_types
from didlab.oci.manifest import ImageIndex, ImageManifest

__all__ = ["NAMES", "described", "name", "type_of"]

#: Artifact type (or that of the config, or of the content, in older artifacts) -> a short name.
NAMES: dict[str, str] = {
    "application/vnd.cncf.helm.config.v1+json": "Helm chart",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip": "Helm chart",
    "application/vnd.wasm.config.v0+json": "WebAssembly component",
    "application/vnd.wasm.config.v1+json": "WebAssembly component",
    "application/vnd.module.wasm.config.v1+json": "WebAssembly module",
    "application/vnd.wasm.content.layer.v1+wasm": "WebAssembly module",
    "application/wasm": "WebAssembly module",
    "application/vnd.docker.plugin.v1+json": "Docker plugin",
    "application/vnd.docker.attestation.manifest.v1+json": "BuildKit attestations",
    "application/vnd.docker.app.config.v1+json": "Docker application",
    "application/vnd.docker.compose.project": "Compose project",
    "application/vnd.docker.ai.model.config.v0.1+json": "Docker model",
    "application/vnd.cncf.model.config.v1+json": "AI model",
    "application/vnd.cncf.model.manifest.v1+json": "AI model",
    "application/vnd.ollama.image.model": "Ollama model",
    "application/vnd.cnab.config.v1+json": "CNAB bundle",
    "application/vnd.cncf.notary.signature": "Notary signature",
    "application/vnd.cncf.flux.config.v1+json": "Flux source",
    "application/vnd.cncf.openpolicyagent.config.v1+json": "policy bundle",
    "application/vnd.cncf.openpolicyagent.manifest.layer.v1+json": "policy bundle",
    "application/vnd.gatekeeper.policy.v1": "policy bundle",
    "application/vnd.dev.cosign.simplesigning.v1+json": "cosign signature",
    "application/vnd.dev.cosign.artifact.sig.v1+json": "cosign signature",
    "application/vnd.dev.cosign.artifact.att.v1+json": "cosign attestation",
    "application/vnd.dev.cosign.artifact.sbom.v1+json": "cosign SBOM",
    "application/vnd.dsse.envelope.v1+json": "signed attestation",
    "application/vnd.in-toto+json": "in-toto attestation",
    "application/spdx+json": "SPDX SBOM",
    "text/spdx+json": "SPDX SBOM",
    "text/spdx": "SPDX SBOM",
    "application/vnd.cyclonedx": "CycloneDX SBOM",
    "application/vnd.cyclonedx+json": "CycloneDX SBOM",
    "application/vnd.cyclonedx+xml": "CycloneDX SBOM",
    "application/vnd.syft+json": "Syft SBOM",
    "application/vnd.goharbor.harbor.sbom.v1": "Harbor SBOM",
    "application/sarif+json": "SARIF report",
    "application/vnd.aquasec.trivy.report+json": "Trivy report",
    "application/vnd.dev.sigstore.bundle": "Sigstore bundle",
    "application/vnd.devcontainers": "dev container feature",
    "application/vnd.ansible.ee.config.v1+json": "Ansible environment",
    "application/vnd.unknown.artifact.v1": "ORAS artifact of no declared type",
    "application/vnd.unknown.config.v1+json": "ORAS artifact of no declared type",
}


def name(artifact_type: str) -> str | None:
    """Return a short name for an artifact type, None where it is not a known one.

    >>> name("application/vnd.cncf.helm.config.v1+json")
    'Helm chart'
    >>> name("application/vnd.dev.sigstore.bundle.v0.3+json")
    'Sigstore bundle'
    """
    kind = media_types.essence(artifact_type)
    if kind.startswith("application/vnd.dev.sigstore.bundle"):
        kind = "application/vnd.dev.sigstore.bundle"
    return NAMES.get(kind)


def type_of(manifest: ImageManifest | ImageIndex) -> str | None:
    """Return the type of an artifact; None for what is an image or an index of images.

    Its own declaration first, then the config's type; where the config is empty or dressed as an
    image's, the type of the first blob.
    """
    declared = manifest.artifact_type
    if isinstance(manifest, ImageIndex):
        return declared
    if manifest.is_image:
        return None
    if declared is not None and not media_types.is_config(declared):
        return declared
    config = manifest.config.media_type
    says_nothing = config == media_types.OCI_EMPTY or media_types.is_config(config)
    return manifest.layers[0].media_type if says_nothing and manifest.layers else config


def described(artifact_type: str) -> str:
    """Return what an artifact is for people: its name where it has one, and its type.

    >>> described("application/wasm"), described("application/x")
    ('WebAssembly module (application/wasm)', 'application/x')
    """
    shown = printable(artifact_type, 200)
    known = name(artifact_type)
    return f"{known} ({shown})" if known else shown
