"""The projection over HTTP: a page for people, JSON for programs, and whether it is alive.

`/` and `/projection.json` say the same; `/health` is 200 while events are being
consumed, and 503 with the reason while they are not. Nothing here writes.
"""

import json
import sqlite3
import threading
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from projection_store import read

# Requests at once; more are turned away, so that nobody can fill the process with them.
MOST_REQUESTS = 8
# A client that sends nothing, or takes nothing, for this long is gone.
CLIENT_TIMEOUT_SECONDS = 5
REFRESH_SECONDS = 5

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 0 0 1rem }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
.away { color: #b00020 } .note { color: #666 }
"""


class Health:
    """Whether events are being consumed, and why not. Written by one thread, read by others."""

    def __init__(self) -> None:
        self.trouble: str | None = "it has not reached the broker yet"


class Page(ThreadingHTTPServer):
    """Serves a database's projection, on threads of its own."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], database: str, health: Health) -> None:
        super().__init__(address, Handler)
        self.database, self.health = database, health
        self.room = threading.BoundedSemaphore(MOST_REQUESTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begins a request, if there is room for one more."""
        if self.room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | Any, client_address: Any) -> None:
        """Answers a request, and gives its room back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours; what else went wrong it was told."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Page
    timeout = CLIENT_TIMEOUT_SECONDS

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        """Answers with the body."""
        path = self.path.partition("?")[0]
        pages: dict[str, tuple[str, Callable[[], tuple[HTTPStatus, str]]]] = {
            "/": ("text/html; charset=utf-8", self.page),
            "/projection.json": ("application/json", self.projection),
            "/health": ("application/json", self.alive),
        }
        kind, answer = pages.get(path, ("text/plain; charset=utf-8", self.missing))
        try:
            status, text = answer()
        except sqlite3.Error as error:
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, f"the database cannot be read: {error}"
            kind = "text/plain; charset=utf-8"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def page(self) -> tuple[HTTPStatus, str]:
        """For people."""
        return HTTPStatus.OK, html(read(self.server.database), self.server.health.trouble)

    def projection(self) -> tuple[HTTPStatus, str]:
        """For programs."""
        return HTTPStatus.OK, json.dumps(read(self.server.database)) + "\n"

    def alive(self) -> tuple[HTTPStatus, str]:
        """For whoever restarts it, or waits for it."""
        trouble = self.server.health.trouble
        status = HTTPStatus.OK if trouble is None else HTTPStatus.SERVICE_UNAVAILABLE
        return status, json.dumps({"consuming": trouble is None, "trouble": trouble}) + "\n"

    def missing(self) -> tuple[HTTPStatus, str]:
        """Says what there is."""
        return HTTPStatus.NOT_FOUND, "there is /, /projection.json and /health\n"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a page that refreshes itself would fill the log."""


def html(projection: dict[str, Any], trouble: str | None) -> str:
    """The page. Everything that is not ours is escaped."""
    status = "consuming" if trouble is None else f"not consuming: {trouble}"
    products = [
        [row["sku"], row["currency"], *row["pieces"].values(), *row["minorUnits"].values()]
        for row in projection["products"]
    ]
    sums = [list(row.values()) for row in projection["money"]]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<meta http-equiv=refresh content={REFRESH_SECONDS}><title>The shop, by its events</title>",
        f"<style>{STYLE}</style><h1>The shop, by its events</h1>",
        f"<p class={'note' if trouble is None else 'away'}>{escape(status)}; this page renews itself.",
        "<h2>Products</h2>",
        table(["SKU", "", "sold", "returned", "net", "revenue", "given back", "net revenue"], products),
        "<p class=note>Sold: pieces of orders that were confirmed, at the prices of the order (order.confirmed)."
        " Returned: pieces that came back, at the same prices (order.returned). Net: sold less returned."
        " All amounts are in the currency's minor unit, such as cents.",
        "<h2>Payments</h2>",
        table(["currency", "captured", "refunded", "net"], sums),
        "<p class=note>From the payments' own events. While an order or a return is in progress, money moves before"
        " goods do; once none is, net here is net revenue above.",
        "<h2>Orders and returns</h2>",
        table(["orders", "count"], [list(row) for row in projection["orders"].items()]),
        table(["returns", "count"], [list(row) for row in projection["returns"].items()]),
        table(["in progress, after", "count"], [list(row) for row in projection["inProgressAfter"].items()]),
        "<h2>Needs a person</h2>",
        table(["saga", "why"], [list(row.values()) for row in projection["stuck"]]),
        "<h2>Messages</h2>",
        table(["what became of them", "count"], [list(row) for row in projection["messages"].items()]),
        "<p class=note>The same for programs: <a href=/projection.json>projection.json</a></html>",
    ]
    return "\n".join(parts)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table, or that there is nothing."""
    if not rows:
        return f"<p class=note>{escape(head[0])}: none yet."
    cells = "".join(f"<th>{escape(name)}" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{text(value)}" for value in row) for row in rows)
    return f"<table><tr>{cells}{lines}</table>"


def text(value: object) -> str:
    """A cell: numbers in groups of three, text escaped."""
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
