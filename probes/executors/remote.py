"""What is asked of somebody elsewhere: messages that are JSON values, and that wait to be told whether to go on."""

from collections.abc import Iterator
from typing import Any, Protocol

from cache.store import StoreError
from refusal import Progress, Refusal

Message = dict[str, Any]


class Talk(Protocol):
    """One request, and what is said about it."""

    def ask(self, message: Message) -> Message:
        """Tell something, and wait for what is said next."""

    def tell(self, message: Message) -> None:
        """Tell something, and wait for nothing."""


def messages(talk: Talk, request: Message, progress: Progress) -> Iterator[Message]:
    """Messages on one request, the last of them ``done``; progress is told and answered here, on the caller's thread.

    Raises
    ------
    Refusal, StoreError, RuntimeError
        What was raised there. What ``progress`` raises ends the request there and goes on here.
    """
    message, raised = talk.ask(request), None
    while True:
        if "failed" in message:
            raise raised or _error(message)
        if "progress" in message:
            try:
                progress(*message["progress"])
            except BaseException as error:
                raised = error
        else:
            try:
                yield message
            except GeneratorExit:
                if "done" not in message:
                    talk.tell({"go_on": False})
                raise
            if "done" in message:
                return
        message = talk.ask({"go_on": raised is None})


def done(talk: Talk, request: Message, progress: Progress) -> Any:
    """What a request comes to."""
    return next(message["done"] for message in messages(talk, request, progress) if "done" in message)


def _error(message: Message) -> Exception:
    kinds = {"Refusal": Refusal, "StoreError": StoreError}
    return kinds.get(message["kind"], RuntimeError)(message["failed"])
