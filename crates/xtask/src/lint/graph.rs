//! The crate graph of ARCHITECTURE.md is the one that Cargo builds.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::metadata::Metadata;
use crate::shell::workspace;

const PAGE: &str = "ARCHITECTURE.md";
/// The first drawing of the page is the crate graph.
const BEGIN: &str = "```mermaid\n";
const END: &str = "```";

/// An arrow: the first crate uses the second.
type Arrow = (String, String);

/// Complains about arrows that the page lacks and arrows that nobody has.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let page = fs::read_to_string(workspace().join(PAGE)).context(PAGE)?;
    Ok(differences(&arrows(metadata), &drawn(&page)?))
}

/// Draws the graph into the page anew.
pub(super) fn redraw(metadata: &Metadata) -> Result<()> {
    let path = workspace().join(PAGE);
    let page = fs::read_to_string(&path).context(PAGE)?;
    let (before, _, after) = split(&page)?;
    fs::write(path, format!("{before}{BEGIN}{}{END}{after}", draw(&arrows(metadata)))).context(PAGE)
}

/// The graph as built: normal dependencies between our own crates, by their short names.
fn arrows(metadata: &Metadata) -> BTreeSet<Arrow> {
    metadata
        .members()
        .flat_map(|package| {
            let of_product = |kind: &Option<String>| kind.is_none();
            package
                .dependencies
                .iter()
                .filter(move |dependency| dependency.path.is_some() && of_product(&dependency.kind))
                .map(|dependency| (short(&package.name), short(&dependency.name)))
        })
        .collect()
}

fn short(name: &str) -> String {
    name.strip_prefix("muslin-").unwrap_or(name).to_owned()
}

fn draw(arrows: &BTreeSet<Arrow>) -> String {
    let mut text = String::from("flowchart TD\n");
    for (from, to) in arrows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {from} --> {to}");
    }
    text
}

fn drawn(page: &str) -> Result<BTreeSet<Arrow>> {
    let (_, graph, _) = split(page)?;
    Ok(graph
        .lines()
        .filter_map(|line| line.trim().split_once(" --> "))
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .collect())
}

fn split(page: &str) -> Result<(&str, &str, &str)> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let Some((before, (graph, after))) = parts else {
        bail!(
            "{PAGE} has no mermaid drawing: `cargo xtask lint --fix` fills an empty one with the crate graph"
        )
    };
    Ok((before, graph, after))
}

fn differences(built: &BTreeSet<Arrow>, drawn: &BTreeSet<Arrow>) -> Vec<String> {
    let added = built.difference(drawn).map(|(a, b)| format!("{PAGE} does not have the arrow {a} --> {b}"));
    let gone =
        drawn.difference(built).map(|(a, b)| format!("{PAGE} has an arrow that nobody uses: {a} --> {b}"));
    added.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(arrows: &[(&str, &str)]) -> BTreeSet<Arrow> {
        arrows.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn what_is_drawn_is_read_back() {
        let arrows = set(&[("bgp-speaker", "bgp-packet"), ("muslin", "bgp-speaker")]);
        let page = format!("# Page\n{BEGIN}{}{END}\nmore\n{BEGIN}x --> y\n{END}", draw(&arrows));
        assert_eq!(drawn(&page).unwrap(), arrows);
    }

    #[test]
    fn an_arrow_that_the_page_lacks_is_named_and_so_is_one_too_many() {
        let built = set(&[("a", "b"), ("a", "c")]);
        let page = set(&[("a", "b"), ("b", "c")]);
        let complaints = differences(&built, &page);
        assert_eq!(complaints.len(), 2);
        assert!(complaints[0].ends_with("a --> c"), "{}", complaints[0]);
        assert!(complaints[1].ends_with("b --> c"), "{}", complaints[1]);
    }

    #[test]
    fn a_page_without_a_graph_is_refused() {
        assert!(drawn("# Page").unwrap_err().to_string().contains("no mermaid drawing"));
    }
}
