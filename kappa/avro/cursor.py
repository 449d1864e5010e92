"""A place in one value's bytes, and the encodings that every type is made of."""

from __future__ import annotations

from kappa.avro.sizes import MAX_PLACES

_LONGEST_VARINT = 10
_64_BITS = (1 << 64) - 1


class Undecodable(Exception):
    """A value that is no datum of its schema. Stays in this package: it becomes a Failure."""

    def __init__(self, error_class: str, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.error_class = error_class
        self.reason = reason
        self.path = path

    def inside(self, name: str) -> Undecodable:
        """The same, seen from the record that has the field."""
        path = f"{name}.{self.path}" if self.path else name
        return Undecodable(self.error_class, self.reason, path)

    @property
    def message(self) -> str:
        return f"field {self.path!r}: {self.reason}" if self.path else self.reason


class Cursor:
    """Reads from ``start``; every method raises Undecodable rather than read past the end."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start
        self._places = 0

    def finish(self) -> None:
        """Passes if nothing is left."""
        left = len(self._data) - self._at
        if left:
            raise Undecodable("TrailingBytes", f"{left} bytes follow the datum")

    def take(self, size: int) -> bytes:
        """The next bytes, as many as said."""
        end = self._at + size
        if size < 0:
            raise Undecodable("BadLength", f"a length of {size} bytes")
        if end > len(self._data):
            left = len(self._data) - self._at
            raise Undecodable("Truncated", f"{size} bytes are announced and {left} are left")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def long(self) -> int:
        """A zig-zag varint. Bits past the 64th are dropped, as Java's and the fast decoder do."""
        data, at = self._data, self._at
        value = shift = 0
        try:
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
                if shift == 7 * _LONGEST_VARINT:
                    raise Undecodable("BadNumber", f"a number of more than {shift // 7} bytes")
        except IndexError:
            raise Undecodable("Truncated", "the value ends inside a number") from None
        value &= _64_BITS
        self._at = at
        return (value >> 1) ^ -(value & 1)

    def bytes(self) -> bytes:
        """A length and as many bytes."""
        return self.take(self.long())

    def text(self) -> str:
        """A length and as many bytes of UTF-8."""
        try:
            return self.bytes().decode()
        except UnicodeDecodeError as error:
            raise Undecodable(
                "BadText", f"text is not UTF-8 at its byte {error.start}: {error.reason}"
            ) from None

    def block(self, least: int, places: int) -> int:
        """How many items follow in this block of an array or map; 0 after the last.

        ``least`` is the bytes and ``places`` the column places that an item takes.
        """
        count = self.long()
        if count < 0:
            count = -count
            self._skippable(self.long())
        left = len(self._data) - self._at
        if count * least > left:
            raise Undecodable("Truncated", f"{count} items are announced and {left} bytes left")
        self._places += count * places
        if self._places > MAX_PLACES:
            raise Undecodable("TooLarge", f"its lists fill more than {MAX_PLACES} places")
        return count

    def _skippable(self, size: int) -> None:
        left = len(self._data) - self._at
        if not 0 <= size <= left:
            raise Undecodable("BadLength", f"a block of {size} bytes where {left} are left")
