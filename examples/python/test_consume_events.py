"""Which orders' events are complete: `python -m unittest`."""

import json
import unittest

from consume_events import BadEvent, Event, Journal, State, read_event, story, summarise

PLACED = ("OrderPlaced", 1)
RESERVED = ("StockReserved", 2)
AUTHORISED = ("PaymentAuthorised", 3)
DECLINED = ("PaymentDeclined", 3)
CAPTURED = ("PaymentCaptured", 4)
COMMITTED = ("StockCommitted", 5)
CONFIRMED = ("OrderConfirmed", 6)
VOIDED = ("PaymentVoided", 9997)
RELEASED = ("StockReleased", 9998)
REJECTED = ("OrderRejected", 9999)
CANCELLED = ("OrderCancelled", 9999)
OPENED = ("ReturnOpened", 1)
REFUNDED = ("PaymentRefunded", 2)
TAKEN_BACK = ("StockTakenBack", 3)
RETURNED = ("OrderReturned", 4)
RETURN_REJECTED = ("ReturnRejected", 9999)


def judge(*events: tuple[str, int]) -> State:
    """The verdict on these events; last comes first, as a broker may have it."""
    return story([Event(f"saga.x.v1.{name}", f"o/{name}", "o", place, {}) for name, place in reversed(events)])[0]


class Stories(unittest.TestCase):
    """The completeness rule."""

    def test_complete_stories(self) -> None:
        for events in (
            (PLACED, RESERVED, AUTHORISED, CAPTURED, COMMITTED, CONFIRMED),
            (PLACED, REJECTED),
            (REJECTED,),
            (CANCELLED,),
            (PLACED, RESERVED, DECLINED, RELEASED, REJECTED),
            (PLACED, RESERVED, RELEASED, CANCELLED),
            (PLACED, RESERVED, AUTHORISED, VOIDED, RELEASED, CANCELLED),
            (PLACED, RESERVED, AUTHORISED, ("PaymentDeclined", 4), VOIDED, RELEASED, REJECTED),
            (OPENED, REFUNDED, TAKEN_BACK, RETURNED),
            (OPENED, RETURN_REJECTED),
        ):
            self.assertIs(judge(*events), State.COMPLETE, events)

    def test_a_story_without_any_one_of_its_events_is_not_complete(self) -> None:
        for events in (
            (PLACED, RESERVED, AUTHORISED, CAPTURED, COMMITTED, CONFIRMED),
            (PLACED, RESERVED, AUTHORISED, VOIDED, RELEASED, CANCELLED),
            (PLACED, RESERVED, DECLINED, RELEASED, REJECTED),
            (OPENED, REFUNDED, TAKEN_BACK, RETURNED),
            (OPENED, RETURN_REJECTED),
        ):
            for lost in events:
                if lost is not DECLINED:
                    rest = [event for event in events if event is not lost]
                    self.assertIsNot(judge(*rest), State.COMPLETE, (events, lost))

    def test_what_was_captured_is_never_undone(self) -> None:
        self.assertIs(
            judge(PLACED, RESERVED, AUTHORISED, CAPTURED, COMMITTED, CONFIRMED, VOIDED), State.INCOMPLETE
        )

    def test_what_was_refunded_is_never_undone(self) -> None:
        self.assertIs(judge(OPENED, REFUNDED, TAKEN_BACK, RETURNED, RETURN_REJECTED), State.INCOMPLETE)

    def test_an_event_in_the_wrong_place_is_not_understood(self) -> None:
        self.assertIs(judge(PLACED, ("StockReserved", 5)), State.FOREIGN)
        self.assertIs(judge(RESERVED), State.FOREIGN)
        self.assertIs(judge(OPENED, RESERVED), State.FOREIGN)
        self.assertIs(judge(OPENED, ("PaymentRefunded", 3)), State.FOREIGN)


class Messages(unittest.TestCase):
    """What is an event, and what is the same event."""

    def body(self, **changes: object) -> bytes:
        """A message's body, with changes."""
        event = {
            "specversion": "1.0",
            "id": "o-1/create-order/action",
            "source": "order",
            "type": "saga.order.v1.OrderPlaced",
            "subject": "o-1",
            "sequence": "0001",
            "data": {"orderId": "o-1"},
        }
        return json.dumps(event | changes).encode()

    def test_an_event_is_read(self) -> None:
        event = read_event("application/cloudevents+json; charset=utf-8", self.body())
        self.assertEqual((event.name, event.order, event.sequence), ("OrderPlaced", "o-1", 1))

    def test_what_is_no_event_is_refused(self) -> None:
        kind = "application/cloudevents+json"
        for content_type, body in (
            ("application/json", self.body()),
            (None, self.body()),
            (kind, b"{"),
            (kind, b"[]"),
            (kind, self.body(specversion="0.3")),
            (kind, self.body(sequence="-1")),
            (kind, self.body(subject="")),
            (kind, self.body(data=1)),
        ):
            with self.assertRaises(BadEvent, msg=body):
                read_event(content_type, body)

    def test_a_repeat_counts_once_and_a_contradiction_is_found(self) -> None:
        journal = Journal()
        event = read_event("application/cloudevents+json", self.body())
        for again in (event, read_event("application/cloudevents+json", self.body())):
            journal.note(again)
        self.assertEqual((len(journal.events("o-1")), journal.duplicates, journal.conflicts), (1, 1, 0))
        journal.note(read_event("application/cloudevents+json", self.body(data={"orderId": "o-2"})))
        self.assertEqual((journal.duplicates, journal.conflicts), (2, 1))

    def stuck(self, version: int) -> Event:
        """That a saga needs a person, as of a version."""
        body = self.body(
            id=f"o-1/stuck/{version}",
            type="saga.operations.v1.SagaStuck",
            data={"version": str(version), "step": "s", "direction": "action", "why": f"it is {version}"},
        )
        event = json.loads(body)
        del event["sequence"]
        return read_event("application/cloudevents+json", json.dumps(event).encode())

    def test_a_stuck_saga_is_told_by_its_last_reminder_and_is_no_part_of_the_story(self) -> None:
        journal = Journal()
        journal.note(read_event("application/cloudevents+json", self.body()))
        for version in (9, 10, 9):
            journal.note(self.stuck(version))
        self.assertEqual(journal.duplicates, 1)
        self.assertEqual([event.name for event in journal.events("o-1")], ["OrderPlaced"])
        told = summarise(journal, None, whole=True)
        self.assertEqual(told["stuck"], {"o-1": "at s/action: it is 10"})
        self.assertEqual(told["incomplete"], {"o-1": "it has not ended"})

    def test_what_has_ended_is_not_stuck_any_more(self) -> None:
        journal = Journal()
        journal.note(self.stuck(9))
        for name, sequence in (PLACED, REJECTED):
            journal.note(Event(f"saga.order.v1.{name}", f"o-1/{name}", "o-1", sequence, {}))
        told = summarise(journal, None, whole=True)
        self.assertEqual((told["stuck"], told["complete"]), ({}, 1))

    def test_another_saga_of_the_same_order_does_not_spoil_its_story(self) -> None:
        journal = Journal()
        journal.note(read_event("application/cloudevents+json", self.body(id="r-1/refund-payment/action")))
        self.assertEqual(journal.events("o-1"), [])


if __name__ == "__main__":
    unittest.main()
