//! A request that is admitted has its model where it says, and keeps no more text than the cut allows. One that may be
//! answered may be counted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::chat::request::Cut;
use pointsman::messages::view::{parse, parse_count};
use pointsman::provider::openai::find_model_span;
use pointsman_fuzz::choices;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[system, user], body)) = choices::<2>(bytes) else {
        return;
    };
    let cut = Cut {
        system: usize::from(system),
        user: usize::from(user),
        user_end: usize::from(user),
        previous: usize::from(system),
    };
    let counted = parse_count(body, cut);
    if let Ok(request) = parse(body, cut) {
        assert_eq!(counted.as_ref(), Ok(&request));
    }
    let Ok(request) = counted else {
        return;
    };
    assert_eq!(
        find_model_span(body).as_ref(),
        Some(&request.model_span),
        "the roles read the same model"
    );
    let model: String = serde_json::from_slice(&body[request.model_span]).expect("a string");
    assert_eq!(model, request.model);
    let conversation = request.conversation;
    assert!(conversation.system.chars().count() <= cut.system);
    assert!(conversation.user.chars().count() <= cut.user);
    assert!(conversation.user_end.chars().count() <= cut.user_end);
    assert!(conversation.previous.chars().count() <= cut.previous);
    assert!(conversation.user_chars >= conversation.user.chars().count());
    assert!(conversation.turns <= conversation.messages);
    assert!(conversation.messages_to_user <= conversation.messages);
});
