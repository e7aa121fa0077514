//! Scripts that were written by hand, with what they led to, and scripts that broke a rule once.

use std::{env, fs, path::PathBuf};

use landfall_simulation::{Script, World};

/// Between a script and what happened.
const LINE: &str = "---\n";

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("invariant: the folder is in the repository");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

#[test]
fn scripts_lead_to_what_is_written() {
    for file in files("scripts") {
        let text = fs::read_to_string(&file).unwrap();
        let (head, wanted) = text.split_once(LINE).unwrap_or((&text, ""));
        let script = Script::parse(head).unwrap();
        let (log, violations) = World::play(&script);
        assert!(violations.is_empty(), "{}: {violations:#?}\n{}", file.display(), log.join("\n"));
        let found: String = log.iter().map(|line| format!("{line}\n")).collect();
        if env::var_os("LANDFALL_BLESS").is_some() {
            fs::write(&file, format!("{}\n{LINE}{found}", head.trim_end())).unwrap();
        } else {
            assert_eq!(found, wanted, "{}: LANDFALL_BLESS=1 rewrites it", file.display());
        }
    }
}

#[test]
fn what_broke_a_rule_once_does_so_no_more() {
    for file in files("regressions") {
        let script = Script::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        let (log, violations) = World::play(&script);
        assert!(violations.is_empty(), "{}: {violations:#?}\n{}", file.display(), log.join("\n"));
    }
}

#[test]
fn a_script_is_written_as_it_is_read() {
    for file in files("scripts") {
        let text = fs::read_to_string(&file).unwrap();
        let script = Script::parse(text.split(LINE).next().unwrap()).unwrap();
        assert_eq!(Script::parse(&script.to_string()).unwrap(), script);
    }
}

#[test]
fn mistakes_in_a_script_are_named() {
    for (text, part) in [
        ("nodes 0", "1 to 1000 nodes"),
        ("nodes 2\nservices 1\nat 5 kill 2", "there are only 2 nodes"),
        ("nodes 2\nat 5 dance 1", "there is no such action"),
        ("nodes 2\nat 5 kill 1\nat 4 kill 0", "order of time"),
        ("nodes 2\nservices 1\nat 5 endpoints 0 maybe", "neither on nor off"),
        ("nodes two", "invalid digit"),
    ] {
        let error = format!("{:#}", Script::parse(text).unwrap_err());
        assert!(error.contains(part), "{text:?}: {error}");
    }
}
