//! The unacknowledged deliveries of a channel, and their acknowledgement with few frames.

use std::collections::BTreeSet;

/// The unacknowledged deliveries of one channel. The prefetch limits their number.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Tag of the last delivery. Tags begin with 1 and have no gaps.
    last: u64,
    out: BTreeSet<u64>,
}

/// One `basic.ack` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Acknowledges this delivery alone.
    One(u64),
    /// Acknowledges this delivery and all before it.
    UpTo(u64),
}

impl Window {
    /// Records a delivery. Returns false if the one before it is missing: that one could never be
    /// acknowledged, so the channel must be given up.
    #[must_use]
    pub(crate) fn delivered(&mut self, tag: u64) -> bool {
        if tag != self.last + 1 {
            return false;
        }
        self.last = tag;
        self.out.insert(tag)
    }

    /// Returns true if every delivery is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Returns the frames that acknowledge exactly these tags.
    ///
    /// [`Frame::UpTo`] is used for a tag only if no lower tag is still in `out`. That is safe,
    /// because [`Window::delivered`] has recorded every lower tag (tags have no gaps), and only
    /// this method removes tags from `out`. Each frame names a tag that was in `out` until now,
    /// because the broker treats a tag that it no longer knows as an error.
    pub(crate) fn acknowledge(&mut self, tags: impl IntoIterator<Item = u64>) -> Vec<Frame> {
        let mut fresh: Vec<u64> = tags.into_iter().filter(|tag| self.out.remove(tag)).collect();
        fresh.sort_unstable();
        let below = match self.out.first() {
            Some(lowest_out) => fresh.partition_point(|tag| tag < lowest_out),
            None => fresh.len(),
        };
        let (run, single) = fresh.split_at(below);
        let run = match run {
            [] => None,
            [tag] => Some(Frame::One(*tag)),
            [.., last] => Some(Frame::UpTo(*last)),
        };
        run.into_iter().chain(single.iter().map(|tag| Frame::One(*tag))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(delivered: u64) -> Window {
        let mut window = Window::default();
        for tag in 1..=delivered {
            assert!(window.delivered(tag), "in order");
        }
        window
    }

    #[test]
    fn a_run_from_the_lowest_delivery_takes_one_frame() {
        assert_eq!(window(5).acknowledge([3, 1, 2]), [Frame::UpTo(3)]);
    }

    #[test]
    fn what_comes_after_an_open_delivery_is_acknowledged_one_by_one() {
        let mut window = window(5);
        assert_eq!(window.acknowledge([2, 4, 3]), [Frame::One(2), Frame::One(3), Frame::One(4)]);
        assert_eq!(window.acknowledge([1, 5]), [Frame::UpTo(5)]);
    }

    #[test]
    fn a_tag_that_the_broker_no_longer_knows_is_never_named() {
        let mut window = window(3);
        assert_eq!(window.acknowledge([2]), [Frame::One(2)]);
        assert_eq!(window.acknowledge([1, 2]), [Frame::One(1)]);
        assert_eq!(window.acknowledge([1, 2, 7]), []);
    }

    #[test]
    fn a_gap_in_the_deliveries_is_noticed() {
        assert!(!window(3).delivered(5));
    }

    /// A random operation on the channel under test.
    #[derive(Clone, Debug)]
    enum Act {
        Deliver,
        Acknowledge(Vec<prop::sample::Index>),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let some = prop::collection::vec(any::<prop::sample::Index>(), 1..6);
        prop::collection::vec(
            prop_oneof![Just(Act::Deliver), some.prop_map(Act::Acknowledge)],
            1..80,
        )
    }

    proptest! {
        #[test]
        fn the_broker_keeps_exactly_what_was_not_acknowledged(acts in acts()) {
            let mut window = Window::default();
            let mut at_the_broker = BTreeSet::new();
            let mut wanted = BTreeSet::new();
            let mut last = 0;
            for act in acts {
                match act {
                    Act::Deliver => {
                        last += 1;
                        at_the_broker.insert(last);
                        wanted.insert(last);
                        prop_assert!(window.delivered(last));
                    }
                    Act::Acknowledge(picks) => {
                        if wanted.is_empty() {
                            continue;
                        }
                        let open: Vec<u64> = wanted.iter().copied().collect();
                        let tags: Vec<u64> = picks.iter().map(|pick| *pick.get(&open)).collect();
                        for tag in &tags {
                            wanted.remove(tag);
                        }
                        for frame in window.acknowledge(tags) {
                            match frame {
                                Frame::One(tag) => prop_assert!(at_the_broker.remove(&tag)),
                                Frame::UpTo(tag) => {
                                    prop_assert!(at_the_broker.contains(&tag));
                                    at_the_broker.retain(|other| *other > tag);
                                }
                            }
                        }
                    }
                }
                prop_assert_eq!(&at_the_broker, &wanted);
            }
        }
    }
}
