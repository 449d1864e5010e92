"""A database that is slower than what comes in: nothing piles up, and it is named as the cause."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from kappa.operations.status import status
from tests.faults import beside, wait_until
from tests.live.invariants import check
from tests.live.scenes import Scene

SLOW = """
CREATE FUNCTION {name}_slowly() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
CREATE TRIGGER slowly AFTER INSERT ON {name}__v1 EXECUTE FUNCTION {name}_slowly();
"""
QUICK = "DROP TRIGGER slowly ON {name}__v1; DROP FUNCTION {name}_slowly();"


def bottleneck(here: Scene) -> str | None:
    (version,) = status(here.site.settings, [here.name])
    return version.bottleneck


def execute(here: Scene, statements: str) -> None:
    with here.site.engine.begin() as connection:
        connection.exec_driver_sql(statements.format(name=here.name))


def test_a_slow_database_is_named_as_the_bottleneck(scene: Callable[..., Scene]) -> None:
    here = scene()
    run = here.run()
    here.publish()
    here.catch_up()
    wait_until("nothing holds it up", lambda: bottleneck(here) is None)

    def load(over: Event) -> None:
        while not over.wait(0.05):
            here.publish(30)

    with beside(load):
        execute(here, SLOW)
        wait_until("the database does", lambda: bottleneck(here) == "database")
        execute(here, QUICK)
    here.catch_up()
    wait_until("nothing does again", lambda: bottleneck(here) is None)
    check(here)
    assert run.running
