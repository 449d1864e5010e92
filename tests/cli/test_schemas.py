"""``kappa schemas`` as a process: what a person does with the schema of a topic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished

Kappa = Callable[..., Finished]
Write = Callable[..., str]


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

    registered = kappa("schemas", "register", "orders", first, "--json")
    assert registered.json == {
        "subject": "orders-value",
        "version": 1,
        "schema_id": 1,
        "created": True,
    }
    assert kappa("schemas", "check", "orders", second).out == (
        "compatible: the schema reads values of all 1 version of orders-value\n"
    )

    refused = kappa("schemas", "check", "orders", wrong)
    assert refused.code == 4
    assert refused.err.startswith("error: values of version 1 could not be read: field 'amount'")
    assert "hint: " in refused.err

    assert kappa("schemas", "register", "orders", second).out == (
        "registered orders-value version 2, id 2\n"
    )
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


def test_registering_again_and_under_another_subject(kappa: Kappa, schema: Write) -> None:
    file = schema("order.avsc", amount="int")
    kappa("schemas", "register", "orders", file)
    again = kappa("schemas", "register", "orders", file)
    assert again.out == "unchanged: orders-value version 1, id 1\n"
    other = kappa("schemas", "register", "orders", file, "--subject", "sales", "--json").json
    assert (other["subject"], other["schema_id"], other["created"]) == ("sales", 1, True)
    shown = kappa("schemas", "show", "orders", "--subject", "sales", "--version", "7")
    assert (shown.code, shown.err.splitlines()[1]) == (3, "hint: it has 1")


def test_an_empty_registry(kappa: Kappa) -> None:
    listed = kappa("schemas", "list")
    assert (listed.code, listed.out) == (0, "no schemas are registered\n")
    assert "kappa schemas register" in listed.err
    assert kappa("schemas", "show", "orders").code == 3


def test_what_is_no_schema(kappa: Kappa, tmp_path: Path) -> None:
    (tmp_path / "text.avsc").write_text("nonsense")
    assert kappa("schemas", "register", "orders", "text.avsc").code == 4
    missing = kappa("schemas", "check", "orders", "missing.avsc")
    assert (missing.code, "missing.avsc" in missing.err) == (2, True)
