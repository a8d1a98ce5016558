"""Reads policy files into core objects: positions, schema, checks, revisions, pack tests."""
