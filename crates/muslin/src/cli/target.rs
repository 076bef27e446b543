//! What is asked after: a prefix, or an object of the cluster.

use ipnet::IpNet;

use super::prefix_or_address;

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A prefix, or an address as a host prefix.
    Prefix(IpNet),
    /// An object of the cluster.
    Name(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => prefix.addr().fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Reads a prefix, an address, or the name of an object.
pub(super) fn target(text: &str) -> Result<Target, String> {
    match prefix_or_address(text) {
        Ok(prefix) => Ok(Target::Prefix(prefix)),
        // Names of objects are made of these, and no name begins like an address (RFC 1123).
        Err(error) => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
            let like_address = text.split('/').next().is_some_and(|first| {
                first.contains(':') || first.chars().all(|c| c.is_ascii_digit() || c == '.')
            });
            if text.chars().all(is_name) && !like_address {
                Ok(Target::Name(text.to_owned()))
            } else {
                Err(format!("{error}, nor the name of a Service or pod (default/web)"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_explained_is_a_prefix_or_a_name_and_a_broken_address_is_neither() {
        assert_eq!(target("10.0.0.1"), Ok(Target::Prefix("10.0.0.1/32".parse().unwrap())));
        for name in ["default/web", "web", "pod/kube-system/coredns-7c.1"] {
            assert_eq!(target(name), Ok(Target::Name(name.to_owned())));
        }
        for broken in ["10.244.300.0/24", "10.244.1.7/33", "fd44::g", "web server"] {
            assert!(target(broken).is_err_and(|error| error.contains("default/web")), "{broken}");
        }
    }
}
