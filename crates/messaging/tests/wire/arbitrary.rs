//! Reading arbitrary bytes yields sound members or poison, and never panics.

use proptest::prelude::*;
use saga_messaging::parcel;

use crate::samples::{command, event};

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parcel::read(&bytes);
    }

    /// Sound parcels with bytes changed, removed or inserted: parsers fail most often on such
    /// input.
    #[test]
    fn nearly_sound_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = format!("[{},{}]", command(7, "{}").to_json(), event().to_json()).into_bytes();
        for (place, byte, change) in changes {
            let at = place.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        for member in parcel::read(&bytes).into_iter().flatten().flatten() {
            let _ = member.to_json();
        }
    }
}
