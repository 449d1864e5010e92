"""A view whose columns change is made anew, and keeps all that belongs to it and lies over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from kappa.errors import ViewIncompatible
from kappa.tables import sink
from kappa.versions.deployment import Options
from kappa.versions.promote import Persistence, Promoted, examine, promote
from tests.integration.tables_scenes import item_rows, items, ready
from tests.integration.test_promote import active

Unique = Callable[[str], str]


@pytest.fixture
def roles(engine: Engine, unique: Unique) -> Iterator[tuple[str, str]]:
    """A reader and an owner."""
    both = unique("reader"), unique("owner")
    with engine.begin() as conn:
        for name in both:
            conn.execute(text(f"CREATE ROLE {name}"))
    yield both
    with engine.begin() as conn:
        conn.execute(text(f"DROP OWNED BY {', '.join(both)} CASCADE"))
        conn.execute(text(f"DROP ROLE {', '.join(both)}"))


@pytest.fixture
def name(engine: Engine, unique: Unique) -> str:
    """Version 1 shows id and amount; version 2 total and id, in another order."""
    name = unique("anew")
    for version, columns in ((1, ("id", "amount")), (2, ("total", "id"))):
        layout = ready(engine, items(name, version, columns), [10])
        with engine.begin() as conn:
            sink.upsert(conn, layout, item_rows(layout, 1))
    promote(engine, {name: 1}, who="test")
    return name


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as conn:
        for statement in statements:
            conn.execute(text(statement))


def go(engine: Engine, name: str) -> Promoted:
    impatient = Persistence(deadline_s=1, drain_after=None, unread_s=0)
    return promote(
        engine, {name: 2}, who="test", options=Options(recreate=True), persistence=impatient
    )


def test_everything_is_as_it_was_but_the_columns(
    engine: Engine, name: str, roles: tuple[str, str]
) -> None:
    role, owner = roles
    run(
        engine,
        f"ALTER VIEW {name} OWNER TO {owner}",
        f"GRANT SELECT ON {name}__v1, {name}__v2 TO {owner}",
        f"ALTER VIEW {name} SET (security_barrier = true)",
        f"COMMENT ON VIEW {name} IS 'what people read'",
        f"COMMENT ON COLUMN {name}.id IS 'whose'",
        f"ALTER VIEW {name} ALTER COLUMN id SET DEFAULT 7",
        f"GRANT SELECT ON {name} TO {role} WITH GRANT OPTION",
        f"GRANT SELECT (id), UPDATE (amount) ON {name} TO PUBLIC",
        f"CREATE VIEW over_{name} WITH (security_barrier) AS SELECT id + 1 AS next FROM {name}",
        f"CREATE VIEW top_{name} AS SELECT next FROM over_{name} UNION SELECT id FROM {name}",
        f"COMMENT ON VIEW top_{name} IS 'at the top'",
        f"GRANT SELECT, UPDATE ON top_{name} TO {owner}",
        f"GRANT SELECT ON over_{name} TO {role} WITH GRANT OPTION",
        f"ALTER VIEW top_{name} OWNER TO {role}",
    )
    assert go(engine, name).changed
    with engine.begin() as conn:
        found = conn.execute(text(f"SELECT * FROM {name}"))
        assert list(found.keys()) == ["total", "id"]
        assert found.all() == [(2, 2)]
        assert conn.scalars(text(f"SELECT next FROM top_{name} ORDER BY 1")).all() == [2, 3]
        about = text(
            "SELECT obj_description(oid, 'pg_class'), reloptions, pg_get_userbyid(relowner)"
            " FROM pg_class WHERE relname = :name"
        )
        assert conn.execute(about, {"name": name}).one() == (
            "what people read",
            ["security_barrier=true"],
            owner,
        )
        assert conn.execute(about, {"name": f"over_{name}"}).one()[1] == ["security_barrier=true"]
        assert conn.execute(about, {"name": f"top_{name}"}).one() == ("at the top", None, role)
        column = text(
            "SELECT col_description(attrelid, attnum), attacl::text,"
            " (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef"
            "  WHERE adrelid = attrelid AND adnum = attnum)"
            " FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attname = 'id'"
        )
        comment, acl, preset = conn.execute(column, {"name": name}).one()
        assert (comment, preset) == ("whose", "7")
        assert acl.startswith("{=r/")
        may = text("SELECT has_table_privilege(:role, CAST(:name AS regclass), :what)")
        over, top = f"over_{name}", f"top_{name}"
        for who, view, what, is_granted in (
            (role, name, "SELECT WITH GRANT OPTION", True),
            (role, name, "INSERT", False),
            (role, over, "SELECT WITH GRANT OPTION", True),
            (role, over, "INSERT", False),
            (owner, top, "SELECT", True),
            (owner, top, "UPDATE", True),
            (owner, top, "SELECT WITH GRANT OPTION", False),
            (owner, over, "SELECT", False),
        ):
            granted = conn.scalar(may, {"role": who, "name": view, "what": what})
            assert granted == is_granted, (who, view, what)


OBSTACLES = [
    ("CREATE MATERIALIZED VIEW kept_{name} AS SELECT id FROM {name}", "materialized"),
    ("CREATE RULE no AS ON INSERT TO {name} DO INSTEAD NOTHING", "rule"),
    (
        "CREATE FUNCTION no_{name}() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN END'; CREATE TRIGGER no INSTEAD OF INSERT ON {name}"
        " FOR EACH ROW EXECUTE FUNCTION no_{name}()",
        "trigger",
    ),
    (
        "CREATE FUNCTION rows_{name}() RETURNS SETOF {name} LANGUAGE sql AS 'TABLE {name}'",
        "function rows_",
    ),
    (
        "CREATE FUNCTION all_{name}({name}[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function all_",
    ),
    (
        "CREATE VIEW over_{name} AS SELECT id FROM {name};"
        " CREATE TYPE kept_{name} AS (one over_{name})",
        "type kept_",
    ),
]
"""What is known to stand in the way before anything is dropped, and what is said of it."""


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [
        ("CREATE VIEW needs_{name} AS SELECT amount FROM {name}", "amount"),
        *OBSTACLES,
    ],
)
def test_what_cannot_be_made_again_is_refused_and_nothing_is_lost(
    engine: Engine, name: str, obstacle: str, said: str
) -> None:
    run(engine, *obstacle.format(name=name).split("; "))
    with pytest.raises(ViewIncompatible, match=said):
        go(engine, name)
    assert active(engine, name) == 1
    with engine.begin() as conn:
        assert conn.execute(text(f"SELECT id, amount FROM {name}")).all() == [(1, 1)]


@pytest.mark.parametrize(("obstacle", "said"), OBSTACLES)
def test_a_plan_shows_what_stands_in_the_way(
    engine: Engine, name: str, obstacle: str, said: str
) -> None:
    run(engine, *obstacle.format(name=name).split("; "))
    (plan,) = examine(engine, {name: 2}, Options(recreate=True))
    assert isinstance(plan.refusal, ViewIncompatible)
    assert said in str(plan.refusal)


def test_without_the_option_it_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(ViewIncompatible) as caught:
        promote(engine, {name: 2}, who="test")
    assert "--recreate" in caught.value.hint


def test_a_view_that_need_not_be_dropped_is_replaced(engine: Engine, unique: Unique) -> None:
    name = unique("same")
    for version in (1, 2):
        ready(engine, items(name, version), [10])
    promote(engine, {name: 1}, who="test")
    with engine.connect() as conn:
        oid = text("SELECT CAST(:name AS regclass)::oid")
        before = conn.scalar(oid, {"name": name})
        go(engine, name)
        assert conn.scalar(oid, {"name": name}) == before
