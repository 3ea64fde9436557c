//! Tests which spans are recorded after [`saga_trace::install`]. There is only one test, because a
//! process has only one recorder.

use std::sync::{Arc, Mutex};

use saga_trace::{Context, Kind, Record, Span, install};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>);

impl Record for Kept {
    fn record(&self, span: Span) {
        self.0.lock().expect("not poisoned").push(span);
    }
}

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[test]
fn only_sampled_traces_are_recorded_and_what_joins_several_links_them() {
    assert_eq!(Context::recorded(Some(SAMPLED)), None, "nobody records yet");
    assert!(Span::entry(Some(SAMPLED), Kind::Server, "call").is_none(), "nobody records yet");
    let kept = Kept::default();
    install(kept.clone(), 0.25);

    assert_eq!(Context::recorded(Some(UNSAMPLED)), None);
    assert!(Span::entry(Some(UNSAMPLED), Kind::Server, "call").is_none());
    let entry = Span::entry(Some(SAMPLED), Kind::Server, "call").expect("its caller is sampled");
    assert_eq!(entry.parent, Some(0x00f0_67aa_0ba9_02b7));
    let below = Span::child(entry.context, Kind::Internal, "turn");
    assert_eq!(
        (below.context.trace(), below.parent),
        (entry.context.trace(), Some(entry.context.span()))
    );

    let new = (0..4_000).filter(|_| Span::entry(None, Kind::Server, "call").is_some()).count();
    assert!((800..1_200).contains(&new), "a quarter of new traces, not {new} of 4,000");

    let one = Span::joining([entry.context], Kind::Producer, "publish").expect("one member");
    assert_eq!((one.context.trace(), one.links.len()), (entry.context.trace(), 0));
    let many = Span::joining(std::iter::repeat_n(entry.context, 200), Kind::Producer, "publish");
    let many = many.expect("200 members");
    assert_ne!(many.context.trace(), entry.context.trace());
    assert_eq!((many.parent, many.links.len(), many.links_left_out), (None, 128, 72));
    assert!(Span::joining([], Kind::Producer, "publish").is_none());

    below.with("saga.id", "x").failed("no").end();
    let kept = kept.0.lock().expect("not poisoned");
    assert_eq!(kept.len(), 1, "only what has ended");
    assert!(kept[0].ended.is_some() && kept[0].failure.as_deref() == Some("no"));
}
