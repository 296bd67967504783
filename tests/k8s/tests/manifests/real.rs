//! The CRDs of Istio, Envoy Gateway and Gateway API, where they are at hand: every rule compiles, what is right passes, and what
//! is broken is refused.

use crate::broken::{check, is_closed_but_for, manifests};
use kube_cel::{CompiledSchema, compile_schema};
use pointsman_k8s::check::Checker;
use pointsman_k8s::crds::{self, Crds};
use pointsman_k8s::{keywords, schema};

fn real() -> Option<Crds> {
    let folder = crds::folder(None).expect("CRDS is a folder");
    if folder.is_none() {
        eprintln!(
            "not tested: no CRDs at {}, and CRDS names none",
            crds::DEFAULT
        );
    }
    folder.map(|folder| Crds::read(&folder).expect("CRDs"))
}

/// How many there are, and what is wrong with them.
fn rules(node: &CompiledSchema, errors: &mut Vec<String>) -> usize {
    errors.extend(node.compilation_errors().iter().map(ToString::to_string));
    let children = node.properties.values();
    let children = children.chain(node.items.as_deref());
    let children = children.chain(node.additional_properties.as_deref());
    let children = children.chain(node.all_of.iter().chain(&node.any_of).chain(&node.one_of));
    let below: usize = children.map(|child| rules(child, errors)).sum();
    node.validations.len() + below
}

#[test]
fn every_schema_and_every_rule_compiles() {
    let Some(crds) = real() else { return };
    let mut errors = Vec::new();
    let (mut kinds, mut count) = (0, 0);
    for (gvk, crd) in crds.iter() {
        kinds += 1;
        count += rules(&compile_schema(crd), &mut errors);
        if let Err(e) = keywords::validator(&schema::strict(crd)) {
            errors.push(format!("{gvk}: {e}"));
        }
    }
    println!("{kinds} kinds, {count} CEL rules");
    assert_eq!(errors, Vec::<String>::new());
    assert!(kinds > 0 && count > 0);
}

#[test]
fn istios_kinds() {
    let Some(crds) = real() else { return };
    let mut checker = Checker::new(Some(crds), None);
    let breaks = [
        (
            "EnvoyFilter/filter",
            ("/spec/configPatches/0/patch", "operaton", "MERGE"),
            "spec.configPatches[0].patch: unknown field \"operaton\"; did you mean \"operation\"?",
        ),
        (
            "EnvoyFilter/filter",
            ("/spec/configPatches/0", "applyTo", "HTTP_FILTERS"),
            "spec.configPatches[0].applyTo: \"HTTP_FILTERS\" is none of its values; did you mean \"HTTP_FILTER\"?",
        ),
        (
            "EnvoyFilter/filter",
            (
                "/spec",
                "targetRefs",
                "[{group: '', kind: Service, name: x}]",
            ),
            "spec: only one of targetRefs or workloadSelector can be set",
        ),
        (
            "ServiceEntry/openai",
            ("/spec", "host", "[x]"),
            "spec: unknown field \"host\"; did you mean \"hosts\"?",
        ),
        (
            "ServiceEntry/openai",
            ("/spec", "addresses", "[1.2.3.4/33x, {}]"),
            "spec.addresses[1]: {} is not of type \"string\"",
        ),
        (
            "ServiceEntry/openai",
            (
                "",
                "spec",
                "{hosts: [a], resolution: NONE, endpoints: [{address: 1.1.1.1}]}",
            ),
            "spec: NONE mode cannot set endpoints",
        ),
        (
            "DestinationRule/openai",
            ("/spec/trafficPolicy/tls", "mode", "TLS"),
            "spec.trafficPolicy.tls.mode: \"TLS\" is none of its values; known: DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL",
        ),
        (
            "DestinationRule/openai",
            (
                "/spec/trafficPolicy/outlierDetection",
                "baseEjectionTime",
                "30",
            ),
            "spec.trafficPolicy.outlierDetection.baseEjectionTime: 30 is not of type \"string\"",
        ),
        (
            "VirtualService/gateway",
            ("/spec/http/0/match/0/uri", "prefix", "/v1"),
            "spec.http[0].match[0].uri: more than one of the alternatives holds; only one may",
        ),
        (
            "WasmPlugin/plugin",
            ("/spec", "url", "ftp://example.com/x"),
            "spec.url: url must have schema one of [http, https, file, oci]",
        ),
    ];
    let manifests = manifests("istio.yaml");
    check(&mut checker, &manifests, &breaks);
    let value = "EnvoyFilter/filter /spec/configPatches/0/patch/value";
    let config = "WasmPlugin/plugin /spec/pluginConfig";
    is_closed_but_for(&mut checker, &manifests, [value, config]);
}

#[test]
fn envoy_gateways_kinds() {
    let Some(crds) = real() else { return };
    let mut checker = Checker::new(Some(crds), None);
    let breaks = [
        (
            "EnvoyExtensionPolicy/filter",
            ("/spec/wasm/0", "rootId", "router"),
            "spec.wasm[0]: unknown field \"rootId\"; did you mean \"rootID\"?",
        ),
        (
            "EnvoyExtensionPolicy/filter",
            ("/spec/wasm/0/code", "type", "OCI"),
            "spec.wasm[0].code.type: \"OCI\" is none of its values; known: HTTP, Image",
        ),
        (
            "EnvoyExtensionPolicy/filter",
            ("/spec/wasm/0/code", "image", "null"),
            "spec.wasm[0].code: If type is Image, image field needs to be set.",
        ),
        (
            "EnvoyPatchPolicy/patches",
            ("/spec/jsonPatches/0/operation", "op", "insert"),
            "spec.jsonPatches[0].operation.op: \"insert\" is none of its values; known: add, remove, replace, move, copy, test",
        ),
        (
            "HTTPRoute/chat",
            ("/spec/rules/0/matches/0/path", "value", "v1"),
            "spec.rules[0].matches[0].path: value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
        ),
        (
            "HTTPRoute/chat",
            ("/spec/rules/0", "backendRefs", "[{name: x}]"),
            "spec.rules[0].backendRefs[0]: Must have port for Service reference",
        ),
        (
            "Gateway/gateway",
            ("/spec/listeners/0", "hostname", "'*'"),
            "spec.listeners[0].hostname: does not match ^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        ),
        (
            "Gateway/gateway",
            (
                "/spec/listeners/0",
                "tls",
                "{mode: Terminate, certificateRefs: [{name: c}]}",
            ),
            "spec.listeners: tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
        ),
        (
            "Gateway/gateway",
            ("/spec", "gatewayClassName", "null"),
            "spec: \"gatewayClassName\" is a required property",
        ),
        (
            "BackendTLSPolicy/openai",
            ("/spec/validation", "wellKnownCACertificates", "null"),
            "spec.validation: must specify either CACertificateRefs or WellKnownCACertificates",
        ),
        (
            "Backend/openai",
            ("/spec/endpoints/0", "ip", "{address: 1.1.1.1, port: 1}"),
            "spec.endpoints[0]: only one of fqdn, ip or unix can be specified",
        ),
        (
            "HTTPRouteFilter/key",
            ("/spec/credentialInjection", "credentials", "{}"),
            "spec.credentialInjection: unknown field \"credentials\"; did you mean \"credential\"?",
        ),
    ];
    let manifests = manifests("envoy-gateway.yaml");
    check(&mut checker, &manifests, &breaks);
    let value = "EnvoyPatchPolicy/patches /spec/jsonPatches/0/operation/value";
    let config = "EnvoyExtensionPolicy/filter /spec/wasm/0/config";
    is_closed_but_for(&mut checker, &manifests, [value, config]);
}
