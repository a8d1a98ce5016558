"""The service's own role on PostgreSQL, with no more rights than docs/operations.md gives it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.engine import make_url


@contextmanager
def application_role(owner_url: str, *, granted: bool = True) -> Iterator[str]:
    """The URL of an upgraded database for a role that may only add to what is recorded.

    Without `granted` the role may connect, and nothing else.
    """
    url = make_url(owner_url)
    role = f"app_{url.database}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        if granted:
            owner.execute("SELECT policy_engine_grant_application(%s)", [role])
        yield url.set(username=role, password=None).render_as_string(hide_password=False)
        owner.execute(f"DROP OWNED BY {role}")
        owner.execute(f"DROP ROLE {role}")
