"""What the projection makes of events, however they come: `python -m unittest`."""

import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from broker import persist
from consume_events import PLACE_ORDER, RETURN_ORDER, STUCK
from projection import batches, settings
from projection_page import Health, Page, html
from projection_store import STATES, Message, Projection, Verdict, read

KIND = "application/cloudevents+json"


def body(type_name: str, saga: str, place: int | None, data: dict[str, Any], **changes: object) -> bytes:
    """An event's bytes. The id is as unique as the real ones: of the step, not of the type."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": f"{saga}/{place}",
        "source": "saga/test",
        "type": type_name,
        "subject": saga,
        "data": data,
    }
    if place is not None:
        event["sequence"] = f"{place:04}"
    return json.dumps(event | changes).encode()


def message(*args: Any, **changes: object) -> Message:
    """The same, as it is delivered."""
    return Message(KIND, body(*args, **changes))


def priced(sku: str, quantity: int, price: int) -> dict[str, Any]:
    """A line with its price; what is 0 is left out, as in the canonical JSON."""
    unit = {"currency": "EUR"} | ({"minorUnits": str(price)} if price else {})
    return {"sku": sku, "quantity": str(quantity), "unitPrice": unit}


def bought(order: str) -> list[Message]:
    """Every event of an order of two teapots and a cup."""
    lines = [priced("teapot", 2, 1250), priced("cup", 1, 0)]
    amount = {"amount": {"currency": "EUR", "minorUnits": "2500"}}
    return [
        message("saga.order.v1.OrderPlaced", order, 1, {"customer": "ada"}),
        message("saga.inventory.v1.StockReserved", order, 2, {"lines": lines}),
        message("saga.payment.v1.PaymentAuthorised", order, 3, amount),
        message("saga.payment.v1.PaymentCaptured", order, 4, amount),
        message("saga.inventory.v1.StockCommitted", order, 5, {}),
        message("saga.order.v1.OrderConfirmed", order, 6, {"lines": lines}),
    ]


def declined(order: str) -> list[Message]:
    """Every event of an order whose card was declined: two of them have one id."""
    return [
        message("saga.order.v1.OrderPlaced", order, 1, {}),
        message("saga.inventory.v1.StockReserved", order, 2, {}),
        message("saga.payment.v1.PaymentDeclined", order, 3, {}),
        message("saga.inventory.v1.StockReleased", order, 9998, {}),
        message("saga.order.v1.OrderRejected", order, 9999, {}),
    ]


def returned(back: str) -> list[Message]:
    """Every event of a return of one teapot."""
    return [
        message("saga.order.v1.ReturnOpened", back, 1, {"lines": [priced("teapot", 1, 1250)]}),
        message("saga.payment.v1.PaymentRefunded", back, 2, {"amount": {"currency": "EUR", "minorUnits": "1250"}}),
        message("saga.inventory.v1.StockTakenBack", back, 3, {}),
        message("saga.order.v1.OrderReturned", back, 4, {"lines": [priced("teapot", 1, 1250)]}),
    ]


class Case(unittest.TestCase):
    """A projection in a directory of its own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(Path(directory.name) / "projection.sqlite")
        self.projection = self.open()

    def open(self) -> Projection:
        """Opens it once more."""
        projection = Projection(self.path)
        self.addCleanup(projection.db.close)
        return projection

    def seen(self) -> dict[str, Any]:
        """What is shown, but for the counts of messages."""
        return {name: value for name, value in read(self.path).items() if name != "messages"}

    def count(self, verdict: Verdict) -> int:
        """How many messages it says that this became of."""
        counts: Any = read(self.path)["messages"]
        return counts[verdict.value]


class Sums(Case):
    """What is added up."""

    def test_what_was_sold_less_what_came_back(self) -> None:
        self.projection.take([*bought("o-1"), *bought("o-2"), *declined("o-3"), *returned("r-1")])
        self.assertEqual(
            self.seen(),
            {
                "orders": {"PENDING": 0, "CONFIRMED": 2, "REJECTED": 1, "CANCELLED": 0},
                "returns": {"OPEN": 0, "DONE": 1, "REJECTED": 0},
                "inProgressAfter": {},
                "products": [
                    {
                        "sku": "cup",
                        "currency": "EUR",
                        "pieces": {"sold": 2, "returned": 0, "net": 2},
                        "minorUnits": {"sold": 0, "returned": 0, "net": 0},
                    },
                    {
                        "sku": "teapot",
                        "currency": "EUR",
                        "pieces": {"sold": 4, "returned": 1, "net": 3},
                        "minorUnits": {"sold": 5000, "returned": 1250, "net": 3750},
                    },
                ],
                "money": [{"currency": "EUR", "captured": 5000, "refunded": 1250, "net": 3750}],
                "stuck": [],
            },
        )

    def test_what_has_not_ended_is_in_progress_and_not_sold(self) -> None:
        self.projection.take([*bought("o-1")[:4], *returned("r-1")[:2]])
        seen = self.seen()
        self.assertEqual(seen["orders"]["PENDING"], 1)
        self.assertEqual(seen["returns"]["OPEN"], 1)
        self.assertEqual(seen["inProgressAfter"], {"PaymentCaptured": 1, "PaymentRefunded": 1})
        self.assertEqual(seen["products"], [])

    def test_every_event_of_the_shops_sagas_is_known(self) -> None:
        self.assertEqual({name.rpartition(".")[2] for name in STATES}, PLACE_ORDER.names | RETURN_ORDER.names)

    def test_a_stuck_saga_is_shown_with_its_last_reason_until_it_ends(self) -> None:
        def stuck(version: int) -> Message:
            data = {"step": "s", "direction": "action", "version": str(version), "why": f"it is {version}"}
            return message(STUCK, "o-1", None, data, id=f"o-1/stuck/{version}")

        self.projection.take([*bought("o-1")[:3], stuck(10), stuck(9), stuck(10)])
        self.assertEqual(self.seen()["stuck"], [{"saga": "o-1", "why": "s/action: it is 10"}])
        self.projection.take([*bought("o-1")[3:], stuck(11)])
        self.assertEqual(self.seen()["stuck"], [])


class Delivery(Case):
    """At least once, and in no promised order."""

    def test_any_order_and_any_repeats_come_to_the_same(self) -> None:
        once = [*bought("o-1"), *bought("o-2"), *declined("o-3"), *returned("r-1")]
        self.projection.take(once)
        wanted = self.seen()
        for seed in range(20):
            chance = random.Random(seed)
            often = once + chance.choices(once, k=15)
            chance.shuffle(often)
            self.setUp()
            verdicts = [verdict for one in often for verdict in self.projection.take([one])]
            self.assertEqual(self.seen(), wanted, f"seed {seed}")
            self.assertEqual(verdicts.count(Verdict.REPEATED), 15)

    def test_a_late_event_counts_but_does_not_take_the_state_back(self) -> None:
        *before, confirmed = bought("o-1")
        self.assertEqual(self.projection.take([confirmed, *before]), [Verdict.APPLIED, *[Verdict.LATE] * 5])
        self.assertEqual(self.seen()["orders"]["CONFIRMED"], 1)
        self.assertEqual(self.seen()["money"][0]["captured"], 2500)

    def test_one_id_with_two_types_is_two_events(self) -> None:
        verdicts = self.projection.take([bought("o-1")[2], declined("o-1")[2]])
        self.assertEqual(verdicts, [Verdict.APPLIED, Verdict.LATE])

    def test_the_same_event_in_other_words_is_a_repeat_and_other_data_a_conflict(self) -> None:
        confirmed = bought("o-1")[5]
        event = json.loads(confirmed.body)
        reworded = json.dumps(dict(reversed(event.items())), indent=1).encode()
        event["data"]["lines"][0]["quantity"] = "3"
        verdicts = self.projection.take([confirmed, Message(KIND, reworded), Message(KIND, json.dumps(event).encode())])
        self.assertEqual(verdicts, [Verdict.APPLIED, Verdict.REPEATED, Verdict.CONFLICTING])
        self.assertEqual(self.seen()["products"][1]["pieces"]["sold"], 2)

    def test_what_cannot_be_used_is_counted_and_skipped_and_its_neighbours_go_on(self) -> None:
        sold = "saga.order.v1.OrderConfirmed"
        most = str(2**63 - 1)
        bad = [
            Message(None, bought("o-9")[0].body),
            Message(KIND, b"\xff\xfe"),
            Message(KIND, b"["),
            Message(KIND, b"[" * 100_000),
            Message(KIND, b'{"specversion":"1.0","sequence":' + b"9" * 5_000 + b"}"),
            message(sold, "o-9", 6, {}, sequence="9" * 5_000),
            message(sold, "o-9", 6, {"lines": []}),
            message(sold, "o-9", 6, {"lines": [priced("x", 1, 5) | {"sku": 7}]}),
            message(sold, "o-9", 6, {"lines": [priced("\ud800", 1, 5)]}),
            message(sold, "o-9", 6, {"lines": [priced("x", 1, 5) | {"quantity": "-1"}]}),
            message(sold, "o-9", 6, {"lines": [priced("x", 1, 5) | {"quantity": True}]}),
            message(sold, "o-9", 6, {"lines": [priced("x", 1, 5) | {"unitPrice": {"minorUnits": "5"}}]}),
            message(sold, "o-9", 6, {"lines": [priced("x", 1, 5) | {"quantity": most}]}),
            message("saga.payment.v1.PaymentCaptured", "o-9", 4, {"amount": "5 EUR"}),
            message(STUCK, "o-9", None, {"version": "last"}),
        ]
        for one in bad:
            verdicts = self.projection.take([one, message("shop.shipping.v1.ShipmentBooked", "s-1", 3, {})])
            self.assertEqual(verdicts, [Verdict.MALFORMED, Verdict.UNKNOWN], one.body[:200])
        self.projection.take(bought("o-1"))
        self.assertEqual(self.seen()["orders"], {"PENDING": 0, "CONFIRMED": 1, "REJECTED": 0, "CANCELLED": 0})
        self.assertEqual((self.count(Verdict.MALFORMED), self.count(Verdict.UNKNOWN)), (len(bad), len(bad)))

    def test_a_sum_that_does_not_fit_leaves_nothing_of_its_event(self) -> None:
        data = {"lines": [priced("teapot", 1, 1), priced("huge", 1, 2**63 - 1)]}
        first, second = (message("saga.order.v1.OrderConfirmed", f"o-{n}", 6, data) for n in (1, 2))
        self.projection.take([first])
        before = self.seen()
        self.assertEqual(self.projection.take([second]), [Verdict.MALFORMED])
        self.assertEqual(self.seen(), before)


class Killed(Case):
    """SIGKILL, at the worst of moments."""

    def kill_at(self, moment: str) -> None:
        """A process of its own takes an order's events in, and kills itself at a moment."""
        script = (
            "import os, signal, sys\n"
            "from test_projection import bought\n"
            "from projection_store import Projection\n"
            "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "projection = Projection(sys.argv[1])\n"
            "if sys.argv[2] == 'before the commit':\n"
            "    projection.db.set_trace_callback(lambda sql: die() if sql == 'COMMIT' else None)\n"
            "projection.take(bought('o-1'))\n"
            "die()\n"
        )
        here = Path(__file__).resolve().parent
        ended = subprocess.run([sys.executable, "-c", script, self.path, moment], cwd=here, check=False, timeout=60)
        self.assertEqual(ended.returncode, -signal.SIGKILL)

    def test_before_the_commit_nothing_is_there_and_the_redelivery_counts(self) -> None:
        self.kill_at("before the commit")
        self.assertEqual(self.seen()["products"], [])
        self.assertEqual(self.open().take(bought("o-1")), [Verdict.APPLIED] * 6)

    def test_between_commit_and_acknowledgement_the_redelivery_changes_nothing(self) -> None:
        self.kill_at("after the commit")
        before = self.seen()
        self.assertEqual(before["orders"]["CONFIRMED"], 1)
        self.assertEqual(self.open().take(bought("o-1")), [Verdict.REPEATED] * 6)
        self.assertEqual(self.seen(), before)

    def test_a_database_that_is_busy_is_waited_for(self) -> None:
        other = self.open()
        self.projection.db.execute("PRAGMA busy_timeout = 10")
        other.db.execute("BEGIN IMMEDIATE")
        tries = itertools.count()

        def write() -> list[Verdict]:
            if next(tries) == 1:
                other.db.execute("ROLLBACK")
            return self.projection.take(bought("o-1"))

        self.assertEqual(persist(write), [Verdict.APPLIED] * 6)


class Channel:
    """A broker's channel, with what has arrived."""

    def __init__(self, bodies: list[bytes | None]) -> None:
        self.bodies = bodies

    def consume(self, queue: str, inactivity_timeout: float) -> Any:
        """Nothing for a while is a None."""
        for tag in itertools.count(1):
            if not self.bodies:
                return
            first = self.bodies.pop(0)
            method = None if first is None else type("Method", (), {"delivery_tag": tag})
            yield method, type("Properties", (), {"content_type": KIND}), first

    def get_waiting_message_count(self) -> int:
        """As many as there are before the next pause."""
        return len(list(itertools.takewhile(lambda one: one is not None, self.bodies)))


class Program(Case):
    """Settings, batches, and the page."""

    def test_a_batch_is_what_has_arrived_and_never_more_than_is_allowed(self) -> None:
        channel: Any = Channel([b"1", b"2", b"3", None, b"4", None])
        seen = [(last, [one.body for one in batch]) for last, batch in batches(channel, "q", 2, lambda: False)]
        self.assertEqual(seen, [(2, [b"1", b"2"]), (3, [b"3"]), (5, [b"4"])])

    def test_all_wrong_settings_are_said_at_once_and_no_password_with_them(self) -> None:
        environment = {"PROJECTION_AMQP_URL": "http://u:secret@h", "PROJECTION_PREFETCH": "0", "PROJECTION_LISTEN": "7420"}
        _, wrong = settings(["--queue", "amq.mine", "--database", "/not/there/x"], environment)
        self.assertEqual(len(wrong), 5, wrong)
        self.assertNotIn("secret", " ".join(wrong))

    def test_flags_come_before_the_environment_and_an_empty_variable_is_none(self) -> None:
        environment = {"PROJECTION_PREFETCH": "5", "PROJECTION_LISTEN": "", "PROJECTION_DATABASE": self.path}
        read_settings, wrong = settings(["--prefetch", "7", "--prefix", "e2e."], environment)
        self.assertEqual(wrong, [])
        self.assertEqual((read_settings.prefetch, read_settings.listen), (7, ("127.0.0.1", 7420)))
        self.assertEqual(read_settings.queue, "e2e.consumer.projection")

    def test_the_brokers_url_is_read_from_a_file(self) -> None:
        file = Path(self.path).with_name("url")
        file.write_text("amqp://consumer:pw@rabbitmq/%2f\n", encoding="utf-8")
        read_settings, wrong = settings(["--database", self.path], {"PROJECTION_AMQP_URL_FILE": str(file)})
        self.assertEqual((wrong, read_settings.amqp_url), ([], "amqp://consumer:pw@rabbitmq/%2f"))

    def test_the_page_escapes_what_is_not_ours(self) -> None:
        lines = {"lines": [priced("<script>alert(1)</script>", 1234, 5)]}
        self.projection.take([message("saga.order.v1.OrderConfirmed", "o-1", 6, lines)])
        page = html(read(self.path), "it is <away>")
        self.assertNotIn("<script>", page)
        for wanted in ("&lt;script&gt;", "1,234", "6,170", "it is &lt;away&gt;"):
            self.assertIn(wanted, page)

    def test_page_json_and_health_over_http(self) -> None:
        health = Health()
        page = Page(("127.0.0.1", 0), self.path, health)
        self.addCleanup(page.server_close)
        threading.Thread(target=page.serve_forever, daemon=True).start()
        self.addCleanup(page.shutdown)

        def get(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{page.server_port}{path}", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        self.projection.take(bought("o-1"))
        self.assertEqual(json.loads(get("/projection.json")[1]), read(self.path))
        self.assertIn("<td>teapot", get("/")[1])
        self.assertEqual((get("/health")[0], get("/nothing")[0]), (503, 404))
        health.trouble = None
        self.assertEqual(get("/health"), (200, '{"consuming": true, "trouble": null}\n'))


if __name__ == "__main__":
    unittest.main()
