"""The record: tables, decisions, idempotency, pack revisions, credentials, the log's outbox.

`ledger.Ledger` is what bootstrap opens; `shapes` and `errors` are all that others need to know.
"""
