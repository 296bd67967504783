//! Every way for a provider to fail that the suite plays, and what a client may see of it.
//!
//! Pure: a table. A fault is played by the model's name, but for those that need a port of their own.

use std::time::Duration;

use bytes::Bytes;

use super::script::{Act, Asked, BEGINS, ENDS, error, event, head, sse, then, whole};

#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    /// Where the provider's cluster leads.
    pub port: Port,
    pub kind: Kind,
    /// For one-shot requests (`false`) and streams (`true`).
    pub asked: &'static [bool],
    /// Nobody knows of it until the attempt's time is up.
    pub stalls: bool,
    pub acts: fn(&Asked) -> Vec<Act>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Of the stand-in, which plays what the model says.
    Stage,
    /// Nobody listens.
    Refused,
    /// The cluster is without a host.
    Nowhere,
    /// Accepts, and resets.
    Resetting,
    /// Speaks, but not HTTP.
    NotHttp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No fault: an unusual answer that is good.
    Answer,
    /// Nothing reaches the client: the next target answers.
    Hidden,
    /// The client's own fault, which it is told.
    Clients,
    /// The client has the first words: it must learn that the rest is missing.
    Released,
}

const BOTH: &[bool] = &[false, true];
const ONE_SHOT: &[bool] = &[false];
const STREAM: &[bool] = &[true];

const fn fault(
    name: &'static str,
    kind: Kind,
    asked: &'static [bool],
    acts: fn(&Asked) -> Vec<Act>,
) -> Fault {
    Fault {
        name,
        port: Port::Stage,
        kind,
        asked,
        stalls: false,
        acts,
    }
}

const fn hidden(name: &'static str, acts: fn(&Asked) -> Vec<Act>) -> Fault {
    fault(name, Kind::Hidden, BOTH, acts)
}

const fn stalling(fault: Fault) -> Fault {
    Fault {
        stalls: true,
        ..fault
    }
}

const fn at(name: &'static str, port: Port) -> Fault {
    Fault {
        port,
        ..hidden(name, Asked::good)
    }
}

const fn status(name: &'static str, acts: fn(&Asked) -> Vec<Act>) -> Fault {
    hidden(name, acts)
}

fn says_no(status: u16) -> Vec<Act> {
    whole(status, "application/json", error("stand_in"))
}

/// What a provider does that serves: the model of every healthy target.
pub const GOOD: Fault = fault("good", Kind::Answer, BOTH, Asked::good);

/// What the target before the fault does where the fault is the second to be met.
pub const UNWELL: &str = "status-503";

/// Bytes of text in one event: more than a frame, a read, and HTTP/2's usual window.
const GIANT: usize = 64 << 10;
/// Between two bytes.
const LORIS: Duration = Duration::from_millis(40);
/// In one write of a split answer.
const SPLIT: usize = 7;

pub const FAULTS: &[Fault] = &[
    // --- the connection
    at("refused", Port::Refused),
    at("no-host", Port::Nowhere),
    at("reset-on-accept", Port::Resetting),
    at("not-http", Port::NotHttp),
    hidden("reset-after-request", |_| vec![Act::Reset]),
    hidden("close-after-request", |_| vec![Act::Cut]),
    hidden("reset-after-headers", |a| then(a.head(), Act::Reset)),
    hidden("reset-mid-body", |a| then(a.begun(), Act::Reset)),
    hidden("close-mid-body", |a| then(a.begun(), Act::Cut)),
    // --- time
    stalling(hidden("stall-before-headers", |_| vec![Act::Stall])),
    stalling(hidden("stall-after-headers", |a| {
        then(a.head(), Act::Stall)
    })),
    stalling(hidden("stall-mid-body", |a| then(a.begun(), Act::Stall))),
    stalling(hidden("slow-loris", slow_loris)),
    // --- statuses
    status("status-401", |_| says_no(401)),
    status("status-404", |_| says_no(404)),
    status("status-429", |_| says_no(429)),
    status("status-429-retry-after", |_| retry_after()),
    status("status-500", |_| says_no(500)),
    status(UNWELL, |_| says_no(503)),
    status("status-529", |_| says_no(529)),
    fault("status-400", Kind::Clients, BOTH, |_| says_no(400)),
    // --- a 200 that is no answer
    hidden("error-object", |_| {
        whole(200, "application/json", error("server_error"))
    }),
    fault("error-first", Kind::Hidden, STREAM, |_| {
        vec![
            sse(),
            Act::Data(event(&error("overloaded_error"))),
            Act::End,
        ]
    }),
    fault("error-after-role", Kind::Hidden, STREAM, |a| {
        let error = format!("event: error\n{}", text(&event(&error("rate_limit_error"))));
        let before = [Bytes::from_static(b": hold on\n\n"), a.role(), error.into()];
        played(sse(), before)
    }),
    hidden("empty", |a| {
        vec![head(200, a.content_type(), Some(0)), Act::End]
    }),
    hidden("empty-chunked", |a| {
        vec![head(200, a.content_type(), None), Act::End]
    }),
    fault("only-done", Kind::Hidden, STREAM, |_| {
        played(sse(), [event("[DONE]")])
    }),
    fault("end-before-event", Kind::Hidden, STREAM, |a| {
        played(sse(), [a.role()])
    }),
    hidden("html", |_| {
        whole(200, "text/html", "<!doctype html><title>Welcome</title>")
    }),
    fault("stream-as-json", Kind::Hidden, STREAM, |a| {
        played(
            head(200, "application/json", None),
            a.events(&["It is labelled wrongly."]),
        )
    }),
    hidden("truncated-json", truncated_json),
    // --- answers that are good, and look odd
    hidden_not("giant-event", giant),
    hidden_not("split", split),
    fault("json-as-text", Kind::Answer, ONE_SHOT, |a| {
        whole(200, "text/plain", a.completion(&a.text()))
    }),
    // --- after the first words
    fault("reset-mid-stream", Kind::Released, STREAM, |a| {
        then(a.released(), Act::Reset)
    }),
    fault("close-mid-stream", Kind::Released, STREAM, |a| {
        then(a.released(), Act::Cut)
    }),
    stalling(fault("stall-mid-stream", Kind::Released, STREAM, |a| {
        then(a.released(), Act::Stall)
    })),
    fault("error-mid-stream", Kind::Released, STREAM, |a| {
        let error = Act::Data(event(&error("overloaded_error")));
        then(then(a.released(), error), Act::End)
    }),
    fault("end-mid-stream", Kind::Released, STREAM, |a| {
        then(a.released(), Act::End)
    }),
];

const fn hidden_not(name: &'static str, acts: fn(&Asked) -> Vec<Act>) -> Fault {
    fault(name, Kind::Answer, BOTH, acts)
}

/// What is played for this model, by its name up to the dot; an unknown one is a mistake of the suite's.
pub fn of_model(model: &str) -> Option<&'static Fault> {
    let model = model.split('.').next()?;
    if model == GOOD.name {
        return Some(&GOOD);
    }
    FAULTS.iter().find(|fault| fault.name == model)
}

fn played(head: Act, events: impl IntoIterator<Item = Bytes>) -> Vec<Act> {
    let data = events.into_iter().map(Act::Data);
    std::iter::once(head)
        .chain(data)
        .chain([Act::End])
        .collect()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn retry_after() -> Vec<Act> {
    let mut acts = says_no(429);
    if let Some(Act::Head { headers, .. }) = acts.first_mut() {
        headers.push(("retry-after", "30".to_owned()));
    }
    acts
}

fn truncated_json(asked: &Asked) -> Vec<Act> {
    if asked.stream {
        let first = asked.says(BEGINS);
        // Not into the blank line at its end.
        let cut = text(&first.slice(..asked.inside(&first).clamp(8, first.len() - 4)));
        return played(sse(), [asked.role(), format!("{cut}\n\n").into()]);
    }
    let body = asked.completion(&asked.text());
    whole(200, "application/json", body.slice(..asked.inside(&body)))
}

/// Not a byte late, and never done in time.
fn slow_loris(asked: &Asked) -> Vec<Act> {
    let (first, bytes) = match asked.stream {
        true => (sse(), asked.role()),
        false => {
            let body = asked.completion(&asked.text());
            (head(200, "application/json", Some(body.len())), body)
        }
    };
    let mut acts = vec![first];
    for at in 0..bytes.len() {
        acts.push(Act::Data(bytes.slice(at..=at)));
        acts.push(Act::Pause(LORIS));
    }
    then(acts, Act::Stall)
}

fn giant(asked: &Asked) -> Vec<Act> {
    let giant = "x".repeat(GIANT);
    let ends = format!("{}{giant}{ENDS}", asked.question);
    if asked.stream {
        return played(sse(), asked.events(&[BEGINS, &ends]));
    }
    whole(
        200,
        "application/json",
        asked.completion(&format!("{BEGINS}{ends}")),
    )
}

/// A good answer in pieces that respect neither lines nor characters.
fn split(asked: &Asked) -> Vec<Act> {
    let mut acts = Vec::new();
    for act in asked.good() {
        match act {
            Act::Data(bytes) => acts.extend(
                bytes
                    .chunks(SPLIT)
                    .map(|piece| Act::Data(Bytes::copy_from_slice(piece))),
            ),
            other => acts.push(other),
        }
    }
    acts
}
