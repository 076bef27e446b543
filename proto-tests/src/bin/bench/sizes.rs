//! Size of what is shipped, beside what others ship for the same.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{Column, Row, Section};

pub(crate) fn measure(binaries: &Path) -> Result<Section> {
    let row = |name: &str, files: &[&Path]| -> Result<Row> {
        let mut kib = 0;
        for file in files {
            let bytes = fs::metadata(file).with_context(|| file.display().to_string())?.len();
            kib += u32::try_from(bytes / 1024).context("a file of terabytes")?;
        }
        let mib = f64::from(kib) / 1024.0;
        Ok(Row { name: name.to_owned(), values: vec![[mib].into_iter().collect()] })
    };
    let path = Path::new;
    Ok(Section {
        title: "Size of the binaries",
        method: "Release builds as shipped; the others without the libraries that they load.".to_owned(),
        columns: vec![Column { name: "size", unit: "MiB" }],
        rows: vec![
            row("muslin", &[&binaries.join("muslin")])?,
            row("muslin-cni", &[&binaries.join("muslin-cni")])?,
            row("Debian's ptp + host-local", &[path("/usr/lib/cni/ptp"), path("/usr/lib/cni/host-local")])?,
            row("BIRD (bird, birdc)", &[path("/usr/sbin/bird"), path("/usr/sbin/birdc")])?,
            row("GoBGP (gobgpd, gobgp)", &[path("/usr/bin/gobgpd"), path("/usr/bin/gobgp")])?,
        ],
        targets: vec![],
        notes: vec![],
        plot: None,
    })
}
