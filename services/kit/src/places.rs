//! Places: permits for calls to the outside world. Their number is bounded, and urgent calls get
//! them first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::Priority;

/// The permits. A clone is a handle to the same permits.
#[derive(Clone)]
pub(crate) struct Places(Arc<Mutex<Queues>>);

struct Queues {
    free: usize,
    urgent: VecDeque<oneshot::Sender<Place>>,
    normal: VecDeque<oneshot::Sender<Place>>,
}

/// A permit. When it is dropped, it goes to the next call that waits.
pub(crate) struct Place(Places);

impl Places {
    pub(crate) fn new(free: usize) -> Self {
        let (urgent, normal) = (VecDeque::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(Queues { free, urgent, normal })))
    }

    /// Waits for a permit. Urgent calls get theirs before normal ones, in the order of their
    /// arrival.
    pub(crate) async fn take(&self, priority: Priority) -> Place {
        let place = {
            let mut queues = self.lock();
            if queues.free > 0 {
                queues.free -= 1;
                return Place(self.clone());
            }
            let (place, waiting) = oneshot::channel();
            match priority {
                Priority::Urgent => queues.urgent.push_back(place),
                Priority::Normal => queues.normal.push_back(place),
            }
            waiting
        };
        place.await.expect("a queue drops nobody who waits")
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics while holding the lock. If anything did, the queues would still be valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// Returns the first call that still waits.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        loop {
            let next = self.urgent.pop_front().or_else(|| self.normal.pop_front())?;
            if !next.is_closed() {
                return Some(next);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut queues = self.0.lock();
            let next = queues.next();
            if next.is_none() {
                queues.free += 1;
            }
            next
        };
        if let Some(next) = next {
            // If that call has just stopped waiting, `send` returns the permit, which is dropped
            // and so passed on.
            drop(next.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn whoever_is_urgent_is_next_and_otherwise_who_came_first() {
        let places = Places::new(1);
        let held = places.take(Priority::Normal).await;
        let order = Mutex::new(Vec::new());
        let wait = async |priority, name| {
            let _place = places.take(priority).await;
            order.lock().expect("whole").push(name);
        };
        let mut waiting = Box::pin(join_all([
            wait(Priority::Normal, "first"),
            wait(Priority::Normal, "second"),
            wait(Priority::Urgent, "urgent"),
            wait(Priority::Urgent, "urgent too"),
        ]));
        assert!(waiting.as_mut().now_or_never().is_none(), "the one place is taken");
        drop(held);
        waiting.await;
        let order = order.into_inner().expect("whole");
        assert_eq!(order, ["urgent", "urgent too", "first", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_while_waiting_or_just_after_getting_a_place_takes_none_along() {
        let places = Places::new(2);
        let held = [places.take(Priority::Normal).await, places.take(Priority::Normal).await];
        let impatient =
            || tokio::time::timeout(Duration::from_millis(1), places.take(Priority::Urgent));
        assert!(impatient().await.is_err());
        let mut handed = Box::pin(places.take(Priority::Urgent));
        assert!(handed.as_mut().now_or_never().is_none());
        drop(held);
        drop(handed);
        for _ in 0..2 {
            std::mem::forget(impatient().await.expect("both are free again"));
        }
        assert!(impatient().await.is_err(), "and no more than two");
    }
}
