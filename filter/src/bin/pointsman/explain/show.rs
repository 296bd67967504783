//! An explanation for people: a label, and what it is about, line by line.
//!
//! Text of the request is shown without control characters: a terminal must not obey it.

use std::io::{self, Write};

use super::explanation::{Explanation, Feature, LocalSeen, StepSeen, Takes, TargetSeen, Verdict};

/// Characters of a feature's name.
const MAX_NAME: usize = 60;

pub fn show(told: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    request(told, out)?;
    for step in &told.steps {
        let name = match step.shadow {
            true => format!("({})", step.step),
            false => step.step.to_owned(),
        };
        line(out, &name, &said(step))?;
        if let Some(local) = &step.local {
            opinion(local, out)?;
        }
    }
    decision(told, out)?;
    targets(told, out)?;
    if let Some(refusal) = &told.refusal {
        line(out, "answer", &refusal.to_string())?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{label:10}{}", plain(text))
}

fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

fn request(told: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let request = &told.request;
    let form = match request.speaks {
        "chat" => "a chat completion",
        "messages" => "a Messages request",
        _ => "a count of tokens",
    };
    let text = format!("{form} on {}, caller {}", request.path, request.caller);
    line(out, "request", &text)?;
    let Some(model) = &request.model else {
        return Ok(());
    };
    let number = |count: Option<usize>, one: &str| match count.unwrap_or_default() {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let text = format!(
        "model {model}; {}, the latest of {}; {}; {}",
        number(request.user_messages, "user message"),
        number(request.characters, "character"),
        number(request.tools, "tool"),
        match request.stream {
            Some(true) => "streamed",
            _ => "one-shot",
        }
    );
    line(out, "", &text)
}

fn said(step: &StepSeen) -> String {
    let shadow = match step.verdict {
        Verdict::NotReached | Verdict::Skipped => "",
        _ if step.shadow => "in shadow, decides nothing: ",
        _ => "",
    };
    format!("{shadow}{}", step.said)
}

fn opinion(local: &LocalSeen, out: &mut dyn Write) -> io::Result<()> {
    let probabilities = local.probabilities.iter();
    let probabilities = probabilities.map(|p| format!("{} {:.2}", p.tier, p.probability));
    line(out, "", &probabilities.collect::<Vec<_>>().join(", "))?;
    let Some(against) = &local.against else {
        return Ok(());
    };
    if local.features.is_empty() {
        return Ok(());
    }
    line(
        out,
        "",
        &format!("for {}, against {against}:", local.judged),
    )?;
    for feature in &local.features {
        let text = format!("{:+.2}  {}", feature.weight, name(feature));
        line(out, "", &text)?;
    }
    Ok(())
}

fn name(feature: &Feature) -> String {
    let mut name: String = feature.name.chars().take(MAX_NAME).collect();
    if name.len() < feature.name.len() {
        name.push('…');
    }
    match feature.kind {
        "words" => format!("\"{name}\""),
        _ => name,
    }
}

fn decision(told: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let Some(decision) = &told.decision else {
        return Ok(());
    };
    writeln!(out)?;
    let (label, chosen) = match (&decision.tier, &decision.model) {
        (Some(tier), _) => ("tier", tier.as_str()),
        (None, model) => ("model", model.as_deref().unwrap_or_default()),
    };
    let confidence = decision.confidence;
    let confidence = confidence.map_or(String::new(), |c| format!(", confidence {c:.2}"));
    let unless = match decision.provisional {
        true => ", unless the LLM classifier says another",
        false => "",
    };
    let text = format!("{chosen}{unless}, source {}{confidence}", decision.source);
    line(out, label, &text)?;
    line(out, "reason", &decision.reason)
}

fn targets(told: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let widest = |of: fn(&TargetSeen) -> &str| {
        let lengths = told.targets.iter().map(|t| of(t).chars().count());
        lengths.max().unwrap_or_default()
    };
    let provider = widest(|t| &t.provider);
    let model = widest(|t| &t.model);
    for (index, target) in told.targets.iter().enumerate() {
        let label = if index == 0 { "targets" } else { "" };
        let attempt = target.attempt.map_or("-".to_owned(), |n| n.to_string());
        let degraded = target.degraded_to.as_ref();
        let degraded = degraded.map_or(String::new(), |tier| format!("; of tier {tier}"));
        let text = format!(
            "{attempt}  {:provider$}  {:model$}  {:9}  {}{degraded}",
            target.provider,
            target.model,
            api(target),
            takes(target)
        );
        line(out, label, &text)?;
    }
    if let Some(order) = &told.order {
        line(out, "", order)?;
    }
    if let (Some(limit), true) = (told.attempt_timeout_ms, !told.targets.is_empty()) {
        let until = match told.request.stream {
            Some(true) => "until its first event",
            _ => "until it is whole",
        };
        let total = told.total_timeout_ms.unwrap_or(limit);
        let text = format!("{limit} ms for each, {total} ms for all together, {until}");
        line(out, "", &text)?;
    }
    if let Some(words) = &told.degraded_answer {
        line(
            out,
            "",
            &format!("when all have failed, the policy answers: {words}"),
        )?;
    }
    Ok(())
}

fn api(target: &TargetSeen) -> &'static str {
    match target.api {
        pointsman::policy::Api::OpenAi => "openai",
        pointsman::policy::Api::Anthropic => "anthropic",
        pointsman::policy::Api::Gemini => "gemini",
    }
}

fn takes(target: &TargetSeen) -> String {
    let renamed = match target.sent_as == target.model {
        true => String::new(),
        false => format!(", as {}", target.sent_as),
    };
    match target.takes {
        Takes::AsItIs => format!("as it is{renamed}"),
        Takes::Translated => format!("translated{renamed}"),
        Takes::Drops => format!("translated{renamed}; drops {}", target.dropped.join(", ")),
        Takes::Refuses => {
            let refusal = target.refusal.as_ref().map(ToString::to_string);
            refusal.unwrap_or_default()
        }
        Takes::LeftOut => {
            let why = target.left_out.as_deref().unwrap_or_default();
            format!("left out: {why}")
        }
    }
}
