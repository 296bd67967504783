//! `make run`: Envoy with the filter in the foreground, and the policy file watched.
//!
//! Ends with Ctrl-C, SIGTERM or SIGHUP, and never leaves an Envoy behind; ends with an error if Envoy does.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use pointsman_tests::envoy::{self, Envoy, Output, Reload};
use pointsman_tests::render::{self, Endpoint, PolicySource, Role, Settings};
use pointsman_tests::standin::StandIn;
use tokio::signal::unix::{Signal, SignalKind, signal};

const POLL: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pointsman: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), String> {
    let binary = envoy::find()?;
    let version = envoy::version(&binary)?;
    let mut settings = Settings::from_env(version)?;
    free(settings.address, settings.port, "PORT")?;
    free(
        IpAddr::from([127, 0, 0, 1]),
        settings.admin_port,
        "ADMIN_PORT",
    )?;
    let mut stop = Stop::new().map_err(|e| format!("signals: {e}"))?;
    let stand_ins = stand_in(&mut settings).await?;

    say(&format!(
        "Envoy {version} ({}), run folder {}",
        binary.display(),
        settings.out_dir.display()
    ));
    for note in render::render(&settings)? {
        say(&note);
    }
    // A Ctrl-C before Envoy listens drops, and so ends, it.
    let mut envoy = tokio::select! {
        started = Envoy::start_rendered(&binary, settings, workers(), Output::Terminal) => started?,
        () = stop.wait() => return Ok(()),
    };
    if !envoy.has_policy().await? {
        say(
            "the filter refused the policy (its reason is above): requests are answered 500 until the file is mended",
        );
    }
    greet(&envoy);
    let outcome = tokio::select! {
        died = watch(&mut envoy) => Err(died),
        () = stop.wait() => Ok(()),
    };
    let secrets = envoy.settings.out_dir.join("secrets");
    say("stopping Envoy");
    envoy.stop().await;
    drop(stand_ins);
    // Keys stay in the environment that they came from.
    let _ = std::fs::remove_dir_all(secrets);
    outcome
}

fn say(text: &str) {
    println!("pointsman: {text}");
}

/// One worker per core, as Envoy itself would.
fn workers() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// Envoy would share a port with another Envoy, and each would get some of the connections.
fn free(address: IpAddr, port: u16, variable: &str) -> Result<(), String> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(format!(
            "port {port} is in use; end what listens there, or choose another: make run {variable}=…"
        )),
        Err(e) => Err(format!("{address}:{port}: {e}")),
    }
}

/// With no key and no base URL at all, stand-ins answer.
async fn stand_in(settings: &mut Settings) -> Result<Vec<StandIn>, String> {
    if settings.endpoints.values().any(Endpoint::configured) {
        return Ok(Vec::new());
    }
    let fail = |e: io::Error| format!("stand-in: {e}");
    say("no API key and no base URL is set: stand-ins on loopback answer, and no model is asked.");
    say(
        "for real ones set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, CLASSIFIER_API_KEY, or …_BASE_URL; `make help` lists them",
    );
    let mut stand_ins = Vec::new();
    for (cluster, role) in render::ENDPOINTS {
        let server = match role {
            Role::OpenAi => StandIn::provider(cluster).await,
            Role::Anthropic => StandIn::anthropic(cluster).await,
            Role::Gemini => StandIn::gemini(cluster).await,
            Role::Classifier => StandIn::classifier().await,
        }
        .map_err(fail)?;
        let url = format!("http://{}{}", server.address, role.version());
        say(&format!("  stand-in for {cluster}: {url}"));
        settings
            .endpoints
            .insert(cluster.into(), Endpoint::new(role, Some(&url), None)?);
        stand_ins.push(server);
    }
    Ok(stand_ins)
}

fn greet(envoy: &Envoy) {
    let (host, port) = (envoy.settings.address, envoy.port);
    let host = if host.is_unspecified() {
        IpAddr::from([127, 0, 0, 1])
    } else {
        host
    };
    let url = match host {
        IpAddr::V4(host) => format!("http://{host}:{port}"),
        IpAddr::V6(host) => format!("http://[{host}]:{port}"),
    };
    say(&format!(
        "serving {url}/v1 (admin: http://127.0.0.1:{})",
        envoy.admin_port
    ));
    if let PolicySource::File(path) = &envoy.settings.policy {
        say(&format!(
            "policy {}: save it, and the next request is routed by it",
            path.display()
        ));
    }
    if envoy.settings.client_keys.is_empty() {
        say("no client keys: whoever reaches the port is served (CLIENT_KEYS=<file> changes that)");
    } else {
        let names: Vec<&str> = envoy
            .settings
            .client_keys
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        say(&format!(
            "client keys are required; clients: {}",
            names.join(", ")
        ));
    }
    let key = if envoy.settings.client_keys.is_empty() {
        ""
    } else {
        " -H \"authorization: Bearer $KEY\""
    };
    println!("\nTry, in another terminal (Ctrl-C here ends it):\n");
    println!("  curl -i {url}/v1/chat/completions -H 'content-type: application/json'{key} \\");
    println!(
        "    -d '{{\"model\": \"auto\", \"messages\": [{{\"role\": \"user\", \"content\": \"What is the capital of France?\"}}]}}'\n"
    );
}

/// Takes up a changed policy file. Returns when Envoy has ended, and why.
async fn watch(envoy: &mut Envoy) -> String {
    let mut handled = envoy.settings.policy_text();
    let mut last = handled.clone();
    loop {
        tokio::time::sleep(POLL).await;
        if let Some(status) = envoy.exited() {
            return format!("Envoy ended by itself: {}", envoy.last_words(status));
        }
        let now = envoy.settings.policy_text();
        // An editor may empty a file before it writes it: wait until two looks see the same.
        let settled = now == last;
        last.clone_from(&now);
        if !settled || now == handled {
            continue;
        }
        handled.clone_from(&now);
        match now {
            Ok(text) => say(&take_up(envoy, &text).await),
            Err(e) => say(&format!("{e}; the policy in force keeps serving")),
        }
    }
}

async fn take_up(envoy: &mut Envoy, text: &str) -> String {
    match envoy.rewrite_policy(text).await {
        Ok(Reload::Taken) => "policy reloaded".into(),
        Ok(Reload::Same) => "policy unchanged".into(),
        Err(e) => format!("policy refused, the one in force keeps serving: {e}"),
    }
}

// === signals

struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
