"""What a participant says to a command that it may have seen before: `python -m unittest`."""

import json
import unittest

from participant import Command, Poison, Verdict, read_command, read_parcel
from shipping import PACKAGE, shipping

SAGA = "01a20c64-373b-7037-9f8a-6b4daaa3c45e"


def member(kind: str, data: dict[str, object], direction: str = "action", step: str = "book-shipment") -> dict[str, object]:
    """A command as it is on the wire."""
    return {
        "specversion": "1.0",
        "id": f"{SAGA}/{step}/{direction}",
        "source": "saga/orchestrator",
        "type": f"{PACKAGE}.{kind}",
        "subject": SAGA,
        "attempt": 1,
        "sequence": "0001",
        "definition": "delivery",
        "definitionversion": 1,
        "data": data,
    }


def book(parcels: int = 2, depot: str = "north") -> Command:
    return read_command(member("BookShipment", {"depot": depot, "parcels": parcels}))


def cancel() -> Command:
    return read_command(member("CancelShipment", {}, "compensation"))


def dispatch(address: str) -> Command:
    data = {"address": address, "trackingCode": "T" + SAGA[-12:].upper()}
    return read_command(member("DispatchShipment", data, step="dispatch-shipment"))


class Rules(unittest.TestCase):
    """Each command's effect once, and one answer for ever."""

    def setUp(self) -> None:
        self.shipping = shipping(":memory:", {"north": 10})

    def tearDown(self) -> None:
        self.shipping.db.close()

    def room(self) -> tuple[int, int, int]:
        return self.shipping.db.execute("SELECT free, booked, gone FROM depots").fetchone()

    def test_a_repeated_command_gets_its_recorded_answer_and_has_one_effect(self) -> None:
        first, again = self.shipping.handle(book()), self.shipping.handle(book())
        self.assertEqual(self.room(), (8, 2, 0))
        self.assertNotIn("repeat", first.reply)
        self.assertEqual(again.reply, first.reply | {"repeat": True})
        self.assertEqual(again.events, first.events)

    def test_a_refusal_is_recorded_too(self) -> None:
        self.assertEqual(self.shipping.handle(book(11)).reply["outcome"], "refused")
        self.shipping.db.execute("UPDATE depots SET free = 100")
        again = self.shipping.handle(book(11))
        self.assertEqual((again.verdict, again.reply["outcome"]), (Verdict.REPEAT, "refused"))

    def test_a_compensation_undoes_once_and_tells_its_actions_event_first(self) -> None:
        self.shipping.handle(book())
        for verdict in (Verdict.RUN, Verdict.REPEAT):
            said = self.shipping.handle(cancel())
            self.assertEqual(said.verdict, verdict)
            self.assertEqual([key for key, _ in said.events], ["shipment.booked", "shipment.cancelled"])
            self.assertEqual(self.room(), (10, 0, 0))

    def test_a_repeated_action_whose_effect_was_undone_is_too_late(self) -> None:
        self.shipping.handle(book())
        self.shipping.handle(cancel())
        self.assertEqual(self.shipping.handle(book()).reply["outcome"], "toolate")
        self.assertEqual(self.room(), (10, 0, 0))

    def test_an_action_after_its_compensation_is_too_late(self) -> None:
        self.assertEqual(self.shipping.handle(cancel()).verdict, Verdict.NOTHING_TO_UNDO)
        late = self.shipping.handle(book())
        self.assertEqual((late.verdict, late.reply["outcome"], late.events), (Verdict.TOO_LATE, "toolate", []))
        self.assertEqual(self.room(), (10, 0, 0))

    def test_the_same_id_with_another_payload_is_poison(self) -> None:
        self.shipping.handle(book(2))
        with self.assertRaisesRegex(Poison, "another payload"):
            self.shipping.handle(book(3))
        self.assertEqual(self.room(), (8, 2, 0))

    def test_poison_leaves_nothing_behind(self) -> None:
        with self.assertRaises(Poison):
            self.shipping.handle(book(0))
        self.assertFalse(self.shipping.db.in_transaction)
        self.assertEqual(self.shipping.db.execute("SELECT count(*) FROM inbox").fetchone(), (0,))

    def test_a_shipment_goes_once(self) -> None:
        self.shipping.handle(book())
        self.assertEqual(self.shipping.handle(dispatch("Main Street")).reply["outcome"], "done")
        self.shipping.handle(dispatch("Main Street"))
        self.assertEqual(self.room(), (8, 0, 2))


class Reading(unittest.TestCase):
    """What is a command."""

    def test_what_is_unknown_is_ignored(self) -> None:
        sound = member("BookShipment", {"later": 1}) | {"partitionkey": "x"}
        self.assertEqual(read_command(sound).data, {"later": 1})

    def test_what_is_no_command_is_poison(self) -> None:
        for change in (
            {"specversion": "0.3"},
            {"id": "x"},
            {"id": f"{SAGA.upper()}/a/action"},
            {"id": f"{SAGA}/a/action\n"},
            {"subject": "somebody"},
            {"type": 1},
            {"data": []},
            {"sequence": "-1"},
            {"definitionversion": "1"},
        ):
            with self.assertRaises(Poison, msg=change):
                read_command(member("BookShipment", {}) | change)
        for body in (b"", b"{}", b"[]", b"\xff", b"[" * 100_000):
            with self.assertRaises(Poison, msg=body[:10]):
                read_parcel(body)

    def test_the_order_of_fields_is_no_other_payload(self) -> None:
        texts = ('{"depot":"north","parcels":2}', '{"parcels": 2, "depot": "north"}')
        hashes = {read_command(member("BookShipment", json.loads(text))).hash for text in texts}
        self.assertEqual(len(hashes), 1)


if __name__ == "__main__":
    unittest.main()
