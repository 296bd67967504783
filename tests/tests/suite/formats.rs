//! Every wire format through a real gateway. Behind it are stand-ins that refuse what the real APIs refuse; in front the
//! official SDKs, which must not be able to tell who answers but by the routing headers.

mod broken;
mod chain;
mod clients;
mod credit;
mod others;
mod trailers;
mod usage;
mod wire;

use pointsman_tests::standin::StandIn;

use wire::{Provider, Wire};

/// A tier for each provider, and one that goes through them all.
const POLICY: &str = "
version: 1
default_tier: chain
tiers:
  gpt: {description: openai, targets: [{provider: alpha, model: gpt-5-nano}]}
  claude: {description: anthropic, targets: [{provider: beta, model: claude-haiku-4-5}]}
  gemini: {description: gemini, targets: [{provider: gamma, model: gemini-3-pro}]}
  chain:
    description: all of them
    targets:
    - {provider: alpha, model: gpt-5-nano}
    - {provider: beta, model: claude-haiku-4-5}
    - {provider: gamma, model: gemini-3-pro}
providers:
  alpha: {cluster: alpha, api: openai}
  beta: {cluster: beta, api: anthropic}
  gamma: {cluster: gamma, api: gemini}
models:
  claude-haiku-4-5: {max_output: 64000}
";

/// A gateway before one stand-in of each format. They end when it is dropped.
struct Formats {
    wire: Wire,
    _stand_ins: [StandIn; 3],
}

impl Formats {
    async fn start(name: &str) -> Self {
        let stand_ins = [
            StandIn::provider("alpha").await.expect("a port"),
            StandIn::anthropic("beta").await.expect("a port"),
            StandIn::gemini("gamma").await.expect("a port"),
        ];
        let formats = [
            ("alpha", "openai"),
            ("beta", "anthropic"),
            ("gamma", "gemini"),
        ];
        let providers: Vec<Provider> = formats
            .into_iter()
            .zip(&stand_ins)
            .map(|((cluster, api), stand_in)| Provider {
                cluster,
                api,
                port: stand_in.address.port(),
            })
            .collect();
        Formats {
            wire: Wire::start(name, POLICY, &providers, Vec::new()).await,
            _stand_ins: stand_ins,
        }
    }
}

/// What a stand-in says.
fn answer(name: &str, model: &str, what: &str) -> String {
    format!("This is the stand-in for {name}, answering as {model}: no model was asked. {what}")
}

const QUESTION: &str = "Your message has 30 characters.";
