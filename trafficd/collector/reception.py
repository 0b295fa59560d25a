"""A pushed message from its headers to its answer, whatever connection it came over."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Protocol as Seam

from trafficd.clock import Clock
from trafficd.collector import answers
from trafficd.collector.answers import Answer, Result
from trafficd.collector.credentials import Credentials, FailureLimit
from trafficd.collector.negotiation import SUPPORTED, protocol_of
from trafficd.collector.slices import Node, Slice
from trafficd.collector.writer import Outcome, Writer
from trafficd.errors import MessageRefusedError
from trafficd.wire.remote_write import Protocol
from trafficd.wire.snappy import TooLargeError, unpacked

# A release of 32 classes is some 10 KiB; foreign senders put thousands of samples in a message.
MOST_BODY_BYTES = 1 << 20
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="trafficd"'}

Reply = Callable[[Answer], object]


class Reader(Seam):
    """Turns a message into slices; ``Ingest`` does."""

    def read(self, node: Node, message: bytes, protocol: Protocol, now: float) -> list[Slice]:
        """Return what *node* says in *message*."""
        ...


@dataclass(frozen=True, slots=True)
class Headers:
    """What matters of the headers of a pushed message; None where one is missing."""

    authorization: str | None
    content_type: str | None
    content_encoding: str | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whose message it is and how it is written; holds until the credentials are *version* on."""

    node: Node
    protocol: Protocol
    version: int


class Reception:
    """Takes messages, and answers each once."""

    def __init__(
        self, credentials: Credentials, reader: Reader, writer: Writer, clock: Clock
    ) -> None:
        self._credentials = credentials
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._failures = FailureLimit()
        self.results: Counter[Result] = Counter()

    def admit(self, headers: Headers, certificate: Iterable[str]) -> Admitted | Answer:
        """Return what is known of a message before its body, or why that need not be read.

        *certificate* are the DNS names of a verified client certificate, which counts where no
        token is shown.
        """
        protocol = protocol_of(headers.content_type, headers.content_encoding)
        scheme, _, token = (headers.authorization or "").strip().partition(" ")
        is_token = headers.authorization is not None
        if is_token:
            found = self._credentials.by_token(token.strip())
            entry = found if scheme.lower() == "bearer" else None
        else:
            entry = self._credentials.by_names(certificate)
        if entry is None or entry.is_revoked:
            if not self._failures.allow(self._clock.now().elapsed_seconds):
                return answers.limited(protocol)
            if entry is not None:
                return answers.refused(
                    Result.REVOKED_CREDENTIAL,
                    HTTPStatus.FORBIDDEN,
                    "this node may no longer write",
                    protocol,
                )
            reason = "unknown token" if is_token else "show a node's token, or its certificate"
            return answers.refused(
                Result.UNKNOWN_CREDENTIAL, HTTPStatus.UNAUTHORIZED, reason, protocol, _CHALLENGE
            )
        if protocol is None:
            return answers.refused(Result.UNSUPPORTED, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, SUPPORTED)
        return Admitted(entry.node, protocol, self._credentials.version)

    def still_holds(self, admitted: Admitted) -> bool:
        """Return whether nobody was added or revoked since."""
        return admitted.version == self._credentials.version

    def take(self, admitted: Admitted, body: bytes, reply: Reply) -> None:
        """Store what *body* says, and call *reply* when that is durable, or refused."""
        protocol = admitted.protocol
        try:
            slices = self._reader.read(
                admitted.node, unpacked(body), protocol, self._clock.now().utc_seconds
            )
        except TooLargeError as error:
            self.finish(answers_too_large(str(error), protocol), reply)
            return
        except MessageRefusedError as error:
            self.finish(_bad(Result(error.kind), str(error), protocol), reply)
            return
        if not slices:
            self.finish(answers.stored(protocol, 0), reply)
            return
        done = partial(self._done, protocol, slices, reply)
        if not self._writer.put(admitted.node.number, slices, done):
            self.finish(answers.busy(protocol), reply)

    def finish(self, answer: Answer, reply: Reply) -> None:
        """Count *answer* and give it."""
        self.results[answer.result] += 1
        reply(answer)

    def _done(
        self, protocol: Protocol, slices: list[Slice], reply: Reply, outcome: Outcome | str
    ) -> None:
        if outcome is Outcome.STORED:
            samples = sum([len(each.values) for each in slices])
            self.finish(answers.stored(protocol, samples), reply)
        elif outcome is Outcome.NO_ROOM:
            self.finish(answers.full(protocol), reply)
        else:
            self.finish(_bad(Result.CONFLICT, str(outcome), protocol), reply)


def answers_too_large(reason: str, protocol: Protocol | None) -> Answer:
    """Return the answer to a message that is longer than is taken."""
    return answers.refused(Result.TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason, protocol)


def _bad(result: Result, reason: str, protocol: Protocol) -> Answer:
    return answers.refused(result, HTTPStatus.BAD_REQUEST, reason, protocol)
