//! Whatever a provider sends as its error, each client gets an error object in its own form, and nothing of a body that
//! can quote the gateway's key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::messages::error::from_openai;
use pointsman::policy::Api;
use pointsman::provider::error::{MAX_QUOTED, final_error};
use pointsman::provider::{anthropic, gemini};
use pointsman_fuzz::choices;
use pointsman_fuzz::json::{check_anthropic_error, check_openai_error};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[high, low], body)) = choices::<2>(bytes) else {
        return;
    };
    let status = u16::from_be_bytes([high, low]);
    for api in [Api::OpenAi, Api::Anthropic, Api::Gemini] {
        let last = |body: &[u8]| final_error(api, status, body, "provider", "model");
        let (shown, error) = last(body);
        assert!((400..=599).contains(&shown) && !(401..=404).contains(&shown));
        check_openai_error(&error, api != Api::OpenAi || error != body);
        check_anthropic_error(&from_openai(shown, &error));
        if (401..=404).contains(&status) {
            assert_eq!((shown, error), last(b""));
        }
    }
    check_anthropic_error(&from_openai(status, body));
    let is_short = |message: &str| message.chars().count() <= MAX_QUOTED;
    if let Some(error) = anthropic::error::to_openai(status, body) {
        assert!(error.message.as_deref().is_none_or(is_short));
    }
    if let Some(fault) = gemini::error::read(status, body) {
        assert!(is_short(&fault.quoted) && (400..=599).contains(&fault.status));
        check_openai_error(&fault.body(), true);
        let is_ours = gemini::error::is_gateways_fault(status, body);
        assert_eq!(is_ours, (401..=404).contains(&fault.status));
    }
});
