"""When rows are shown: from their first record on, or once they are final."""

from __future__ import annotations

from typing import Literal

from kappa.errors import DeclarationError
from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Aligned

Emit = Literal["updates", "final"]


def check_emit(
    emit: str, window: Aligned | Session | None, *, is_idle_declared: bool, where: str
) -> None:
    """Whether what is declared of visibility makes sense together.

    Raises:
        DeclarationError: it does not.
    """
    if emit not in ("updates", "final"):
        raise DeclarationError(
            f"{where}: emit is {emit!r}", hint='use emit="updates" or emit="final"'
        )
    if emit == "final" and window is None:
        raise DeclarationError(
            f"{where}: emit is 'final', but without a window no row ever is",
            hint='declare a window, or leave emit at "updates"',
        )
    if is_idle_declared and isinstance(window, Session):
        raise DeclarationError(
            f"{where}: idle_after does not go with sessions",
            hint="a session that was shown could still be joined to another; leave it out",
        )
    if is_idle_declared and emit != "final":
        raise DeclarationError(
            f"{where}: idle_after says when silent partitions stop holding rows back, but none"
            " are held back",
            hint='declare emit="final" too, or leave idle_after out',
        )
