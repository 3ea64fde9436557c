//! Checks that the files, tests and types that the documents cite exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Directories that are not ours or are made by a build.
const PASSED_OVER: [&str; 4] = [".git", ".venv", "target", "node_modules"];
/// A cited word with one of these endings is a file.
const FILES: [&str; 7] = [".rs", ".sql", ".md", ".toml", ".yml", ".proto", ".py"];
/// Cited files that rightly do not exist, with the reason.
const NOT_THERE: [(&str, &str); 3] = [
    ("proto/shop/saga/shipping/v1/shipping.proto", "the README's example of a step to be added"),
    ("services/shipping", "the same"),
    ("saga/orchestrator", "the source of a CloudEvent"),
];

pub(crate) fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

#[test]
fn every_path_that_a_document_cites_is_there() {
    let tree = Tree::read();
    let missing = each_document(|text| tree.missing_paths(text));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut missing = Vec::new();
    for name in documents() {
        let text = fs::read_to_string(root().join(&name)).expect("a document");
        let place = root().join(&name);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            if !place.with_file_name("").join(link).exists() {
                missing.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_test_and_type_that_a_document_cites_is_in_the_code() {
    let words = Tree::read().words();
    let missing = each_document(|text| missing_names(text, &words));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn what_is_not_there_is_found() {
    let tree = Tree::read();
    let text = "`fold.rs`, `orchestrator/store/src/write.rs`, `services/*/src/table/sqlite.rs`, `application/json`
```
`in/a/listing.rs`
```
`services/{order,shipment}`, `tests/conformance/`";
    let missing = tree.missing_paths(text);
    assert_eq!(missing, ["orchestrator/store/src/write.rs", "services/{order,shipment}"]);
    let text = "`every_planted_bug_is_noticed`, `a_test_that_was_renamed`, `Planted::NoSuchBug`";
    let missing = missing_names(text, &tree.words());
    assert_eq!(missing, ["a_test_that_was_renamed", "Planted::NoSuchBug"]);
}

/// Applies `missing` to each document, and adds the document's name to the results.
fn each_document(missing: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let documents = documents().into_iter();
    let all = documents.flat_map(|name| {
        let text = fs::read_to_string(root().join(&name)).expect("a document");
        missing(&text).into_iter().map(move |cited| format!("{name}: `{cited}`"))
    });
    all.collect()
}

fn documents() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).expect("docs").map(|entry| {
        format!("docs/{}", entry.expect("an entry").file_name().to_str().expect("UTF-8"))
    });
    let top = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"].map(str::to_owned);
    top.into_iter().chain(docs.filter(|name| name.ends_with(".md"))).collect()
}

/// Returns the texts between backticks, outside of code blocks.
fn cited(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// Returns the cited names that are not in the code. A test has a long lower-case name; a type is
/// recognised by its members, as in `Planted::NoDeduplication`.
fn missing_names(text: &str, words: &BTreeSet<String>) -> Vec<String> {
    let is_name = |cited: &&str| {
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
        let is_test = cited.matches('_').count() >= 2 && !cited.contains(char::is_uppercase);
        cited.chars().all(of_a_name) && (is_test || cited.contains("::"))
    };
    let is_missing =
        |cited: &&str| cited.split("::").any(|part| !part.is_empty() && !words.contains(part));
    cited(text).filter(is_name).filter(is_missing).map(str::to_owned).collect()
}

/// All files and directories, as paths from the root.
pub(crate) struct Tree(Vec<String>);

impl Tree {
    pub(crate) fn read() -> Self {
        let mut paths = Vec::new();
        walk(&root(), "", &mut paths);
        Self(paths)
    }

    /// Returns the files, without the directories.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|path| root().join(path).is_file())
    }

    fn missing_paths(&self, text: &str) -> Vec<String> {
        let is_missing = |cited: &&str| {
            let known = NOT_THERE.iter().any(|(path, _)| path == cited);
            self.is_path(cited) && !known && !alternatives(cited).iter().all(|path| self.has(path))
        };
        cited(text).filter(is_missing).map(str::to_owned).collect()
    }

    /// Returns whether a word is a path: it ends like a file's name or begins with one of our
    /// directories.
    fn is_path(&self, cited: &str) -> bool {
        let of_a_path = |c: char| c.is_ascii_alphanumeric() || "_-./*{},".contains(c);
        let directory = cited.split_once('/').is_some_and(|(first, _)| {
            self.0.iter().any(|path| path.rsplit('/').next() == Some(first))
        });
        cited.chars().all(of_a_path) && (directory || FILES.iter().any(|end| cited.ends_with(end)))
    }

    /// Returns whether a file or directory ends with this path: documents may cite relative paths.
    fn has(&self, cited: &str) -> bool {
        let cited: Vec<&str> = cited.trim_end_matches('/').rsplit('/').collect();
        self.0.iter().any(|path| {
            let path: Vec<&str> = path.rsplit('/').collect();
            let ends = path.len() >= cited.len();
            ends && cited.iter().zip(&path).all(|(cited, part)| *cited == "*" || cited == part)
        })
    }

    /// Returns all words of the code, without comments on lines of their own and without the
    /// examples of the tests beside this one.
    fn words(&self) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        let examples = Path::new(file!()).parent().expect("a directory");
        let code = self.files().filter(|path| path.ends_with(".rs"));
        let code = code.filter(|path| !Path::new(path).starts_with(examples));
        for path in code {
            let code = fs::read_to_string(root().join(path)).expect("a source file");
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in lines {
                let parts = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                words.extend(parts.map(str::to_owned));
            }
        }
        words
    }
}

/// Expands braces: `services/{order,payment}` is two paths.
fn alternatives(cited: &str) -> Vec<String> {
    match cited.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        Some((head, (names, tail))) => {
            names.split(',').map(|name| format!("{head}{name}{tail}")).collect()
        }
        None => vec![cited.to_owned()],
    }
}

fn walk(directory: &Path, prefix: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        if PASSED_OVER.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("a kind").is_dir() {
            walk(&entry.path(), &format!("{path}/"), paths);
        }
        paths.push(path);
    }
}
