//! An account without credit is the gateway's fault: Anthropic says it with a 400, and the next target serves.

use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::upstream::Behaviour;
use serde_json::json;

const POLICY: &str = "
version: 1
default_tier: chain
tiers:
  chain: {description: both, targets: [{provider: alpha, model: claude-haiku-4-5}, {provider: beta, model: gpt-5-nano}]}
  claude: {description: anthropic, targets: [{provider: alpha, model: claude-haiku-4-5}]}
providers:
  alpha: {cluster: alpha, api: anthropic}
  beta: {cluster: beta, api: openai}
";

#[tokio::test]
async fn spent_credit_at_anthropic_moves_on() {
    let options = Options {
        policy: POLICY.to_owned(),
        ..Options::default()
    };
    let gateway = Gateway::start_with("credit", options).await;
    let refusal = |message: &str| {
        let error = json!({"type": "invalid_request_error", "message": message});
        Behaviour::Status {
            status: 400,
            headers: vec![("content-type".into(), "application/json".into())],
            body: json!({"type": "error", "error": error}).to_string().into(),
        }
    };
    let spent = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
    gateway.alpha.set(refusal(spent));
    for stream in [false, true] {
        let reply = match stream {
            true => gateway.stream(&[], "chain").await,
            false => gateway.chat(&[], "chain").await,
        };
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-routed-attempts"), "alpha=402, beta=200");
    }
    let reply = gateway.chat(&[], "claude").await;
    let error = reply.json()["error"].clone();
    assert_eq!(
        (reply.status, &error["code"]),
        (502, &json!("provider_auth_failed"))
    );
    assert!(!reply.text().contains("Billing"), "{error}");

    gateway.alpha.set(refusal("max_tokens: must be smaller"));
    let reply = gateway.chat(&[], "chain").await;
    assert_eq!(
        reply.status, 400,
        "the client's fault stays with the client"
    );
    assert_eq!(reply.header("x-routed-attempts"), "alpha=400");
}
