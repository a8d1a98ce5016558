"""Decides what a customer is owed when an order goes wrong, and records why."""

__version__ = "0.1.0"
