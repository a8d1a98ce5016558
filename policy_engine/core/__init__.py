"""The pure heart of the engine: money, facts, conditions, plans, caps, authority, decisions.

Nothing here reads a clock, a file, a database or the environment; only the standard
library is imported. What the core needs from outside it asks for through `ports`.
"""
