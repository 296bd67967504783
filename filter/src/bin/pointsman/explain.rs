//! `pointsman explain`: how a request would be routed, and why, by the filter's own code.
//!
//! No model is asked: a step that would ask one is named, and what follows is what follows if it fails. The words shown are those of
//! the request that the operator hands over, on the operator's own machine; the filter itself never shows any.

use std::io::Write;

use pointsman::chat::error::ErrorReply;
use pointsman::chat::request::{self, ChatRequest, Dialect};
use pointsman::http::Headers;
use pointsman::messages::view;
use pointsman::policy::Policy;
use pointsman::router::admit::{self, Admission};
use pointsman::router::decide::Asked;

use super::Failure;
use super::policy_file;
use super::source;

mod explanation;
mod show;
mod steps;
mod targets;

use explanation::{DecisionSeen, Explanation, PolicySeen, Refusal, RequestSeen};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policy, as for `check`
    policy: String,
    /// The request's body: a chat completion request, or what `--path` is for; `-` is standard input
    request: String,
    /// A header as the filter sees it; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Who is calling; else what the policy's `caller:` finds in the headers
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Where the request is sent; else the first of the policy's `admit.paths`
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Which of the file's policies
    #[arg(long, value_name = "PATH")]
    at: Option<String>,
    /// How many of the features that spoke are listed
    #[arg(long, value_name = "N", default_value_t = 8)]
    features: usize,
    /// One JSON object, for tools
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if args.policy == "-" && args.request == "-" {
        let message =
            "the policy and the request cannot both be standard input; name a file for one of them";
        return Err(Failure::Unusable(message.to_owned()));
    }
    let loaded = policy_file::load(&args.policy, args.at.as_deref())?;
    let body = source::read(&args.request)?;
    let policy = &loaded.policy;
    let path = args
        .path
        .as_deref()
        .or(policy.admit.paths.first().map(String::as_str));
    let path = path.unwrap_or_default();
    let client = Client::of(args, policy, path)?;
    let mut explanation = Explanation {
        policy: PolicySeen {
            file: loaded.file,
            at: (!loaded.path.is_empty()).then_some(loaded.path),
        },
        request: RequestSeen::of(&client),
        steps: Vec::new(),
        decision: None,
        attempt_timeout_ms: None,
        order: None,
        total_timeout_ms: None,
        degraded_answer: None,
        targets: Vec::new(),
        refusal: None,
    };
    if let Err(refusal) = route(&client, policy, &body, args.features, &mut explanation) {
        explanation.refusal = Some(Refusal::from(&refusal));
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &explanation).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        show::show(&explanation, out)?;
    }
    match &explanation.refusal {
        None => Ok(()),
        Some(refusal) => {
            let _ = out.flush();
            let name = source::shown(&args.request);
            Err(Failure::Mistakes(vec![format!("{name}: {refusal}")]))
        }
    }
}

/// Who sends the request, where, and in what form.
struct Client {
    headers: Headers,
    caller: String,
    path: String,
    dialect: Dialect,
}

// === impl Client ===

impl Client {
    fn of(args: &Args, policy: &Policy, path: &str) -> Result<Self, Failure> {
        let pseudo = [(":method", "POST"), (":path", path)];
        let pseudo = pseudo.map(|(name, value)| (name.into(), value.as_bytes().to_vec()));
        let given = args.headers.iter();
        let given = given.map(|(name, value)| (name.clone().into(), value.clone().into_bytes()));
        let headers = Headers(pseudo.into_iter().chain(given).collect());
        let Admission::Chat { path, client } = admit::admit(&policy.admit, &headers) else {
            let admit = &policy.admit;
            let known = admit.paths.iter().chain(&admit.messages_paths);
            let known = known.map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Failure::Unusable(format!(
                "--path {path} is none that the policy routes (admit.paths, admit.messages_paths): {known}"
            )));
        };
        let caller = args.caller.clone();
        let caller =
            caller.unwrap_or_else(|| admit::caller(policy.caller.as_ref(), &headers, None));
        Ok(Client {
            headers,
            caller,
            path,
            dialect: client,
        })
    }

    /// As the router role reads a request.
    fn read(&self, policy: &Policy, body: &[u8]) -> Result<ChatRequest, ErrorReply> {
        let max_body = policy.admit.max_body;
        admit::check_headers(&self.headers, max_body)?;
        if body.len() > max_body {
            return Err(admit::too_large(max_body));
        }
        let cut = policy.cut(body.len());
        Ok(match self.dialect {
            Dialect::Chat => request::parse(body, cut),
            Dialect::Messages => view::parse(body, cut),
            Dialect::CountTokens => view::parse_count(body, cut),
        }?)
    }
}

/// The way of a request through the router role, told as it goes. An error is what the client is answered.
fn route(
    client: &Client,
    policy: &Policy,
    body: &[u8],
    features: usize,
    told: &mut Explanation,
) -> Result<(), ErrorReply> {
    let request = client.read(policy, body)?;
    told.request.read(&request);
    let asked = Asked {
        caller: &client.caller,
        path: &client.path,
        headers: &client.headers,
        request: &request,
    };
    let (steps, decided) = steps::decide(policy, &asked, client.dialect, features);
    told.steps = steps;
    let (decision, provisional) = decided?;
    told.decision = Some(DecisionSeen::of(&decision, provisional));
    let planned = targets::plan(client, policy, &asked, &decision, body)?;
    told.attempt_timeout_ms = Some(planned.budget.attempt.as_millis());
    told.total_timeout_ms = Some(planned.budget.total.as_millis());
    told.degraded_answer = planned.answer;
    told.order = planned.order;
    told.targets = planned.targets;
    // The first target's refusal is the client's answer: no other is tried after one.
    match planned.refusal {
        Some(refusal) => Err(*refusal),
        None => Ok(()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    let name = name.trim().to_ascii_lowercase();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) || !text.contains(':') {
        return Err("write it as `name: value`".to_owned());
    }
    Ok((name, value.trim().to_owned()))
}
