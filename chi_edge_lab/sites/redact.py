"""Take secrets out of text that came from a site or a library, before a person or a log sees it.

Nothing here knows what is a secret in general: it knows the shapes that Keystone, Zun and the libraries
between us and them put into their messages.
"""

from __future__ import annotations

import re

_HIDDEN = "[hidden]"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # an interactive URL of Zun's websocket proxy: its token is all one needs to get a shell
    (re.compile(r"wss?://[^\s\"'<>]+"), "ws://" + _HIDDEN),
    # user:password@host
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), _HIDDEN),
    # Fernet and JSON web tokens, wherever they stand
    (re.compile(r"\bgAAAA[A-Za-z0-9_\-=]{16,}"), _HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?"), _HIDDEN),
    # key=value, "key": "value", Key: value
    (
        re.compile(
            r"(?i)\b(x-auth-token|x-subject-token|authorization|password|passwd|passphrase|secret|"
            r"application_credential_secret|access_token|refresh_token|api_?key|token)"
            r"([\"']?\s*[:=]\s*)(?:bearer\s+|token\s+)?"
            r"(\"[^\"]*\"|'[^']*'|[^\s,;&}\"']+)"
        ),
        r"\1\2" + _HIDDEN,
    ),
)


def redact(text: str) -> str:
    """Return `text` with tokens, passwords and interactive URLs replaced by `[hidden]`."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
