//! Which nodes are meant, by their labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::problem::Fault;

/// Kubernetes' label selector, strict: a misspelt field would select every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels that must all be there with these values.
    pub match_labels: BTreeMap<String, String>,
    /// Conditions that must all hold.
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = super::rules::REQUIREMENT))]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// What must be true of it.
    pub operator: Operator,
    /// The values that `In` and `NotIn` compare with; empty for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether labels are selected, of which `value` tells the value; an empty selector selects everything.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted.as_str()))
            && self.match_expressions.iter().all(|condition| {
                let found = value(&condition.key);
                match condition.operator {
                    Operator::In => {
                        found.is_some_and(|found| condition.values.iter().any(|value| value == found))
                    }
                    Operator::NotIn => {
                        found.is_none_or(|found| condition.values.iter().all(|value| value != found))
                    }
                    Operator::Exists => found.is_some(),
                    Operator::DoesNotExist => found.is_none(),
                }
            })
    }

    pub(crate) fn check(&self, field: &str, faults: &mut Vec<Fault>) {
        for (index, condition) in self.match_expressions.iter().enumerate() {
            let field = format!("{field}.matchExpressions[{index}].values");
            match (condition.operator, condition.values.is_empty()) {
                (Operator::In | Operator::NotIn, true) => {
                    faults.push(Fault::new(
                        field,
                        "there are no values to compare with",
                        "name at least one",
                    ));
                }
                (Operator::Exists | Operator::DoesNotExist, false) => {
                    faults.push(Fault::new(field, "this operator compares no values", "leave `values` out"));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(operator: Operator, values: &[&str], labels: &[(&str, &str)]) -> bool {
        let selector = LabelSelector {
            match_expressions: vec![LabelSelectorRequirement {
                key: "rack".to_owned(),
                operator,
                values: values.iter().map(ToString::to_string).collect(),
            }],
            ..LabelSelector::default()
        };
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        selector.matches(|key| labels.get(key).copied())
    }

    #[test]
    fn every_operator_means_what_kubernetes_says() {
        assert!(selects(Operator::In, &["a", "b"], &[("rack", "b")]));
        assert!(!selects(Operator::In, &["a"], &[("rack", "b")]));
        assert!(!selects(Operator::In, &["a"], &[]));
        assert!(selects(Operator::NotIn, &["a"], &[("rack", "b")]));
        assert!(selects(Operator::NotIn, &["a"], &[]));
        assert!(!selects(Operator::NotIn, &["a"], &[("rack", "a")]));
        assert!(selects(Operator::Exists, &[], &[("rack", "")]));
        assert!(!selects(Operator::Exists, &[], &[]));
        assert!(selects(Operator::DoesNotExist, &[], &[("zone", "a")]));
        assert!(!selects(Operator::DoesNotExist, &[], &[("rack", "a")]));
    }

    #[test]
    fn an_empty_selector_selects_a_node_without_labels() {
        assert!(LabelSelector::default().matches(|_| None));
    }
}
