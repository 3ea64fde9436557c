//! Checks the structure of ARCHITECTURE.md: files of a crate import each other without circles, the
//! framework does not import the shop, and the product does not import its harness.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::documents::root;

/// The crates of the framework, which know nothing of orders, and then those of the shop.
const FRAMEWORK: [&str; 15] = [
    "orchestrator/core",
    "orchestrator/cli",
    "orchestrator/desk",
    "orchestrator/engine",
    "orchestrator/store",
    "services/kit",
    "crates/identity",
    "crates/messaging",
    "crates/rabbitmq",
    "crates/postgres",
    "crates/sqlite",
    "crates/trace",
    "crates/telemetry",
    "crates/tls",
    "proto/operations",
];
const SHOP: [&str; 7] = [
    "saga-definitions",
    "saga-front",
    "saga-order",
    "saga-inventory",
    "saga-payment",
    "saga-provider",
    "saga-proto",
];

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    // The crates of tests are left out: there a test world and its parts refer to each other.
    for member in members().into_iter().filter(|member| !member.starts_with("tests/")) {
        let source = root().join(&member).join("src");
        let found = Files::read(&source).circles();
        circles.extend(found.into_iter().map(|circle| format!("{member}: {}", circle.join(" → "))));
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn no_crate_of_the_framework_depends_on_the_shop() {
    for member in FRAMEWORK {
        let dependencies = Manifest::read(member).dependencies;
        for shop in SHOP {
            assert!(!dependencies.contains(shop), "{member} depends on {shop}");
        }
    }
}

/// Words of the shop, none of which the framework needs to be understood.
const SHOPS_WORDS: [&str; 9] = [
    "payment",
    "inventory",
    "customer",
    "teapot",
    "shop",
    "catalogue",
    "card",
    "restock",
    "order service",
];

#[test]
fn the_framework_does_not_speak_of_the_shop() {
    let mut found = Vec::new();
    for member in FRAMEWORK {
        let mut texts = Vec::new();
        collect(&root().join(member).join("src"), "", &mut texts);
        for (file, text) in texts.iter().filter(|(file, _)| !file.contains("tests")) {
            // Data of a test may be anybody's.
            let text = text.split("#[cfg(test)]\nmod tests").next().expect("the first part");
            for word in words_of_the_shop(text) {
                found.push(format!("{member}/src/{file}.rs says {word:?}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns the words of the shop that a text contains, also in the plural and in a name.
fn words_of_the_shop(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let words: BTreeSet<&str> =
        text.split(|c: char| !c.is_alphabetic()).map(|word| word.trim_end_matches('s')).collect();
    let says =
        |shops: &&str| words.contains(shops) || (shops.contains(' ') && text.contains(shops));
    SHOPS_WORDS.into_iter().filter(says).collect()
}

#[test]
fn words_of_the_shop_are_found_wherever_they_stand() {
    for (text, found) in [
        ("/// Waits for two payments.", vec!["payment"]),
        ("\"saga_payment_breaker_state\"", vec!["payment"]),
        ("// Asks the order service.", vec!["order service"]),
        ("// The order of the rows; discards, and a workshop.", vec![]),
    ] {
        assert_eq!(words_of_the_shop(text), found, "{text}");
    }
}

#[test]
fn no_crate_of_the_product_depends_on_its_harness() {
    let read = |member: String| (Manifest::read(&member), member);
    let manifests: Vec<(Manifest, String)> = members().into_iter().map(read).collect();
    let find = |name: &str| manifests.iter().find(|(manifest, _)| manifest.name == name);
    let (mut product, mut next) = (BTreeSet::new(), vec!["saga"]);
    while let Some(name) = next.pop() {
        let Some((manifest, path)) = find(name) else { continue };
        assert!(!path.starts_with("tests/"), "the product depends on {name}, which is in {path}");
        if product.insert(name) {
            next.extend(manifest.dependencies.iter().map(String::as_str));
        }
    }
    for (name, is_product) in [("saga-core", true), ("saga-bench", false), ("saga-chaos", false)] {
        assert!(find(name).is_some() && product.contains(name) == is_product, "{name}");
    }
}

#[test]
fn the_product_knows_no_crash_points() {
    let mut texts = Vec::new();
    collect(&root().join("src"), "", &mut texts);
    for (file, text) in texts {
        let text = text.to_lowercase().replace(['_', '-'], " ");
        let found = ["crash point", "crash at"].into_iter().find(|words| text.contains(words));
        assert_eq!(found, None, "src/{file}.rs");
    }
}

#[test]
fn dependencies_of_tests_do_not_count_and_those_of_one_system_do() {
    let manifest = Manifest::of(
        "[package]\nname = \"a\"\n[workspace.dependencies]\nw = \"1\"\n[dependencies]\nb.workspace = true\n\
         c = { path = \"c\" }\n[target.'cfg(unix)'.dependencies]\nd.workspace = true\n\
         [dev-dependencies]\ne.workspace = true\n[build-dependencies]\nf = \"1\"\n",
    );
    assert_eq!(manifest.name, "a");
    assert_eq!(manifest.dependencies.iter().collect::<Vec<_>>(), ["b", "c", "d", "f"]);
}

#[test]
fn a_circle_is_found_wherever_it_is_closed() {
    let files = |files: &[(&str, &str)]| Files::of(files.iter().map(|(p, t)| (p.to_string(), *t)));
    let direct = [("lib", ""), ("a", "use crate::b::B;"), ("b", "fn f() { crate::a::g() }")];
    assert_eq!(files(&direct).circles(), [["a", "b"]]);
    let beside = [("x", ""), ("x/a", "use super::b::B;"), ("x/b", "use super::a::A;")];
    assert_eq!(files(&beside).circles(), [["x/a", "x/b"]]);
    let by_the_root = [
        ("lib", "mod a;\npub use a::{A, Other};"),
        ("a", "use crate::{\n    b::B,\n};"),
        ("b", "use crate::{x, A};"),
    ];
    assert_eq!(files(&by_the_root).circles(), [["a", "b"]]);
    let sound = [
        ("lib", "use a::A;"),
        ("a", "use crate::b::B;\n#[cfg(test)]\nmod tests { use crate::c::C; }"),
        ("b", "// use crate::a::A;"),
        ("c", "use crate::a::A;"),
        // A module and its submodules may import each other.
        ("d/mod", "use self::e::E;"),
        ("d/e", "use super::D;"),
    ];
    assert_eq!(files(&sound).circles(), [[""; 0]; 0]);
}

fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    let members = list.expect("members").split('"').skip(1).step_by(2).map(str::to_owned);
    members.chain([".".to_owned()]).collect()
}

/// A package's name, and its dependencies outside of tests.
struct Manifest {
    name: String,
    dependencies: BTreeSet<String>,
}

impl Manifest {
    fn read(member: &str) -> Self {
        let file = root().join(member).join("Cargo.toml");
        Self::of(&fs::read_to_string(file).expect("a manifest"))
    }

    fn of(text: &str) -> Self {
        let (mut name, mut dependencies, mut section) = (String::new(), BTreeSet::new(), "");
        for line in text.lines() {
            let key = line.split(['.', ' ', '=']).next().expect("the first part");
            if line.starts_with('[') {
                section = line;
            } else if section == "[package]" && key == "name" {
                name = line.split('"').nth(1).expect("a name").to_owned();
            } else if section.ends_with("dependencies]")
                && !section.starts_with("[dev-")
                && !section.starts_with("[workspace.")
                && !key.is_empty()
                && !line.starts_with('#')
            {
                dependencies.insert(key.to_owned());
            }
        }
        Self { name, dependencies }
    }
}

/// The files of one crate by their module path (`a/b`), and the files that each imports.
struct Files {
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Files {
    fn read(source: &Path) -> Self {
        let mut texts = Vec::new();
        collect(source, "", &mut texts);
        Self::of(texts.iter().map(|(path, text)| (path.clone(), text.as_str())))
    }

    fn of<'a>(texts: impl Iterator<Item = (String, &'a str)>) -> Self {
        let texts: BTreeMap<String, String> =
            texts.map(|(path, text)| (module(&path), code(text))).collect();
        // The items that the crate root re-exports, and the files that they come from.
        let mut handed_on = BTreeMap::new();
        for path in texts.get("").into_iter().flat_map(|text| uses(text, "use ")) {
            if let Some((from, item)) = path.rsplit_once("::") {
                handed_on.insert(item.to_owned(), from.trim_start_matches("self::").to_owned());
            }
        }
        let imports = texts.iter().map(|(file, text)| {
            let above = file.rsplit_once('/').map(|(above, _)| above.replace('/', "::") + "::");
            let above = above.unwrap_or_default();
            let beside = uses(text, "super::").into_iter().map(|path| format!("{above}{path}"));
            let found = uses(text, "crate::").into_iter().chain(beside).filter_map(|path| {
                let first = path.split("::").next().expect("a first part");
                let path = match handed_on.get(first) {
                    Some(from) if !texts.contains_key(first) => format!("{from}::{path}"),
                    Some(_) | None => path,
                };
                longest(&texts, &path).filter(|to| !related(file, to))
            });
            (file.clone(), found.collect())
        });
        Self { imports: imports.collect() }
    }

    /// Returns each circle once, as its files in order.
    fn circles(&self) -> Vec<Vec<String>> {
        let reach = |from: &str| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(file) = next.pop() {
                for to in self.imports.get(&file).into_iter().flatten() {
                    if seen.insert(to.clone()) {
                        next.push(to.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&String, BTreeSet<String>> =
            self.imports.keys().map(|file| (file, reach(file))).collect();
        let circles = reached.iter().filter(|(file, seen)| seen.contains(**file));
        let circles = circles.map(|(file, seen)| {
            seen.iter().filter(|to| reached[to].contains(*file)).cloned().collect()
        });
        circles.collect::<BTreeSet<Vec<String>>>().into_iter().collect()
    }
}

/// Converts a file's path to its module: `a/b` for `a/b.rs` and `a/b/mod.rs`, empty for the root.
fn module(path: &str) -> String {
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "lib" | "main" | "mod") { String::new() } else { path.to_owned() }
}

/// Returns the file that an import path leads to. The root's own items are in none.
fn longest(texts: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    let prefixes = (1..=parts.len()).rev().map(|count| parts[..count].join("/"));
    prefixes.into_iter().find(|prefix| texts.contains_key(prefix))
}

/// Returns whether two modules are the same or one is above the other.
fn related(one: &str, other: &str) -> bool {
    let above = |a: &str, b: &str| b == a || b.starts_with(&format!("{a}/"));
    above(one, other) || above(other, one)
}

/// Removes a file's comments and its tests, which are at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().expect("the first part");
    let lines = text.lines().map(|line| line.split("//").next().expect("the first part"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the paths after each `start`, with braces expanded: `a::{b, c::D}` is two.
fn uses(text: &str, start: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for rest in text.split(start).skip(1) {
        let rest: String = rest.chars().filter(|c| !c.is_whitespace()).collect();
        open("", &mut rest.as_str(), &mut paths);
    }
    paths
}

fn open(prefix: &str, rest: &mut &str, paths: &mut Vec<String>) {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:".contains(c))).unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..end]);
    *rest = &rest[end..];
    if !rest.starts_with('{') {
        paths.push(path);
        return;
    }
    while rest.starts_with(['{', ',']) {
        *rest = &rest[1..];
        if !rest.starts_with('}') {
            open(&path, rest, paths);
        }
    }
    *rest = rest.strip_prefix('}').unwrap_or(rest);
}

fn collect(dir: &Path, prefix: &str, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            texts.push((format!("{prefix}{name}"), text));
        }
    }
}
