//! `pointsman eval`: how well a policy decides labelled requests without asking anyone.
//!
//! Each request goes through the policy's own steps, by the filter's code. A step in shadow is taken as if it decided, since this is how
//! its operator finds out whether to trust it; the LLM classifier is not asked: what reaches it is handed over.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use pointsman::classify::local::opinion::opinion;
use pointsman::classify::local::{input, lexicon};
use pointsman::http::Headers;
use pointsman::policy::{LocalClassifier, Policy, StepKind};
use pointsman::router::cascade::{Cascade, Next};
use pointsman::router::decide::{Asked, Source};
use pointsman::worker::Worker;

use crate::Failure;
use crate::baselines::Baselines;
use crate::data::{self, Sample};
use crate::plot;
use crate::policy_file;
use crate::report::{Judged, Report};
use crate::train::{check_writable, progress, read_model, share};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policy: YAML, JSON, an Envoy file or a Kubernetes manifest that has it inside; - for stdin
    policy: String,
    /// Which policy, where the file has several
    #[arg(long, value_name = "PATH")]
    at: Option<String>,
    /// Labelled lines: {"prompt": …, "tier": …, "source": …} or {"request": {chat completion}, "tier": …, "also": …}
    #[arg(required = true, value_name = "DATA.jsonl")]
    data: Vec<PathBuf>,
    /// The least confidence that decides, instead of the policy's, for every tier
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_confidence: Option<f32>,
    /// Weights instead of the policy's: a file of `pointsman train`
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Who is calling, for the policy's rules and limits
    #[arg(long, value_name = "NAME", default_value = "anonymous")]
    caller: String,
    /// Labelled lines that the baselines (length, majority, keywords) are fitted on, to be shown beside
    #[arg(long, value_name = "DATA.jsonl", num_args = 1..)]
    baselines: Vec<PathBuf>,
    /// A PNG of accuracy against the share handed over
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// One JSON object on stdout, and no table
    #[arg(long)]
    json: bool,
}

/// # Errors
/// What cannot be read or measured.
pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let mut policy = policy_file::load(&args.policy, args.at.as_deref())?.policy;
    prepare(&mut policy, args)?;
    // As much of a conversation as the filter reads under this policy.
    let samples = data::read(&args.data, policy.cut(0))?;
    let tiers = order(&policy);
    let fitted = fit(&policy, &tiers, &args.baselines)?;
    args.plot.as_deref().map(check_writable).transpose()?;
    let judged = judge(&policy, &samples, &tiers, &args.caller)?;
    let mut report = Report::new(&tiers, &judged);
    let baselines = fitted.map(|fitted| fitted.judge(&samples, &judged));
    for (name, judged) in baselines.unwrap_or_default() {
        report.add_baseline(name, &judged);
    }
    if args.json {
        let json = serde_json::to_string(&report).context("the report")?;
        writeln!(out, "{json}")?;
    } else {
        write!(out, "{}", report.to_table())?;
    }
    if let Some(path) = &args.plot {
        plot::write(path, &report.curve)?;
        if !args.json {
            writeln!(out, "\nwrote {}", path.display())?;
        }
    }
    Ok(())
}

/// The baselines, if data is given that they are fitted on.
fn fit(policy: &Policy, tiers: &[String], data: &[PathBuf]) -> Result<Option<Baselines>> {
    if data.is_empty() {
        return Ok(None);
    }
    let samples = data::read(data, policy.cut(0))?;
    let place = |name: &str| place(policy.local(), tiers, name);
    Baselines::fit(&samples, tiers.len(), &place).map(Some)
}

/// What the arguments change of the policy, and every step as if it decided.
fn prepare(policy: &mut Policy, args: &Args) -> Result<()> {
    let model = args
        .model
        .as_ref()
        .map(read_model)
        .transpose()?
        .map(Arc::new);
    let mut has_local = false;
    for step in &mut policy.classify {
        step.shadow = false;
        let StepKind::Local(local) = &mut step.kind else {
            continue;
        };
        has_local = true;
        if let Some(model) = &model {
            if model.labels != local.model.labels {
                bail!(
                    "the model tells other tiers apart than the policy's; put it into the policy, with its tiers"
                );
            }
            local.model = Arc::clone(model);
        }
        if let Some(least) = args.min_confidence {
            local
                .tiers
                .iter_mut()
                .for_each(|tier| tier.min_confidence = least);
        }
    }
    if !has_local && (model.is_some() || args.min_confidence.is_some()) {
        bail!(
            "the policy has no `local` step under classify, so there is nothing to measure by it"
        );
    }
    Ok(())
}

/// The policy's tiers, the weakest first as far as the model knows.
fn order(policy: &Policy) -> Vec<String> {
    let local = policy
        .local()
        .map(|l| l.tiers.as_slice())
        .unwrap_or_default();
    let known = local.iter().map(|t| t.tier.to_string());
    let others = policy.tiers.iter().map(|t| t.name.to_string());
    let others = others.filter(|name| !local.iter().any(|t| *t.tier.0 == **name));
    known.chain(others).collect()
}

fn judge(
    policy: &Policy,
    samples: &[Sample],
    tiers: &[String],
    caller: &str,
) -> Result<Vec<Judged>> {
    let bar = progress(samples.len(), "requests");
    let mut worker = Worker::default();
    let headers = Headers::default();
    let path = policy.admit.paths.first().cloned().unwrap_or_default();
    let mut judged = Vec::with_capacity(samples.len());
    for sample in samples {
        let asked = Asked {
            caller,
            path: &path,
            headers: &headers,
            request: &sample.request,
        };
        let mut cascade = Cascade::default();
        let next = cascade.next(policy, &asked, &mut worker, Duration::ZERO);
        let next = next.map_err(|refusal| {
            anyhow!(
                "{}: the request is refused: {}",
                sample.place,
                refusal.message
            )
        })?;
        let local = policy.local();
        let opinion = local.and_then(|local| {
            let input = input(&sample.request.conversation);
            let found = local.model.read(&input, lexicon(), &mut worker.features);
            opinion(local, &found, |_| true)
        });
        let decided = match next {
            Next::Decided(decision) if decision.source != Source::Default => Some(decision),
            Next::Decided(_) => None,
            Next::Ask(asking, _) => {
                // Nobody is asked: or the policy's `max_in_flight` would be reached, and later steps decide.
                asking.abandon(&mut worker);
                None
            }
        };
        let (guess, confidence) = match (&decided, &opinion) {
            (Some(decision), _) => (decision.tier_name(), decision.confidence),
            (None, Some(opinion)) => (Some(&opinion.tier), Some(opinion.confidence)),
            (None, None) => (Some(&policy.default_tier), Some(0.0)),
        };
        let guess = guess.map(|tier| place(local, tiers, &tier.0)).transpose()?;
        judged.push(Judged {
            source: sample.source.clone(),
            tier: place(local, tiers, &sample.tier).with_context(|| sample.place.clone())?,
            also: sample
                .also
                .as_deref()
                .map(|also| place(local, tiers, also))
                .transpose()
                .with_context(|| sample.place.clone())?,
            guess: guess.unwrap_or_default(),
            confidence: confidence.unwrap_or(1.0),
            is_decided: decided.is_some(),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(judged)
}

/// Of a tier, or of a label of the model that stands for one here.
fn place(local: Option<&LocalClassifier>, tiers: &[String], name: &str) -> Result<usize> {
    let by_label = || {
        let local = local?;
        let label = local.model.labels.iter().position(|label| label == name)?;
        local
            .tiers
            .iter()
            .position(|tier| tier.labels.contains(&label))
    };
    let found = tiers.iter().position(|tier| tier == name).or_else(by_label);
    found.ok_or_else(|| {
        anyhow!(
            "has tier {name:?}, which is none of the policy's: {}",
            tiers.join(", ")
        )
    })
}
