"""What a release has to be like: `make release-check`."""
