"""What is built for a pack is built once, and never taken for another pack's."""

from dataclasses import replace

from policy_engine.core.policy import Pack
from policy_engine.wire.per_pack import PerPack


def test_it_is_built_once_a_pack_even_where_packs_are_equal(pack: Pack) -> None:
    built: list[Pack] = []

    def build(of: Pack) -> int:
        built.append(of)
        return len(built)

    per_pack = PerPack(build)
    twin = replace(pack)

    assert [per_pack(pack), per_pack(twin), per_pack(pack), per_pack(twin)] == [1, 2, 1, 2]
    assert built[0] is pack and built[1] is twin


def test_packs_of_long_ago_are_let_go(pack: Pack) -> None:
    built: list[int] = []
    per_pack = PerPack(lambda of: built.append(id(of)))
    packs = [replace(pack) for _ in range(20)]

    for each in [*packs, packs[0], packs[-1]]:
        per_pack(each)

    assert len(built) == 21
