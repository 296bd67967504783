//! `pointsman check`: a policy's mistakes, as the filter would tell them, and what an Envoy's configuration lacks for it.

use std::io::Write;
use std::path::PathBuf;

use pointsman::policy::{Policy, Step, StepKind};

use super::Failure;
use super::envoy_dir::EnvoyDir;
use super::policy_file::candidates;
use super::source::Source;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policy, as YAML or JSON, or an Envoy configuration or Kubernetes manifests that hold it; `-` is standard input
    policy: String,
    /// Check the policy at this path only; without it all that the file holds are checked
    #[arg(long, value_name = "PATH")]
    at: Option<String>,
    /// Also check that the Envoy configuration in this folder has what the policy names
    #[arg(long, value_name = "DIR")]
    envoy: Option<PathBuf>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let source = Source::open(&args.policy)?;
    let envoy = args.envoy.as_deref().map(EnvoyDir::open).transpose()?;
    let mut mistakes = Vec::new();
    for candidate in candidates(&source, args.at.as_deref())? {
        let policy = match candidate.policy() {
            Ok(policy) => policy,
            Err(errors) => {
                mistakes.extend(candidate.mistakes(&source, &errors));
                continue;
            }
        };
        let name = match candidate.path.as_str() {
            "" => source.name.clone(),
            path => format!("{}: {path}", source.name),
        };
        summary(&name, &policy, out)?;
        if let Some(envoy) = &envoy {
            let findings = envoy.findings(&policy);
            if findings.is_empty() {
                let llm = policy.llm().map(|llm| &*llm.cluster);
                let clusters = policy.providers.values().map(|p| &*p.cluster).chain(llm);
                let clusters = clusters.collect::<Vec<_>>().join(", ");
                let files = envoy.files();
                writeln!(
                    out,
                    "  envoy      has what it needs for {clusters} ({files} files read)"
                )?;
            }
            mistakes.extend(findings);
        }
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    // What was said so far stands before the mistakes where both go to one place. Whether it is read or not, they are told.
    let _ = out.flush();
    Err(Failure::Mistakes(mistakes))
}

fn summary(name: &str, policy: &Policy, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{name}: a valid policy")?;
    let tiers = policy.tiers.iter();
    let width = tiers.clone().map(|t| t.name.0.len()).max();
    let width = width.unwrap_or_default();
    for (index, tier) in tiers.enumerate() {
        let targets = tier.targets.iter();
        let targets = targets.map(|t| format!("{}/{}", t.provider.name, t.model));
        let targets = targets.collect::<Vec<_>>().join(", ");
        let label = if index == 0 { "tiers" } else { "" };
        let name = &*tier.name.0;
        writeln!(out, "  {label:10} {name:width$}  {targets}")?;
    }
    writeln!(out, "  default    {}", policy.default_tier)?;
    let steps: Vec<String> = policy.classify.iter().map(step).collect();
    let steps = match steps.as_slice() {
        [] => "no steps: what nobody names goes to the default tier".to_owned(),
        steps => steps.join(", then "),
    };
    writeln!(out, "  classify   {steps}")?;
    let providers = policy.providers.values();
    let providers = providers.map(|p| format!("{} (cluster {})", p.name, p.cluster));
    let providers = providers.collect::<Vec<_>>().join(", ");
    writeln!(out, "  providers  {providers}")?;
    Ok(())
}

fn step(step: &Step) -> String {
    let shadow = if step.shadow { " in shadow" } else { "" };
    match &step.kind {
        StepKind::Rules(rules) => format!("{} rules{shadow}", rules.len()),
        StepKind::Local(_) => format!("local model{shadow}"),
        StepKind::Llm(llm) => format!("{} (cluster {}){shadow}", llm.model, llm.cluster),
    }
}
