//! Errors as one sentence.

/// The error and its causes in one line, none of them twice: some messages already end with their cause.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.ends_with(&cause) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_that_the_message_already_ends_with_is_not_said_again() {
        let error = anyhow!("no such file").context("state.yaml: no such file").context("--state");
        assert_eq!(sentence(&error), "--state: state.yaml: no such file");
    }
}
