//! The tokens of one attempt: into filter state for the access log, and into counters.
//!
//! Pure. Only what the provider has said is written, never an estimate: it goes into filter state as soon as it is known and
//! only where it is news, and into the counters once, when the attempt is over. Not at the end into both: where a client
//! leaves or a provider resets, Envoy writes the access log before it tells the attempt.

use super::metrics::metric_name;
use super::state;
use crate::chat::usage::Usage;
use crate::http::Action;

#[derive(Debug, Default)]
pub struct Tokens {
    /// What the provider has said so far.
    pub usage: Usage,
    /// What the filter state has of it.
    logged: Usage,
    is_counted: bool,
}

/// A kind of token: its label, its filter state, and how many. The first two labels as OpenTelemetry's `gen_ai.token.type`
/// has them; the others are parts of them.
type Kind = (&'static str, &'static str, u64);

fn kinds_of(usage: Usage) -> [Kind; 5] {
    [
        ("input", state::INPUT_TOKENS, usage.prompt),
        ("output", state::OUTPUT_TOKENS, usage.completion),
        ("cached", state::CACHED_TOKENS, usage.cached),
        ("cache_write", state::CACHE_WRITE_TOKENS, usage.cache_write),
        ("reasoning", state::REASONING_TOKENS, usage.reasoning),
    ]
}

// === impl Tokens ===

impl Tokens {
    /// What the filter state lacks. Asked for with every event of a stream: nothing is allocated where nothing is news.
    pub fn log(&mut self) -> Vec<Action> {
        self.set(self.usage)
    }

    /// The attempt has failed and another follows: its tokens are counted, but they are not the answer's.
    pub fn unlog(&mut self) -> Vec<Action> {
        self.set(Usage::default())
    }

    /// Once; `tags` are those of the attempt.
    pub fn count(&mut self, tags: [(&str, &str); 3]) -> Vec<Action> {
        if std::mem::replace(&mut self.is_counted, true) {
            return Vec::new();
        }
        let [provider, model, tier] = tags;
        let kinds = kinds_of(self.usage).into_iter();
        let counts = kinds.filter(|(.., tokens)| *tokens > 0);
        counts
            .map(|(kind, _, tokens)| {
                let tags = [provider, model, tier, ("type", kind)];
                let name = metric_name("pointsman_tokens_total", &tags);
                Action::Count(name, i64::try_from(tokens).unwrap_or(i64::MAX))
            })
            .collect()
    }

    fn set(&mut self, usage: Usage) -> Vec<Action> {
        if usage == self.logged {
            return Vec::new();
        }
        let before = kinds_of(std::mem::replace(&mut self.logged, usage));
        let kinds = kinds_of(usage).into_iter().zip(before);
        let news = kinds.filter(|((.., now), (.., before))| now != before);
        news.map(|((_, key, tokens), _)| Action::SetState(key, value(tokens)))
            .collect()
    }
}

fn value(tokens: u64) -> Vec<u8> {
    match tokens {
        // Filter state cannot be removed. This is how Envoy's access log writes what is absent.
        0 => b"-".to_vec(),
        _ => tokens.to_string().into_bytes(),
    }
}
