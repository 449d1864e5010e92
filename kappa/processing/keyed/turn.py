"""One call of a handler: the key and the moment it is for, and how to undo what it does."""

from __future__ import annotations

from operator import delitem, setitem
from typing import Any

from kappa.errors import InvalidValue
from kappa.processing.keyed.keys import Key, PartitionKeys
from kappa.processing.keyed.timers import PROCESSING

BEFORE_ALL = -(1 << 63)
"""Earlier than any time, ms: the watermark before the first record, or without event time."""


class Turn:
    """What the handler at work is called for. There is one per fold; each call changes it.

    Attributes:
        keys: the keys of the partition at hand.
        key: the key at hand.
        offset: of the record at hand, or the one that made the timer at hand fire.
        event_time: of the record or the event-time timer at hand; the watermark for a
            processing-time timer. All times are in ms.
        watermark: of the partition, the record at hand included, except that a processing-time
            timer fires before the record.
        processing_time: of the partition, the record at hand included.
        fired: kind, name and time of the timer at hand; None for a record.
        spent: by key, when each timer by name last fired among those that fall due with the
            record at hand; of keys that have more of them.
        undo: functions and their arguments that take back, last one first, what the handler did.
    """

    __slots__ = (
        "event_time",
        "fired",
        "key",
        "keys",
        "offset",
        "processing_time",
        "spent",
        "undo",
        "watermark",
    )

    keys: PartitionKeys
    key: Key

    def __init__(self) -> None:
        self.offset = -1
        self.event_time = BEFORE_ALL
        self.watermark = BEFORE_ALL
        self.processing_time = BEFORE_ALL
        self.fired: tuple[int, str, int] | None = None
        self.spent: dict[str, dict[str, int]] = {}
        self.undo: list[tuple[Any, ...]] = []

    def replace(self, place: int, value: Any) -> None:
        """Puts ``value`` into the state at ``place``; None empties it."""
        values = self.key.values
        self.undo.append((setitem, values, place, values[place]))
        values[place] = value
        self.keys.mark(self.key)

    def changed(self, *undo: Any) -> None:
        """A state was changed inside; ``undo`` is a function and its arguments."""
        self.undo.append(undo)
        self.keys.mark(self.key)

    def set_timer(self, kind: int, name: str, at: int) -> None:
        """Sets or moves a timer of the key at hand.

        Raises:
            InvalidValue: it would fire at this record again, and not for a later time.
        """
        if self.fired is not None:
            self._check_again(self.fired, kind, name, at)
        key = self.key
        timer = (kind, name)
        before = key.timers.get(timer)
        if before == at:
            return
        if before is None:
            self.undo.append((delitem, key.timers, timer))
        else:
            self.undo.append((setitem, key.timers, timer, before))
        key.timers[timer] = at
        self.keys.push(at, kind, key.text, name)
        self.keys.mark(key)

    def fire(self, key: Key, kind: int, name: str, at: int) -> None:
        """A timer is what the handler is called for next."""
        self.key = key
        self.event_time = self.watermark if kind == PROCESSING else at
        self.fired = (kind, name, at)

    def fired_all(self) -> None:
        """What falls due with the record at hand has fired."""
        self.fired = None
        self.spent.clear()

    def spend(self, through: int) -> None:
        """The timer at hand has fired; those due by ``through``, ms, still will.

        It is forgotten where its key has none of them: only a timer of the key can set it again.
        """
        assert self.fired is not None
        kind, name, at = self.fired
        text, timers = self.key.text, self.key.timers
        if timers and any(of == kind and due <= through for (of, _), due in timers.items()):
            self.spent.setdefault(text, {})[name] = at
        elif self.spent:
            self.spent.pop(text, None)

    def _check_again(self, fired: tuple[int, str, int], kind: int, name: str, at: int) -> None:
        if fired[0] != kind:
            return
        last = fired[2] if fired[1] == name else self._last_spent(name)
        if last is not None and at <= last:
            raise InvalidValue(
                f"the timer {name!r} has fired with this record for no earlier time",
                at=at,
                fired_at=last,
                hint="timers that set each other so would fire for ever; add to the time that"
                " on_timer is given",
            )

    def _last_spent(self, name: str) -> int | None:
        of_key = self.spent.get(self.key.text)
        return None if of_key is None else of_key.get(name)

    def cancel_timer(self, kind: int, name: str) -> None:
        """Cancels a timer of the key at hand, if it is set."""
        before = self.key.timers.pop((kind, name), None)
        if before is not None:
            self.changed(setitem, self.key.timers, (kind, name), before)

    def take_back(self) -> None:
        """Undoes all that the handler has done so far."""
        for function, *arguments in reversed(self.undo):
            function(*arguments)
        self.undo.clear()
