//! What an operator does while requests run: a new policy, a new key; with one worker and with four.

use std::cell::Cell;
use std::time::Instant;

use super::cell::{Promise, SHARED};
use super::client::{Crowd, Tally};
use super::fault::{GOOD, UNWELL};
use super::gateway::{Gateway, Setup};
use super::run::{Options, Row, too_many};
use super::server::Http;
use crate::edit;
use crate::envoy::Reload;

const WORKERS: [u32; 2] = [1, 4];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Policy,
    Key,
}

/// A change, and whether the first target answers 503 all the while.
#[derive(Debug, Clone, Copy)]
struct Scene {
    change: Change,
    failing: bool,
}

const SCENES: [Scene; 6] = [
    Scene {
        change: Change::Nothing,
        failing: false,
    },
    Scene {
        change: Change::Nothing,
        failing: true,
    },
    Scene {
        change: Change::Policy,
        failing: false,
    },
    Scene {
        change: Change::Policy,
        failing: true,
    },
    Scene {
        change: Change::Key,
        failing: false,
    },
    Scene {
        change: Change::Key,
        failing: true,
    },
];

/// Looks at whether every worker has the new key.
const LOOKS: usize = 40;

// === impl Scene ===

impl Scene {
    fn name(self) -> String {
        let change = match self.change {
            Change::Nothing => "no-change",
            Change::Policy => "new-policy",
            Change::Key => "new-key",
        };
        let first = if self.failing {
            "first-fails"
        } else {
            "healthy"
        };
        format!("{change}/{first}")
    }
}

fn name(http: Http, workers: u32, scene: Scene) -> String {
    format!("{}/{workers}-workers/{}", http.name(), scene.name())
}

/// A tier for each scene. Those that `renewed` names have other models.
fn policy(renewed: &[usize]) -> String {
    let [well, fine, ill] = SHARED;
    let mut tiers = String::new();
    for (at, scene) in SCENES.iter().enumerate() {
        let model = |played: &str| model(played, at, renewed.contains(&at));
        let (good, failing) = (model(GOOD.name), model(UNWELL));
        tiers += &format!(
            "  scene{at}:\n    description: {}\n    targets:\n",
            scene.name()
        );
        if scene.failing {
            tiers += &format!("    - {{provider: {ill}, model: {failing}}}\n");
        }
        tiers += &format!(
            "    - {{provider: {well}, model: {good}}}\n    - {{provider: {fine}, model: {good}}}\n"
        );
    }
    let provider = |name| format!("  {name}: {{cluster: {name}, api: openai}}\n");
    let providers: String = SHARED.map(provider).concat();
    format!(
        "version: 1\ndefault_tier: scene0\ntimeouts: {{first_token: 8s, one_shot: 8s}}\n\
         tiers:\n{tiers}providers:\n{providers}"
    )
}

fn model(played: &str, scene: usize, renewed: bool) -> String {
    let age = if renewed { "new" } else { "old" };
    format!("{played}.scene{scene}-{age}")
}

/// All scenes of one HTTP version whose names are picked.
pub async fn run(
    http: Http,
    options: &Options,
    picked: impl Fn(&str) -> bool,
    mut show: impl FnMut(&Row),
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for workers in WORKERS {
        let scenes: Vec<usize> = (0..SCENES.len())
            .filter(|at| picked(&name(http, workers, SCENES[*at])))
            .collect();
        if scenes.is_empty() {
            continue;
        }
        let setup = Setup {
            http,
            own: Vec::new(),
            policy: policy(&[]),
            seed: options.seed,
            workers,
            edit: |_| {},
        };
        let mut gateway = Gateway::start(setup).await?;
        let mut renewed = Vec::new();
        for at in scenes {
            let mut play = Play {
                gateway: &mut gateway,
                renewed: &mut renewed,
                at,
                options,
            };
            let row = play.play(name(http, workers, SCENES[at])).await?;
            show(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

struct Play<'a> {
    gateway: &'a mut Gateway,
    /// Scenes whose models the policy has changed.
    renewed: &'a mut Vec<usize>,
    at: usize,
    options: &'a Options,
}

impl Play<'_> {
    /// Streams while healthy, one-shot while failing.
    fn crowd(&self, about: &str, requests: u64) -> Crowd {
        Crowd {
            port: self.gateway.envoy.port,
            clients: self.options.clients,
            requests,
            tier: format!("scene{}", self.at),
            stream: !SCENES[self.at].failing,
            impatient: false,
            about: format!("scene {} {about}", self.at),
        }
    }

    async fn play(&mut self, name: String) -> Result<Row, String> {
        let begun = Instant::now();
        let options = self.options;
        let before = self.gateway.attempts().await?;
        let mut tally = self.crowd("before", options.learning).ask().await;
        let learned = self.gateway.attempts().await?;
        let (during, mut wrong) = self.change().await?;
        tally.add(during);
        let after = self.crowd("after", options.requests).ask().await;
        let renewed = self.renewed.contains(&self.at);
        let expected = model(GOOD.name, self.at, renewed);
        if let Some(other) = after.models.keys().find(|model| **model != expected) {
            wrong = Some(format!(
                "after the change {other} still answers, not {expected}"
            ));
        }
        tally.add(after);
        let asked = tally.requests() - options.learning;
        let done = self.gateway.attempts().await?;
        let mut row = Row {
            name,
            promise: Promise::ANSWERED,
            lost: Promise::ANSWERED.lost(&tally),
            tally,
            met: done.at(SHARED[2]).saturating_sub(before.at(SHARED[2])),
            attempts: (
                learned.per_request(&before, options.learning),
                done.per_request(&learned, asked),
            ),
            wrong,
            took: begun.elapsed(),
        };
        // A new policy's failing model is new as well, and is learnt of again.
        if row.wrong.is_none() && SCENES[self.at].change != Change::Policy {
            row.wrong = too_many(&row, options);
        }
        Ok(row)
    }

    /// Makes the change while requests run, until it is there; and says what is wrong with it.
    async fn change(&mut self) -> Result<(Tally, Option<String>), String> {
        match SCENES[self.at].change {
            Change::Nothing => Ok((Tally::default(), None)),
            Change::Policy => self.reload().await,
            Change::Key => self.rotate().await,
        }
    }

    async fn reload(&mut self) -> Result<(Tally, Option<String>), String> {
        self.renewed.push(self.at);
        let policy = policy(self.renewed);
        let crowd = self.crowd("during", self.options.learning);
        let changed = Cell::new(false);
        let load = async {
            let mut tally = Tally::default();
            while !changed.get() {
                tally.add(crowd.ask().await);
            }
            tally
        };
        let reload = async {
            let taken = self.gateway.envoy.rewrite_policy(&policy).await;
            changed.set(true);
            taken
        };
        let (tally, taken) = tokio::join!(load, reload);
        let wrong = (taken? != Reload::Taken).then(|| "the policy was no new one".to_owned());
        Ok((tally, wrong))
    }

    /// Done when a whole wave has come with the new key alone.
    async fn rotate(&mut self) -> Result<(Tally, Option<String>), String> {
        let well = SHARED[0];
        let (old, new) = (
            format!("{well}-before-{}", self.at),
            format!("{well}-since-{}", self.at),
        );
        let header = |key: &str| format!("Bearer {key}");
        let mut tally = Tally::default();
        for key in [&old, &new] {
            edit::write(&self.gateway.dir, &format!("secrets/{well}"), key);
            let mut looks = 0..LOOKS;
            loop {
                let had = self.gateway.providers.with_key(&header(key));
                let crowd = self.crowd(key, self.options.learning);
                let wave = crowd.ask().await;
                let answered = wave.answered;
                tally.add(wave);
                if self.gateway.providers.with_key(&header(key)) - had >= answered.max(1) {
                    break;
                }
                if looks.next().is_none() {
                    return Ok((
                        tally,
                        Some("the new key is not the only one that is sent".into()),
                    ));
                }
            }
        }
        Ok((tally, None))
    }
}
