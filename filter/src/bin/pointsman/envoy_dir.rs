//! An Envoy's configuration in a folder, as far as a policy depends on it: its clusters, the filter in them, and the map of a route.
//!
//! Clusters are those of CDS resources and of `static_resources`; the filter stands in a cluster itself or in an ECDS resource that
//! it names. Each finding says the file, the place and the repair.

use std::fs;
use std::path::{Path, PathBuf};

use pointsman::policy::{Policy, nearest_n};

use super::Failure;
use super::document::Node;
use super::source::Source;

/// Folders inside each other that are looked into.
const MAX_DEPTH: usize = 16;

/// The filter state that the router role writes.
const STATE_KEY: &str = "wasm.pointsman.cluster";

/// The upstream options of a cluster, by the name that Envoy gives them.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

#[derive(Debug)]
pub struct EnvoyDir {
    name: String,
    sources: Vec<Source>,
}

/// A node and where it stands.
#[derive(Debug, Clone)]
struct Place<'n> {
    source: &'n Source,
    path: String,
    node: &'n Node,
}

/// What was found in all files.
#[derive(Debug, Default)]
struct Inventory<'n> {
    clusters: Vec<Place<'n>>,
    /// ECDS: filters by name.
    extensions: Vec<(&'n str, &'n Node)>,
    /// The maps of routes from filter state to clusters.
    maps: Vec<Place<'n>>,
}

/// What a cluster's filters are to us.
#[derive(Debug, PartialEq, Eq)]
enum Carries {
    Provider,
    Router,
    /// The filter may be among those that no file defines.
    Unknown(String),
    No,
}

// === impl EnvoyDir ===

impl EnvoyDir {
    /// # Errors
    /// The folder cannot be read, or has no YAML and no JSON in it.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let name = dir.display().to_string();
        let mut files = Vec::new();
        collect(dir, 0, &mut files)?;
        files.sort();
        if files.is_empty() {
            let message = format!(
                "{name}: has no .yaml, .yml or .json file; name the folder of an Envoy configuration"
            );
            return Err(Failure::Unusable(message));
        }
        let sources = files
            .iter()
            .map(|file| Source::open(&file.to_string_lossy()));
        let sources = sources.collect::<Result<_, _>>()?;
        Ok(EnvoyDir { name, sources })
    }

    pub fn files(&self) -> usize {
        self.sources.len()
    }

    /// What is missing or wrong for a policy.
    pub fn findings(&self, policy: &Policy) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for source in &self.sources {
            if let Err(error) = &source.documents {
                let name = &source.name;
                found.push(format!("{name}: is neither YAML nor JSON: {error}"));
            }
        }
        let inventory = self.inventory();
        let providers = policy.providers.values();
        let providers: Vec<(&str, &str)> = providers.map(|p| (&*p.name, &*p.cluster)).collect();
        for (name, cluster) in &providers {
            let at = format!("providers.{name}.cluster");
            match inventory.cluster(cluster) {
                None => found.push(self.no_cluster(&at, cluster, &inventory)),
                Some(place) => found.extend(inventory.check_provider(place, name, cluster)),
            }
        }
        if inventory.maps.is_empty() {
            found.push(format!(
                "{}: no route reads its cluster from filter state {STATE_KEY}; give one a cluster_matcher with an exact_match_map on it, see envoy/routes.yaml",
                self.name
            ));
        }
        for map in &inventory.maps {
            found.extend(providers.iter().filter_map(|(_, c)| map.check_map(c)));
        }
        if let Some(llm) = policy.llm() {
            let at = "classify's llm.cluster";
            match inventory.cluster(&llm.cluster) {
                None => found.push(self.no_cluster(at, &llm.cluster, &inventory)),
                Some(place) => found.extend(inventory.check_classifier(place, &llm.cluster)),
            }
        }
        found
    }

    fn no_cluster(&self, at: &str, cluster: &str, inventory: &Inventory<'_>) -> String {
        let names = inventory
            .clusters
            .iter()
            .filter_map(|c| c.node.text("name"));
        let near = match nearest_n(cluster, names, 3).as_slice() {
            [] => "add one to its clusters (CDS or static_resources)".to_owned(),
            near => format!("did you mean {}?", near.join(", ")),
        };
        format!(
            "{}: no cluster \"{cluster}\", which {at} names; {near}",
            self.name
        )
    }

    fn inventory(&self) -> Inventory<'_> {
        let mut inventory = Inventory::default();
        for source in &self.sources {
            for (root, document) in source.roots() {
                document.walk(&root, &mut |path, node| {
                    inventory.add(source, path, node);
                    true
                });
            }
        }
        inventory
    }
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error| {
        let dir = dir.display();
        Failure::Unusable(format!("{dir}: cannot be read as a folder: {error}"))
    };
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // A mounted ConfigMap has its files a second time in `..data`.
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().and_then(|e| e.to_str());
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth + 1, files)?;
            }
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    Ok(())
}

// === impl Inventory ===

impl<'n> Inventory<'n> {
    fn add(&mut self, source: &'n Source, path: &str, node: &'n Node) {
        let place = |path: String, node: &'n Node| Place { source, path, node };
        if node.is_message("Cluster") {
            self.clusters.push(place(path.to_owned(), node));
        }
        if node.is_message("TypedExtensionConfig")
            && let (Some(name), Some(config)) = (node.text("name"), node.get("typed_config"))
        {
            self.extensions.push((name, config));
        }
        if let Some(clusters) = node.at(&["static_resources", "clusters"]) {
            for (index, cluster) in clusters.items().iter().enumerate() {
                let path = match path {
                    "" => format!("static_resources.clusters[{index}]"),
                    path => format!("{path}.static_resources.clusters[{index}]"),
                };
                if !cluster.is_message("Cluster") {
                    self.clusters.push(place(path, cluster));
                }
            }
        }
        if let Some(tree) = node.at(&["cluster_matcher", "matcher_tree"])
            && tree
                .at(&["input", "typed_config"])
                .and_then(|input| input.text("key"))
                == Some(STATE_KEY)
            && let Some(map) = tree.at(&["exact_match_map", "map"])
        {
            let within = "cluster_matcher.matcher_tree.exact_match_map.map";
            self.maps.push(place(format!("{path}.{within}"), map));
        }
    }

    fn cluster(&self, name: &str) -> Option<&Place<'n>> {
        self.clusters
            .iter()
            .find(|place| place.node.text("name") == Some(name))
    }

    /// What the upstream filters of a cluster are.
    fn carries(&self, cluster: &Node) -> Carries {
        let filters = cluster.at(&[
            "typed_extension_protocol_options",
            HTTP_OPTIONS,
            "http_filters",
        ]);
        let mut unknown = None;
        for filter in filters.map(Node::items).unwrap_or_default() {
            let name = filter.text("name").unwrap_or_default();
            let default = || filter.at(&["config_discovery", "default_config"]);
            let config = match (filter.get("typed_config"), filter.get("config_discovery")) {
                (Some(config), _) => Some(config),
                (None, None) => None,
                (None, Some(_)) => {
                    let known = self.extensions.iter().find(|(known, _)| *known == name);
                    let config = known.map(|(_, config)| *config).or_else(default);
                    if config.is_none() {
                        unknown.get_or_insert(name);
                    }
                    config
                }
            };
            let root = config.filter(|config| config.is_message("Wasm"));
            match root.and_then(|wasm| wasm.get("config")?.text("root_id")) {
                Some("provider") => return Carries::Provider,
                Some("router") => return Carries::Router,
                _ => {}
            }
        }
        unknown.map_or(Carries::No, |name| Carries::Unknown(name.to_owned()))
    }

    fn check_provider(&self, place: &Place<'_>, provider: &str, cluster: &str) -> Option<String> {
        let repair = match self.carries(place.node) {
            Carries::Provider => return None,
            Carries::Router => "carries the filter as root_id \"router\"; upstream it must be \"provider\"".to_owned(),
            Carries::Unknown(name) => format!(
                "takes its filter \"{name}\" by config_discovery, and no file has a TypedExtensionConfig of that name"
            ),
            Carries::No => "does not carry this filter; put it (root_id \"provider\") first into the http_filters of its HttpProtocolOptions".to_owned(),
        };
        Some(format!(
            "{}: cluster \"{cluster}\" of provider \"{provider}\" {repair}",
            place.name()
        ))
    }

    fn check_classifier(&self, place: &Place<'_>, cluster: &str) -> Option<String> {
        match self.carries(place.node) {
            Carries::Provider | Carries::Router => Some(format!(
                "{}: cluster \"{cluster}\" of the LLM classifier carries this filter: a callout through it re-enters the filter's own VM and kills it; remove it from its http_filters",
                place.name()
            )),
            Carries::Unknown(_) | Carries::No => None,
        }
    }
}

// === impl Place ===

impl Place<'_> {
    /// `file:line: path`
    fn name(&self) -> String {
        format!("{}: {}", self.source.place(&self.path), self.path)
    }

    /// Whether a route's map leads to a provider's cluster.
    fn check_map(&self, cluster: &str) -> Option<String> {
        let Some(entry) = self.node.get(cluster) else {
            return Some(format!(
                "{}: has no entry \"{cluster}\"; a request to that cluster has no route: add one that leads to it",
                self.name()
            ));
        };
        let action = entry.at(&["action", "typed_config"]);
        let leads_to = action.and_then(|action| action.text("cluster"));
        if leads_to == Some(cluster) {
            return None;
        }
        let entry = format!("{}.{cluster}", self.path);
        Some(format!(
            "{}: {entry}: leads to {}; it must lead to cluster \"{cluster}\"",
            self.source.place(&entry),
            leads_to.map_or("no cluster".to_owned(), |to| format!("cluster \"{to}\"")),
        ))
    }
}
