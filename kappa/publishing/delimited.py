"""CSV: a header of field names, then a record a line (or several lines, within quotes)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from itertools import chain

from kappa.avro.nodes import Field
from kappa.errors import BadRecord
from kappa.publishing.chunks import BadLine, Chunk, Raw
from kappa.publishing.lines import Block, blocks
from kappa.publishing.text import from_text
from kappa.publishing.whole import filled, require_fields

csv.field_size_limit(16 * 1024 * 1024)


def read(stream: BufferedIOBase, fields: Sequence[Field]) -> Iterator[Chunk]:
    """The records of the stream. Empty lines are passed over.

    Raises:
        BadRecord: the header does not fit the schema.
    """
    header: list[str] | None = None
    for rows in _rows(blocks(stream)):
        if header is None and rows.rows:
            header = rows.rows.pop(0)
            require_fields(header, fields, line=rows.lines.pop(0))
        if header is not None:
            yield _chunk(rows, header, fields)
    if header is None:
        raise BadRecord("there is no header line", line=1)


class _Rows:
    """Cells of consecutive records, with the line each begins on."""

    def __init__(self, consumed: int) -> None:
        self.lines: list[int] = []
        self.rows: list[list[str]] = []
        self.bad: list[BadLine] = []
        self.consumed = consumed


def _rows(incoming: Iterator[Block]) -> Iterator[_Rows]:
    for block in incoming:
        rows = _Rows(block.consumed)
        if b'"' in b"".join(block.lines):
            _quoted(block, incoming, rows)
        else:
            _plain(block, rows)
        yield rows


def _plain(block: Block, rows: _Rows) -> None:
    """Without a quote in sight a record is a line, and its cells are what commas part."""
    try:
        texts = [data.decode().removesuffix("\r") for data in block.lines]
    except UnicodeDecodeError:
        texts = [_decoded(data, line, rows) for line, data in block.numbered()]
    rows.rows = [text.split(",") for text in texts if text]
    if len(rows.rows) == len(texts):
        rows.lines = list(range(block.first_line, block.first_line + len(texts)))
    else:
        rows.lines = [line for line, text in enumerate(texts, block.first_line) if text]


def _decoded(data: bytes, line: int, rows: _Rows) -> str:
    try:
        return data.decode().removesuffix("\r")
    except UnicodeDecodeError:
        rows.bad.append(BadLine(line, "", "not UTF-8"))
        return ""


def _quoted(block: Block, incoming: Iterator[Block], rows: _Rows) -> None:
    """Reads on into the next blocks while a quote is open."""
    source = _Numbered(block, incoming, rows)
    reader = csv.reader(source, strict=True)
    while not source.at_block_end():
        line = source.next_line
        try:
            cells = next(reader)
        except csv.Error as error:
            rows.bad.append(BadLine(line, "", f"not CSV: {error}"))
        except StopIteration:
            return
        else:
            if cells:
                rows.lines.append(line)
                rows.rows.append(cells)


class _Numbered(Iterator[str]):
    """Feeds lines to the csv module and knows which one comes next."""

    def __init__(self, block: Block, incoming: Iterator[Block], rows: _Rows) -> None:
        self._blocks = chain([block], incoming)
        self._lines: Iterator[bytes] = iter(())
        self._left = 0
        self._rows = rows
        self.next_line = block.first_line
        self._turn()

    def at_block_end(self) -> bool:
        return self._left == 0

    def __next__(self) -> str:
        if not self._left:
            self._turn()
        self._left -= 1
        self.next_line += 1
        data = next(self._lines)
        try:
            return data.decode() + "\n"
        except UnicodeDecodeError:
            raise csv.Error("not UTF-8") from None

    def _turn(self) -> None:
        block = next(self._blocks)
        self._lines, self._left = iter(block.lines), len(block.lines)
        self._rows.consumed = block.consumed


def _chunk(rows: _Rows, header: list[str], fields: Sequence[Field]) -> Chunk:
    width = len(header)
    if set(map(len, rows.rows)) - {width}:
        kept = []
        for line, cells in zip(rows.lines, rows.rows, strict=True):
            if len(cells) == width:
                kept.append((line, cells))
            else:
                reason = f"{len(cells)} cells, where the header has {width}"
                rows.bad.append(BadLine(line, "", reason))
        rows.lines, rows.rows = [line for line, _ in kept], [cells for _, cells in kept]
    flat = list(chain.from_iterable(rows.rows))
    nodes = {field.name: field.node for field in fields}
    read: dict[str, Raw] = {
        name: from_text(flat[at::width], nodes[name]) for at, name in enumerate(header)
    }
    columns = filled(read, fields, len(rows.rows))
    return Chunk(rows.lines, columns, rows.consumed, (), rows.bad)
