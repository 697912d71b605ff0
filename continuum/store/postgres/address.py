"""From a URL to what is said to PostgreSQL, and to what may be said to people.

The password is known here and in libpq. It is in no repr, and :meth:`Address.without_secrets` keeps
it out of the messages of others.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from continuum.errors import BadValue

__all__ = ["DEFAULT_SCHEMA", "Address"]

DEFAULT_SCHEMA: Final = "continuum"

SCHEMA: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
SPAN: Final = re.compile(r"\d+(us|ms|s|min|h)?")

FORM: Final = (
    "the URL of a store in PostgreSQL cannot be read; it has the form "
    "postgresql://user:password@host:port/database?schema=name, and what is no letter and no digit in user, "
    "password and parameters is written as %XX"
)

DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "continuum",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "target_session_attrs": "read-write",
}
"""Parameters of libpq. Without those a client hears nothing of a network that was cut, and waits for ever."""

SESSION: Final = {
    "search_path": "pg_catalog",
    # The function that commits has to see, after it got its locks, what was committed before.
    "default_transaction_isolation": r"read\ committed",
    "idle_in_transaction_session_timeout": "60s",
    # The server's side of the same: the locks of a client that is cut off become free.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    # Keys are looked up through the index, however small the table was when that was planned.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A schema of a database, and how to get there.

    `statement_timeout` is text as PostgreSQL has it, `reconnect_timeout` is in seconds.
    """

    location: str
    schema: str = field(repr=False)
    parameters: dict[str, Any] = field(repr=False)
    statement_timeout: str = field(default="60s", repr=False)
    reconnect_timeout: float = field(default=300.0, repr=False)

    def session(self, durability: str) -> dict[str, Any]:
        """What libpq is told to open a session of that durability."""
        settings = {
            **SESSION,
            "statement_timeout": self.statement_timeout,
            "synchronous_commit": "on" if durability == "power" else "off",
        }
        ours = " ".join(
            f"-c {name}={value}".replace("read committed", r"read\ committed") for name, value in settings.items()
        )
        theirs = self.parameters.get("options", "")
        return {**DEFAULTS, **self.parameters, "options": f"{ours} {theirs}".strip()}

    def number(self, purpose: str, size: int) -> int:
        """A number for that purpose, such as a lock's, which other schemas do not have."""
        digest = hashlib.blake2b(f"continuum\0{self.schema}\0{purpose}".encode(), digest_size=size).digest()
        return int.from_bytes(digest, "big", signed=True)

    def without_secrets(self, text: str) -> str:
        """The text with stars in place of passwords."""
        for name in ("password", "sslpassword"):
            secret = self.parameters.get(name)
            if secret:
                text = text.replace(secret, "***")
        return text

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart. Raises BadValue, which never holds any of its secrets."""
        base, _, query = url.partition("?")
        if not _is_sound(base, query):
            raise BadValue(FORM)
        ours, theirs = _split(query)
        parameters = _by_libpq(f"{base}?{theirs}" if theirs else base)
        if parameters is None:
            raise BadValue(FORM)
        schema = ours.pop("schema", DEFAULT_SCHEMA)
        if SCHEMA.fullmatch(schema) is None:
            raise BadValue(
                f"the name of a schema has 1 to 63 of a-z, 0-9 and _, begins with no digit and not with pg_: {schema!r}"
            )
        return cls(_location(parameters, schema), schema, parameters, **_spans(ours))


def _is_sound(base: str, query: str) -> bool:
    """Whether no character of a password may have been taken for the end of it: the rest would be shown."""
    authority, _, path = base.partition("://")[2].partition("/")
    return authority.count("@") <= 1 and "@" not in path and "@" not in query


def _by_libpq(url: str) -> dict[str, Any] | None:
    try:
        parameters: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.Error:  # it may hold what stands in the URL
        return None
    return parameters if re.fullmatch(r"[\d,]*", str(parameters.get("port", ""))) else None


def _split(query: str) -> tuple[dict[str, str], str]:
    """The parameters that are ours, and the query with the others. Raises BadValue for those that nobody knows."""
    ours: dict[str, str] = {}
    theirs: list[str] = []
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | {"ssl"}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name in ours:
            raise BadValue(f"the URL of the store has the parameter {name} twice")
        if name in ("schema", "statement_timeout", "reconnect_timeout"):
            ours[name] = unquote(value)
        elif name in known:
            theirs.append(pair)
        else:
            raise BadValue(f"the URL of the store has a parameter {name!r} that PostgreSQL does not know")
    return ours, "&".join(theirs)


def _spans(ours: dict[str, str]) -> dict[str, Any]:
    spans: dict[str, Any] = {}
    if "statement_timeout" in ours:
        if SPAN.fullmatch(ours["statement_timeout"]) is None:
            raise BadValue(f"statement_timeout is milliseconds or text such as 30s, not {ours['statement_timeout']!r}")
        spans["statement_timeout"] = ours["statement_timeout"]
    if "reconnect_timeout" in ours:
        if re.fullmatch(r"\d+(\.\d+)?", ours["reconnect_timeout"]) is None:
            raise BadValue(f"reconnect_timeout is a number of seconds, not {ours['reconnect_timeout']!r}")
        spans["reconnect_timeout"] = float(ours["reconnect_timeout"])
    return spans


def _location(parameters: dict[str, Any], schema: str) -> str:
    user = quote(parameters["user"], safe="") + "@" if "user" in parameters else ""
    host = ",".join(quote(each, safe=".:[]") for each in str(parameters.get("host", "")).split(","))
    port = f":{parameters['port']}" if "port" in parameters else ""
    database = quote(parameters.get("dbname", ""), safe="")
    return f"postgresql://{user}{host}{port}/{database}?schema={schema}"
