//! What a `BGPFilter` cannot mean.

use super::problems;

#[test]
fn what_a_filter_rule_cannot_mean_is_refused_with_the_place_and_the_remedy() {
    let filter = |direction: &str, rule: &str| {
        let text = format!(
            "apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: f}}\nspec:\n  {direction}:\n  - {{{rule}}}\n"
        );
        problems(&text).concat().replace("a.yaml:6: BGPFilter f .spec.", "")
    };
    for (direction, rule, said) in [
        (
            "import",
            "action: Accept, asPath: {pattern: '65001 (65002'}",
            "import[0].asPath.pattern: found `65001 (65002`: unclosed group at character 7; correct the regular expression, or write \\ before a sign that stands for itself",
        ),
        (
            "import",
            "action: Accept, asPath: {pattern: '_65001_'}",
            "import[0].asPath.pattern: found `_65001_`: no text form has a `_`, which other routers read as a border; write \\b for the border of a number",
        ),
        (
            "import",
            "action: Accept, noCommunities: ['/[/']",
            "import[0].noCommunities[0]: found `[`: unclosed character class at character 1; correct the regular expression, or write \\ before a sign that stands for itself",
        ),
        (
            "import",
            "action: Accept, asPath: {}",
            "import[0].asPath: it asks for nothing; write a condition, or leave `asPath` out",
        ),
        (
            "import",
            "action: Accept, asPath: {minLength: 3, maxLength: 2}",
            "import[0].asPath.minLength: found lengths 3 to 2; write the shorter first",
        ),
        (
            "import",
            "action: Accept, sources: [Pod]",
            "import[0].sources: a route that a peer sends is learned, so the rule never matches; leave `sources` out of rules for import",
        ),
        (
            "export",
            "action: Accept, sources: [Pod], peers: [tor]",
            "export[0].peers: only a route that was learned has one, and `sources` leaves those out; add Learned to `sources`, or leave one of the two out",
        ),
        (
            "export",
            "action: Accept, operations: {priority: 9}",
            "export[0].operations.priority: the kernel is given only routes that were learned; write it in a rule for import",
        ),
        (
            "import",
            "action: Accept, operations: {nextHop: Self}",
            "import[0].operations.nextHop: Self is for routes that are sent; write an address, or leave it out of rules for import",
        ),
        (
            "export",
            "action: Accept, families: [IPv6], operations: {nextHop: 10.0.0.1}",
            "export[0].operations.nextHop: 10.0.0.1 cannot be the next hop of an IPv6 route; write an IPv6 address",
        ),
        (
            "export",
            "action: Accept, operations: {med: 1, removeMed: true}",
            "export[0].operations.med: `med`, `addMed` and `removeMed` exclude each other; write one of them",
        ),
        (
            "export",
            "action: Accept, operations: {addCommunities: ['rt:65000']}",
            "export[0].operations.addCommunities[0]: found \"rt:65000\"; write a community: \"65000:1\", a name such as no-export, \"65000:1:2\" (large) or \"rt:65000:1\" (extended)",
        ),
        (
            "export",
            "action: Accept, operations: {linkBandwidth: 10G}",
            "export[0].operations.linkBandwidth: found \"10G\"; write bits per second with their unit, as 10Gbps, 2500Mbps or 64kbps",
        ),
        (
            "export",
            "action: Accept, allCommunities: ['1:1'], noCommunities: ['1:1']",
            "export[0].noCommunities[0]: `allCommunities` asks for the same, so the rule never matches; take it out of one of the two",
        ),
    ] {
        assert_eq!(filter(direction, rule), said);
    }
}

#[test]
fn a_filter_rule_that_cannot_match_is_refused() {
    let filter = |rule: &str| {
        problems(&format!(
            "apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: f}}\nspec:\n  export:\n  - {{action: Accept, {rule}}}\n"
        ))
    };
    assert_eq!(
        filter("prefixes: [{cidr: 10.0.0.0/8, maxLength: 40}]"),
        [
            "a.yaml:6: BGPFilter f .spec.export[0].prefixes[0]: found lengths 8 to 40 in 10.0.0.0/8; write lengths from 8 to 32, the shorter first"
        ],
    );
    assert_eq!(
        filter("prefixes: [{cidr: 10.0.0.0/8}], families: [IPv6]"),
        [
            "a.yaml:6: BGPFilter f .spec.export[0].families: no prefix of this rule is of these families; leave `families` out, or write prefixes of them"
        ],
    );
    assert_eq!(
        filter("communities: [\"1:99999\"]"),
        [
            "a.yaml:6: BGPFilter f .spec.export[0].communities[0]: found \"1:99999\"; write a community (\"65000:1\", no-export, \"65000:1:2\", \"rt:65000:1\"), or an expression between slashes as \"/^65000:/\""
        ],
    );
    assert_eq!(
        filter("operations: {prepend: {times: 0}}"),
        ["a.yaml:6: BGPFilter f .spec.export[0].operations.prepend.times: found 0; write 1 to 10"],
    );
}
