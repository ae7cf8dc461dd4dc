"""Copies: say of replicas, RDB files, append-only files and backups whether they are clean."""
