//! Data: labelled prompts and requests, one JSON object a line.
//!
//! `{"prompt": "…", "tier": "…"}` or `{"request": {a chat completion}, "tier": "…"}`, each with `also` (a second tier that would do, or
//! null) and `source` (where the line is from; default: the file's name). Other fields are not looked at. An error names the file and the
//! line, and quotes nothing of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pointsman::chat::request::{self, ChatRequest, Cut};
use pointsman::policy::AUTO;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Bytes of a line.
const MAX_LINE: u64 = 32 * 1024 * 1024;

/// A line.
#[derive(Debug, Clone)]
pub struct Sample {
    pub request: ChatRequest,
    pub tier: String,
    pub also: Option<String>,
    pub source: String,
    /// The file and the line, for an error.
    pub place: String,
}

#[derive(Deserialize)]
struct Line {
    prompt: Option<String>,
    request: Option<Map<String, Value>>,
    tier: String,
    also: Option<String>,
    source: Option<String>,
}

/// Every line of the files, in their order; of a conversation what is within the cut.
pub fn read(paths: &[PathBuf], cut: Cut) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for path in paths {
        read_file(path, cut, &mut samples).with_context(|| path.display().to_string())?;
    }
    if samples.is_empty() {
        bail!("no line in any of the files");
    }
    Ok(samples)
}

fn read_file(path: &Path, cut: Cut, samples: &mut Vec<Sample>) -> Result<()> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut file = BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    for number in 1.. {
        let at = || format!("line {number}");
        bytes.clear();
        let most = MAX_LINE.saturating_add(1);
        let read = file.by_ref().take(most).read_until(b'\n', &mut bytes);
        let read = read.with_context(at)? as u64;
        if read == 0 {
            break;
        }
        if read > MAX_LINE {
            bail!("{}: longer than {} MiB", at(), MAX_LINE >> 20);
        }
        let Ok(line) = std::str::from_utf8(&bytes) else {
            bail!("{}: is not UTF-8", at());
        };
        if line.trim().is_empty() {
            continue;
        }
        let mut sample = sample(line.trim_end(), &name, cut).with_context(at)?;
        sample.place = format!("{}: {}", path.display(), at());
        samples.push(sample);
    }
    Ok(())
}

fn sample(line: &str, file: &str, cut: Cut) -> Result<Sample> {
    // serde_json's own words may quote the text.
    let line: Line = serde_json::from_str(line).map_err(|e| {
        let column = e.column();
        anyhow!("is no object with a tier and a prompt or a request (column {column})")
    })?;
    let mut request = match (line.prompt, line.request) {
        (Some(prompt), None) => Map::from_iter([(
            "messages".to_owned(),
            json!([{"role": "user", "content": prompt}]),
        )]),
        (None, Some(request)) => request,
        _ => bail!("must have either a prompt or a request"),
    };
    // What is judged is the conversation, not which model the client named.
    request.insert("model".to_owned(), AUTO.into());
    let body = serde_json::to_vec(&request)?;
    let request = request::parse(&body, cut).map_err(|bad| anyhow!("request: {}", bad.message))?;
    Ok(Sample {
        request,
        tier: line.tier,
        also: line.also,
        source: line.source.unwrap_or_else(|| file.to_owned()),
        place: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use pointsman::classify::local::READ;

    use super::*;

    #[test]
    fn lines() {
        let check = |line: &str, expected: &str| {
            let shown = match sample(line, "file", READ) {
                Ok(s) => format!(
                    "{} {:?} {} {}",
                    s.tier, s.also, s.source, s.request.conversation.user
                ),
                Err(e) => format!("{e:#}"),
            };
            assert_eq!(shown, expected, "{line}");
        };
        check(r#"{"prompt": "hi", "tier": "fast"}"#, "fast None file hi");
        check(
            r#"{"prompt": "hi", "tier": "fast", "also": "slow", "source": "s", "x": 1}"#,
            "fast Some(\"slow\") s hi",
        );
        check(
            r#"{"request": {"model": "gpt-5", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}, "tier": "fast", "also": null}"#,
            "fast None file u",
        );
        check(
            r#"{"request": {"messages": []}, "tier": "fast"}"#,
            "request: messages is empty; send at least one message",
        );
        check(
            r#"{"tier": "fast"}"#,
            "must have either a prompt or a request",
        );
        check(
            r#"{"prompt": "secret"}"#,
            "is no object with a tier and a prompt or a request (column 20)",
        );
        check(
            "secret",
            "is no object with a tier and a prompt or a request (column 1)",
        );
    }
}
