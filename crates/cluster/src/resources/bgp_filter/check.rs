//! What a filter must hold beyond what single fields say.

use super::{
    AsPathConditions, BgpFilterSpec, FilterAction, FilterNextHop, FilterOperations, FilterRule, PrefixRange,
};
use crate::problem::Fault;
use crate::resources::{AddressFamily, Check, CommunityPattern, FilterSource};

/// Most rules of one direction that may continue: which of them applied is kept with every route.
const MAX_CONTINUING: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Import,
    Export,
}

impl Check for BgpFilterSpec {
    fn check(&self, faults: &mut Vec<Fault>) {
        let directions =
            [(Direction::Import, "import", &self.import), (Direction::Export, "export", &self.export)];
        for (direction, name, rules) in directions {
            for (index, rule) in rules.iter().enumerate() {
                rule.check(&format!(".spec.{name}[{index}]"), direction, faults);
            }
            let continuing = rules.iter().filter(|rule| rule.action == FilterAction::Continue).count();
            if continuing > MAX_CONTINUING {
                faults.push(Fault::new(
                    format!(".spec.{name}"),
                    format!("{continuing} rules continue"),
                    format!(
                        "let at most {MAX_CONTINUING} continue, and join others into the rules that accept"
                    ),
                ));
            }
        }
    }
}

impl FilterRule {
    fn check(&self, rule: &str, direction: Direction, faults: &mut Vec<Fault>) {
        self.check_prefixes(rule, faults);
        self.check_communities(rule, faults);
        if let Some(as_path) = &self.as_path {
            as_path.check(&format!("{rule}.asPath"), faults);
        }
        let learned_only = [(".nextHops", self.next_hops.is_empty()), (".peers", self.peers.is_empty())];
        let learned = self.sources.is_empty() || self.sources.contains(&FilterSource::Learned);
        for (field, _) in learned_only.iter().filter(|(_, absent)| !absent && !learned) {
            faults.push(Fault::new(
                format!("{rule}{field}"),
                "only a route that was learned has one, and `sources` leaves those out",
                "add Learned to `sources`, or leave one of the two out",
            ));
        }
        if direction == Direction::Import && !learned {
            faults.push(Fault::new(
                format!("{rule}.sources"),
                "a route that a peer sends is learned, so the rule never matches",
                "leave `sources` out of rules for import",
            ));
        }
        let Some(operations) = &self.operations else { return };
        let field = format!("{rule}.operations");
        if self.action == FilterAction::Reject {
            faults.push(Fault::new(field, "a rejected route cannot be changed", "leave `operations` out"));
            return;
        }
        operations.check(&field, direction, faults);
        self.check_next_hop_family(&field, operations, faults);
    }

    fn check_prefixes(&self, rule: &str, faults: &mut Vec<Fault>) {
        for (index, range) in self.prefixes.iter().enumerate() {
            let (shortest, longest) = range.lengths();
            let within = range.cidr.0.prefix_len()..=range.cidr.0.max_prefix_len();
            if !(within.contains(&shortest) && within.contains(&longest) && shortest <= longest) {
                faults.push(Fault::new(
                    format!("{rule}.prefixes[{index}]"),
                    format!("found lengths {shortest} to {longest} in {}", range.cidr),
                    format!("write lengths from {} to {}, the shorter first", within.start(), within.end()),
                ));
            }
        }
        if !self.families.is_empty() && !self.prefixes.is_empty() {
            let matches = |range: &PrefixRange| self.families.contains(&range.family());
            if !self.prefixes.iter().any(matches) {
                faults.push(Fault::new(
                    format!("{rule}.families"),
                    "no prefix of this rule is of these families",
                    "leave `families` out, or write prefixes of them",
                ));
            }
        }
    }

    fn check_communities(&self, rule: &str, faults: &mut Vec<Fault>) {
        let lists = [
            ("communities", &self.communities),
            ("allCommunities", &self.all_communities),
            ("noCommunities", &self.no_communities),
        ];
        for (name, list) in lists {
            check_patterns(&format!("{rule}.{name}"), list, faults);
        }
        let wanted = || self.communities.iter().chain(&self.all_communities);
        if let Some(index) =
            self.no_communities.iter().position(|unwanted| self.all_communities.contains(unwanted))
        {
            faults.push(Fault::new(
                format!("{rule}.noCommunities[{index}]"),
                "`allCommunities` asks for the same, so the rule never matches",
                "take it out of one of the two",
            ));
        } else if !self.communities.is_empty() && wanted().all(|wanted| self.no_communities.contains(wanted))
        {
            faults.push(Fault::new(
                format!("{rule}.noCommunities"),
                "everything that `communities` asks for is in it, so the rule never matches",
                "take something out of one of the two",
            ));
        }
    }

    /// An IPv6 route cannot have an IPv4 next hop.
    fn check_next_hop_family(&self, field: &str, operations: &FilterOperations, faults: &mut Vec<Fault>) {
        let Some(FilterNextHop::Address(address)) = operations.next_hop else { return };
        let is_v6 = |family: &AddressFamily| *family == AddressFamily::IPv6;
        let only_v6 = (!self.families.is_empty() && self.families.iter().all(is_v6))
            || (!self.prefixes.is_empty() && self.prefixes.iter().all(|range| is_v6(&range.family())));
        if address.is_ipv4() && only_v6 {
            faults.push(Fault::new(
                format!("{field}.nextHop"),
                format!("{address} cannot be the next hop of an IPv6 route"),
                "write an IPv6 address",
            ));
        }
    }
}

impl AsPathConditions {
    fn check(&self, field: &str, faults: &mut Vec<Fault>) {
        if *self == Self::default() {
            faults.push(Fault::new(field, "it asks for nothing", "write a condition, or leave `asPath` out"));
        }
        if let (Some(least), Some(most)) = (self.min_length, self.max_length)
            && least > most
        {
            let found = format!("found lengths {least} to {most}");
            faults.push(Fault::new(format!("{field}.minLength"), found, "write the shorter first"));
        }
        if let Some(pattern) = &self.pattern {
            check_pattern(&format!("{field}.pattern"), pattern, faults);
        }
    }
}

impl FilterOperations {
    fn check(&self, field: &str, direction: Direction, faults: &mut Vec<Fault>) {
        if let Some(prepend) = &self.prepend
            && !(1..=10).contains(&prepend.times)
        {
            let found = format!("found {}", prepend.times);
            faults.push(Fault::new(format!("{field}.prepend.times"), found, "write 1 to 10"));
        }
        let meds = [self.med.is_some(), self.add_med.is_some(), self.remove_med];
        if meds.into_iter().filter(|present| *present).count() > 1 {
            let found = "`med`, `addMed` and `removeMed` exclude each other";
            faults.push(Fault::new(format!("{field}.med"), found, "write one of them"));
        }
        check_patterns(&format!("{field}.removeCommunities"), &self.remove_communities, faults);
        if self.priority == Some(0) {
            faults.push(Fault::new(format!("{field}.priority"), "found 0", "write 1 to 4294967295"));
        }
        match (direction, self.next_hop) {
            (Direction::Import, Some(next_hop @ (FilterNextHop::Itself | FilterNextHop::Unchanged))) => {
                faults.push(Fault::new(
                    format!("{field}.nextHop"),
                    format!("{next_hop} is for routes that are sent"),
                    "write an address, or leave it out of rules for import",
                ));
            }
            (Direction::Export, _) if self.priority.is_some() => {
                faults.push(Fault::new(
                    format!("{field}.priority"),
                    "the kernel is given only routes that were learned",
                    "write it in a rule for import",
                ));
            }
            _ => {}
        }
    }
}

fn check_patterns(field: &str, list: &[CommunityPattern], faults: &mut Vec<Fault>) {
    for (index, item) in list.iter().enumerate() {
        if let CommunityPattern::Like(pattern) = item {
            check_pattern(&format!("{field}[{index}]"), pattern, faults);
        }
    }
}

/// Longest expression, in octets.
const LONGEST_PATTERN: usize = 500;

fn check_pattern(field: &str, pattern: &str, faults: &mut Vec<Fault>) {
    if pattern.len() > LONGEST_PATTERN {
        let found = format!("found {} characters", pattern.len());
        faults.push(Fault::new(field, found, format!("write an expression of at most {LONGEST_PATTERN}")));
    } else if pattern.contains('_') {
        faults.push(Fault::new(
            field,
            format!("found `{pattern}`: no text form has a `_`, which other routers read as a border"),
            "write \\b for the border of a number",
        ));
    } else if let Err(error) =
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern)
    {
        let (reason, place) = match &error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.column),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.column),
            other => (other.to_string(), 1),
        };
        faults.push(Fault::new(
            field,
            format!("found `{pattern}`: {reason} at character {place}"),
            "correct the regular expression, or write \\ before a sign that stands for itself",
        ));
    }
}
