"""Finding plugins: listing runs nothing, a broken one is named and breaks no other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa import plugins
from kappa.errors import DeclarationError, PluginLoadError, UnknownProcessor

GOOD = """
from kappa import Count, Source, Tumbling, WindowedAggregate
good = WindowedAggregate(
    name="good", version={version}, source=Source("t", event_time="at"), key=["k"],
    window=Tumbling("1m"), aggregates={{"n": Count()}},
)
"""

Install = Callable[[str, dict[str, str], dict[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a distribution importable: its entry points and its modules."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, entries: dict[str, str], modules: dict[str, str]) -> None:
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"{key} = {value}" for key, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[kappa.processors]", *lines]))
        for module, code in modules.items():
            monkeypatch.delitem(sys.modules, module, raising=False)
            (tmp_path / f"{module}.py").write_text(code)

    return make


def test_listing_names_every_version_and_imports_nothing(install: Install) -> None:
    install(
        "one",
        {"good.v1": "good_one:good", "good.v2": "good_two:good", "bad.v1": "bad_one:x"},
        {"bad_one": "raise RuntimeError('boom')", "good_one": GOOD.format(version=1)},
    )
    listed = {(p.name, p.version): p for p in plugins.installed()}
    assert listed["good", 1].distribution == "one"
    assert listed["good", 1].distribution_version == "1.2"
    assert {("good", 2), ("bad", 1)} <= set(listed)
    assert not {"good_one", "bad_one"} & set(sys.modules)


def test_the_highest_version_is_taken_unless_one_is_asked_for(install: Install) -> None:
    install(
        "one",
        {"good.v2": "good_two:good", "good.v10": "good_ten:good"},
        {"good_two": GOOD.format(version=2), "good_ten": GOOD.format(version=10)},
    )
    assert plugins.load(plugins.find("good")).declaration.version == 10
    assert plugins.load(plugins.find("good", 2)).declaration.version == 2


def test_a_plugin_that_fails_to_load_is_named_and_the_others_work(install: Install) -> None:
    install("broken", {"bad.v1": "bad_two:x"}, {"bad_two": "raise RuntimeError('boom')"})
    install("fine", {"good.v1": "good_three:good"}, {"good_three": GOOD.format(version=1)})
    with pytest.raises(PluginLoadError, match="RuntimeError: boom") as raised:
        plugins.load(plugins.find("bad"))
    assert raised.value.detail["distribution"] == "broken 1.2"
    assert plugins.load(plugins.find("good")).declaration.name == "good"


TWO_LINES = """
from kappa import Session
Session(
    {gap},
)
"""


def test_what_a_constructor_refuses_says_in_which_plugin_and_line(
    install: Install, tmp_path: Path
) -> None:
    install("sloppy", {"bad.v3": "bad_three:x"}, {"bad_three": TWO_LINES.format(gap=1.5)})
    with pytest.raises(DeclarationError, match=r"gap: 1\.5 is not a duration") as refused:
        plugins.load(plugins.find("bad"))
    assert refused.value.message.startswith("processor 'bad' version 3 cannot be loaded: ")
    assert refused.value.detail["distribution"] == "sloppy"
    assert refused.value.detail["declared_at"] == f"{tmp_path / 'bad_three.py'}:3"
    assert "500ms" in refused.value.hint


KEYED = """
from kappa import KeyedProcessor, Source
class Good(KeyedProcessor):
    name, version, key, output = "good", 1, "k", {}
    def on_event(self, event, ctx): ...
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (KEYED, "good version 1 declares no source"),
        (KEYED + "    source = 'orders'", "good version 1: source is a str"),
        (GOOD.format(version=1).replace('Source("t", event_time="at")', '"t"'), "source is a str"),
        (GOOD.format(version=1).replace("Count()", "Count"), "aggregate 'n' is the class Count"),
    ],
)
def test_a_field_of_a_wrong_type_is_found_at_load(
    install: Install, code: str, message: str
) -> None:
    install("one", {"good.v1": "good_eight:Good"}, {"good_eight": code.replace("good =", "Good =")})
    with pytest.raises(DeclarationError, match=message) as refused:
        plugins.load(plugins.find("good"))
    assert refused.value.hint


def test_what_is_not_installed_is_named_with_what_is(install: Install) -> None:
    install("fine", {"good.v1": "good_four:good"}, {})
    with pytest.raises(UnknownProcessor, match="called 'gone'") as raised:
        plugins.find("gone")
    assert "good" in raised.value.hint
    with pytest.raises(UnknownProcessor, match="no version 7"):
        plugins.find("good", 7)


def test_two_distributions_with_one_version_are_refused(install: Install) -> None:
    install("one", {"good.v1": "good_five:good"}, {})
    install("two", {"good.v1": "good_six:good"}, {})
    with pytest.raises(PluginLoadError, match="announced more than once"):
        plugins.find("good")


def test_an_entry_point_must_agree_with_its_declaration(install: Install) -> None:
    install(
        "one",
        {"other.v1": "good_seven:good", "text.v1": "good_seven:__name__", "noversion": "x:y"},
        {"good_seven": GOOD.format(version=1)},
    )
    with pytest.raises(DeclarationError, match="holds good version 1"):
        plugins.load(plugins.find("other"))
    with pytest.raises(DeclarationError, match="is a str"):
        plugins.load(plugins.find("text"))
    with pytest.raises(PluginLoadError, match=r"not NAME\.vNUMBER"):
        plugins.find("noversion")
