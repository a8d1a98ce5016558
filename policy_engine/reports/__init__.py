"""Exports and finance reports."""
