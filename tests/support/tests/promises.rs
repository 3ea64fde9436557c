//! ARCHITECTURE.md names the tests that show each promise: they exist.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file of ours in Rust.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && !matches!(name.to_str(), Some("target" | ".git" | ".venv")) {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rows of the tables under a heading: number of the promise, and what is named.
fn rows(document: &str) -> Vec<(String, Vec<String>)> {
    let section = document.split("## What shows each promise").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("it has an end");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let number = cells.next()?.split(' ').next()?.to_owned();
        number.parse::<u32>().ok()?;
        let names = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some((number, names))
    };
    section.lines().filter_map(row).collect()
}

#[test]
fn every_promise_and_rule_names_tests_that_exist() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is there");
    let rows = rows(&document);
    let numbers: Vec<u32> = rows.iter().filter_map(|(number, _)| number.parse().ok()).collect();
    assert_eq!(numbers, (1..=28).chain(1..=16).collect::<Vec<u32>>());

    let mut files = Vec::new();
    sources(&root(), &mut files);
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let file_names: BTreeSet<String> = files.iter().filter_map(name).collect();
    let text: String = files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    for (number, names) in rows {
        assert!(!names.is_empty(), "{number} names no test");
        for name in names {
            let there = match name.strip_prefix("Planted::") {
                Some(bug) => text.contains(&format!("    {bug}, within ")),
                None => {
                    file_names.contains(&name)
                        || file_names.contains(&format!("{name}.rs"))
                        || text.contains(&format!("fn {name}("))
                }
            };
            assert!(there, "{number} names {name}, which does not exist");
        }
    }
}
