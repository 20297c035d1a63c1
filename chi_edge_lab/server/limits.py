"""Every limit of the server extension, as traits of `c.EdgeLabLimits`."""

from __future__ import annotations

from traitlets import Float, Int, List, Unicode
from traitlets.config import Configurable


class EdgeLabLimits(Configurable):
    """What the extension may use. All sizes are bytes and all times seconds unless a help text says otherwise."""

    call_threads = Int(
        16, min=1, help="Threads that answer requests which need the site. More requests wait."
    ).tag(config=True)
    waiting_calls = Int(
        200, min=0,
        help="Requests that may wait for a thread; further ones are answered 503. 0: none waits.",
    ).tag(config=True)  # fmt: skip
    poll_threads = Int(4, min=1, help="Threads that watch sites, logs and stats for all readers.").tag(
        config=True
    )
    body_bytes = Int(
        2 << 20, min=1024, help="Largest JSON body of a request, in bytes. (Uploads are not limited by it.)"
    ).tag(config=True)
    poll_fastest = Float(
        0.5, min=0.05, help="Seconds between polls of a site while one of its containers is changing."
    ).tag(config=True)
    poll_idle = Float(2.0, min=0.05, help="Seconds between polls of a site on which nothing changes.").tag(
        config=True
    )
    poll_longest = Float(
        60.0, min=1.0, help="Seconds between polls of a site that fails, at the most (back-off with jitter)."
    ).tag(config=True)
    linger = Float(
        30.0, min=0.0,
        help="Seconds that a feed is kept after its last reader has gone, so that a reader who comes back loses "
        "nothing. 0: it ends at once.",
    ).tag(config=True)  # fmt: skip
    feed_entries = Int(
        2000, min=16, help="Messages that a feed keeps for readers who come back or are slow."
    ).tag(config=True)
    feed_bytes = Int(8 << 20, min=1 << 16, help="Bytes of messages that a feed keeps, at the most.").tag(
        config=True
    )
    feeds = Int(200, min=1, help="Feeds (sites watched, logs followed, ...) at a time.").tag(config=True)
    subscriptions = Int(100, min=1, help="Subscriptions of one event socket at a time.").tag(config=True)

    allowed_sites = List(
        Unicode(), help="Names of the sites that may be used. Empty: every one that is known."
    ).tag(config=True)

    # -- terminals

    terminals = Int(30, min=1, help="Terminals open at a time.").tag(config=True)
    terminal_idle = Float(
        8 * 3600.0, min=0.0,
        help="Seconds without a reader, input or output after which a terminal is closed. 0: never.",
    ).tag(config=True)  # fmt: skip
    terminal_scrollback = Int(
        2 << 20,
        min=2 << 20,
        help="Bytes that a terminal keeps of what it has shown, for readers who come back.",
    ).tag(config=True)
    terminal_high = Int(
        256 << 10, min=16 << 10, max=1 << 20,
        help="Bytes that the quickest reader may be behind before the container is no longer read.",
    ).tag(config=True)  # fmt: skip
    terminal_low = Int(
        64 << 10, min=4 << 10, max=1 << 20, help="Bytes behind at which the container is read again."
    ).tag(config=True)
    recording_bytes = Int(64 << 20, min=4096, help="Size in bytes at which a recording ends.").tag(
        config=True
    )

    # -- transfers

    transfers = Int(
        100, min=1, help="Transfers that are not finished, at a time; a further one is refused."
    ).tag(config=True)
    transfers_at_once = Int(
        3, min=1, help="Transfers that move data to or from containers at once; the others wait (`queued`)."
    ).tag(config=True)
    transfer_files = Int(20_000, min=1, help="Files and folders of one upload, at the most.").tag(config=True)
    transfer_bytes = Int(
        None,
        allow_none=True,
        min=0,
        help="Bytes of one transfer, at the most. None: as much as the disk takes.",
    ).tag(config=True)
    spool_bytes = Int(
        None, allow_none=True, min=0,
        help="Bytes of all transfers that may lie on this machine's disk at a time. None: as much as is free.",
    ).tag(config=True)  # fmt: skip
    transfer_keep = Float(
        3600.0, min=0.0,
        help="Seconds that a finished transfer is remembered, a failed one may be resumed, and a download waits to "
        "be fetched. 0: until the next look, a minute later at the most.",
    ).tag(config=True)  # fmt: skip
    transfer_idle = Float(
        86400.0, min=1.0, help="Seconds after which an upload of which nothing more comes is given up."
    ).tag(config=True)
    files_listed = Int(10_000, min=1, help="Entries in one page of a folder's listing, at the most.").tag(
        config=True
    )
    file_read_bytes = Int(
        8 << 20, min=1, help="Bytes of a file read as JSON at once, at the most; larger ones are downloaded."
    ).tag(config=True)

    # -- logs

    log_bytes = Int(
        64 << 20, min=1 << 20,
        help="Bytes on disk that are kept of the log of each container that somebody reads; older lines fall off.",
    ).tag(config=True)  # fmt: skip
    log_containers = Int(
        64, min=1,
        help="Containers whose logs are kept at a time. The one longest unread makes room for a new one; where all are "
        "followed, a further one is refused.",
    ).tag(config=True)  # fmt: skip
    log_first_lines = Int(
        10_000, min=1, max=100_000, help="Lines asked of the site when a log is opened first."
    ).tag(config=True)

    # -- execs

    execs = Int(
        20, min=1, help="Long commands at a time, with those that have ended and are not forgotten."
    ).tag(config=True)
    exec_output = Int(
        4 << 20, min=4096,
        help="Bytes kept of a long command's output; what comes before is dropped, and said.",
    ).tag(config=True)  # fmt: skip
    exec_longest = Float(
        60.0,
        min=1.0,
        help="Seconds that a request may ask to wait for a command; then it goes on as a long one.",
    ).tag(config=True)
    exec_keep = Float(
        900.0, min=0.0, help="Seconds that a long command can be looked at after it has ended. 0: not at all."
    ).tag(config=True)
