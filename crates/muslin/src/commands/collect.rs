//! `muslin collect`: everything that helps to find a fault from afar, in one archive and without secrets.
//!
//! What the daemon tells has no secrets in it to begin with. What comes from files is redacted, and whatever was found
//! to be a secret there is blotted out wherever else it stands.

mod redact;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use muslin_route_programmer::{Programmer, ProgrammerConfig};
use serde_json::{Value, json};

use self::redact::Redactor;
use super::output::write_line;
use super::{doctor, say};
use crate::cli::CollectArgs;
use crate::client;
use crate::error::sentence;

/// What the daemon is asked, and the file that the answer goes to.
const QUESTIONS: [(&str, &str); 8] = [
    ("/v1/status", "daemon/status.json"),
    ("/v1/peers", "daemon/peers.json"),
    ("/v1/plan", "daemon/plan.json"),
    ("/v1/routes/received", "daemon/routes-received.json"),
    ("/v1/routes/best", "daemon/routes-best.json"),
    ("/v1/routes/advertised", "daemon/routes-advertised.json"),
    ("/v1/routes/kernel", "daemon/routes-kernel.json"),
    ("/v1/ready", "daemon/ready.json"),
];
/// Most octets of one file of the node's.
const LARGEST_FILE: u64 = 64 << 20;

/// Writes the archive and prints its name; what could not be had is said, in the archive too.
pub(super) async fn run(args: &CollectArgs) -> anyhow::Result<ExitCode> {
    let mut bundle = Bundle::default();
    for (question, name) in QUESTIONS {
        let path = client::with_query(question, &[("limit", args.limit)])?;
        match client::get_either::<Value>(&args.socket, &path).await {
            Ok(answer) => bundle.json(name, &answer),
            Err(error) => bundle.missing(name, &sentence(&error)),
        }
    }
    bundle.json("doctor.json", &serde_json::to_value(doctor::report(&args.examine, &args.socket).await)?);
    match kernel(args.limit).await {
        Ok(kernel) => bundle.json("kernel.json", &kernel),
        Err(error) => bundle.missing("kernel.json", &sentence(&error)),
    }
    for (folder, into, ends) in [
        (Some(&args.examine.data.data_dir), "node", &["network.json", "ipam.json"][..]),
        (Some(&args.examine.configurations.conf_dir), "cni", &[".conf", ".conflist", ".json"]),
        (args.state.as_ref(), "configuration", &[".yaml", ".yml", ".json"]),
        (args.record.as_ref(), "record", &[".muslin-record"]),
    ] {
        if let Some(folder) = folder {
            bundle.folder(folder, into, ends);
        }
    }
    let made = now();
    let file = args.file.clone().unwrap_or_else(|| format!("muslin-{made}.tar.gz").into());
    let missing = bundle.missing.clone();
    bundle.write(&file, made).with_context(|| file.display().to_string())?;
    for missing in missing {
        say(&missing);
    }
    write_line(&file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "an archive says when it was made")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

/// Links, addresses and the routes of others.
async fn kernel(limit: usize) -> anyhow::Result<Value> {
    let programmer = Programmer::spawn(ProgrammerConfig::default()).await?;
    let view = programmer.view();
    let routes =
        view.foreign_routes().take(limit).map(|(prefix, route)| json!({"prefix": prefix, "route": route}));
    Ok(json!({
        "release": rustix::system::uname().release().to_string_lossy(),
        "links": view.links().collect::<Vec<_>>(),
        "addresses": view.local_addresses().collect::<Vec<_>>(),
        "defaultGateways": view.default_gateways(),
        "routesOfOthers": routes.collect::<Vec<_>>(),
        "routesOfOurs": *programmer.status(),
    }))
}

/// The files of an archive, until all secrets are known.
#[derive(Default)]
struct Bundle {
    redactor: Redactor,
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<String>,
}

impl Bundle {
    fn json(&mut self, name: &str, value: &Value) {
        let mut value = value.clone();
        self.redactor.redact(&mut value);
        self.files.push((name.to_owned(), format!("{value:#}\n").into_bytes()));
    }

    fn missing(&mut self, name: &str, reason: &str) {
        self.missing.push(format!("{name} is not in it: {reason}"));
    }

    /// The files of a folder whose names end so.
    fn folder(&mut self, folder: &Path, into: &str, ends: &[&str]) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.missing(into, &format!("{}: {error}", folder.display())),
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            if !ends.iter().any(|end| name.ends_with(end)) || !path.is_file() {
                continue;
            }
            let name = format!("{into}/{name}");
            if fs::metadata(&path).is_ok_and(|file| file.len() > LARGEST_FILE) {
                self.missing(&name, "it is too large");
                continue;
            }
            match fs::read(&path) {
                Err(error) => self.missing(&name, &error.to_string()),
                // A record is written without secrets, and is no text.
                Ok(octets) if into == "record" => self.files.push((name, octets)),
                Ok(octets) => match self.redactor.documents(&String::from_utf8_lossy(&octets)) {
                    Ok(text) => self.files.push((name, text.into_bytes())),
                    // What cannot be read cannot be redacted.
                    Err(error) => {
                        self.missing(&name, &format!("it cannot be read, so not be redacted: {error}"));
                    }
                },
            }
        }
    }

    fn write(mut self, path: &Path, made: u64) -> anyhow::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;

        let about = json!({
            "muslin": env!("CARGO_PKG_VERSION"), "madeAt": made, "missing": self.missing,
            "about": "secrets are replaced by REDACTED; addresses, names of objects and all routes are in it",
        });
        self.json("about.json", &about);
        // Routes and names are nobody else's business.
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        for (name, octets) in &self.files {
            let octets =
                if name.starts_with("record/") { octets.clone() } else { self.redactor.blot(octets) };
            let mut header = tar::Header::new_gnu();
            header.set_size(octets.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(made);
            archive.append_data(&mut header, format!("muslin/{name}"), &octets[..])?;
        }
        archive.into_inner()?.finish()?.flush()?;
        Ok(())
    }
}
