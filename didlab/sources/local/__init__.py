"""Images that lie on this machine: in archives, in OCI layouts, in the Docker daemon."""
