use serde_json::json;

use super::*;

fn explained(value: &Value) -> Explained {
    let mut whole = json!({
        "asked": "198.51.100.7/32", "plan": [], "speaker": null, "kernel": null, "interfaces": {},
    });
    whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn path(state: &str, reason: Option<&str>) -> Value {
    json!({
        "prefix": "198.51.100.0/24", "peer": "tor", "state": state, "reason": reason, "stale": false, "age": 9,
        "nextHop": "192.0.2.9", "origin": "igp", "asPath": "65000", "med": null, "localPref": null,
        "communities": [], "cause": "BGPFilter web .spec.import[2]",
    })
}

fn known(paths: &[Value]) -> Value {
    json!({"speaker": {"prefix": "198.51.100.0/24", "paths": paths, "kernel": [], "exports": []}})
}

fn words(value: &Value) -> String {
    missing(&explained(value), true, true, &[]).join("\n")
}

#[test]
fn a_service_that_no_advertisement_selects_is_told_so() {
    let told = words(&json!({"objects": ["Service default/web .spec.externalIPs[0]"]}));
    assert!(
        told.contains("no RouteAdvertisement selects Service default/web .spec.externalIPs[0]"),
        "{told}"
    );
    let announced = words(&json!({
        "objects": ["Service default/web .spec.externalIPs[0]"],
        "plan": ["originated because of Service default/web"],
    }));
    assert_eq!(announced, "");
}

#[test]
fn a_filter_that_refuses_every_path_is_named_with_its_rule() {
    let told = words(&known(&[path("refused", Some("refused by policy"))]));
    assert!(told.contains("BGPFilter web .spec.import[2]"), "{told}");
    assert!(told.contains("muslin policy test 198.51.100.0/24 --from tor"), "{told}");
    let usable = words(&known(&[path("best", None), path("refused", None)]));
    assert!(!usable.contains("refused"), "another path is used: {usable}");
}

#[test]
fn a_next_hop_that_leads_nowhere_is_told_with_what_helps() {
    let why = "the next hop is not on the link to this peer";
    let told = words(&known(&[path("unreachable", Some(why))]));
    assert!(
        told.contains(&format!("{why} (192.0.2.9, from tor)")) && told.contains("next-hop-self"),
        "{told}"
    );
}

#[test]
fn a_best_path_that_is_not_in_the_kernel_says_why() {
    let best = || explained(&known(&[path("best", None)]));
    let told = |installs| missing(&best(), true, installs, &[]).join("\n");
    assert!(told(false).contains("--no-install"));
    assert!(told(true).contains("not been handed over yet"));
}

#[test]
fn without_plan_or_peer_that_is_what_is_missing() {
    let told = missing(&explained(&json!({})), false, true, &[]);
    assert!(told[0].contains("there is no plan") && told[1].contains("there is no peer"), "{told:?}");
}
