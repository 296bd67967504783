//! Answer: what a stand-in says, whatever the format. Pure.
//!
//! The latest user message decides: `use tool` calls the first tool offered, `use tool twice` calls it again when the
//! result is there, `use two tools` calls two at once. After a tool's result the answer counts the results. A schema
//! for the output is answered with a sample of it. Nothing of what was sent is quoted.

use serde_json::{Map, Value, json};

/// A request as far as its answer depends on it.
#[derive(Debug, Default)]
pub(super) struct Ask<'a> {
    pub model: &'a str,
    /// The latest user message.
    pub text: String,
    /// Tool calls made since then, in rounds.
    pub rounds: usize,
    /// Tool results since then.
    pub results: usize,
    /// Tool calls in the whole conversation: ids go on from here.
    pub calls: usize,
    /// Name and schema.
    pub tools: Vec<(&'a str, &'a Value)>,
    pub choice: Choice<'a>,
    /// No more than one call at a time.
    pub one_call: bool,
    pub think: bool,
    pub output: Output<'a>,
    /// Tokens for the answer's text.
    pub limit: Option<u64>,
    pub stop: Vec<&'a str>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    #[default]
    Auto,
    Never,
    Any,
    Named(&'a str),
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Output<'a> {
    #[default]
    Text,
    Json,
    Schema(&'a Value),
}

#[derive(Debug)]
pub(super) struct Answer {
    pub thinking: Option<String>,
    pub content: Content,
    pub finish: Finish,
}

#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Calls(Vec<Call>),
}

#[derive(Debug)]
pub(super) struct Call {
    /// Counts the conversation's calls from 1.
    pub number: usize,
    pub name: String,
    pub input: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Whole,
    Length,
    Sequence(String),
    Calls,
}

/// A sample of a schema goes no deeper than this.
const DEEPEST: usize = 16;

// === impl Ask ===

impl Ask<'_> {
    /// A user's text: a message of its own, or one more part of the latest.
    pub fn says(&mut self, text: &str, begins: bool) {
        if begins {
            self.text.clear();
            (self.rounds, self.results) = (0, 0);
        } else if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
    }

    /// So that a reader can watch a request move on.
    pub fn fails(&self, name: &str) -> bool {
        self.text.contains(&format!("fail {name}"))
    }

    pub fn answer(&self, name: &str) -> Answer {
        // A model thinks once in a turn, before it calls a tool.
        let thinking = (self.think && self.rounds == 0)
            .then(|| format!("The stand-in for {name} does not think: this stands in for it."));
        let calls = self.tool_calls();
        if !calls.is_empty() {
            return Answer {
                thinking,
                content: Content::Calls(calls),
                finish: Finish::Calls,
            };
        }
        let (text, finish) = self.cut(self.whole_text(name));
        Answer {
            thinking,
            content: Content::Text(text),
            finish,
        }
    }

    fn tool_calls(&self) -> Vec<Call> {
        let wanted = match self.text.as_str() {
            text if text.contains("use tool twice") => 2,
            text if text.contains("use tool") || text.contains("use two tools") => 1,
            _ => 0,
        };
        let first = match self.choice {
            Choice::Never => None,
            Choice::Auto if self.rounds >= wanted => None,
            Choice::Auto | Choice::Any => self.tools.first(),
            Choice::Named(name) => self.tools.iter().find(|tool| tool.0 == name),
        };
        let Some(first) = first else {
            return Vec::new();
        };
        let mut tools = vec![first];
        if self.text.contains("use two tools") && !self.one_call {
            tools.push(self.tools.get(1).unwrap_or(first));
        }
        let call = |(i, tool): (usize, &(&str, &Value))| Call {
            number: self.calls + i + 1,
            name: tool.0.to_owned(),
            input: sample(tool.1),
        };
        tools.into_iter().enumerate().map(call).collect()
    }

    fn whole_text(&self, name: &str) -> String {
        let what = if self.results > 0 {
            format!("Tool results: {}.", self.results)
        } else {
            format!("Your message has {} characters.", self.text.chars().count())
        };
        let text = format!(
            "This is the stand-in for {name}, answering as {}: no model was asked. {what}",
            self.model
        );
        match self.output {
            Output::Text => text,
            Output::Json => json!({"answer": text}).to_string(),
            Output::Schema(schema) => sample(schema).to_string(),
        }
    }

    fn cut(&self, mut text: String) -> (String, Finish) {
        let mut finish = Finish::Whole;
        let stops = self.stop.iter().filter(|stop| !stop.is_empty());
        let found = stops.filter_map(|stop| Some((text.find(stop)?, *stop)));
        if let Some((at, stop)) = found.min() {
            text.truncate(at);
            finish = Finish::Sequence(stop.to_owned());
        }
        let limit = self.limit.unwrap_or(u64::MAX).saturating_mul(4);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if text.chars().count() > limit {
            text = text.chars().take(limit).collect();
            finish = Finish::Length;
        }
        (text, finish)
    }
}

// === impl Answer ===

impl Answer {
    /// Tokens of the answer without its thinking.
    pub fn tokens(&self) -> usize {
        match &self.content {
            Content::Text(text) => tokens(text),
            Content::Calls(calls) => calls.iter().map(|c| tokens(&c.input.to_string())).sum(),
        }
    }

    pub fn thinking_tokens(&self) -> usize {
        self.thinking.as_deref().map_or(0, tokens)
    }
}

/// Four bytes are a token here.
pub(super) fn tokens(text: &str) -> usize {
    text.len() / 4
}

/// Each word with the space after it: what a stream sends at a time.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// A checksum, 24 letters and digits (base64 by chance and on purpose): it tells apart what this stand-in issued, and
/// is no secret.
pub(super) fn sign(key: &str, what: &str) -> String {
    // FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
    let bytes = key.bytes().chain([0]).chain(what.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("standin0{hash:016x}")
}

/// The smallest value that a schema would allow, roughly; types in capitals are Gemini's.
pub(super) fn sample(schema: &Value) -> Value {
    sample_of(schema, schema, 0)
}

fn sample_of(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    let target = schema["$ref"].as_str().and_then(|path| {
        let pointer = path.strip_prefix('#')?;
        root.pointer(pointer)
    });
    let choice = ["anyOf", "oneOf"].iter().find_map(|of| schema[of].get(0));
    if let Some(schema) = target.or(choice) {
        return sample_of(schema, root, depth + 1);
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str());
    let kind = kind.unwrap_or(if schema.get("properties").is_some() {
        "object"
    } else {
        "string"
    });
    match kind.to_ascii_lowercase().as_str() {
        "object" => {
            let required = schema.get("required").and_then(Value::as_array);
            let properties = schema["properties"].as_object().into_iter().flatten();
            let wanted = properties.filter(|(name, _)| {
                required.is_none_or(|names| names.iter().any(|n| n == name.as_str()))
            });
            let fields: Map<_, _> = wanted
                .map(|(name, schema)| (name.clone(), sample_of(schema, root, depth + 1)))
                .collect();
            Value::Object(fields)
        }
        "array" => json!([sample_of(&schema["items"], root, depth + 1)]),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!("stand-in"),
    }
}
