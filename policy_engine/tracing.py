"""Spans for OpenTelemetry: nothing at all until `start`, which needs the extra `otel`.

Where spans go, under which name and how many of them is set by OpenTelemetry's own variables
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, …). A span carries
routes, ids that the service made, outcomes and revisions: nothing that names a person.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

SERVICE: Final = "policy-engine"
_PREFIX: Final = "policy_engine."
_LAST_WORDS_SECONDS: Final = 2.0
"""So long at most a process waits at its end for spans that can't be sent."""
_NOTHING: Final = nullcontext()


class TracingError(Exception):
    """Tracing is wanted, and the packages for it are not installed."""


class _State:
    provider: TracerProvider | None = None
    tracer: Tracer | None = None


_state = _State()


def check() -> None:
    """TracingError unless spans could be made and sent."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401 -- looked for, not used
    except ImportError as error:
        raise TracingError(
            f"tracing is on, and `{error.name}` is not installed; install the extra: "
            "`pip install 'policy-engine[otel]'`"
        ) from error


def start(exporter: SpanExporter | None = None) -> None:
    """From now on spans are made, and sent in batches. Call it after a fork. TracingError.

    `exporter`: where they are sent at once instead, one by one.
    """
    check()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    from policy_engine import __version__

    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins.
    resource = Resource({"service.name": SERVICE}).merge(
        Resource.create({"service.version": __version__})
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    processor: SpanProcessor = (
        BatchSpanProcessor(OTLPSpanExporter())
        if exporter is None
        else SimpleSpanProcessor(exporter)
    )
    provider.add_span_processor(processor)
    _state.provider, _state.tracer = provider, provider.get_tracer(SERVICE, __version__)


def stop() -> None:
    """No more spans; those that wait are sent, if that can be done soon."""
    provider, _state.provider, _state.tracer = _state.provider, None, None
    if provider is not None:
        last_words = threading.Thread(target=provider.shutdown, daemon=True)
        last_words.start()
        last_words.join(_LAST_WORDS_SECONDS)


def span(name: str, **attributes: str) -> AbstractContextManager[object]:
    """A span around the block, below the one that is open.

    It says nothing of an exception that ends it: messages may quote what a caller wrote.
    """
    if _state.tracer is None:
        return _NOTHING
    return _opened(_state.tracer, name, attributes)


def describe(**attributes: str | int) -> None:
    """Adds to what the open span says."""
    if _state.tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(_named(attributes))


def past(name: str, began_ns: int) -> None:
    """A span, below the one that is open, of what began then (Unix time) and ends now."""
    if _state.tracer is not None:
        _state.tracer.start_span(name, start_time=began_ns).end()


def server_span(headers: Mapping[str, str]) -> AbstractContextManager[object]:
    """The span of a request, continuing the trace that its `traceparent` header names."""
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if _state.tracer is None:
        return _NOTHING
    parent = TraceContextTextMapPropagator().extract(headers)
    return _opened(_state.tracer, "request", {}, context=parent, kind=SpanKind.SERVER)


def end_request(name: str, status: int, attributes: Mapping[str, str]) -> None:
    """What is known of the request's span once it is answered."""
    from opentelemetry.trace import Status, StatusCode, get_current_span

    current = get_current_span()
    current.update_name(name)
    current.set_attribute("http.response.status_code", status)
    current.set_attributes(attributes)
    if status >= 500:
        current.set_status(Status(StatusCode.ERROR))


def trace_id() -> str | None:
    """The id of the running trace, 32 hexadecimal digits; None where there is none."""
    if _state.tracer is None:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def _opened(
    tracer: Tracer, name: str, attributes: Mapping[str, str], **more: Any
) -> AbstractContextManager[object]:
    return tracer.start_as_current_span(
        name,
        attributes=_named(attributes),
        record_exception=False,
        set_status_on_exception=False,
        **more,
    )


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {_PREFIX + name: value for name, value in attributes.items()}
