"""pack.yaml: settings of the whole pack."""

from __future__ import annotations

from policy_engine.core.policy import Milestone, PackSettings
from policy_engine.packs.nodes import Node
from policy_engine.packs.problems import Code, ProblemList
from policy_engine.packs.scalars import LOCALE, Duration, Name, Whole
from policy_engine.packs.shapes import Key, ListOf, MapOf, Table

CHANNEL_NAME = Name("the name of a channel", r"[^\s\x00-\x1f\x7f]{1,64}", "use no spaces")

OFFER_VALID_FOR = Key(
    "offer_valid_for",
    MapOf(CHANNEL_NAME, Duration(), "durations by channel"),
    "How long an offer can be granted, by channel; `default` for every other (15 minutes).",
    example={"default": "PT15M"},
)
PENDING_FOR = Key(
    "pending_for",
    Duration(),
    "How long something waits for approval before it expires (3 days).",
    example="P3D",
)
OFFER_AT_MOST = Key(
    "offer_at_most",
    Whole(1, 1_000),
    "How many plans a decision offers; without it, all.",
    example=3,
)
DEFAULT_LOCALE = Key(
    "default_locale", LOCALE, "The locale of texts when none fits (en).", example="en"
)
MILESTONE = Key("milestone", Name("the name of a milestone"), "Its name.", required=True)
WITHIN = Key(
    "within", Duration(), "How long after the decision it is due.", required=True, example="PT5M"
)
CHANNEL = Key(
    "channel",
    CHANNEL_NAME,
    "Only on this channel; without it, on every other.",
    example="whatsapp",
)
MILESTONES = Key(
    "milestones",
    ListOf(
        Table(
            "a milestone such as `{milestone: first_reply, within: PT5M}`",
            (MILESTONE, WITHIN, CHANNEL),
        ),
        "a list of milestones",
        may_be_empty=True,
    ),
    "What agents owe by when (a first reply within 5 minutes on whatsapp); `[]` for nothing.",
)
PACK_FILE = Table(
    "settings of the pack",
    (OFFER_VALID_FOR, PENDING_FOR, OFFER_AT_MOST, DEFAULT_LOCALE, MILESTONES),
)


def read_settings(node: Node | None, problems: ProblemList) -> PackSettings:
    """The settings; what is not written, or malformed, has its default."""
    fields = None if node is None else PACK_FILE.read(node, problems)
    default = PackSettings()
    if fields is None:
        return default
    milestones: dict[tuple[str, str | None], Milestone] = {}
    for row in fields.all(MILESTONES):
        name, within = row.get(MILESTONE), row.get(WITHIN)
        if name is None or within is None:
            continue
        key = (name, row.get(CHANNEL))
        if key in milestones:
            problems.error(
                row.at(MILESTONE),
                Code.DUPLICATE_NAME,
                f"a second milestone `{name}` for the same channel; delete one",
            )
        milestones[key] = Milestone(name, within, key[1])
    valid_for = {named.name: named.value for named in fields.all(OFFER_VALID_FOR)}
    return PackSettings(
        {**default.offer_valid_for, **valid_for},
        fields.get(PENDING_FOR) or default.pending_for,
        fields.get(OFFER_AT_MOST),
        fields.get(DEFAULT_LOCALE) or default.default_locale,
        tuple(milestones.values()) if fields.written(MILESTONES) else default.milestones,
    )
