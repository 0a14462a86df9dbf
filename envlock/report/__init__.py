"""Reports and manifests as text for people at a terminal."""
