//! The CEL rules of the resources: what the checks say, for the API server to refuse at `kubectl apply`.
//!
//! `import` is a word of CEL, so the field of that name is written `__import__`. A rule that has nothing to look at holds; fields that are wrong by themselves are refused by their own rules.
//! What two fields need alike are two rules: a test asks for an object that each rule refuses, and would be content with one of the two.

use super::schema::Rule;

/// Of `BGPPeerSpec`.
pub(super) const BGP_PEER: &[Rule] = &[
    Rule {
        rule: "has(self.peerAddress) || has(self.listenRange) || has(self.autoDiscovery) || has(self.interface) || (has(self.interfaces) && size(self.interfaces) > 0)",
        message: "there is no peer: name its `peerAddress`, its `interface`, a `listenRange`, or `autoDiscovery`",
    },
    Rule {
        rule: "[has(self.peerAddress), has(self.listenRange), has(self.autoDiscovery), has(self.interfaces) && size(self.interfaces) > 0, has(self.interface) && !has(self.peerAddress) && !has(self.listenRange)].filter(way, way).size() <= 1",
        message: "keep one of `peerAddress`, `interface`, `interfaces`, `listenRange` and `autoDiscovery`, and make a second BGPPeer for another",
    },
    Rule {
        rule: "!has(self.peerAddress) || !isIP(self.peerAddress) || ip(self.peerAddress).isGlobalUnicast() || ip(self.peerAddress).isLoopback() || ip(self.peerAddress).isLinkLocalUnicast()",
        message: "`peerAddress` is an address that no host has; write the peer's own address",
    },
    Rule {
        rule: "!has(self.peerAddress) || has(self.interface) || !isIP(self.peerAddress) || !ip(self.peerAddress).isLinkLocalUnicast()",
        message: "`peerAddress` is link-local; name the `interface` that it is on",
    },
    Rule {
        rule: "!has(self.peerAddress) || !has(self.interface) || !self.interface.contains('*')",
        message: "`interface` is a pattern for one `peerAddress`; write the name of the interface",
    },
    Rule {
        rule: "!has(self.interface) || self.interface.matches('^[^[:space:]/:%]{1,15}$')",
        message: "no interface is called that; write a name as eth0, or a pattern as eth*",
    },
    Rule {
        rule: "!has(self.interfaces) || self.interfaces.all(name, name.matches('^[^[:space:]/:%]{1,15}$'))",
        message: "one of `interfaces` is a name that no interface has; write names as eth0, or patterns as eth*",
    },
    Rule {
        rule: "!has(self.listenRange) || !has(self.port)",
        message: "peers of a `listenRange` connect to us; leave `port` out",
    },
    Rule {
        rule: "!has(self.listenRange) || !has(self.interface)",
        message: "peers of a `listenRange` connect to us; leave `interface` out",
    },
    Rule {
        rule: "!has(self.listenRange) || !has(self.connectMode) || self.connectMode != 'Both'",
        message: "peers of a `listenRange` connect to us; leave `connectMode: Both` out",
    },
    Rule {
        rule: "has(self.listenRange) || !has(self.listenLimit)",
        message: "there is no `listenRange` to limit; leave `listenLimit` out",
    },
    Rule {
        rule: "has(self.peerAddress) || has(self.listenRange) || !(has(self.interface) || (has(self.interfaces) && size(self.interfaces) > 0)) || !has(self.multihop)",
        message: "the peer is at the other end of the link; leave `multihop` out",
    },
    Rule {
        rule: "has(self.peerAddress) || has(self.listenRange) || !(has(self.interface) || (has(self.interfaces) && size(self.interfaces) > 0)) || !has(self.localAddress)",
        message: "the peer is at the other end of the link; leave `localAddress` out",
    },
    Rule {
        rule: "has(self.peerAddress) || has(self.listenRange) || !(has(self.interface) || (has(self.interfaces) && size(self.interfaces) > 0)) || !has(self.sourceInterface)",
        message: "the peer is at the other end of the link; leave `sourceInterface` out",
    },
    Rule {
        rule: "!has(self.port) || self.port > 0",
        message: "write the `port` that the peer listens on, 1 to 65535",
    },
    Rule {
        rule: "!has(self.listenLimit) || self.listenLimit > 0",
        message: "`listenLimit` is 0; write how many peers may connect, or leave it out",
    },
    Rule {
        rule: "!has(self.multihop) || !has(self.ttlSecurity)",
        message: "keep one of `multihop` and `ttlSecurity`: both set the TTL",
    },
    Rule {
        rule: "!has(self.multihop) || self.multihop > 0",
        message: "`multihop` is 0; write the number of hops, 1 for a peer on the link",
    },
    Rule {
        rule: "!has(self.ttlSecurity) || self.ttlSecurity > 0",
        message: "`ttlSecurity` is 0; write the number of hops, 1 for a peer on the link",
    },
    Rule {
        rule: "!has(self.families) || size(self.families) > 0",
        message: "`families` is empty; name IPv4, IPv6 or both, or leave it out",
    },
    Rule {
        rule: "!has(self.addPath) || !has(self.addPath.families) || size(self.addPath.families) > 0",
        message: "`addPath.families` is empty; name IPv4, IPv6 or both, or leave it out",
    },
    Rule {
        rule: "!has(self.addPath) || !has(self.addPath.families) || !has(self.families) || self.addPath.families.all(family, family in self.families)",
        message: "`addPath.families` has a family that the session does not carry; name it in `families` too",
    },
    Rule {
        rule: "!has(self.routeReflectorClient) || !self.routeReflectorClient || self.peerASN != 'external'",
        message: "a `routeReflectorClient` is internal; write `peerASN: internal`",
    },
    Rule {
        rule: "!has(self.localASN) || self.localASN != self.peerASN",
        message: "`localASN` is the peer's AS; write `peerASN: internal`, or another AS",
    },
    Rule {
        rule: "!has(self.maxPrefixesWarning) || (self.maxPrefixesWarning >= 1 && self.maxPrefixesWarning <= 100)",
        message: "`maxPrefixesWarning` is a percentage; write 1 to 100",
    },
    Rule {
        rule: "!has(self.maxPrefixesRestart) || !has(self.maxPrefixesAction) || self.maxPrefixesAction == 'Restart'",
        message: "`maxPrefixesAction` is not `Restart`; leave `maxPrefixesRestart` out",
    },
    Rule {
        rule: "!has(self.maxPrefixesRestart) || duration(self.maxPrefixesRestart) >= duration('1s')",
        message: "`maxPrefixesRestart` is less than a second; write 1s or more",
    },
    Rule {
        rule: "!has(self.maxPrefixes) || self.maxPrefixes != 0 || !has(self.maxPrefixesWarning)",
        message: "`maxPrefixes` is 0, which is no limit; leave `maxPrefixesWarning` out",
    },
    Rule {
        rule: "!has(self.maxPrefixes) || self.maxPrefixes != 0 || !has(self.maxPrefixesAction)",
        message: "`maxPrefixes` is 0, which is no limit; leave `maxPrefixesAction` out",
    },
    Rule {
        rule: "!has(self.maxPrefixes) || self.maxPrefixes != 0 || !has(self.maxPrefixesRestart)",
        message: "`maxPrefixes` is 0, which is no limit; leave `maxPrefixesRestart` out",
    },
    Rule {
        rule: "!has(self.password) || !has(self.tcpAO)",
        message: "keep one of `password` and `tcpAO`: a segment is signed in one way",
    },
    Rule {
        rule: "!has(self.sourceInterface) || !has(self.localAddress)",
        message: "keep one of `sourceInterface` and `localAddress`",
    },
    Rule {
        rule: "!has(self.sourceInterface) || !has(self.listenRange)",
        message: "peers of a `listenRange` connect to us; leave `sourceInterface` out",
    },
    Rule {
        rule: "!has(self.sourceInterface) || (size(self.sourceInterface) >= 1 && size(self.sourceInterface) <= 15)",
        message: "no interface has the name in `sourceInterface`; write 1 to 15 characters",
    },
    Rule {
        rule: "!has(self.vrf) || (size(self.vrf) >= 1 && size(self.vrf) <= 15)",
        message: "no interface has the name in `vrf`; write 1 to 15 characters",
    },
    Rule {
        rule: "!has(self.localASPrepend) || has(self.localASN)",
        message: "there is no `localASN` for `localASPrepend`; name the AS, or leave it out",
    },
    Rule {
        rule: "!has(self.strictRole) || has(self.role)",
        message: "there is no `role` for `strictRole`; name our role, or leave it out",
    },
    Rule {
        rule: "!has(self.role) || self.peerASN != 'internal'",
        message: "roles are between ASes; leave `role` out for an internal peer",
    },
    Rule {
        rule: "!has(self.localAddress) || !has(self.peerAddress) || !isIP(self.localAddress) || !isIP(self.peerAddress) || ip(self.localAddress).family() == ip(self.peerAddress).family()",
        message: "`localAddress` is of another family than the peer's; write an address of the peer's family",
    },
    Rule {
        rule: "!has(self.connectRetry) || duration(self.connectRetry) >= duration('1s')",
        message: "`connectRetry` is 1s or more",
    },
    Rule {
        rule: "!has(self.tcpUserTimeout) || duration(self.tcpUserTimeout) >= duration('1s')",
        message: "`tcpUserTimeout` is 1s or more",
    },
    Rule {
        rule: "!has(self.holdTime) || (duration(self.holdTime) == duration('0s') || (duration(self.holdTime) >= duration('3s') && duration(self.holdTime) < duration('65536s') && duration(self.holdTime).getMilliseconds() % 1000 == 0))",
        message: "`holdTime` is 0, or whole seconds from 3s to 65535s",
    },
    Rule {
        rule: "!has(self.keepaliveTime) || (duration(self.keepaliveTime) >= duration('1s') && duration(self.keepaliveTime).getMilliseconds() * 3 <= (has(self.holdTime) ? duration(self.holdTime).getMilliseconds() : 90000))",
        message: "`keepaliveTime` is 1s to a third of the hold time, which is 90s unless `holdTime` says other",
    },
    Rule {
        rule: "!has(self.sendHoldTime) || (duration(self.sendHoldTime) >= duration('3s') && duration(self.sendHoldTime).getMilliseconds() >= (has(self.holdTime) ? duration(self.holdTime).getMilliseconds() : 90000))",
        message: "`sendHoldTime` is the hold time or more",
    },
];

/// Of `GracefulRestart`.
pub(super) const GRACEFUL_RESTART: &[Rule] = &[
    Rule {
        rule: "!has(self.restartTime) || (duration(self.restartTime) >= duration('1s') && duration(self.restartTime) < duration('4096s'))",
        message: "`restartTime` is 1s to 4095s: RFC 4724 carries no other",
    },
    Rule {
        rule: "!has(self.longLivedStaleTime) || (duration(self.longLivedStaleTime) >= duration('1s') && duration(self.longLivedStaleTime) < duration('16777216s'))",
        message: "`longLivedStaleTime` is 1s to 16777215s: RFC 9494 carries no other",
    },
    Rule {
        rule: "!has(self.longLivedStaleTime) || !has(self.enabled) || self.enabled",
        message: "there is no graceful restart that `longLivedStaleTime` could follow; leave it out, or set `enabled: true`",
    },
];

/// Of a condition of a label selector.
pub(super) const REQUIREMENT: &[Rule] = &[Rule {
    rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    message: "`In` and `NotIn` compare with at least one of `values`, `Exists` and `DoesNotExist` with none",
}];

/// Of `BGPConfigurationSpec`.
pub(super) const BGP_CONFIGURATION: &[Rule] = &[
    Rule {
        rule: "!has(self.maxPaths) || self.maxPaths > 0",
        message: "`maxPaths` is 0; write 1 for a single path, or more",
    },
    Rule {
        rule: "!has(self.asnNodeLabel) || self.asnNodeLabel.matches('^([a-zA-Z0-9]([-.a-zA-Z0-9]{0,251}[a-zA-Z0-9])?/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$')",
        message: "no label is called that; write its name as it stands on nodes, as example.com/asn",
    },
    Rule {
        rule: "!has(self.localAddresses) || size(self.localAddresses) < 2 || self.localAddresses[0].contains(':') != self.localAddresses[1].contains(':')",
        message: "two of `localAddresses` are of one family; write one address of each",
    },
    Rule {
        rule: "!has(self.bmp) || self.bmp.all(one, self.bmp.filter(other, other.address == one.address && (has(other.port) ? other.port : 0) == (has(one.port) ? one.port : 0)).size() == 1)",
        message: "a BMP collector is there twice; write each once",
    },
];

/// Of a whole `BGPConfiguration`.
pub(crate) const CONFIGURATION_NAME: &[Rule] = &[Rule {
    rule: "self.metadata.name == 'default' || self.metadata.name.startsWith('node.')",
    message: "a BGPConfiguration is named `default`, or `node.NAME` for the node of that name; others have no effect",
}];

/// Of `NodeMesh`.
pub(super) const NODE_MESH: &[Rule] = &[Rule {
    rule: "!has(self.holdTime) || (duration(self.holdTime) == duration('0s') || (duration(self.holdTime) >= duration('3s') && duration(self.holdTime) < duration('65536s') && duration(self.holdTime).getMilliseconds() % 1000 == 0))",
    message: "`holdTime` is 0, or whole seconds from 3s to 65535s",
}];

/// Of `AdvertisedRange`.
pub(super) const ADVERTISED_RANGE: &[Rule] = &[Rule {
    rule: "!self.cidr.endsWith('/0')",
    message: "that is all addresses; write the ranges that Services use",
}];

/// Of `BmpCollectorSpec`.
pub(super) const BMP_COLLECTOR: &[Rule] = &[
    Rule {
        rule: "!has(self.port) || self.port > 0",
        message: "write the `port` that the collector listens on",
    },
    Rule {
        rule: "!isIP(self.address) || !ip(self.address).isUnspecified()",
        message: "`address` is the unspecified address; write the collector's",
    },
    Rule {
        rule: "!has(self.tables) || size(self.tables) > 0",
        message: "`tables` is empty; write PrePolicy, PostPolicy or LocRib, or leave it out for all of them",
    },
];

/// Of `BGPFilterSpec`.
pub(super) const BGP_FILTER: &[Rule] = &[
    Rule {
        rule: "!has(self.__import__) || self.__import__.filter(rule, rule.action == 'Continue').size() <= 4",
        message: "let at most 4 rules of `import` continue, and join others into the rules that accept",
    },
    Rule {
        rule: "!has(self.export) || self.export.filter(rule, rule.action == 'Continue').size() <= 4",
        message: "let at most 4 rules of `export` continue, and join others into the rules that accept",
    },
    Rule {
        rule: "!has(self.__import__) || self.__import__.all(rule, !has(rule.sources) || size(rule.sources) == 0 || 'Learned' in rule.sources)",
        message: "a route that a peer sends is learned, so the rule never matches; leave `sources` out of rules for import",
    },
    Rule {
        rule: "!has(self.__import__) || self.__import__.all(rule, !has(rule.operations) || !has(rule.operations.nextHop) || !(rule.operations.nextHop in ['Self', 'Unchanged']))",
        message: "the next hops Self and Unchanged are for routes that are sent; write an address in rules for import",
    },
    Rule {
        rule: "!has(self.export) || self.export.all(rule, !has(rule.operations) || !has(rule.operations.priority))",
        message: "the kernel is given only routes that were learned; write `priority` in a rule for import",
    },
];

/// Of `FilterRule`.
pub(super) const FILTER_RULE: &[Rule] = &[
    Rule {
        rule: "!has(self.sources) || size(self.sources) == 0 || 'Learned' in self.sources || !has(self.nextHops) || size(self.nextHops) == 0",
        message: "only a learned route has `nextHops`, and `sources` leaves those out; add Learned, or leave one of the two out",
    },
    Rule {
        rule: "!has(self.sources) || size(self.sources) == 0 || 'Learned' in self.sources || !has(self.peers) || size(self.peers) == 0",
        message: "only a learned route has `peers`, and `sources` leaves those out; add Learned, or leave one of the two out",
    },
    Rule {
        rule: "self.action != 'Reject' || !has(self.operations)",
        message: "a rejected route cannot be changed; leave `operations` out",
    },
    Rule {
        rule: "!has(self.families) || size(self.families) == 0 || !has(self.prefixes) || size(self.prefixes) == 0 || self.prefixes.exists(range, (range.cidr.contains(':') ? 'IPv6' : 'IPv4') in self.families)",
        message: "no prefix of this rule is of these families; leave `families` out, or write prefixes of them",
    },
    Rule {
        rule: "!has(self.noCommunities) || !has(self.allCommunities) || !self.noCommunities.exists(one, one in self.allCommunities)",
        message: "`allCommunities` and `noCommunities` ask for the same, so the rule never matches; take it out of one of the two",
    },
    Rule {
        rule: "!has(self.noCommunities) || !has(self.communities) || size(self.communities) == 0 || self.communities.exists(one, !(one in self.noCommunities)) || (has(self.allCommunities) && self.allCommunities.exists(one, !(one in self.noCommunities)))",
        message: "everything that `communities` asks for is in `noCommunities`, so the rule never matches; take something out of one of the two",
    },
    Rule {
        rule: "!has(self.operations) || !has(self.operations.nextHop) || self.operations.nextHop in ['Self', 'Unchanged'] || self.operations.nextHop.contains(':') || !((has(self.families) && size(self.families) > 0 && self.families.all(family, family == 'IPv6')) || (has(self.prefixes) && size(self.prefixes) > 0 && self.prefixes.all(range, range.cidr.contains(':'))))",
        message: "an IPv4 address cannot be the next hop of an IPv6 route; write an IPv6 address",
    },
];

/// Of `PrefixRange`.
pub(super) const PREFIX_RANGE: &[Rule] = &[Rule {
    rule: "!isCIDR(self.cidr) || ((has(self.minLength) ? self.minLength : cidr(self.cidr).prefixLength()) >= cidr(self.cidr).prefixLength() && (has(self.maxLength) ? self.maxLength : 0) <= (self.cidr.contains(':') ? 128 : 32) && (has(self.minLength) ? self.minLength : cidr(self.cidr).prefixLength()) <= (has(self.maxLength) ? self.maxLength : (self.cidr.contains(':') ? 128 : 32)))",
    message: "the lengths do not fit the range; write lengths from its own to that of an address, the shorter first",
}];

/// Of `AsPathConditions`.
pub(super) const AS_PATH: &[Rule] = &[
    Rule {
        rule: "has(self.containsOwn) || (has(self.contains) && size(self.contains) > 0) || (has(self.origin) && size(self.origin) > 0) || (has(self.neighbor) && size(self.neighbor) > 0) || has(self.minLength) || has(self.maxLength) || has(self.pattern)",
        message: "it asks for nothing; write a condition, or leave `asPath` out",
    },
    Rule {
        rule: "!has(self.minLength) || !has(self.maxLength) || self.minLength <= self.maxLength",
        message: "write the shorter length first",
    },
    Rule {
        rule: "!has(self.pattern) || !self.pattern.contains('_')",
        message: "no text form has a `_`, which other routers read as a border; write \\b for the border of a number",
    },
];

/// Of `FilterOperations`.
pub(super) const OPERATIONS: &[Rule] = &[
    Rule {
        rule: "[has(self.med), has(self.addMed), has(self.removeMed) && self.removeMed].filter(present, present).size() <= 1",
        message: "`med`, `addMed` and `removeMed` exclude each other; write one of them",
    },
    Rule { rule: "!has(self.priority) || self.priority > 0", message: "`priority` is 1 to 4294967295" },
];

/// Of `Prepend`.
pub(super) const PREPEND: &[Rule] =
    &[Rule { rule: "self.times >= 1 && self.times <= 10", message: "`times` is 1 to 10" }];

/// Of `RouteAdvertisementSpec`.
pub(super) const ROUTE_ADVERTISEMENT: &[Rule] = &[
    Rule {
        rule: "!has(self.peers) || size(self.peers) > 0 || has(self.peerSelector)",
        message: "there are no `peers`, so nobody would be told; name some, or leave `peers` out to tell all of them",
    },
    Rule {
        rule: "has(self.advertisements) && size(self.advertisements) > 0",
        message: "there are no `advertisements`; write what is to be announced, such as `advertisementType: PodCIDR`",
    },
];

/// Of `Advertisement`.
pub(super) const ADVERTISEMENT: &[Rule] = &[
    Rule {
        rule: "self.advertisementType != 'Service' || has(self.service)",
        message: "no address would be announced; write `service: {addresses: [LoadBalancerIP]}`, or other kinds of addresses",
    },
    Rule {
        rule: "self.advertisementType == 'Service' || !has(self.service)",
        message: "only `advertisementType: Service` has a `service`; leave it out",
    },
    Rule {
        rule: "self.advertisementType == 'Service' || !has(self.selector)",
        message: "`selector` selects Services, and none is announced here; leave it out, nodes are selected by `.spec.nodeSelector`",
    },
    Rule {
        rule: "self.advertisementType != 'Prefix' || (has(self.prefixes) && size(self.prefixes) > 0)",
        message: "there are no `prefixes`; write those that are to be announced",
    },
    Rule {
        rule: "self.advertisementType == 'Prefix' || !has(self.prefixes) || size(self.prefixes) == 0",
        message: "only `advertisementType: Prefix` has `prefixes`; leave them out",
    },
];

/// Of `ServiceAdvertisement`.
pub(super) const SERVICE_ADVERTISEMENT: &[Rule] = &[
    Rule {
        rule: "size(self.addresses) > 0 && self.addresses.all(one, self.addresses.filter(other, other == one).size() == 1)",
        message: "write each of ClusterIP, ExternalIP, LoadBalancerIP at most once in `addresses`, and at least one",
    },
    Rule {
        rule: "!has(self.aggregationLengthIPv4) || (self.aggregationLengthIPv4 >= 1 && self.aggregationLengthIPv4 <= 32)",
        message: "`aggregationLengthIPv4` is 1 to 32",
    },
    Rule {
        rule: "!has(self.aggregationLengthIPv6) || (self.aggregationLengthIPv6 >= 1 && self.aggregationLengthIPv6 <= 128)",
        message: "`aggregationLengthIPv6` is 1 to 128",
    },
];
