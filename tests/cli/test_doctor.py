"""``kappa doctor``: all is well, and each thing that can be wrong is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from kappa.config import Settings
from kappa.operations.doctor.examine import examine
from kappa.operations.doctor.finding import Finding, Outcome
from kappa.runtime.live.installed import Lack, lacking
from kappa.tables.engine import connect
from tests.conftest import Finished
from tests.orders import Shop, open_shop, orders, publish, rebuild

Kappa = Callable[..., Finished]

KEYED = """
import polars as pl
from kappa import Projection, Source

latest = Projection(
    name="{name}",
    version=1,
    source=Source("{topic}", event_time="placed_at", out_of_orderness="20s"),
    columns={{"customer": pl.col("customer"), "amount": pl.col("amount")}},
    latest_by="customer",
)
"""


@pytest.fixture
def shop(
    settings: Settings,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
    tmp_path: Path,
) -> Shop:
    made = open_shop(settings, plugin, unique, tmp_path, records=orders(60, seed=1))
    rebuild(settings, made)
    return made


def problems(settings: Settings) -> list[Finding]:
    return [found for found in examine(settings) if found.outcome is Outcome.PROBLEM]


@pytest.fixture
def client(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})


def await_all(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(20)


def test_all_is_well(kappa: Kappa, settings: Settings, shop: Shop) -> None:
    found = kappa("doctor", "--json")
    assert found.code == 0, found.out
    subjects = [finding["subject"] for finding in found.json]
    version = f"{shop.processor} v1"
    assert subjects == [
        "kafka",
        "registry",
        "postgresql",
        "migrations",
        "rights",
        version,
        version,
    ]
    assert {finding["outcome"] for finding in found.json} == {"ok"}
    shown = kappa("doctor")
    assert shown.code == 0
    assert len(shown.out.splitlines()) == len(subjects)


def test_servers_that_are_away_are_problems_and_the_rest_is_looked_at(
    kappa: Kappa, settings: Settings, shop: Shop
) -> None:
    away = {
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "500",
    }
    found = kappa("doctor", env=away)
    assert found.code == 4
    assert "problem kafka: " in found.out
    assert "hint: " in found.out
    assert f"ok      {shop.processor} v1: its plugin is installed" in found.out
    found = kappa("doctor", env={"KAPPA_POSTGRES__URL": "postgresql://nobody@127.0.0.1:1/x"})
    assert found.code == 4
    assert "problem postgresql: " in found.out
    assert "ok      kafka: " in found.out


def test_an_empty_database_lacks_its_migrations_only(settings: Settings) -> None:
    (found,) = problems(settings)
    assert (found.subject, found.hint) == ("migrations", "run 'kappa db upgrade'")


def test_a_role_that_may_not_create_is_found(settings: Settings, shop: Shop, database: str) -> None:
    role = f"reader_{shop.processor}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
            name = connection.info.dbname
            connection.execute(f'ALTER DATABASE "{name}" SET role = {role}')
            (found,) = problems(settings)
            assert found.subject == "rights"
            assert "may not create" in found.message
            connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
            (found,) = problems(settings)
            assert "does not own kappa_alembic_version" in found.message
        finally:
            connection.execute(f'ALTER DATABASE "{name}" RESET role')
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_a_plugin_that_is_gone_or_changed_is_named(
    settings: Settings, shop: Shop, tmp_path: Path, database: str
) -> None:
    module = tmp_path / "plugins" / f"plugin_{shop.processor}.py"
    code = module.read_text()
    module.write_text(code.replace('Max("order_id")', 'Min("order_id")'))
    (found,) = problems(settings)
    assert "changed under version 1" in found.message
    module.unlink()
    (found,) = problems(settings)
    assert "cannot be read" in found.message
    (tmp_path / "plugins" / f"plugin_{shop.processor}-1.0.dist-info/entry_points.txt").unlink()
    engine = connect(database)
    with engine.connect() as conn:
        (lack,) = lacking(conn)
        assert (lack.processor, lack.version, lack.lack) == (shop.processor, 1, Lack.MISSING)
        assert lack.hint == f"install plugin_{shop.processor} 1.0"
        conn.exec_driver_sql("UPDATE kappa_version SET state = 'retired'")
        assert lacking(conn) == ()
        conn.rollback()
    engine.dispose()


def test_a_topic_that_is_not_the_one_read_is_named(
    settings: Settings, shop: Shop, client: AdminClient
) -> None:
    await_all(client.delete_topics([shop.topic]))
    while shop.topic in client.list_topics(timeout=10).topics:
        pass
    (found,) = problems(settings)
    assert shop.topic in found.message
    await_all(client.create_topics([NewTopic(shop.topic, 3, 1)]))
    (found,) = problems(settings)
    assert "deleted and created again" in found.message


def test_records_that_are_gone_before_they_were_read_are_named(
    settings: Settings, shop: Shop, client: AdminClient, tmp_path: Path
) -> None:
    publish(settings, shop.topic, tmp_path, orders(60, seed=2))
    ends = [TopicPartition(shop.topic, number, -1) for number in range(3)]
    await_all(client.delete_records(ends))
    (found,) = problems(settings)
    assert "has not read yet are gone" in found.message


def test_new_partitions_matter_where_keys_decide_them(
    settings: Settings,
    shop: Shop,
    client: AdminClient,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
) -> None:
    keyed = Shop(shop.topic, unique("latest"))
    plugin(f"plugin_{keyed.processor}", KEYED.format(name=keyed.processor, topic=keyed.topic))
    rebuild(settings, keyed)
    await_all(client.create_partitions([NewPartitions(shop.topic, 5)]))
    while len(client.list_topics(shop.topic, 10).topics[shop.topic].partitions) < 5:
        pass
    (found,) = problems(settings)
    assert found.subject == f"{keyed.processor} v1"
    assert "other partitions" in found.message


def test_timestamps_of_producers_are_a_warning(
    kappa: Kappa, client: AdminClient, shop: Shop
) -> None:
    entry = ConfigEntry(
        "message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ConfigResource.Type.TOPIC, shop.topic, incremental_configs=[entry])
    await_all(client.incremental_alter_configs([resource]))
    shown = kappa("doctor")
    assert shown.code == 0
    assert f"warning {shop.processor} v1: {shop.topic} has timestamps" in shown.out
