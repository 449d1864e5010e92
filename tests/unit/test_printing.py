"""What commands print is what was said, whatever it looks like."""

from __future__ import annotations

import pytest

from kappa.cli.output import err, grid, out, print_error, table
from kappa.errors import ConfigError

ODD = "[/b] [red]x[/red] [true] [null] :id: :a:"


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out().print(ODD)
    out().print(grid([ODD], []))
    table(["said"], [[ODD]])
    err().print(ODD)
    print_error(ConfigError(ODD, place=ODD, hint=ODD), as_json=False)
    printed = capsys.readouterr()
    assert [line.strip() for line in printed.out.splitlines()] == [ODD, ODD, "said", ODD]
    assert printed.err.splitlines() == [ODD, f"error: {ODD} (place={ODD})", f"hint: {ODD}"]
