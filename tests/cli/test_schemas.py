"""``kappa schemas`` as a process: what a person does with the schema of a topic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kappa.config import KafkaSettings, RegistrySettings, Settings
from kappa.errors import ConfigError, InvalidSchema, UnknownSchema
from kappa.operations import schemas
from kappa.operations.schemas import CheckedSchema
from tests.conftest import Finished

Kappa = Callable[..., Finished]
Write = Callable[..., str]


@pytest.fixture
def settings(kafka: KafkaSettings, unique: Callable[[str], str]) -> Settings:
    return Settings(kafka=kafka, registry=RegistrySettings(topic=unique("schemas")))


@pytest.fixture
def schema(tmp_path: Path) -> Write:
    """Writes a schema file of an order with fields of these types; returns its name."""

    def write(name: str, **fields: Any) -> str:
        listed = [{"name": "id", "type": "string"}]
        listed += [{"name": field, "type": kind} for field, kind in fields.items()]
        document = {"type": "record", "name": "order", "fields": listed}
        (tmp_path / name).write_text(json.dumps(document))
        return name

    return write


def test_the_life_of_a_schema(kappa: Kappa, schema: Write, tmp_path: Path) -> None:
    first, wrong = schema("first.avsc", amount="int"), schema("wrong.avsc", amount="string")
    second = schema("second.avsc", amount="long")

    empty = kappa("schemas", "list")
    assert (empty.code, empty.out) == (0, "no schemas are registered\n")
    assert "kappa schemas register" in empty.err

    assert kappa("schemas", "register", "orders", first).out == (
        "registered orders-value version 1, id 1\n"
    )
    refused = kappa("schemas", "check", "orders", wrong)
    assert refused.code == 4
    assert refused.err.startswith("error: values of version 1 could not be read: field 'amount'")
    assert "hint: " in refused.err

    assert kappa("schemas", "register", "orders", second, "--json").json == {
        "subject": "orders-value",
        "version": 2,
        "schema_id": 2,
        "created": True,
    }
    assert kappa("schemas", "list", "--json").json == [
        {
            "subject": "orders-value",
            "versions": 2,
            "latest_version": 2,
            "schema_id": 2,
            "fields": 2,
        }
    ]
    shown = kappa("schemas", "show", "orders", "--version", "1")
    assert json.loads(shown.out) == json.loads((tmp_path / first).read_text())
    assert shown.err == "orders-value version 1, id 1\n"


def test_registering_again_and_under_another_subject(
    settings: Settings, schema: Write, tmp_path: Path
) -> None:
    file = tmp_path / schema("order.avsc", amount="int")
    assert schemas.check(settings, "orders", file) == CheckedSchema("orders-value", 0, None)
    assert schemas.register(settings, "orders", file).created
    again = schemas.register(settings, "orders", file)
    assert (again.version, again.schema_id, again.created) == (1, 1, False)
    assert schemas.check(settings, "orders", file) == CheckedSchema("orders-value", 1, 1)
    other = schemas.register(settings, "orders", file, subject="sales")
    assert (other.subject, other.version, other.schema_id) == ("sales", 1, 1)
    shown = schemas.show(settings, "orders", subject="sales")
    assert (shown.subject, shown.latest, shown.key) == ("sales", True, None)
    assert shown.schema == json.loads(file.read_text())


def test_what_is_not_there(settings: Settings, schema: Write, tmp_path: Path) -> None:
    with pytest.raises(UnknownSchema):
        schemas.show(settings, "orders")
    schemas.register(settings, "orders", tmp_path / schema("order.avsc"))
    with pytest.raises(UnknownSchema, match="no version 7") as caught:
        schemas.show(settings, "orders", version=7)
    assert caught.value.hint == "it has 1"


def test_what_is_no_schema(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "text.avsc").write_text("nonsense")
    (tmp_path / "bytes.avsc").write_bytes(b"\xff\xfe")
    for act in (schemas.register, schemas.check):
        with pytest.raises(InvalidSchema):
            act(settings, "orders", tmp_path / "text.avsc")
        for name in ("bytes.avsc", "missing.avsc"):
            with pytest.raises(ConfigError, match=name):
                act(settings, "orders", tmp_path / name)
    assert schemas.list_all(settings) == ()
