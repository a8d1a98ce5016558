"""Templates of scripts: Jinja in an immutable sandbox, where none can run for long or say much."""

from __future__ import annotations

import functools

from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_PART_CHARACTERS = 4_000
MAX_RANGE = 100
"""How far a template may count; what a script lists is never longer."""


def parsed(source: str) -> nodes.Template:
    """A template as it will be filled in. Raises TemplateSyntaxError."""
    return _environment().parse(source)


def template_error(tree: nodes.Template) -> str | None:
    """Why a template cannot be used, for the pack's check; None when it compiles."""
    try:
        _environment().compile(tree)
    except TemplateError as error:
        return str(error)
    return None


class Part:
    """One part of a script; what uses no slot is always the same, and made once."""

    def __init__(self, source: str) -> None:
        self._template = _environment().from_string(source)
        self._varies = bool(meta.find_undeclared_variables(_environment().parse(source)))
        self._said: str | None = None

    def said(self, slots: dict[str, object]) -> str:
        if self._varies:
            return self._filled(slots)
        if self._said is None:
            self._said = self._filled(slots)
        return self._said

    def _filled(self, slots: dict[str, object]) -> str:
        pieces: list[str] = []
        length = 0
        # `generate` would copy all slots for every part. A template changes none of them.
        context = self._template.new_context(slots, shared=True)
        for piece in self._template.root_render_func(context):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_PART_CHARACTERS:
                raise ValueError(f"a part is longer than {MAX_PART_CHARACTERS} characters")
        return "".join(pieces).strip()


@functools.lru_cache(maxsize=4_096)
def part(source: str) -> Part:
    return Part(source)


_TEXT_METHODS = frozenset(
    {"capitalize", "endswith", "lower", "startswith", "strip", "title", "upper"}
)


class _Sandbox(ImmutableSandboxedEnvironment):
    """No attribute that begins with `_`, no changing of slots, and no long loops or texts."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
        # `'x' * 10**9`, `'%9999999d' % 1` and `9**9**9` cost memory and time; scripts need none.
        del context, left, right
        raise SecurityError(f"`{operator}` is not available in scripts")

    def getattr(self, obj: object, attribute: str) -> object:
        # Slots are dicts; looking for an attribute first costs more than the rest of a script.
        if type(obj) is dict and attribute in obj and not hasattr(dict, attribute):
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        # Likewise `'x'.ljust(10**9)`: of a text's methods only those that make it no longer.
        if isinstance(obj, str) and attr not in _TEXT_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)


def limited_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() counts to {MAX_RANGE} at most")
    return numbers


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    # Plain text for a chat window, not HTML: escaping would show `&amp;` to customers.
    environment = _Sandbox(
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals = {"range": limited_range}
    # Filters that can make a long text out of a short one.
    for name in ("center", "format", "indent", "pprint", "urlize", "xmlattr", "tojson"):
        environment.filters.pop(name, None)
    return environment
