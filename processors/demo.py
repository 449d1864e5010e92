"""A year of real flights through every part of kappa, told as it goes.

Runs the same commands a person would type, in a directory of its own (``.demo/``), and ends
with nothing running. ``--keep`` leaves the servers up to look around.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from example_processors.flights import departures
from kappa import config

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
SCHEMA = ROOT / "schemas" / "flight.avsc"

WORST_HOURS = """
SELECT origin, window_start, flights, round(mean_delay::numeric, 1) AS mean_delay
  FROM hourly_delays
 WHERE (origin, window_start) IN (VALUES {hours})
 ORDER BY window_start, origin
"""

# Evenings of storms, when most flights were cancelled.
HOURS = [
    ("EWR", "2013-04-11 01:00+00"),
    ("EWR", "2013-05-24 00:00+00"),
    ("LGA", "2013-07-11 00:00+00"),
    ("LGA", "2013-07-23 00:00+00"),
]

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Tells the story; exits with the status of the first command that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the servers running")
    keep = parser.parse_args().keep
    began = time.monotonic()
    HOME.mkdir(exist_ok=True)
    run("dev", "reset", "--yes", quiet=True)
    try:
        tell_history()
        tell_first_version()
        tell_second_version()
        console.print(f"\n[bold]The end[/bold], after {time.monotonic() - began:.0f} seconds.")
    finally:
        if keep:
            console.print(f"The servers still run: cd {HOME.name} && kappa status; kappa dev down")
        else:
            run("dev", "reset", "--yes", quiet=True)
            shutil.rmtree(HOME, ignore_errors=True)


def tell_history() -> None:
    """Servers, a topic, and a year of flights in it."""
    say("A real Kafka and a real PostgreSQL, here, without Docker.")
    run("dev", "up")
    run("db", "upgrade")
    say("One topic holds all of history, for ever; a schema says what a record is.")
    run("topics", "create", "flights", "--partitions", "4", "--schema", str(SCHEMA),
        "--key", "fleet")  # fmt: skip
    departures().write_parquet(HOME / "flights.parquet")
    say("336,776 flights of 2013, in the order in which they really left.")
    run("produce", "flights", "flights.parquet")


def tell_first_version() -> None:
    """Version 1: replayed, promoted, asked."""
    say("Two versions of one processor are installed as a plugin.")
    run("processors", "list")
    say("Version 1 is built from offset zero. Flights over an hour late come too late for")
    say("their window: they are kept aside, not lost.")
    run("replay", "hourly_delays", "--version", "1")
    say("Nobody can see it yet. Promote makes the view.")
    run("promote", "hourly_delays", "--version", "1")
    ask("Four stormy evenings, as version 1 sees them:")


def tell_second_version() -> None:
    """Version 2 beside it, and the switch."""
    say("It counts a cancelled flight as on time. Version 2 leaves those out of the mean and")
    say("counts them. It is built from all of history while readers go on with version 1.")
    run("replay", "hourly_delays", "--version", "2")
    run("status")
    say("What would change for readers? Both versions are compared at the same offsets.")
    run("diff", "hourly_delays", "--expect-diff", "--samples", "3")
    say("One transaction moves the view.")
    run("promote", "hourly_delays", "--version", "2")
    ask("The same question to the same view:", ", cancelled")
    run("status")


def say(text: str) -> None:
    console.print(f"[bold]{text}[/bold]")


def run(*args: str, quiet: bool = False) -> None:
    """One kappa command, shown and run in the demo's directory."""
    shown = " ".join(str(Path(arg).name) if arg.startswith("/") else arg for arg in args)
    if not quiet:
        console.print(f"\n$ kappa {shown}")
    done = subprocess.run(
        [sys.executable, "-m", "kappa", *args], cwd=HOME, capture_output=quiet, check=False
    )
    if done.returncode and not quiet:
        sys.exit(done.returncode)
    if not quiet:
        console.print()


def ask(text: str, more: str = "") -> None:
    """The question to the view, and what it answers now."""
    say(text)
    hours = ", ".join(f"('{origin}', timestamptz '{start}')" for origin, start in HOURS)
    sql = WORST_HOURS.format(hours=hours).replace(" AS mean_delay", f" AS mean_delay{more}")
    grid = Table(box=None, pad_edge=False)
    with psycopg.connect(endpoint()) as connection, connection.execute(sql) as cursor:
        for column in cursor.description or ():
            grid.add_column(column.name)
        for row in cursor:
            grid.add_row(*(str(value) for value in row))
    console.print(grid)
    console.print()


def endpoint() -> str:
    """The URL of the demo's database."""
    file = HOME / config.STATE_DIRECTORY / config.ENDPOINTS_NAME
    return str(json.loads(file.read_text())["postgres_url"])


if __name__ == "__main__":
    main()
