//! The local classifier: what is counted and hashed of a text, what a model makes of it, and how one is learned.
//!
//! Nothing here depends on the weights that ship: models are made by hand, and texts judged by the model that ships are clear ones.

mod counted;
mod hashed;
mod models;
mod training;
mod words;

use super::features::{Features, Input, MARKS};
use super::model::{LENGTHS, Model};
use super::names::mark_name;
use super::{READ, input, lexicon};
use crate::chat::request::{Cut, parse};

/// The names of the marks that are set, with their values.
fn marks(input: &Input<'_>) -> Vec<(String, f32)> {
    let mut features = Features::default();
    features.read(input, lexicon());
    let marks = features.marks.iter().enumerate();
    let set = marks.filter(|(_, value)| **value != 0.0);
    set.map(|(at, value)| (mark_name(at), *value)).collect()
}

/// Of a conversation, each text that is hashed, in order, once for every hash of it.
fn hashed(input: &Input<'_>) -> Vec<(u32, String)> {
    let mut features = Features {
        traced: Some(Vec::new()),
        ..Features::default()
    };
    features.read(input, lexicon());
    let traced = features.traced.take().unwrap();
    let hashes: Vec<u32> = traced.iter().map(|(hash, _)| *hash).collect();
    assert_eq!(hashes, features.words);
    traced
}

/// A model that says nothing: every weight is 0.
fn blank(labels: &[&str]) -> Model {
    let count = labels.len();
    Model {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        bits: 8,
        temperature: 1.0,
        bias: vec![0.0; count],
        scales: vec![0.01; count],
        marks: vec![0.0; MARKS * count],
        history: vec![0.0; LENGTHS * count * count],
        words: vec![0; 256 * count],
    }
}

/// The model once read more of a message where the LLM classifier was shown more, and was as sure of it as that made it.
#[test]
fn the_model_reads_the_same_however_much_another_step_reads() {
    let text: String = ('a'..='z').cycle().take(9000).collect();
    let body =
        serde_json::json!({"model": "auto", "messages": [{"role": "user", "content": text}]});
    let body = body.to_string();
    let talk = |user| {
        let cut = Cut { user, ..READ };
        parse(body.as_bytes(), cut).unwrap().conversation
    };
    let (own, longer, all) = (talk(READ.user), talk(4000), talk(20_000));
    for other in [&longer, &all] {
        assert_eq!(input(&own).user, input(other).user);
        assert_eq!(input(&own).user_end, input(other).user_end);
    }
    assert_eq!(input(&own).user.len(), READ.user);
    assert_eq!(input(&own).user_end.len(), READ.user_end);
}
