"""Inputs whose columns are the same for every record: checked once, defaults filled in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kappa.avro.nodes import Field
from kappa.errors import BadRecord
from kappa.publishing.chunks import Raw
from kappa.publishing.values import default_of


def require_fields(names: Iterable[str], fields: Sequence[Field], *, line: int | None) -> None:
    """Every column is a field, no field without default is missing.

    Raises:
        BadRecord: names the column at fault.
    """
    counts = Counter(names)
    known = {field.name for field in fields}
    for name, count in counts.items():
        if name not in known:
            raise BadRecord(
                "the schema has no such field",
                line=line,
                column=name,
                hint=f"the fields are {', '.join(field.name for field in fields)}",
            )
        if count > 1:
            raise BadRecord("the column is there twice", line=line, column=name)
    for field in fields:
        if field.name not in counts and not field.has_default:
            raise BadRecord(
                "the column is missing and has no default", line=line, column=field.name
            )


def filled(read: Mapping[str, Raw], fields: Sequence[Field], height: int) -> dict[str, Raw]:
    """The columns of every field: as read, or the field's default throughout."""
    return {
        field.name: read[field.name] if field.name in read else [default_of(field)] * height
        for field in fields
    }
