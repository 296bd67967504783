//! Streams through a translation, and what must hold of them in each client's format.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use pointsman::chat::usage::Usage;
use pointsman::provider::sse::{Decoder, Event};
use pointsman::provider::translate::{Progress, Told, Translator};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::asks::TOLD;
use crate::json::is_json;
use crate::{choices, chunks};

/// What a client gets of a stream.
#[derive(Debug, PartialEq)]
pub struct Translated {
    pub out: Vec<u8>,
    pub end: Progress,
    pub usage: Usage,
}

/// A stream, in chunks, through a decoder and a translator, as the provider role does it.
pub fn translate(translator: &mut dyn Translator, max: usize, chunks: &[&[u8]]) -> Translated {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(max);
    let mut on_event = |event: Event<'_>| {
        let _ = translator.event(event, &mut out);
        ControlFlow::Continue(())
    };
    let pushed = chunks
        .iter()
        .try_for_each(|chunk| decoder.push(chunk, &mut on_event).map(|_| ()));
    let _ = pushed.and_then(|()| decoder.finish(&mut on_event));
    let end = translator.end(&mut out);
    // Nothing follows the end.
    let length = out.len();
    assert_eq!(translator.end(&mut out), end);
    assert_eq!(out.len(), length);
    Translated {
        end,
        usage: translator.usage(),
        out,
    }
}

/// What a client gets of a stream does not depend on how it was split, and is a whole stream of chunks or ends in one error.
pub fn check_splits<T: Translator>(bytes: &[u8], new: fn(&Told<'_>) -> T) {
    let Some((&[flags, max, ref sizes @ ..], stream)) = choices::<5>(bytes) else {
        return;
    };
    let told = Told {
        include_usage: flags & 1 != 0,
        ..TOLD
    };
    for max in [usize::from(max), usize::MAX] {
        let whole = translate(&mut new(&told), max, &[stream]);
        check_chat(&whole);
        let split = translate(&mut new(&told), max, &chunks(stream, sizes));
        assert_eq!(split, whole);
    }
}

/// Name and data of every event.
pub fn events(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(usize::MAX);
    let on_event = &mut |event: Event<'_>| {
        events.push((event.event.to_vec(), event.data.to_vec()));
        ControlFlow::Continue(())
    };
    let pushed = decoder.push(stream, on_event);
    pushed
        .and_then(|_| decoder.finish(on_event))
        .expect("no limit");
    events
}

/// Chat completion chunks: each is JSON or `[DONE]`; the end is one `[DONE]` or one error; of a whole answer every choice
/// has one finish reason, its last word.
pub fn check_chat(stream: &Translated) {
    #[derive(Deserialize)]
    struct Chunk {
        error: Option<IgnoredAny>,
        choices: Option<Vec<Choice>>,
    }
    #[derive(Deserialize)]
    struct Choice {
        index: u64,
        finish_reason: Option<String>,
    }
    let events = events(&stream.out);
    let mut finished = BTreeMap::new();
    let mut end = None;
    for (_, data) in &events {
        assert_eq!(end, None, "something follows the end");
        if data == b"[DONE]" {
            end = Some(Progress::Done);
            continue;
        }
        assert!(is_json(data), "not JSON: {}", data.escape_ascii());
        let chunk: Chunk = serde_json::from_slice(data).expect("a chunk or an error");
        if chunk.error.is_some() {
            end = Some(Progress::Failed);
            continue;
        }
        for choice in chunk.choices.expect("choices") {
            let is_finished = finished.entry(choice.index).or_insert(false);
            assert!(!*is_finished, "choice {} had finished", choice.index);
            *is_finished = choice.finish_reason.is_some();
        }
    }
    assert_eq!(end, Some(stream.end));
    if end == Some(Progress::Done) {
        assert!(!finished.is_empty(), "no choice");
        assert!(finished.into_values().all(|finished| finished));
    }
}

/// A streamed Message: names and types agree; blocks are numbered 0, 1, 2… and come one after the other; the end is one
/// `message_stop` or one error; of a whole Message every block that starts stops.
pub fn check_message(stream: &Translated) {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(rename = "type")]
        kind: String,
        index: Option<u64>,
    }
    let mut started = false;
    let mut stopping = false;
    let mut open = None;
    let mut blocks = 0;
    let mut end = None;
    for (name, data) in events(&stream.out) {
        assert_eq!(end, None, "something follows the end");
        assert!(is_json(&data), "not JSON: {}", data.escape_ascii());
        let Frame { kind, index } = serde_json::from_slice(&data).expect("an event");
        assert_eq!(name, kind.as_bytes());
        assert!(
            started || matches!(&*kind, "message_start" | "error"),
            "{kind} before the start"
        );
        assert!(
            !stopping || matches!(&*kind, "message_stop" | "error"),
            "{kind} after message_delta"
        );
        match &*kind {
            "message_start" => {
                assert!(!started, "starts again");
                started = true;
            }
            "content_block_start" => {
                assert_eq!(open, None, "a block is open");
                assert_eq!(index, Some(blocks));
                open = index;
                blocks += 1;
            }
            "content_block_delta" => assert!(index.is_some() && index == open),
            "content_block_stop" => {
                assert!(index.is_some() && index == open);
                open = None;
            }
            "message_delta" => {
                assert_eq!(open, None, "a block is open");
                stopping = true;
            }
            "message_stop" => {
                assert!(stopping);
                end = Some(Progress::Done);
            }
            "error" => end = Some(Progress::Failed),
            "ping" => {}
            _ => panic!("no event of the format: {kind}"),
        }
    }
    assert_eq!(end, Some(stream.end));
}
