//! Fit: whether a target can serve a request, by what is known of its model, its provider's format, and the caller.
//!
//! Pure. What the policy does not say of a model is not held against it: then the provider judges.

use super::candidates::{Asked, Why};
use crate::chat::needs::{Input, Needs};
use crate::policy::{Api, Model, Policy, Target};

/// Why this target cannot serve the request; `None`: it may.
pub fn fault(policy: &Policy, asked: Asked<'_>, target: &Target) -> Option<Why> {
    if !asked.access.region(&target.provider) {
        return Some(Why::Region);
    }
    if !asked.access.version(&target.sent_as) {
        return Some(Why::Version);
    }
    let needs = &asked.request.needs;
    let format = needs
        .inputs
        .iter()
        .find(|input| !carries(target.provider.api, *input));
    if let Some(input) = format {
        return Some(Why::Format(input));
    }
    of_model(policy.models.get(&target.model)?, needs)
}

fn of_model(model: &Model, needs: &Needs) -> Option<Why> {
    let takes = |input: &Input| {
        let known = &model.input;
        known.is_empty() || known.iter().any(|name| name == input.name())
    };
    if let Some(input) = needs.inputs.iter().find(|input| !takes(input)) {
        return Some(Why::Input(input));
    }
    if needs.tools && model.tools == Some(false) {
        return Some(Why::Tools);
    }
    if needs.json_schema && model.json_schema == Some(false) {
        return Some(Why::JsonSchema);
    }
    let context = model.context?;
    let tokens = needs.input_tokens();
    // What it may at least cost is more than the model has: the provider judges what is doubtful.
    (tokens.low > context).then_some(Why::Context {
        tokens: tokens.likely,
        context,
    })
}

/// Whether a provider's format has a place for content of this kind. What is in OpenAI's format already passes as it is.
fn carries(api: Api, input: Input) -> bool {
    match api {
        Api::OpenAi => true,
        Api::Anthropic => matches!(input, Input::Image | Input::File),
        Api::Gemini => matches!(input, Input::Image | Input::Audio | Input::File),
    }
}
