"""Bills of materials of images: CycloneDX and SPDX."""
