mod messages_requests;

use serde_json::{Value, json};

use super::*;
use crate::chat::usage::Usage;
use crate::provider::judge::Outcome;
use crate::provider::passing::StreamEnd;

fn wire(client: Dialect, api: Api, stream: bool) -> Wire {
    Wire {
        client,
        api,
        stream,
        include_usage: false,
        has_reasoning: false,
        many_choices: false,
        model: "m".to_owned(),
        max_tokens: 77,
        unsupported: Unsupported::Drop,
        prompt_cache: false,
        stream_usage: true,
        max_event_bytes: 1 << 20,
    }
}

const CLIENTS: [Dialect; 2] = [Dialect::Chat, Dialect::Messages];
const APIS: [Api; 3] = [Api::OpenAi, Api::Anthropic, Api::Gemini];

fn asked(client: Dialect, stream: bool) -> String {
    match client {
        Dialect::Chat => format!(
            r#"{{"model":"auto","stream":{stream},"logit_bias":{{"1":2}},"messages":[{{"role":"user","content":"hi"}}]}}"#
        ),
        _ => format!(
            r#"{{"model":"auto","stream":{stream},"max_tokens":9,"top_k":3,"messages":[{{"role":"user","content":"hi"}}]}}"#
        ),
    }
}

#[test]
fn every_pair_sends_what_its_provider_reads() {
    let texts = |api: Api, body: &Value| match api {
        Api::Gemini => body["contents"][0]["parts"][0]["text"].clone(),
        Api::OpenAi | Api::Anthropic => match &body["messages"][0]["content"] {
            Value::Array(parts) => parts[0]["text"].clone(),
            text => text.clone(),
        },
    };
    for client in CLIENTS {
        for api in APIS {
            let adapted = wire(client, api, false)
                .request(asked(client, false).as_bytes(), None)
                .expect("a request");
            let body: Value = serde_json::from_slice(&adapted.body).expect("JSON");
            assert_eq!(texts(api, &body), "hi", "{client:?} {api:?}: {body}");
            if api != Api::Gemini {
                assert_eq!(body["model"], "m", "{client:?} {api:?}");
            }
            let limit = match (client, api) {
                (Dialect::Chat, Api::OpenAi) => &Value::Null,
                (Dialect::Messages, Api::OpenAi) => &body["max_completion_tokens"],
                (_, Api::Anthropic) => &body["max_tokens"],
                (_, Api::Gemini) => &body["generationConfig"]["maxOutputTokens"],
                _ => unreachable!(),
            };
            let expected = match (client, api) {
                (Dialect::Chat, Api::Anthropic) => json!(77),
                (Dialect::Chat, _) => Value::Null,
                _ => json!(9),
            };
            assert_eq!(*limit, expected, "{client:?} {api:?}");
            let dropped: &[&str] = match (client, api) {
                (Dialect::Chat, Api::OpenAi) | (Dialect::Messages, Api::Anthropic) => &[],
                (Dialect::Chat, _) => &["logit_bias"],
                (_, Api::Gemini) => &[],
                _ => &["top_k"],
            };
            assert_eq!(adapted.dropped, dropped, "{client:?} {api:?}");
            if (client, api) == (Dialect::Messages, Api::Gemini) {
                assert_eq!(body["generationConfig"]["topK"], 3);
            }
        }
    }
}

#[test]
fn the_same_format_differs_in_its_model_alone() {
    for (client, api) in [
        (Dialect::Chat, Api::OpenAi),
        (Dialect::Messages, Api::Anthropic),
    ] {
        let body = asked(client, false);
        let adapted = wire(client, api, false).request(body.as_bytes(), None);
        let expected = body.replace("\"auto\"", "\"m\"");
        let got = adapted.expect("a request").body;
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }
}

#[test]
fn a_stream_is_asked_for_its_usage_unless_the_client_or_the_policy_has_spoken() {
    let body = asked(Dialect::Chat, true);
    let mut wire = wire(Dialect::Chat, Api::OpenAi, true);
    let sent = |wire: &Wire| {
        let adapted = wire.request(body.as_bytes(), None).expect("a request");
        String::from_utf8(adapted.body).expect("text")
    };
    assert!(sent(&wire).contains(r#""stream_options":{"include_usage":true}"#));
    wire.stream_usage = false;
    assert!(!sent(&wire).contains("stream_options"));
    wire.stream_usage = true;
    wire.include_usage = true;
    assert!(!sent(&wire).contains("stream_options"));
}

#[test]
fn what_cannot_be_said_is_refused_and_what_is_damaged_is_found() {
    let audio = br#"{"model":"auto","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"wav"}}]}]}"#;
    let refused = wire(Dialect::Chat, Api::Anthropic, false).request(audio, None);
    let Err(Unadaptable::Refused(refusal)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusal.code, "unsupported_content");
    let mut strict = wire(Dialect::Chat, Api::Gemini, false);
    strict.unsupported = Unsupported::Refuse;
    let refused = strict.request(asked(Dialect::Chat, false).as_bytes(), None);
    let Err(Unadaptable::Refused(refusal)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusal.param.as_deref(), Some("logit_bias"));
    for (client, api) in [
        (Dialect::Chat, Api::OpenAi),
        (Dialect::Messages, Api::Anthropic),
        (Dialect::CountTokens, Api::OpenAi),
    ] {
        let damaged = wire(client, api, false).request(b"no json", None);
        assert_eq!(damaged, Err(Unadaptable::Damaged));
    }
}

/// A whole answer of each format, with a prompt of 5 tokens and an answer of 2.
fn whole(api: Api) -> &'static [u8] {
    match api {
        Api::OpenAi => {
            br#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#
        }
        Api::Anthropic => {
            br#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#
        }
        Api::Gemini => {
            br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7},"modelVersion":"m","responseId":"r1"}"#
        }
    }
}

const SPENT: Usage = Usage {
    prompt: 5,
    completion: 2,
    cached: 0,
    cache_write: 0,
    reasoning: 0,
};

#[test]
fn every_pair_gives_the_client_its_own_words() {
    for client in CLIENTS {
        for api in APIS {
            let wire = wire(client, api, false);
            let answer = wire.answer(whole(api), 9).expect("an answer");
            assert_eq!(answer.usage, SPENT, "{client:?} {api:?}");
            assert_eq!(answer.body.is_none(), wire.passes(), "{client:?} {api:?}");
            let body = answer.body.unwrap_or_else(|| whole(api).to_vec());
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let text = match client {
                Dialect::Chat => &body["choices"][0]["message"]["content"],
                _ => &body["content"][0]["text"],
            };
            assert_eq!(text, "hello", "{client:?} {api:?}: {body}");
        }
    }
}

#[test]
fn what_is_no_answer_is_a_failure_of_the_attempt() {
    for client in CLIENTS {
        for api in APIS {
            let wire = wire(client, api, false);
            let ended = |body: &[u8]| wire.answer(body, 9).expect_err("a failure");
            assert_eq!(ended(b" \n"), Outcome::Empty);
            for bad in [
                &b"{"[..],
                b"<html>",
                br#"{"error":{"message":"no","type":"api_error"}}"#,
            ] {
                assert_eq!(ended(bad), Outcome::BadEvent, "{client:?} {api:?}");
            }
        }
    }
}

/// The same, as a stream.
fn events(api: Api) -> &'static str {
    match api {
        Api::OpenAi => concat!(
            "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
            "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}],\"usage\":null}\n\n",
            "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
            "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n",
            "data: [DONE]\n\n",
        ),
        Api::Anthropic => concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        Api::Gemini => concat!(
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hello\"}]},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":5,\"totalTokenCount\":5},\"modelVersion\":\"m\",\"responseId\":\"r1\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2,\"totalTokenCount\":7},\"modelVersion\":\"m\",\"responseId\":\"r1\"}\n\n",
        ),
    }
}

/// What the client gets of a stream whose chunks come so.
fn given(wire: &Wire, chunks: &[&[u8]]) -> (String, Usage) {
    let mut stream = wire.stream(9);
    let mut given = Vec::new();
    let mut came = Vec::new();
    let mut is_released = false;
    for (n, chunk) in chunks.iter().enumerate() {
        let end = n + 1 == chunks.len();
        if is_released {
            match stream.pass(chunk, end) {
                Passed::AsItCame => given.extend_from_slice(chunk),
                Passed::Replaced(bytes) => given.extend_from_slice(bytes),
                Passed::Held => assert!(!end, "held for ever"),
            }
            continue;
        }
        came.extend_from_slice(chunk);
        match stream.hold(chunk, end) {
            Step::Hold => {}
            Step::Release => {
                is_released = true;
                given = stream.release().unwrap_or_else(|| came.clone());
            }
            Step::Bad(outcome) => panic!("{outcome}"),
        }
    }
    let given = String::from_utf8(given).expect("text");
    (given, stream.usage())
}

/// Trailers have no place for a finish: what waits for the end was let go, and the finish had nothing to take the place of.
#[test]
fn a_stream_that_ends_in_trailers_is_said_whole_or_is_cut() {
    for client in CLIENTS {
        for api in APIS {
            let wire = wire(client, api, true);
            let answer = events(api);
            // Behind the text.
            let (before, after) = answer.split_once("hello").expect("a text");
            let end = after.find("\n\n").expect("an end");
            let half = before.len() + "hello".len() + end + 2;
            for cut in [half, answer.len()] {
                let mut stream = wire.stream(9);
                let (mut given, mut held) = (String::new(), Vec::new());
                let mut is_released = false;
                for event in answer[..cut].split_inclusive("\n\n") {
                    if is_released {
                        match stream.pass(event.as_bytes(), false) {
                            Passed::AsItCame => given.push_str(event),
                            Passed::Replaced(bytes) => {
                                given.push_str(std::str::from_utf8(bytes).expect("text"));
                            }
                            Passed::Held => {
                                assert_eq!((api, stream.held()), (Api::Gemini, event.len()))
                            }
                        }
                        continue;
                    }
                    held.extend_from_slice(event.as_bytes());
                    if stream.hold(event.as_bytes(), false) == Step::Release {
                        is_released = true;
                        let text = stream.release().unwrap_or_else(|| held.clone());
                        given.push_str(&String::from_utf8(text).expect("text"));
                    }
                }
                assert!(is_released, "{client:?} {api:?} {cut}");
                let is_held = stream.held() > 0;
                let end = stream.end();
                let what = format!("{client:?} {api:?} {cut} {given} {end:?}");
                let is_whole = cut == answer.len();
                match end {
                    Ending::Replaced(bytes) => {
                        assert!(is_whole && api == Api::Gemini && is_held, "{what}");
                        given.push_str(std::str::from_utf8(bytes).expect("text"));
                    }
                    Ending::Said => assert!(is_whole && !is_held, "{what}"),
                    Ending::Cut => assert!(!is_whole && !is_held, "{what}"),
                }
                let last = match client {
                    Dialect::Chat => "data: [DONE]\n\n",
                    _ => "{\"type\":\"message_stop\"}\n\n",
                };
                assert_eq!(given.ends_with(last), is_whole, "{what}");
            }
        }
    }
}

#[test]
fn every_pair_streams_in_the_clients_words_however_it_was_split() {
    for client in CLIENTS {
        for api in APIS {
            let wire = wire(client, api, true);
            let bytes = events(api).as_bytes();
            let (whole, usage) = given(&wire, &[bytes]);
            assert_eq!(usage, SPENT, "{client:?} {api:?}");
            let (must, must_not) = match client {
                // The client did not ask for the chunk of usage.
                Dialect::Chat => ("data: [DONE]\n\n", "\"prompt_tokens\""),
                _ => ("event: message_stop\n", "[DONE]"),
            };
            if client == Dialect::Messages {
                assert!(whole.contains("\"output_tokens\":2"), "{api:?}: {whole}");
            }
            assert!(whole.contains(must), "{client:?} {api:?}: {whole}");
            assert!(!whole.contains(must_not), "{client:?} {api:?}: {whole}");
            assert!(whole.contains("hello"), "{client:?} {api:?}: {whole}");
            for size in [1, 2, 3, 7, 64, 300] {
                let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
                let split = given(&wire, &chunks);
                assert_eq!(split, (whole.clone(), SPENT), "{client:?} {api:?} {size}");
            }
        }
    }
}

/// Whoever speaks what, and however it was split: no client takes what is not whole for an answer.
#[test]
fn every_pair_ends_an_early_end_in_an_error() {
    for client in CLIENTS {
        for api in APIS {
            let wire = wire(client, api, true);
            let answer = events(api);
            let behind = answer.find("hello").expect("a text") + "hello".len();
            let end = behind + answer[behind..].find("\n\n").expect("an end") + 2;
            // Behind the event of the text, and within the next.
            for cut in [end, end + 9] {
                let bytes = &answer.as_bytes()[..cut];
                let (whole, _) = given(&wire, &[bytes]);
                let last = whole.trim_end().rsplit("\n\n").next().unwrap_or_default();
                let what = format!("{client:?} {api:?} {cut}: {whole}");
                let is_error = match client {
                    Dialect::Chat => {
                        last.starts_with("data: {\"error\":{")
                            && (cut != end || last.contains("\"code\":\"provider_stream_cut\""))
                    }
                    _ => last.starts_with("event: error\ndata: {\"type\":\"error\","),
                };
                assert!(is_error, "{what}");
                assert!(!whole.contains("[DONE]") && !whole.contains("message_stop"));
                for size in [1, 7, 64, 300] {
                    let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
                    assert_eq!(given(&wire, &chunks).0, whole, "{what} {size}");
                }
                let mut stream = wire.stream(9);
                assert_eq!(stream.hold(bytes, false), Step::Release, "{what}");
                assert_eq!(stream.ended(), None, "{what}");
                stream.pass(b"", true);
                assert_eq!(stream.ended(), Some(StreamEnd::EarlyEnd), "{what}");
            }
            let mut stream = wire.stream(9);
            stream.hold(answer.as_bytes(), true);
            assert_eq!(stream.ended(), Some(StreamEnd::Complete));
        }
    }
}

#[test]
fn a_stream_that_is_none_moves_on() {
    for client in CLIENTS {
        for api in APIS {
            let wire = wire(client, api, true);
            for (chunk, end, expected) in [
                (&b""[..], true, Step::Bad(Outcome::Empty)),
                (b": ping\n\n", false, Step::Hold),
                (b": ping\n\n", true, Step::Bad(Outcome::Empty)),
                (b"data: no json\n\n", false, Step::Bad(Outcome::BadEvent)),
            ] {
                let step = wire.stream(9).hold(chunk, end);
                let is_cut = api != Api::OpenAi || client != Dialect::Chat;
                // A stream that ends without a word is empty; where it is translated, it was cut.
                if expected == Step::Bad(Outcome::Empty) && is_cut {
                    assert!(matches!(step, Step::Bad(_)), "{client:?} {api:?} {step:?}");
                } else {
                    assert_eq!(step, expected, "{client:?} {api:?}");
                }
            }
            let error = match api {
                Api::Anthropic => {
                    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
                }
                Api::OpenAi => "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
                Api::Gemini => {
                    "data: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n\n"
                }
            };
            let step = wire.stream(9).hold(error.as_bytes(), false);
            assert_eq!(step, Step::Bad(Outcome::BadEvent), "{client:?} {api:?}");
        }
    }
}

/// Found by fuzzing: an image, which Messages has no words for, released the stream with nothing in it.
#[test]
fn what_the_second_translation_leaves_out_is_held() {
    let image = concat!(
        "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",",
        "\"data\":\"aa==\"}}]}}],\"modelVersion\":\"m\",\"responseId\":\"r1\"}\n\n",
    );
    let mut stream = wire(Dialect::Messages, Api::Gemini, true).stream(9);
    assert_eq!(stream.hold(image.as_bytes(), false), Step::Hold);
    assert_eq!(stream.hold(b"", true), Step::Bad(Outcome::BadEvent));
}

#[test]
fn a_stream_that_never_says_anything_is_released_at_last() {
    for client in CLIENTS {
        for api in APIS {
            let mut stream = wire(client, api, true).stream(9);
            let comment = b": keep-alive\n\n".repeat(1000);
            let mut steps = (0..100).map(|_| stream.hold(&comment, false));
            assert!(
                steps.any(|step| step == Step::Release),
                "{client:?} {api:?}"
            );
        }
    }
}
