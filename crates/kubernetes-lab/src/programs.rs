//! The programs of Kubernetes, built once from the Go module proxy and kept by version outside of the tree.
//!
//! A release of Kubernetes is not a package of any distribution; its sources are Go modules. Six of its commands are
//! one binary here, which knows by its name which of them it is: a third of the size and of the time to link.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use muslin_lab::{LabError, Progress};
use sha2::{Digest, Sha256};

/// The release of Kubernetes.
pub const KUBERNETES: &str = "1.34.2";

/// What the one binary can be called.
const COMMANDS: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Files of one Go module.
type Module = [(&'static str, &'static str)];

/// Kubernetes and what is of the same libraries, which are compiled once.
const KUBERNETES_MODULE: &Module = &[
    ("go.mod", include_str!("programs/kubernetes.mod")),
    ("go.sum", include_str!("programs/kubernetes.sum")),
    ("tools.go", include_str!("programs/tools.go")),
];
const PAUSE_MODULE: &Module = &[("go.mod", "module muslin.dev/lab/pause\n\ngo 1.24\n")];

/// Skipper, with the versions of all that it is made of.
const INGRESS_MODULE: &Module =
    &[("go.mod", include_str!("programs/ingress.mod")), ("go.sum", include_str!("programs/ingress.sum"))];

/// kwok, with the versions of all that it is made of.
const KWOK_MODULE: &Module =
    &[("go.mod", include_str!("programs/kwok.mod")), ("go.sum", include_str!("programs/kwok.sum"))];

/// A program and how it comes about: from a package of a module that stands here, with the versions of all that it is made
/// of.
#[derive(Debug)]
struct Recipe {
    /// Its file.
    name: &'static str,
    /// What Go is told to do with the package.
    command: &'static [&'static str],
    module: &'static Module,
    /// What is ours of the package: a file of the module.
    source: Option<(&'static str, &'static str)>,
    package: &'static str,
    /// Variables of Go packages that say which version they are.
    variables: &'static [(&'static str, &'static str)],
    /// Files below the package's folder that the program reads when it runs; they are kept beside it.
    data: &'static [&'static str],
}

impl Recipe {
    /// Another one for whatever would be built differently.
    fn digest(&self) -> impl AsRef<[u8]> {
        Sha256::digest(format!("{self:?}"))
    }
}

const PROGRAM: &[&str] = &["build"];
const TESTS: &[&str] = &["test", "-c", "-vet=off"];

const VERSION: &[(&str, &str)] = &[
    ("k8s.io/component-base/version.gitVersion", "v1.34.2"),
    ("k8s.io/component-base/version.gitMajor", "1"),
    ("k8s.io/component-base/version.gitMinor", "34"),
    ("k8s.io/client-go/pkg/version.gitVersion", "v1.34.2"),
];

/// In the order of building: what others wait for comes first.
const RECIPES: [Recipe; 6] = [
    Recipe {
        name: "kubernetes",
        command: PROGRAM,
        module: KUBERNETES_MODULE,
        source: Some(("main.go", include_str!("programs/kubernetes.go"))),
        package: ".",
        variables: VERSION,
        data: &[],
    },
    Recipe {
        name: "pause",
        command: PROGRAM,
        module: PAUSE_MODULE,
        source: Some(("main.go", include_str!("programs/pause.go"))),
        package: ".",
        variables: &[],
        data: &[],
    },
    Recipe {
        name: "agnhost",
        command: PROGRAM,
        module: KUBERNETES_MODULE,
        source: None,
        package: "k8s.io/kubernetes/test/images/agnhost",
        variables: VERSION,
        data: &["porter/localhost.crt", "porter/localhost.key"],
    },
    Recipe {
        name: "regression-issue-74839",
        command: PROGRAM,
        module: KUBERNETES_MODULE,
        source: None,
        package: "k8s.io/kubernetes/test/images/regression-issue-74839",
        variables: &[],
        data: &[],
    },
    Recipe {
        name: "helm",
        command: PROGRAM,
        module: KUBERNETES_MODULE,
        source: None,
        package: "helm.sh/helm/v3/cmd/helm",
        variables: &[("helm.sh/helm/v3/internal/version.version", "v3.19.2")],
        data: &[],
    },
    Recipe {
        name: "coredns",
        command: PROGRAM,
        module: KUBERNETES_MODULE,
        source: Some(("coredns/main.go", include_str!("programs/coredns.go"))),
        package: "./coredns",
        variables: &[],
        data: &[],
    },
];

/// An Ingress controller that needs nothing but its own program and the API.
const INGRESS: Recipe = Recipe {
    name: "skipper",
    command: PROGRAM,
    module: INGRESS_MODULE,
    source: None,
    package: "github.com/zalando/skipper/cmd/skipper",
    variables: &[],
    data: &[],
};

/// The kubelets of nodes that are not there, for benchmarks. Its releases are not Kubernetes': the name says which it is, to
/// readers of a benchmark too.
const KWOK: Recipe = Recipe {
    name: "kwok-0.8.0",
    command: PROGRAM,
    module: KWOK_MODULE,
    source: None,
    package: "sigs.k8s.io/kwok/cmd/kwok",
    variables: &[],
    data: &[],
};

/// What runs Kubernetes' own tests, and the tests.
const END_TO_END: [Recipe; 2] = [
    Recipe {
        name: "ginkgo",
        command: PROGRAM,
        module: KUBERNETES_MODULE,
        source: None,
        package: "github.com/onsi/ginkgo/v2/ginkgo",
        variables: &[],
        data: &[],
    },
    Recipe {
        name: "e2e.test",
        command: TESTS,
        module: KUBERNETES_MODULE,
        source: None,
        package: "k8s.io/kubernetes/test/e2e",
        variables: VERSION,
        data: &[],
    },
];

/// A folder with all programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Finds the programs, and builds those that are missing or were made by another recipe: all of them take ten minutes
    /// on two cores.
    ///
    /// # Errors
    /// [`LabError::Missing`] if there is no Go, [`LabError::Process`] if it fails.
    pub fn prepare(progress: Progress) -> Result<Self, LabError> {
        let programs = Self::in_cache()?;
        fs::create_dir_all(programs.folder()).map_err(LabError::file(programs.folder()))?;
        for recipe in &RECIPES {
            programs.require(recipe, progress)?;
        }
        for command in COMMANDS {
            let link = programs.get(command);
            if fs::symlink_metadata(&link).is_err() {
                symlink("kubernetes", &link).map_err(LabError::file(&link))?;
            }
        }
        Ok(programs)
    }

    /// Finds the programs that an earlier [`prepare`](Self::prepare) has built.
    ///
    /// # Errors
    /// [`LabError::Missing`] if there are none.
    pub fn built() -> Result<Self, LabError> {
        let programs = Self::in_cache()?;
        if programs.get("kube-apiserver").exists() && programs.get("kubectl").exists() {
            return Ok(programs);
        }
        Err(LabError::Missing(format!(
            "there is no Kubernetes {KUBERNETES}: `cargo xtask test --tier kubernetes` builds it, once"
        )))
    }

    /// Builds what is missing of everything that tests of a lab want, too: a machine that builds is a slow cluster.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_for_tests(progress: Progress) -> Result<Self, LabError> {
        let programs = Self::prepare(progress)?;
        programs.ingress_controller(progress)?;
        programs.end_to_end(progress)?;
        Ok(programs)
    }

    /// Finds an Ingress controller, or builds it.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) fn ingress_controller(&self, progress: Progress) -> Result<PathBuf, LabError> {
        self.require(&INGRESS, progress)
    }

    /// Finds kwok, or builds it, which takes two minutes on two cores. No lab and no test wants it.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn kwok(&self, progress: Progress) -> Result<PathBuf, LabError> {
        self.require(&KWOK, progress)
    }

    /// Finds the runner and the program of Kubernetes' own end-to-end tests, or builds them.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) fn end_to_end(&self, progress: Progress) -> Result<[PathBuf; 2], LabError> {
        let [ginkgo, suite] = &END_TO_END;
        Ok([self.require(ginkgo, progress)?, self.require(suite, progress)?])
    }

    fn in_cache() -> Result<Self, LabError> {
        Ok(Self { folder: cache_folder()?.join("muslin/kubernetes").join(KUBERNETES) })
    }

    fn require(&self, recipe: &Recipe, progress: Progress) -> Result<PathBuf, LabError> {
        if !self.has(recipe) {
            let step = progress.step(format!("{} built, once", recipe.name));
            self.build(recipe)?;
            step.done();
        }
        Ok(self.get(recipe.name))
    }

    /// Whether the program is there as the recipe makes it.
    fn has(&self, recipe: &Recipe) -> bool {
        let made_by = fs::read(self.made_by(recipe)).unwrap_or_default();
        made_by == recipe.digest().as_ref() && self.get(recipe.name).is_file()
    }

    /// The file that tells which recipe a program was made by: versions are not all that it depends on.
    fn made_by(&self, recipe: &Recipe) -> PathBuf {
        self.get(&format!(".{}.recipe", recipe.name))
    }

    /// The file of a program.
    pub fn get(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where all are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Builds in a folder beside the result, which then appears at once: whoever sees a file sees all of it.
    fn build(&self, recipe: &Recipe) -> Result<(), LabError> {
        let place = tempfile::Builder::new().prefix(".build-").tempdir_in(&self.folder);
        let place = place.map_err(LabError::file(&self.folder))?;
        let flags: Vec<String> =
            recipe.variables.iter().map(|(name, value)| format!("-X {name}={value}")).collect();
        let flags = format!("-s -w {}", flags.join(" "));
        for (name, text) in recipe.module.iter().chain(&recipe.source) {
            let file = place.path().join(name);
            let folder = file.parent().unwrap_or(place.path());
            fs::create_dir_all(folder).map_err(LabError::file(folder))?;
            fs::write(&file, text).map_err(LabError::file(file))?;
        }
        let result = place.path().join(".built");
        let mut go = go(place.path());
        go.args(recipe.command).args(["-trimpath", "-buildvcs=false", "-ldflags", &flags]);
        go.arg("-o").arg(&result).arg(recipe.package);
        run_go(&mut go, recipe.name)?;
        self.keep_data(recipe, place.path())?;
        fs::rename(&result, self.get(recipe.name)).map_err(LabError::file(&result))?;
        fs::write(&result, recipe.digest()).map_err(LabError::file(&result))?;
        fs::rename(&result, self.made_by(recipe)).map_err(LabError::file(result))
    }

    /// Takes what a program reads from where Go has the package.
    fn keep_data(&self, recipe: &Recipe, module: &Path) -> Result<(), LabError> {
        if recipe.data.is_empty() {
            return Ok(());
        }
        let said = run_go(go(module).args(["list", "-f", "{{.Dir}}", recipe.package]), recipe.name)?;
        let folder = Path::new(said.trim());
        for file in recipe.data.iter().map(|file| folder.join(file)) {
            let name = file.file_name().unwrap_or_default();
            let copy = module.join(name);
            fs::copy(&file, &copy).map_err(LabError::file(&file))?;
            fs::rename(&copy, self.folder.join(name)).map_err(LabError::file(copy))?;
        }
        Ok(())
    }
}

/// Go, in the folder of a module.
fn go(module: &Path) -> Command {
    let mut go = Command::new("go");
    // Static, since it runs in images without a C library too.
    go.current_dir(module).env("CGO_ENABLED", "0").env_remove("GOFLAGS").stdin(Stdio::null());
    go
}

/// What it printed.
fn run_go(go: &mut Command, name: &str) -> Result<String, LabError> {
    let output = go.output().map_err(|error| {
        LabError::Missing(format!("Kubernetes is built with Go 1.24 or later, which does not start: {error}"))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    Err(LabError::Process {
        process: format!("go, building {name}"),
        problem: format!("failed ({})", output.status),
        log: lines[lines.len().saturating_sub(15)..].join("\n"),
    })
}

/// `$XDG_CACHE_HOME`, or `~/.cache`.
fn cache_folder() -> Result<PathBuf, LabError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))).ok_or_else(|| {
        LabError::Missing("neither XDG_CACHE_HOME nor HOME says where to keep programs".to_owned())
    })
}

/// Whether a program is in `PATH` or where distributions keep daemons; where.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(usual);
    folders.find_map(|folder| Some(folder.join(OsStr::new(program))).filter(|file| file.is_file()))
}

/// What a distribution has to provide, as (program, Debian's package).
const NEEDED: [(&str, &str); 10] = [
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
];
/// Where Debian has the reference CNI plugins.
pub(crate) const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// Checks for root and the distribution's programs.
pub(crate) fn check() -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::Missing(
            "--kubernetes needs root, for the control groups of kubelets: use sudo".into(),
        ));
    }
    let missing = NEEDED.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package);
    let mut missing: Vec<&str> = missing.collect();
    if !Path::new(REFERENCE_PLUGINS).join("portmap").is_file() {
        missing.push("containernetworking-plugins");
    }
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    Err(LabError::Missing(format!("--kubernetes needs more programs: apt-get install {}", missing.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_recipe_is_not_taken_for_this_ones() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs { folder: folder.path().to_path_buf() };
        let recipe = |text| Recipe {
            name: "program",
            command: PROGRAM,
            module: PAUSE_MODULE,
            source: Some(("main.go", text)),
            package: ".",
            variables: &[],
            data: &[],
        };
        let (old, new) = (recipe("package main"), recipe("package main // changed"));
        fs::write(programs.get("program"), "").unwrap();
        assert!(!programs.has(&old), "nobody knows what made it");
        fs::write(programs.made_by(&old), old.digest()).unwrap();
        assert!(programs.has(&old) && !programs.has(&new));
        fs::remove_file(programs.get("program")).unwrap();
        assert!(!programs.has(&old));
    }
}
