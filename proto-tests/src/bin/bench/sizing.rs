//! What clusters cost by their size: measured of a reflector and of an agent, and from that the table of `docs/sizing.md`.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::report::{Column, Row, Samples, Section, number};
use crate::speaker::{self, Extent, REFLECTOR_COSTS};
use crate::start::Started;

/// Where the table stands in the page.
const BEGIN: &str = "<!-- costs, written by `cargo xtask bench --only sizing --write` -->\n";
const END: &str = "<!-- end of costs -->";

/// What is behind the columns.
const ORIGIN: &str = "\nPods and Services are assumed. Measured are one reflector with the sessions of all nodes, every one of them a real \
                      one, and one agent with the whole cluster in its state. How many reflectors there are is computed from \
                      the time that the one took.\n";

const AGENT_COSTS: [Column; 4] = [
    Column { name: "agent: ready", unit: "s" },
    Column { name: "agent: processor", unit: "s" },
    Column { name: "agent: resident memory", unit: "MiB" },
    Column { name: "agent: peak memory", unit: "MiB" },
];

/// Up to here the mesh does without reflectors.
const MESH: u32 = 100;
/// Nodes that all start at once should know each other within so many seconds; if a pair of reflectors needs longer, there
/// are more, each with its part of the nodes.
const TOGETHER: f64 = 10.0;
/// What a kubelet takes by default.
const PODS: u32 = 110;

pub(crate) fn measure(extent: &Extent) -> Result<Section> {
    let sizes = if extent.quick { &[50, 200][..] } else { &[100, 1000, 5000, 15_000] };
    let runs = extent.runs.unwrap_or(if extent.quick { 1 } else { 3 });
    let columns: Vec<Column> = REFLECTOR_COSTS.into_iter().chain(AGENT_COSTS).collect();
    let row = |nodes: &u32| Row { name: nodes.to_string(), values: vec![Samples::default(); columns.len()] };
    let mut rows: Vec<Row> = sizes.iter().map(row).collect();
    for run in 1..=runs {
        for (nodes, row) in sizes.iter().zip(&mut rows) {
            eprintln!("round {run} of {runs}: {nodes} nodes");
            let mut values = speaker::reflect(*nodes)?;
            values.extend(Started::new(*nodes, services(*nodes))?.costs);
            row.values.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
        }
    }
    Ok(Section {
        title: "What clusters cost by their size",
        method: format!(
            "Clusters by the number of their nodes. `muslin speaker` as the reflector of all nodes, each with one block: as \
             S3, which says what is measured. Then the start of `muslin agent` on one of the nodes, with twice as many \
             Services: as S8. {runs} repetitions."
        ),
        columns,
        rows,
        targets: vec![],
        notes: vec![],
        plot: None,
    })
}

fn services(nodes: u32) -> u32 {
    2 * nodes
}

/// The page with the table of what was measured; as it is if it has no place for one.
pub(crate) fn with_costs(page: &str, section: &Section) -> Result<String> {
    let Some((before, rest)) = page.split_once(BEGIN) else { return Ok(page.to_owned()) };
    let (_, after) = rest.split_once(END).context(END)?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table(section)?))
}

fn table(section: &Section) -> Result<String> {
    let mut text = "| nodes | pods | Services | reflectors | one of them: memory, MiB | its processor until all know all, s | \
                    until a lost node is known, ms | agent: memory, MiB | its processor until it is ready, s |\n\
                    |--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for row in &section.rows {
        let nodes: u32 = row.name.parse().with_context(|| row.name.clone())?;
        let median = |column: &'static str| section.median(&row.name, column).context(column);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {nodes} | {} | {} | {} | {} | {} | {} | {} | {} |",
            nodes * PODS,
            services(nodes),
            reflectors(nodes, median("time")?),
            number(median("peak memory")?),
            number(median("processor")?),
            number(median("node down")?),
            number(median("agent: resident memory")?),
            number(median("agent: processor")?),
        );
    }
    text += ORIGIN;
    Ok(text)
}

/// How many there should be, when one takes so long to tell all nodes everything: with a part of the nodes, it takes that part
/// of the time.
fn reflectors(nodes: u32, seconds: f64) -> u32 {
    if nodes <= MESH {
        return 0;
    }
    let pairs = (1..=nodes).find(|pairs| seconds <= TOGETHER * f64::from(*pairs));
    2 * pairs.unwrap_or(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_page_is_replaced_by_what_was_measured() {
        let columns: Vec<Column> = REFLECTOR_COSTS.into_iter().chain(AGENT_COSTS).collect();
        let row = |nodes: u32, value: f64| Row {
            name: nodes.to_string(),
            values: columns.iter().map(|_| [value].into_iter().collect()).collect(),
        };
        let rows = vec![row(100, 1.0), row(1000, 2.0), row(15_000, 12.0)];
        let (title, method, targets, notes) = ("", String::new(), vec![], vec![]);
        let section = Section { title, method, columns: columns.clone(), rows, targets, notes, plot: None };
        let page = with_costs(&format!("A\n{BEGIN}old\n{END}\nB\n"), &section).unwrap();
        assert!(page.starts_with("A\n") && page.ends_with("B\n") && !page.contains("old"), "{page}");
        assert!(page.contains("\n| 100 | 11000 | 200 | 0 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |\n"), "{page}");
        assert!(page.contains("\n| 1000 | 110000 | 2000 | 2 |"), "{page}");
        assert!(page.contains("\n| 15000 | 1650000 | 30000 | 4 |"), "{page}");
        assert!(
            page.contains("\n\nPods and Services are assumed."),
            "the table ends before what is said of it: {page}"
        );
        assert_eq!(with_costs(&page, &section).unwrap(), page, "nothing changes by a second time");
        assert_eq!(with_costs("no place", &section).unwrap(), "no place");
    }
}
