use std::convert::Infallible;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::ipam::{Attachment, Grant, Wish};

fn pod(container: &str) -> Attachment {
    Attachment { network: "net".into(), container: container.into(), interface: "eth0".into() }
}

fn add(data_dir: &Path, container: &str) -> Result<Grant, StoreError> {
    let blocks = ["10.0.0.0/24".parse().unwrap()];
    let attachment = pod(container);
    let store = Store::lock(data_dir)?;
    let mut ledger = store.load(|| Ok::<_, Infallible>(Vec::new()))?;
    let rest = Duration::from_mins(1);
    let wish =
        Wish { attachment: &attachment, blocks: &blocks, reserved: &[], exactly: &[], within: &[], rest };
    let grant = ledger.allocate(&wish, now()).unwrap();
    store.save(&ledger)?;
    Ok(grant)
}

#[test]
fn what_is_saved_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let first = add(folder.path(), "a").unwrap();
    assert_eq!(add(folder.path(), "a").unwrap(), Grant::Held(first.addresses().to_vec()));
    assert_ne!(add(folder.path(), "b").unwrap().addresses(), first.addresses());
}

#[test]
fn a_missing_truncated_or_scrambled_ledger_is_rebuilt_from_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let ledger_path = folder.path().join(LEDGER);
    add(folder.path(), "a").unwrap();
    let whole = fs::read(&ledger_path).unwrap();
    let alive = Attached { attachment: pod("alive"), addresses: vec!["10.0.0.7".parse().unwrap()] };
    let broken: Vec<&[u8]> = vec![b"", b"{}", b"\0\0\0\0", &whole[..whole.len() / 2], b"{\"version\": 1}"];
    for contents in broken {
        fs::write(&ledger_path, contents).unwrap();
        let store = Store::lock(folder.path()).unwrap();
        let ledger = store.load(|| Ok::<_, Infallible>(vec![alive.clone()])).unwrap();
        assert_eq!(ledger.addresses_of(&pod("alive")), alive.addresses);
        assert_eq!(fs::read(folder.path().join("ipam.json.broken")).unwrap(), contents);
    }
}

#[test]
fn a_ledger_of_a_newer_version_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let contents = br#"{"version": 2, "pages": []}"#;
    fs::write(folder.path().join(LEDGER), contents).unwrap();
    let error = add(folder.path(), "a").unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");
    assert_eq!(fs::read(folder.path().join(LEDGER)).unwrap(), contents);
}

#[test]
fn a_ledger_of_another_boot_has_no_leases() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "a").unwrap();
    let path = folder.path().join(LEDGER);
    let text = fs::read_to_string(&path).unwrap();
    let boot_id = fs::read_to_string(BOOT_ID).unwrap();
    fs::write(&path, text.replace(boot_id.trim(), "another boot")).unwrap();
    let ledger = Store::lock(folder.path()).unwrap().load(|| Ok::<_, Infallible>(Vec::new())).unwrap();
    assert_eq!(ledger.addresses_of(&pod("a")), Vec::<std::net::IpAddr>::new());
}

#[test]
fn a_ledger_that_cannot_be_written_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "a").unwrap();
    let before = fs::read(folder.path().join(LEDGER)).unwrap();
    // A folder in the place of the unfinished file fails for root too, as a full disk would.
    fs::create_dir(folder.path().join(".ipam.json.unfinished")).unwrap();
    assert!(matches!(add(folder.path(), "b"), Err(StoreError::Io { .. })));
    assert_eq!(fs::read(folder.path().join(LEDGER)).unwrap(), before);
}

#[test]
fn fifty_writers_at_once_get_fifty_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let given = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..50 {
            let (folder, given) = (folder.path(), &given);
            scope.spawn(move || {
                let grant = add(folder, &format!("pod-{number}")).unwrap();
                given.lock().unwrap().extend_from_slice(grant.addresses());
            });
        }
    });
    let mut given = given.into_inner().unwrap();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 50);
}

/// Where a plugin may be killed while it changes the ledger.
#[derive(Clone, Copy, Debug)]
enum Killed {
    BeforeSaving,
    /// With so many octets of the new file written.
    Writing(prop::sample::Index),
    AfterSaving,
}

fn killed() -> impl Strategy<Value = Killed> {
    prop_oneof![
        Just(Killed::BeforeSaving),
        any::<prop::sample::Index>().prop_map(Killed::Writing),
        Just(Killed::AfterSaving),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Ten sequences of a hundred kills. What was saved is what the next call finds, and nothing of what was not.
    #[test]
    fn fault_31_a_thousand_kills_leave_the_ledger_of_before_or_of_after(
        calls in proptest::collection::vec((0u8..8, any::<bool>(), killed()), 100),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let blocks = ["10.0.0.0/28".parse().unwrap()];
        let mut saved = Ledger::default();
        for (number, is_add, killed) in calls {
            let attachment = pod(&number.to_string());
            let store = Store::lock(folder.path()).unwrap();
            let mut ledger = store.load(|| Ok::<_, Infallible>(Vec::new())).unwrap();
            prop_assert_eq!(&ledger, &saved);
            if is_add {
                let wish = Wish {
                    attachment: &attachment,
                    blocks: &blocks,
                    reserved: &[],
                    exactly: &[],
                    within: &[],
                    rest: Duration::ZERO,
                };
                // Eight pods and fourteen addresses: it fails only if some are lost.
                ledger.allocate(&wish, now()).unwrap();
            } else {
                ledger.release(&attachment, now());
            }
            match killed {
                Killed::BeforeSaving => {}
                Killed::Writing(at) => {
                    let format = Format { version: VERSION, boot_id: store.boot_id.clone(), ledger: &ledger };
                    let contents = serde_json::to_vec(&format).unwrap();
                    let unfinished = folder.path().join(".ipam.json.unfinished");
                    fs::write(unfinished, &contents[..at.index(contents.len())]).unwrap();
                }
                Killed::AfterSaving => {
                    store.save(&ledger).unwrap();
                    saved = ledger;
                }
            }
        }
        // Once more to its end, over whatever was left unfinished.
        let grant = add(folder.path(), "last").unwrap();
        prop_assert_eq!(grant.addresses().len(), 1);
    }
}
