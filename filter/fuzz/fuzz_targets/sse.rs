//! The events of a stream do not depend on how it was split, and survive being encoded.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use pointsman::provider::sse::{Decoder, Event, Overflow, encode};
use pointsman_fuzz::{choices, chunks};

type Read = (Vec<(Vec<u8>, Vec<u8>)>, Option<Overflow>);

fn read(max: usize, chunks: &[&[u8]]) -> Read {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(max);
    let on_event = &mut |event: Event<'_>| {
        events.push((event.event.to_vec(), event.data.to_vec()));
        ControlFlow::Continue(())
    };
    for chunk in chunks {
        match decoder.push(chunk, on_event) {
            Ok(read) => assert_eq!(read, chunk.len()),
            Err(overflow) => return (events, Some(overflow)),
        }
    }
    let end = decoder.finish(on_event).err();
    (events, end)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[max, ref sizes @ ..], stream)) = choices::<4>(bytes) else {
        return;
    };
    for max in [usize::from(max), usize::MAX] {
        let whole = read(max, &[stream]);
        assert_eq!(read(max, &chunks(stream, sizes)), whole);
        for (event, data) in &whole.0 {
            assert!(event.len() + data.len() <= max);
        }
    }
    let (events, _) = read(usize::MAX, &[stream]);
    let mut encoded = Vec::new();
    for (event, data) in &events {
        encode(Event { event, data }, &mut encoded);
    }
    assert_eq!(read(usize::MAX, &[&encoded]).0, events);
});
