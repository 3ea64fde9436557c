//! Checks that each promise or rule that is cited exists, and that each names existing tests.

use std::fs;

use crate::documents::{Tree, root};

/// Each document of numbered rules, by the first word of its citations ("semantics 8, 26"), and the
/// number of its rules.
const DOCUMENTS: [(&str, u32); 2] = [("semantics", 28), ("protocol", 16)];
/// Endings of the files that may cite a rule.
const CITING: [&str; 4] = [".rs", ".proto", ".sql", ".md"];
/// Stands in place of a test's name if a rule has no test.
const NO_TEST: &str = "No test of its own yet";

#[test]
fn rules_are_numbered_without_gaps() {
    for (document, count) in DOCUMENTS {
        let numbers: Vec<u32> = rules(&read(document)).iter().map(|rule| rule.number).collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<u32>>(), "{document}");
    }
}

#[test]
fn every_rule_that_is_cited_is_there() {
    let tree = Tree::read();
    let citing = tree.files().filter(|path| CITING.iter().any(|end| path.ends_with(end)));
    let mut missing = Vec::new();
    let mut citations = 0;
    for path in citing {
        let text = fs::read_to_string(root().join(path)).expect("a source file");
        for (document, count) in DOCUMENTS {
            let cited = cited(&text, document);
            citations += cited.len();
            let absent = cited.iter().filter(|number| !(1..=count).contains(number));
            missing.extend(absent.map(|number| format!("{path}: {document} {number}")));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(citations > 50, "only {citations} citations were found");
}

#[test]
fn every_rule_names_tests_that_exist() {
    let tests = Tests::read(&Tree::read());
    let mut wrong = Vec::new();
    for (document, _) in DOCUMENTS {
        for rule in rules(&read(document)) {
            wrong.extend(tests.missing(&rule).map(|what| format!("{document} {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_citation_of_a_rule_that_is_not_there_is_found() {
    // The "@" is replaced only when the test runs, so that this file does not cite missing rules.
    let text =
        "/// One (@ 9, 31), two (@\n/// 30).\n-- @ 1 and 2; @ 4 to 6. Version @ 3.0, @s 7, @ rules
        # @ 7-9,\n# 12 and not 40";
    for (document, _) in DOCUMENTS {
        let cited = cited(&text.replace('@', document), document);
        assert_eq!(cited, [9, 31, 30, 1, 2, 4, 5, 6, 7, 8, 9, 12], "{document}");
    }
    assert_eq!(cited("A Semantics 5, b", "semantics"), [5]);
}

#[test]
fn a_rule_without_a_test_that_exists_is_found() {
    let text = "**1. One.** It.\n\n*Tests:* `every_rule_names_tests_that_exist`, `stock-conserved`,\n\
        `a_turn_is_whole_or_absent`, `Planted::FreshKeys`.\n\n\
        **2. Two.** It.\n\n*Tests:* `Planted::NoSuchBug`, `a_test_that_was_renamed`.\n\n\
        **3. Three.** It.\n\n**4. Four.** It.\n\n*Tests:* No test of its own yet.\n";
    let tests = Tests::read(&Tree::read());
    let found: Vec<String> = rules(text).iter().flat_map(|rule| tests.missing(rule)).collect();
    let expected = [
        "2 names Planted::NoSuchBug, which does not exist",
        "2 names a_test_that_was_renamed, which does not exist",
        "3 names no test",
    ];
    assert_eq!(found, expected);
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(format!("docs/{document}.md"))).expect("the document")
}

/// A promise or a rule in its document.
struct Rule<'a> {
    number: u32,
    /// The text after "Tests:".
    tests: &'a str,
}

/// Reads the rules of a document. Each begins a line with its number and its title, in bold.
fn rules(text: &str) -> Vec<Rule<'_>> {
    let rule = |part: &'_ str| -> Option<(u32, usize)> {
        let (number, rest) = part.split_once(". ")?;
        Some((number.parse().ok()?, part.len() - rest.len()))
    };
    let parts = text.split("\n**").flat_map(|part| {
        let part = part.strip_prefix("**").unwrap_or(part);
        let (number, begins) = rule(part)?;
        let tests = part[begins..].split_once("\n*Tests:* ").map_or("", |(_, tests)| tests);
        let tests = tests.split("\n\n").next().unwrap_or_default();
        Some(Rule { number, tests })
    });
    parts.collect()
}

/// Returns the numbers that a text cites of a document, in order. A list or range may continue in
/// the next line of a comment.
fn cited(text: &str, document: &str) -> Vec<u32> {
    let of_a_comment = |word: &&str| !["///", "//!", "//", "--", "#", ">"].contains(word);
    let words: Vec<&str> = text.split_whitespace().filter(of_a_comment).collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let mut found = Vec::new();
    for (place, _) in words.iter().enumerate().filter(|(_, word)| bare(word) == document) {
        let mut rest = words[place + 1..].iter().peekable();
        let mut range = false;
        while let Some(word) = rest.next() {
            let Some((first, last)) = numbers(&bare(word)) else { break };
            let from = found.last().filter(|_| range).map_or(first, |before| before + 1);
            found.extend(from..=last);
            let joined = rest.next_if(|next| ["and", "or", "to", "–"].contains(next));
            range = joined.is_some_and(|joined| ["to", "–"].contains(joined));
            if joined.is_none() && !word.ends_with(',') {
                break;
            }
        }
    }
    found
}

/// Parses "8" or "8-10".
fn numbers(word: &str) -> Option<(u32, u32)> {
    let (first, last) = word.split_once(['-', '–']).unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The texts in which a rule's tests must occur.
struct Tests {
    /// All Rust code.
    code: String,
    /// All SQL, with the headers of the audit's equations.
    equations: String,
}

impl Tests {
    fn read(tree: &Tree) -> Self {
        let (mut code, mut equations) = (String::new(), String::new());
        for path in tree.files() {
            let all = match path.rsplit_once('.') {
                Some((_, "rs")) => &mut code,
                Some((_, "sql")) => &mut equations,
                Some(_) | None => continue,
            };
            *all += &fs::read_to_string(root().join(path)).expect("a source file");
        }
        Self { code, equations }
    }

    fn has(&self, name: &str) -> bool {
        match name.strip_prefix("Planted::") {
            Some(bug) => self.code.contains(&format!("    {bug}, within ")),
            None => {
                let function = ["(", "<"].map(|end| format!("fn {name}{end}"));
                function.iter().any(|start| self.code.contains(start))
                    || self.equations.contains(&format!("-- ## {name}: "))
            }
        }
    }

    /// Returns the errors in a rule's list of tests.
    fn missing(&self, rule: &Rule<'_>) -> impl Iterator<Item = String> {
        let (number, tests) = (rule.number, rule.tests);
        // A name with a space in it is a command.
        let names = tests.split('`').skip(1).step_by(2).filter(|name| !name.contains(' '));
        let names: Vec<&str> = names.collect();
        let none = (names.is_empty() && !tests.contains(NO_TEST))
            .then(|| format!("{number} names no test"));
        let absent = names.into_iter().filter(|name| !self.has(name));
        let absent: Vec<String> =
            absent.map(|name| format!("{number} names {name}, which does not exist")).collect();
        absent.into_iter().chain(none)
    }
}
