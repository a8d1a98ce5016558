"""A Flask app that sends back what it is sent: what HTTP alone costs under the same server.

python -m bench.echo PORT THREADS
"""

from __future__ import annotations

import sys

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/v1/decisions")
def echo() -> Response:
    return Response(request.get_data(), status=201, content_type="application/json")


@app.get("/")
def ready() -> Response:
    return Response(b"{}", content_type="application/json")


def main() -> None:
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    Granian(
        "bench.echo:app",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=int(sys.argv[2]),
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main()
