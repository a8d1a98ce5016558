"""The verifiable log: records in a dense order, under signed Merkle checkpoints.

`tree` is the arithmetic of RFC 9162, `notes` the text that is signed, `tiles` and `sequencer` put
both into the database, `reading` gives entries and proofs, `verify` proves the whole again.
docs/record.md tells what it is good for.
"""
