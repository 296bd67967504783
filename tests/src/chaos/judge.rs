//! What a client was told: a whole good answer, an error, a break that it can see, or a lie.
//!
//! Pure. A status is not an answer: content, finish reason and terminator are looked at.

use serde_json::Value;

use super::script::{BEGINS, ENDS};

/// What came for one request.
#[derive(Debug)]
pub struct Received<'a> {
    pub status: u16,
    pub body: &'a [u8],
    /// The message came to the end that HTTP gives it.
    pub whole: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The answer to this question, complete.
    Answer,
    /// An error status with an error object.
    Refusal(u16),
    /// A part of an answer, and then an error event or an end that is none in HTTP.
    Broken,
    /// Neither, for this reason: what a client would take for an answer, or make nothing of.
    Bad(String),
}

impl Got {
    pub fn of(received: &Received<'_>, question: &str, stream: bool) -> Self {
        match received.status {
            200 if !received.whole => Self::Broken,
            200 if stream => of_stream(received.body, question),
            200 => of_one_shot(received.body, question),
            status if !received.whole => Self::Bad(format!("a {status} that breaks off")),
            status @ 400.. => match is_error(received.body) {
                true => Self::Refusal(status),
                false => Self::Bad(format!("a {status} without an error object")),
            },
            status => Self::Bad(format!("status {status}")),
        }
    }
}

fn is_error(body: &[u8]) -> bool {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    body.is_some_and(|body| body["error"]["message"].is_string())
}

fn of_one_shot(body: &[u8], question: &str) -> Got {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Got::Bad("a 200 that is not JSON".into());
    };
    let choice = &body["choices"][0];
    if choice["finish_reason"] != "stop" {
        return Got::Bad("a 200 without its finish reason".into());
    }
    says(
        choice["message"]["content"].as_str().unwrap_or_default(),
        question,
    )
}

fn of_stream(body: &[u8], question: &str) -> Got {
    let text = String::from_utf8_lossy(body);
    let (mut said, mut finished, mut done) = (String::new(), false, false);
    for event in text.split("\n\n").filter(|event| !event.trim().is_empty()) {
        let mut lines = event.lines();
        if lines.clone().any(|line| line == "event: error") {
            return Got::Broken;
        }
        let Some(data) = lines.find_map(|line| line.strip_prefix("data:")) else {
            continue;
        };
        let data = data.trim();
        if done {
            return Got::Bad("an event after the terminator".into());
        }
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            return Got::Bad("an event that is not JSON".into());
        };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Got::Broken;
        }
        let choice = &chunk["choices"][0];
        said += choice["delta"]["content"].as_str().unwrap_or_default();
        finished |= choice["finish_reason"] == "stop";
    }
    match (finished, done) {
        (true, true) => says(&said, question),
        (false, _) => Got::Bad("a stream that ends well without its finish reason".into()),
        (true, false) => Got::Bad("a stream that ends well without its terminator".into()),
    }
}

fn says(text: &str, question: &str) -> Got {
    let quoted = text
        .strip_prefix(BEGINS)
        .and_then(|text| text.strip_suffix(ENDS));
    match quoted {
        Some(quoted) if quoted.starts_with(question) => Got::Answer,
        Some(_) => Got::Bad("the answer to another question".into()),
        None => Got::Bad("an answer of which something is missing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{Act, Asked, error, event};
    use super::*;

    fn asked(stream: bool) -> Asked {
        let body = format!(
            r#"{{"model":"good","stream":{stream},"messages":[{{"role":"user","content":"why?"}}]}}"#
        );
        Asked::read(body.as_bytes(), 1).expect("a request")
    }

    fn sent(acts: &[Act]) -> Vec<u8> {
        let data = acts.iter().filter_map(|act| match act {
            Act::Data(bytes) => Some(bytes.as_ref()),
            _ => None,
        });
        data.collect::<Vec<_>>().concat()
    }

    #[test]
    fn an_answer_is_one_only_when_nothing_is_missing() {
        let one_shot = sent(&asked(false).good());
        let streamed = sent(&asked(true).good());
        let begun = sent(&asked(true).released());
        let cut = |bytes: &[u8], from: &str, to: &str| {
            String::from_utf8_lossy(bytes)
                .replace(from, to)
                .into_bytes()
        };
        let failed = [begun.as_slice(), event(&error("x")).as_ref()].concat();
        let bad = |why: &str| Got::Bad(why.into());
        for (stream, status, body, whole, expected) in [
            (false, 200, &one_shot, true, Got::Answer),
            (true, 200, &streamed, true, Got::Answer),
            (true, 200, &streamed, false, Got::Broken),
            (false, 200, &one_shot, false, Got::Broken),
            (true, 200, &failed, true, Got::Broken),
            (
                true,
                200,
                &begun,
                true,
                bad("a stream that ends well without its finish reason"),
            ),
            (
                true,
                200,
                &cut(&streamed, "data: [DONE]\n\n", ""),
                true,
                bad("a stream that ends well without its terminator"),
            ),
            (
                false,
                200,
                &cut(&one_shot, "why?", "how?"),
                true,
                bad("the answer to another question"),
            ),
            (
                true,
                200,
                &cut(&streamed, BEGINS, ""),
                true,
                bad("an answer of which something is missing"),
            ),
            (
                false,
                200,
                &error("x").into_bytes(),
                true,
                bad("a 200 without its finish reason"),
            ),
            (
                false,
                503,
                &error("x").into_bytes(),
                true,
                Got::Refusal(503),
            ),
            (
                false,
                503,
                &b"no".to_vec(),
                true,
                bad("a 503 without an error object"),
            ),
            (
                false,
                503,
                &b"n".to_vec(),
                false,
                bad("a 503 that breaks off"),
            ),
        ] {
            let received = Received {
                status,
                body,
                whole,
            };
            assert_eq!(
                Got::of(&received, "why?", stream),
                expected,
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }
}
