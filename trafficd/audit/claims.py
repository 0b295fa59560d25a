"""Every claim by its identity, which never changes its meaning: machines compare by it.

Those that begin with ``reader.`` or ``exporter.`` are about that process, and are made of each of
its threads where the kernel keeps the matter by thread. ``outside.`` is what other programs on the
host do; a program that breaks the promise has a finding of its own under the identity of its kind.
"""

from trafficd.sandbox.apply import Half

_OF_CODE = {
    "code.files": "the installed files are those of the package's own record",
    "code.nothing_beside": "no file lies among them that the record does not name",
    "code.owner": "only root can write them",
    "code.start": "what Python loads besides is recorded too: libraries, path files, nothing more",
}
_OF_CONFIGURATION = {
    "configuration.settings": "the settings in force are those of this digest",
    "configuration.floors": "window and fewest sessions hold the floors that are compiled in",
    "configuration.landlock": "the configuration does not do without Landlock",
    "configuration.seccomp": "the configuration does not do without seccomp",
    "configuration.swap": "the configuration does not do without keeping memory out of swap",
}
_OF_BOTH = {
    "program": "it runs this package, by this interpreter, and nothing was slipped in",
    "identity": "it is nobody special: no id or group of root's",
    "capabilities": "it has no capability and no way to one",
    "no_new_privileges": "no program it might start would have more rights",
    "untraced": "nobody debugs it",
    "memory_hidden": "its memory is closed to everybody but root",
    "core": "it leaves no core dump, wherever the host would send one",
    "swap": "its memory cannot be swapped out",
    "seccomp": "every thread is under a filter of system calls",
    "calls.network": "it cannot make a socket, connect one, or send to an address",
    "calls.links": "it cannot ask for links by ioctl, or make one",
    "calls.read": "it cannot open any file for reading",
    "calls.write": "it cannot open a file for writing, make, rename or remove one",
    "calls.processes": "it cannot look into, signal or start another process",
    "calls.kernel": "it cannot reach the kernel by bpf, io_uring, namespaces, keys, mounts or logs",
    "calls.code": "it cannot make memory executable, or a program without a file",
    "calls.identity": "it cannot change who it is or how it may be looked into",
    "calls.foreign": "it cannot call the kernel as another architecture",
    "calls.rest": "of all system calls, none passes but those written down for it",
    "landlock": "no file can be opened past what Landlock is told, beside the filter",
    "descriptors": "what it has open is what it needs, each of a kind that is expected",
    "no_file_written": "nothing it has open can write to a file",
    "reload": "a changed configuration comes from the agent or from root, and nothing goes back",
    "memory": "nothing it remembers lies in a file or in memory shared with others",
}
_OF_READER = {
    "memory": "nothing it remembers lies on a disk, or in memory shared with others but its state",
    "state": "what outlives it is one file in RAM, its own alone, that it does not hold open",
    "state_swap": "that file cannot be swapped out, be the reader there or not",
    "filters": "its netlink sockets carry the filters of this package, for good",
    "groups": "it hears link events on one socket of each namespace, and nothing on the other",
    "queues": "who keeps its netlink sockets for it has them open, and nobody else",
    "handoff": "its socket to the exporter has one direction: nothing comes back",
    "connections": "releases go to this exporter, and to nobody who is not let",
}
_OF_EXPORTER = {
    "calls.network": "it cannot make a socket, connect one, or send to an address, but as pushing"
    " to the configured destinations takes",
    "calls.read": "it cannot open a file for reading, unless a web config or the files of a"
    " destination are to be read anew",
    "listeners": "it talks on the configured addresses only, and began no connection but to push",
}
_OF_MESSAGE = {
    "message.series": "the next message holds the series of the schema and nothing else",
    "message.values": "its values are rounded and stand on the grid",
    "message.populations": "of classes on shared links, nobody knows how many clients there are",
}
_OF_AGENT = {
    "agent.sockets": "of what sees links, the agent has the reader's sockets open and no other, and"
    " it hears nothing from a half",
}
OUTSIDE = {
    "outside.interface_exporters": "no program publishes or records counters by link",
    "outside.vpn_status": "no VPN daemon writes down who is connected",
    "outside.accounting": "no VPN daemon accounts for sessions",
    "outside.flows": "no program exports flows",
    "outside.connections": "no program or kernel setting logs or counts connections",
    "outside.capture": "no program records packets",
}

CLAIMS = {
    **_OF_CODE,
    **_OF_CONFIGURATION,
    **{f"{Half.READER}.{each}": words for each, words in {**_OF_BOTH, **_OF_READER}.items()},
    **{f"{Half.EXPORTER}.{each}": words for each, words in {**_OF_BOTH, **_OF_EXPORTER}.items()},
    **_OF_AGENT,
    **_OF_MESSAGE,
    **OUTSIDE,
}
