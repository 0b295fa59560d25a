"""What a pushed body is, by its headers.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/, Content-Type and
Content-Encoding; RFC 9110, 8.3.1 and 8.4.
"""

from trafficd.wire.remote_write import Protocol

_MEDIA_TYPE = "application/x-protobuf"
_MESSAGES = {
    "prometheus.WriteRequest": Protocol.V1,
    "io.prometheus.write.v2.Request": Protocol.V2,
}
SUPPORTED = (
    f"send Content-Encoding: snappy and Content-Type: {_MEDIA_TYPE},"
    f" {' or '.join(f'{_MEDIA_TYPE};proto={name}' for name in _MESSAGES)}"
)


def protocol_of(content_type: str | None, content_encoding: str | None) -> Protocol | None:
    """Return the protocol of a body, or None if it is none that is taken."""
    if (content_encoding or "").strip().lower() != "snappy":
        return None
    media_type, *parameters = (content_type or "").split(";")
    if media_type.strip().lower() != _MEDIA_TYPE:
        return None
    messages = [
        value.strip().strip('"')
        for name, _, value in (parameter.partition("=") for parameter in parameters)
        if name.strip().lower() == "proto"
    ]
    if len(messages) > 1:
        return None
    # Without the parameter it is a sender of version 1.0, which knows but one message.
    return _MESSAGES.get(messages[0]) if messages else Protocol.V1
