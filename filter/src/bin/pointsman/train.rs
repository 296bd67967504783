//! `pointsman train`: the operator's own weights from labelled logs.
//!
//! What is reported before the file is written was measured on sources that the weights of that moment had not seen: the data is cut
//! into folds by source, and each fold is judged by weights learned from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman::classify::local::model::{MAX_LABEL_BYTES, MAX_LABELS, Model, PerLabel, softmax};
use pointsman::classify::local::train::{Example, Options, Random, train};
use pointsman::classify::local::{READ, input, lexicon};

use crate::Failure;
use crate::data::{self, Sample};
use crate::report::{Judged, Report};

/// The tiers that the filter's own model tells apart, the weakest first.
const STANDARD: [&str; 4] = ["fast", "balanced", "quality", "reasoning"];

const HELD_OUT: &str =
    "Held out by source: each line is judged by weights that saw no line of its source.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled lines: {"prompt": …, "tier": …, "source": …} or {"request": {chat completion}, "tier": …, "also": …}
    #[arg(required = true, value_name = "DATA.jsonl")]
    data: Vec<PathBuf>,
    /// Where the weights go; Base64 of the file is the policy's `classify: [{local: {model: …}}]`
    #[arg(short, long, value_name = "MODEL")]
    output: PathBuf,
    /// The tiers, the weakest first [default: fast,balanced,quality,reasoning, if the data has no others]
    #[arg(long, value_name = "TIER,…", value_delimiter = ',')]
    tiers: Vec<String>,
    /// The same seed and data give the same weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Passes over the data
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    epochs: u16,
    /// Buckets for the words, as a power of two: 14 is 16,384, and a byte for each and tier
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u8).range(8..=18))]
    bits: u8,
    /// How many lines a source counts at most: a large one must not drown the others
    #[arg(long, default_value_t = 50.0, value_parser = least_one)]
    cap: f32,
    /// Folds of the report, by source
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000))]
    folds: u16,
    /// As many folds as sources
    #[arg(long)]
    leave_one_source_out: bool,
    /// Least confidence that the report calls decided
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = share)]
    min_confidence: f32,
    /// The report as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share @ 0.0..=1.0) => Ok(share),
        _ => Err("must be a number from 0 to 1".to_owned()),
    }
}

fn least_one(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number @ 1.0..=1e6) => Ok(number),
        _ => Err("must be a number from 1 to 1000000".to_owned()),
    }
}

/// # Errors
/// What cannot be read, learned from or written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let samples = data::read(&args.data, READ)?;
    let tiers = tiers(&args.tiers, &samples)?;
    let examples = examples(&samples, &tiers, args.cap)?;
    check_writable(&args.output)?;
    let options = Options {
        seed: args.seed,
        epochs: usize::from(args.epochs),
        bits: args.bits,
        ..Options::default()
    };
    let held_out = held_out(&samples, &examples, &tiers, options, args)?;
    let temperature = temperature(&samples, &examples, &tiers, &held_out);
    let judged = judged(
        &samples,
        &tiers,
        &held_out,
        temperature,
        args.min_confidence,
    );
    let report = Report::new(&tiers, &judged);
    if args.json {
        let json = serde_json::to_string(&report).context("the report")?;
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{HELD_OUT}\n")?;
        write!(out, "{}", report.to_table())?;
    }
    let all: Vec<&Example> = examples.iter().collect();
    let mut model = train(&tiers, &all, options);
    model.temperature = temperature;
    let bytes = model.to_bytes();
    let file = args.output.display();
    std::fs::write(&args.output, &bytes).with_context(|| file.to_string())?;
    if !args.json {
        writeln!(
            out,
            "\nwrote {file}: {} KiB, from {} lines of {} sources, temperature {temperature:.2}\nNext: pointsman eval POLICY DATA.jsonl --model {file}; then in the policy, under classify: local: {{model: …}}, as base64 -w0 {file} prints it",
            bytes.len() / 1024,
            samples.len(),
            report.by_source.len(),
        )?;
    }
    Ok(())
}

fn tiers(given: &[String], samples: &[Sample]) -> Result<Vec<String>> {
    let found: BTreeSet<&str> = samples
        .iter()
        .flat_map(|s| std::iter::once(s.tier.as_str()).chain(s.also.as_deref()))
        .collect();
    let tiers: Vec<String> = if !given.is_empty() {
        given.to_vec()
    } else if found.iter().all(|tier| STANDARD.contains(tier)) {
        STANDARD.map(str::to_owned).to_vec()
    } else {
        let found: Vec<&str> = found.into_iter().collect();
        bail!(
            "the data has tiers of its own; say their order, the weakest first: --tiers {}",
            found.join(",")
        );
    };
    if !(2..=MAX_LABELS).contains(&tiers.len()) {
        bail!(
            "2 to {MAX_LABELS} tiers can be told apart, not {}",
            tiers.len()
        );
    }
    // What the filter would refuse to load.
    let is_fit = |tier: &String| (1..=MAX_LABEL_BYTES).contains(&tier.len());
    if let Some(unfit) = tiers.iter().find(|tier| !is_fit(tier)) {
        bail!("tier {unfit:?} must have 1 to {MAX_LABEL_BYTES} bytes");
    }
    let is_again = |(at, tier): &(usize, &String)| tiers.iter().take(*at).any(|t| t == *tier);
    if let Some((_, twice)) = tiers.iter().enumerate().find(is_again) {
        bail!("--tiers names {twice:?} twice");
    }
    let names = |tier: &str| tiers.iter().any(|t| t == tier);
    let unknown = |sample: &Sample| {
        let mut said = std::iter::once(&sample.tier).chain(&sample.also);
        let unknown = said.find(|tier| !names(tier))?.clone();
        Some((sample.place.clone(), unknown))
    };
    if let Some((place, unknown)) = samples.iter().find_map(unknown) {
        bail!("{place}: has tier {unknown:?}, which --tiers does not name");
    }
    if let Some(missing) = tiers
        .iter()
        .find(|tier| !samples.iter().any(|s| s.tier == **tier))
    {
        bail!("no line has tier {missing:?}: nothing can be learned about it");
    }
    Ok(tiers)
}

fn place(tiers: &[String], name: &str) -> usize {
    tiers
        .iter()
        .position(|tier| tier == name)
        .unwrap_or_default()
}

/// A second tier that would do is worth this much of the first.
const ALSO: f32 = 0.35;

fn examples(samples: &[Sample], tiers: &[String], cap: f32) -> Result<Vec<Example>> {
    let mut sizes: BTreeMap<&str, f32> = BTreeMap::new();
    for sample in samples {
        *sizes.entry(&sample.source).or_default() += 1.0;
    }
    if sizes.len() < 2 {
        bail!(
            "all lines are of one source: name at least two in their field \"source\", or nothing can be held out"
        );
    }
    let mut examples: Vec<Example> = samples
        .iter()
        .map(|sample| {
            let mut wanted = PerLabel::default();
            let also = sample.also.as_deref().map(|also| place(tiers, also));
            wanted[place(tiers, &sample.tier)] = if also.is_some() { 1.0 - ALSO } else { 1.0 };
            if let Some(also) = also {
                wanted[also] += ALSO;
            }
            let conversation = &sample.request.conversation;
            let mut example = Example::new(&input(conversation), lexicon(), wanted);
            example.weight = (cap / sizes[sample.source.as_str()]).min(1.0);
            example
        })
        .collect();
    // Every tier counts the same.
    let mut totals = vec![0.0f32; tiers.len()];
    for (sample, example) in samples.iter().zip(&examples) {
        totals[place(tiers, &sample.tier)] += example.weight;
    }
    let mean = totals.iter().sum::<f32>() / totals.len() as f32;
    for (sample, example) in samples.iter().zip(&mut examples) {
        example.weight *= mean / totals[place(tiers, &sample.tier)];
    }
    Ok(examples)
}

/// Scores of every sample, by weights that did not see its source.
fn held_out(
    samples: &[Sample],
    examples: &[Example],
    tiers: &[String],
    options: Options,
    args: &Args,
) -> Result<Vec<PerLabel>> {
    let mut sources: Vec<&str> = samples.iter().map(|s| s.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    Random(options.seed).shuffle(&mut sources);
    let folds = match args.leave_one_source_out {
        true => sources.len(),
        false => usize::from(args.folds).min(sources.len()),
    };
    let fold_of: BTreeMap<&str, usize> = sources
        .iter()
        .enumerate()
        .map(|(i, s)| (*s, i % folds))
        .collect();
    let fold = |sample: &Sample| fold_of[sample.source.as_str()];
    let bar = progress(folds, "folds held out");
    let mut scores = vec![PerLabel::default(); samples.len()];
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let learn = |out: usize| {
        let pairs = || samples.iter().zip(examples).enumerate();
        let seen: Vec<&Example> = pairs()
            .filter(|(_, (s, _))| fold(s) != out)
            .map(|(_, (_, e))| e)
            .collect();
        let model = train(tiers, &seen, options);
        let judged: Vec<(usize, PerLabel)> = pairs()
            .filter(|(_, (s, _))| fold(s) == out)
            .map(|(at, (_, e))| (at, model.scores_of(e)))
            .collect();
        bar.inc(1);
        judged
    };
    for batch in (0..folds).collect::<Vec<_>>().chunks(workers) {
        let judged: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = batch
                .iter()
                .map(|out| scope.spawn(|| learn(*out)))
                .collect();
            running.into_iter().map(|thread| thread.join()).collect()
        });
        for part in judged {
            let part = part.map_err(|_| anyhow::anyhow!("a training thread failed"))?;
            for (at, found) in part {
                scores[at] = found;
            }
        }
    }
    bar.finish_and_clear();
    Ok(scores)
}

/// The divisor of the scores by which a confidence is most nearly how often it is right (least log loss on what was held out).
fn temperature(
    samples: &[Sample],
    examples: &[Example],
    tiers: &[String],
    held_out: &[PerLabel],
) -> f32 {
    let loss = |temperature: f32| -> f64 {
        let judged = judged(samples, tiers, held_out, temperature, 0.0);
        let loss = judged.iter().zip(examples).map(|(judged, example)| {
            let right = match judged.is_right() {
                true => judged.confidence,
                false => 1.0 - judged.confidence,
            };
            -f64::from(example.weight) * f64::from(right.max(1e-6)).ln()
        });
        loss.sum()
    };
    let candidates = (4..=80).map(|twentieth| twentieth as f32 / 20.0);
    let losses = candidates.map(|t| (t, loss(t)));
    losses
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(1.0, |best| best.0)
}

fn judged(
    samples: &[Sample],
    tiers: &[String],
    scores: &[PerLabel],
    temperature: f32,
    min_confidence: f32,
) -> Vec<Judged> {
    let judged = samples.iter().zip(scores).map(|(sample, scores)| {
        let found = softmax(scores, tiers.len(), temperature);
        let best = |a: &usize, b: &usize| found[*a].total_cmp(&found[*b]);
        let guess = (0..tiers.len()).max_by(best).unwrap_or_default();
        Judged {
            source: sample.source.clone(),
            tier: place(tiers, &sample.tier),
            also: sample.also.as_deref().map(|also| place(tiers, also)),
            guess,
            confidence: found[guess],
            is_decided: found[guess] >= min_confidence,
        }
    });
    judged.collect()
}

/// Fails before the work rather than after it. What is there stays.
pub fn check_writable(path: &Path) -> Result<()> {
    let name = || path.display().to_string();
    if path.is_dir() {
        bail!("{}: is a folder; name a file in it", name());
    }
    if path.exists() && !path.is_file() {
        // A pipe would wait for its reader.
        return Ok(());
    }
    let is_new = !path.exists();
    let mut open = std::fs::OpenOptions::new();
    open.append(true)
        .create(true)
        .open(path)
        .with_context(name)?;
    if is_new {
        std::fs::remove_file(path).with_context(name)?;
    }
    Ok(())
}

/// On stderr, and only where somebody looks.
pub fn progress(steps: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar.with_message(what)
}

/// A model file.
pub fn read_model(path: &PathBuf) -> Result<Model> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Model::from_bytes(&bytes).with_context(|| path.display().to_string())
}
