"""``kappa db``: making and migrating kappa's own tables."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Finished

Kappa = Callable[..., Finished]
NOWHERE = "postgresql://u:s3cret-c4nary@127.0.0.1:1/db"


def test_upgrade_and_current(kappa: Kappa) -> None:
    before = kappa("db", "current")
    assert "nothing yet" in before.out
    assert "kappa db upgrade" in before.err
    done = kappa("db", "upgrade", "--json").json
    assert done["applied"] == [f"{n:04}" for n in range(1, int(done["revision"]) + 1)]
    after = kappa("db", "current", "--json").json
    assert after == {"revision": done["revision"], "needed": done["revision"], "pending": []}
    assert "up to date" in kappa("db", "upgrade").out


def test_no_server_is_one_line_without_the_password(kappa: Kappa) -> None:
    done = kappa("db", "upgrade", env={"KAPPA_POSTGRES__URL": NOWHERE})
    assert done.code == 5
    assert [line.partition(":")[0] for line in done.err.splitlines()] == ["error", "hint"]
    assert "127.0.0.1:1/db" in done.err
    assert "s3cret" not in done.err + done.out
