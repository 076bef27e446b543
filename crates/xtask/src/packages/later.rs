//! Daemons of the distribution's newest suite, unpacked into folders of their own: newer ones than the installed
//! release has, and such as would take over the network of a machine that they were installed on. Nothing of the system
//! is changed, and nothing but the suite's name is different from where its own packages come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::metadata::Metadata;
use crate::shell;

/// Where Debian's newest packages are.
const SUITE: &str = "sid";

/// Packages that stand in one folder together, below its name.
pub(crate) type Group = (&'static str, &'static [&'static str]);

/// Speakers of BGP. BIRD 2 and 3 have the same file names. ExaBGP's helper is a shell script.
pub(crate) const SPEAKERS: [Group; 2] =
    [("main", &["bird2", "exabgp", "frr", "gobgpd", "openbgpd", "dash", "coreutils"]), ("bird3", &["bird3"])];
/// Those that manage a machine's links, with the bus that one of them needs.
pub(crate) const MANAGERS: [Group; 1] = [("managers", &["systemd", "network-manager", "dbus-daemon"])];

/// Written last: a folder without it is incomplete.
const STAMP: &str = "packages";

/// Makes sure that the daemons of these groups are there, and says in which folder. What was unpacked once is kept
/// until the folder is removed, so a run does not depend on what the suite has today.
pub(crate) fn require(groups: &[Group]) -> Result<PathBuf> {
    let folder = Metadata::read()?.target_directory.join("daemons");
    let is_missing = |(group, _): &&Group| !folder.join(group).join(STAMP).exists();
    let missing: Vec<&Group> = groups.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(folder);
    }
    let start = Instant::now();
    println!("unpacking the daemons of {SUITE} into {}", folder.display());
    let apt = Apt::new(&folder.join("apt"))?;
    apt.get(&["update", "--quiet"])?;
    for (group, packages) in missing {
        apt.unpack(packages, &folder.join(group)).with_context(|| format!("the packages of {SUITE}"))?;
    }
    println!("unpacked in {:.1} s", start.elapsed().as_secs_f64());
    Ok(folder)
}

/// An `apt-get` with lists, a cache and a status of its own, for which nothing is installed.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        for part in ["lists/partial", "archives/partial", "none/partial", "sources"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("sources/later.sources"), sources()?)?;
        let here = folder.display();
        let configuration = format!(
            "Dir::State \"{here}\";\nDir::State::lists \"lists\";\nDir::State::status \"{here}/status\";\n\
             Dir::Cache \"{here}\";\nDir::Cache::archives \"archives\";\nDir::Etc::sourcelist \"/dev/null\";\n\
             Dir::Etc::sourceparts \"{here}/sources\";\nAPT::Sandbox::User \"root\";\n\
             APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
        );
        fs::write(folder.join("apt.conf"), configuration)?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = shell::command("apt-get");
        command.env("APT_CONFIG", self.folder.join("apt.conf")).args(words);
        command
    }

    fn get(&self, words: &[&str]) -> Result<()> {
        shell::run(&mut self.command(words))
    }

    /// Downloads packages with everything that they depend on, and unpacks them into a folder.
    fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        self.get(&[&["install", "--quiet", "--yes", "--download-only"], packages].concat())?;
        let files = self.files(packages)?;
        if into.exists() {
            fs::remove_dir_all(into)?;
        }
        fs::create_dir_all(into)?;
        for file in &files {
            let package = self.folder.join("archives").join(file);
            let status = Command::new("dpkg-deb").arg("--extract").arg(&package).arg(into).status()?;
            ensure!(status.success(), "dpkg-deb --extract {} failed: {status}", package.display());
        }
        Ok(fs::write(into.join(STAMP), files.join("\n") + "\n")?)
    }

    /// The files that an installation would take: asked with an empty cache, since what is there is not listed.
    fn files(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut command = self.command(&["install", "-qq", "--print-uris"]);
        command.arg("--option").arg(format!("Dir::Cache::archives={}", self.folder.join("none").display()));
        let listed = shell::read(command.args(packages))?;
        let files: Vec<String> =
            listed.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect();
        ensure!(!files.is_empty(), "apt-get listed no package for {packages:?}");
        Ok(files)
    }
}

/// The first source of the installed system that has its own release, with the suite's name in its place.
fn sources() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("VERSION_CODENAME in /etc/os-release")?;
    let mut texts = Vec::new();
    for folder in ["/etc/apt/sources.list.d", "/etc/apt"] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "sources" || kind == "list") {
                texts.push(fs::read_to_string(&path).with_context(|| path.display().to_string())?);
            }
        }
    }
    match texts.iter().find_map(|text| moved(text, codename)) {
        Some(sources) => Ok(sources),
        None => bail!("no source of {codename} below /etc/apt from which one of {SUITE} could be made"),
    }
}

/// The first stanza, or line of the older form, for a suite; with the newer suite instead.
fn moved(text: &str, codename: &str) -> Option<String> {
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let has =
            field("Suites").is_some_and(|suites| suites.split_whitespace().any(|suite| suite == codename));
        if let (true, Some(uris)) = (has, field("URIs")) {
            let signed = field("Signed-By").map(|key| format!("Signed-By: {key}\n")).unwrap_or_default();
            return Some(format!("Types: deb\nURIs: {uris}\nSuites: {SUITE}\nComponents: main\n{signed}"));
        }
    }
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with('[')).collect();
        match *words {
            ["deb", uri, suite, ..] if suite == codename => {
                Some(format!("Types: deb\nURIs: {uri}\nSuites: {SUITE}\nComponents: main\n"))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_moved_to_the_newer_suite_with_its_key() {
        let text = "Types: deb\n# old\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.test/security\n\
                    Suites: bookworm-security\n";
        assert_eq!(
            moved(text, "bookworm").unwrap(),
            "Types: deb\nURIs: http://mirror.test/debian\nSuites: sid\nComponents: main\nSigned-By: /k.gpg\n"
        );
        assert_eq!(moved(text, "trixie"), None);
    }

    #[test]
    fn a_source_of_the_older_form_is_moved_too() {
        let text =
            "# deb http://old.test/debian bookworm main\ndeb http://mirror.test/debian bookworm main\n";
        let expected = "Types: deb\nURIs: http://mirror.test/debian\nSuites: sid\nComponents: main\n";
        assert_eq!(moved(text, "bookworm").unwrap(), expected);
    }
}
