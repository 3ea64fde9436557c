//! `docs/grpc.md` is rendered from the comments of the `.proto` files.
//! `UPDATE_EXPECT=1 cargo test -p saga-proto --test reference` writes it anew.

use std::{collections::HashMap, fmt::Write as _};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// Numbers of fields in descriptor.proto, of which a comment's path is made.
const PACKAGE: i32 = 2;
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const INNER: i32 = 2;

const HEAD: &str = "\
# gRPC and message reference

Rendered from the comments in `proto/`; `UPDATE_EXPECT=1 cargo test -p saga-proto --test reference` does it
anew. Clients call `saga.shop.v1`, operators `saga.operations.v1`; the other services answer inside the system only.
Commands, replies and events are messages too, and travel over RabbitMQ: see [messages.md](messages.md).
";

#[test]
fn the_reference_says_what_the_contract_says() {
    let mut set = FileDescriptorSet::decode(saga_proto::DESCRIPTORS).expect("ours");
    let operations = FileDescriptorSet::decode(saga_operations::DESCRIPTORS).expect("ours");
    set.file.extend(operations.file);
    let mut text = HEAD.to_owned();
    for package in [
        "saga.shop.v1",
        "saga.operations.v1",
        "saga.order.v1",
        "saga.inventory.v1",
        "saga.payment.v1",
        "saga.types.v1",
    ] {
        for file in set.file.iter().filter(|file| file.package() == package) {
            Page::of(file).render(&mut text);
        }
    }
    let known = text.matches("\n## `").count();
    let files = set.file.iter().filter(|file| file.package().starts_with("saga.")).count();
    assert_eq!(known, files, "a package is missing above");
    assert!(!text.contains("(no comment)"), "something has no comment:\n{text}");
    expect_test::expect_file!["../../../docs/grpc.md"].assert_eq(&text);
}

/// One file's declarations and their comments.
struct Page<'a> {
    file: &'a FileDescriptorProto,
    comments: HashMap<&'a [i32], &'a str>,
}

impl<'a> Page<'a> {
    fn of(file: &'a FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations.map(|l| (&l.path[..], l.leading_comments())).collect();
        Self { file, comments }
    }

    fn render(&self, text: &mut String) {
        let package = self.file.package();
        section(text, &format!("## `{package}`"), &self.comment(&[PACKAGE]));
        for (place, service) in (0..).zip(&self.file.service) {
            self.service(text, package, service, place);
        }
        for (place, message) in (0..).zip(&self.file.message_type) {
            self.message(text, package, message, place);
        }
        for (place, choice) in (0..).zip(&self.file.enum_type) {
            self.choice(text, package, choice, place);
        }
    }

    fn service(&self, text: &mut String, package: &str, s: &ServiceDescriptorProto, place: i32) {
        let heading = format!("### service `{package}.{}`", s.name());
        section(text, &heading, &self.comment(&[SERVICES, place]));
        for (inner, method) in (0..).zip(&s.method) {
            let stream = if method.server_streaming() { "stream of " } else { "" };
            let heading = format!("#### rpc `{}`", method.name());
            let types =
                format!("{} → {stream}{}", link(method.input_type()), link(method.output_type()));
            let comment = self.comment(&[SERVICES, place, INNER, inner]);
            section(text, &heading, &format!("{types}\n\n{comment}"));
        }
    }

    fn message(&self, text: &mut String, package: &str, m: &DescriptorProto, place: i32) {
        let heading = format!("### `{package}.{}`", m.name());
        section(text, &heading, &self.comment(&[MESSAGES, place]));
        if m.field.is_empty() {
            return;
        }
        text.push_str("\n| field | type | |\n| --- | --- | --- |\n");
        for (inner, field) in (0..).zip(&m.field) {
            let comment = self.comment(&[MESSAGES, place, INNER, inner]).replace('\n', " ");
            let line = format!("| `{}` | {} | {comment} |\n", field.json_name(), type_of(field));
            text.push_str(&line);
        }
    }

    fn choice(&self, text: &mut String, package: &str, e: &EnumDescriptorProto, place: i32) {
        let heading = format!("### enum `{package}.{}`", e.name());
        section(text, &heading, &self.comment(&[ENUMS, place]));
        text.push_str("\n| value | |\n| --- | --- |\n");
        for (inner, value) in (0..).zip(&e.value) {
            let comment = self.comment(&[ENUMS, place, INNER, inner]).replace('\n', " ");
            text.push_str(&format!("| `{}` | {comment} |\n", value.name()));
        }
    }

    /// The comment before a declaration, without the blank that follows each `//`.
    fn comment(&self, path: &[i32]) -> String {
        let Some(comment) = self.comments.get(path).filter(|comment| !comment.is_empty()) else {
            return "(no comment)".to_owned();
        };
        let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n").trim().to_owned()
    }
}

fn section(text: &mut String, heading: &str, body: &str) {
    write!(text, "\n{heading}\n\n{body}\n").expect("a string takes everything");
}

fn type_of(field: &FieldDescriptorProto) -> String {
    let one = match field.r#type() {
        Type::Message | Type::Enum => link(field.type_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    if field.label() == Label::Repeated { format!("list of {one}") } else { one }
}

/// A full name, linked to its heading as Markdown names it.
fn link(full: &str) -> String {
    let full = full.trim_start_matches('.');
    let (_, short) = full.rsplit_once('.').unwrap_or(("", full));
    let prefix = if full == "saga.order.v1.OrderStatus" || full == "saga.operations.v1.SagaState" {
        "enum-"
    } else {
        ""
    };
    format!("[{short}](#{prefix}{})", full.to_lowercase().replace('.', ""))
}
