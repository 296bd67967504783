//! What must hold of a request that is admitted, whatever its client speaks.

use pointsman::chat::request::{ChatRequest, Cut};
use pointsman::provider::openai::find_model_span;

/// What the choosing bytes say of the cut.
pub fn cut(system: u8, user: u8) -> Cut {
    Cut {
        system: usize::from(system),
        user: usize::from(user),
        user_end: usize::from(user),
        previous: usize::from(system),
        is_weighed: true,
    }
}

/// It has its model where it says, and keeps no more text than the cut allows.
pub fn check(body: &[u8], cut: Cut, request: ChatRequest) {
    assert_eq!(
        find_model_span(body).as_ref(),
        Some(&request.model_span),
        "the roles read the same model"
    );
    let model: String = serde_json::from_slice(&body[request.model_span]).expect("a string");
    assert_eq!(model, request.model);
    let tokens = request.needs.input_tokens();
    assert!(tokens.low <= tokens.likely);
    let conversation = request.conversation;
    assert!(conversation.system.chars().count() <= cut.system);
    assert!(conversation.user.chars().count() <= cut.user);
    assert!(conversation.user_end.chars().count() <= cut.user_end);
    assert!(conversation.previous.chars().count() <= cut.previous);
    assert!(conversation.user_chars >= conversation.user.chars().count());
    assert!(conversation.turns <= conversation.messages);
    assert!(conversation.messages_to_user <= conversation.messages);
}
