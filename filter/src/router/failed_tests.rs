//! What a client gets when nobody answered: an error that no SDK answers by asking again, or the policy's own words.

use super::tests::{CHAT, Exchange, MESSAGES, attempts, headers, reply_of};
use super::*;

/// Tier `fast`, whose targets are `a` and `b`, answers itself when both have failed.
fn with_words() -> Exchange {
    Exchange::with_policy(|policy| {
        policy.replace(
            r#""description": "short","#,
            r#""description": "short", "degrade": {"answer": "later"},"#,
        )
    })
}

fn asked(mut exchange: Exchange, messages: bool) -> Exchange {
    match messages {
        true => exchange.messages("/v1/messages", MESSAGES),
        false => {
            exchange.headers("POST", "/v1/chat/completions", &[("x-llm-policy", "fast")]);
            exchange.on(Event::RequestBody(CHAT))
        }
    };
    exchange
}

fn header<'a>(actions: &'a [Action], name: &str) -> Option<&'a str> {
    actions.iter().find_map(|action| match action {
        Action::Reply(reply) => {
            let line = reply.headers.iter().find(|(n, _)| n == name);
            line.map(|(_, value)| value.as_str())
        }
        Action::SetResponseHeader(n, value) if *n == name => Some(value),
        _ => None,
    })
}

fn out_of_time(exchange: &mut Exchange, outcomes: &str, is_under_way: bool) -> Vec<Action> {
    let begun = outcomes.matches('=').count();
    exchange.on(Event::OutOfTime {
        attempts: attempts(outcomes, begun, begun.saturating_sub(1)),
        is_under_way,
    })
}

#[test]
fn the_time_that_a_request_has_is_its_tiers() {
    let mut exchange = Exchange::with_policy(str::to_owned);
    exchange.headers("POST", "/v1/chat/completions", &[("x-llm-policy", "fast")]);
    let actions = exchange.on(Event::RequestBody(CHAT));
    let budget = Action::AnswerWithin(Duration::from_secs(3 * 40));
    assert!(actions.contains(&budget), "{actions:?}");
}

#[test]
fn out_of_time_tells_the_attempt_under_way_once() {
    for (outcomes, is_under_way, told) in [
        ("", true, "a=timeout"),
        ("a=503", true, "a=503, b=timeout"),
        // In Envoy's back-off nobody is asked.
        ("a=503", false, "a=503"),
    ] {
        for messages in [false, true] {
            let mut exchange = asked(Exchange::with_policy(str::to_owned), messages);
            let actions = out_of_time(&mut exchange, outcomes, is_under_way);
            let (status, body) = reply_of(&actions);
            let code = match messages {
                true => &body["error"]["type"],
                false => &body["error"]["code"],
            };
            let expected = if messages {
                "timeout_error"
            } else {
                "answer_timeout"
            };
            assert_eq!((status, code), (504, &expected.into()));
            assert_eq!(header(&actions, "x-routed-attempts"), Some(told));
            assert_eq!(header(&actions, "x-routing-tier"), Some("fast"));
            assert_eq!(header(&actions, "x-should-retry"), Some("false"));
            // Its own reply passes it, and nothing is done twice.
            assert!(!exchange.router.enriches());
            assert_eq!(out_of_time(&mut exchange, outcomes, true), []);
        }
    }
}

#[test]
fn words_take_the_place_of_what_another_could_have_done_better() {
    // Status, from a provider, the attempts, whether words answer.
    for (status, is_from_provider, outcomes, is_degraded) in [
        ("503", true, "a=503, b=503", true),
        ("429", true, "a=503, b=429", true),
        ("401", true, "a=503, b=401", true),
        ("502", true, "a=503, b=empty", true),
        ("504", false, "a=503, b=timeout", true),
        ("503", false, "a=503, b=reset", true),
        // The client's fault, wherever it was found.
        ("400", true, "a=400", false),
        ("413", true, "a=503, b=413", false),
        ("422", true, "a=422", false),
        // Envoy's own, before anybody was asked; and what it refuses for its own reasons.
        ("503", false, "", false),
        ("429", false, "", false),
        ("413", false, "", false),
    ] {
        for messages in [false, true] {
            let case = format!("{status} {is_from_provider} {outcomes} {messages}");
            let mut exchange = asked(with_words(), messages);
            let begun = outcomes.matches('=').count();
            let mut actions = exchange.on(Event::ResponseHeaders {
                headers: headers(&[(":status", status), ("x-should-retry", "true")]),
                attempts: attempts(outcomes, begun, begun.saturating_sub(1)),
                is_from_provider,
                end_of_stream: false,
            });
            if actions == [Action::Pause] {
                actions = exchange.on(Event::ResponseBody {
                    body: b"{}",
                    end_of_stream: true,
                });
            }
            let degraded = header(&actions, "x-routing-degraded");
            assert_eq!(degraded, is_degraded.then_some("answer"), "{case}");
            if is_degraded {
                let (status, body) = reply_of(&actions);
                assert_eq!(status, 200, "{case}");
                let text = match messages {
                    true => &body["content"][0]["text"],
                    false => &body["choices"][0]["message"]["content"],
                };
                assert_eq!(text, "later", "{case}");
                continue;
            }
            // Of what a rate limit refuses before anybody was asked, the SDK decides itself.
            let is_over = begun > 0 || status == "503";
            let retry = header(&actions, "x-should-retry");
            assert_eq!(retry, is_over.then_some("false"), "{case}");
        }
    }
    let mut late = asked(with_words(), false);
    let actions = out_of_time(&mut late, "a=503", true);
    assert_eq!(reply_of(&actions).0, 200);
    assert_eq!(
        header(&actions, "x-routed-attempts"),
        Some("a=503, b=timeout")
    );
}
