//! docs/json.md is made of a template and the types of the reports, and says what they say.

use aerolith::job;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");
/// Lines of it such as `{CopyReport}` stand for the members of that type, and the types that only it uses.
const TEMPLATE: &str = include_str!("json.md");

/// The types by their names, which the generator takes from the types themselves.
fn definitions() -> Map<String, Value> {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    macro_rules! reports {
        ($($report:ident),* $(,)?) => {
            $(let _ = generator.subschema_for::<job::$report>();)*
        };
    }
    reports!(
        BackupReport,
        CheckReport,
        ConfigReport,
        CopyReport,
        DiffSummary,
        ForgetReport,
        HistoryReport,
        HoldsReport,
        IndexSummary,
        InitReport,
        KeyChangeReport,
        KeysReport,
        ListedRecord,
        NodeReport,
        PackReport,
        PlaceReport,
        PruneReport,
        RecordChange,
        RepairReport,
        RestoreReport,
        SegmentReport,
        SnapshotDetails,
        SnapshotsReport,
        StatsReport,
        TagReport,
        VerifyReport,
    );
    generator.take_definitions(true)
}

/// The page as it is written, piece by piece.
struct Page {
    definitions: Map<String, Value>,
    /// For each type that has a line in the template, the heading that the line is under, as links name it.
    headings: BTreeMap<String, String>,
    /// The types that were referred to in this section, which are described at its end.
    nested: Vec<String>,
    /// The types that were described.
    described: BTreeSet<String>,
    text: String,
}

impl Page {
    fn make() -> String {
        let (definitions, described, text) = (definitions(), BTreeSet::new(), String::new());
        let mut page = Page { definitions, headings: headings(), nested: Vec::new(), described, text };
        for line in TEMPLATE.lines() {
            if line.starts_with('#') {
                let nested = std::mem::take(&mut page.nested);
                page.nested(nested);
            }
            match placeholder(line) {
                Some(name) => page.root(name),
                None => {
                    page.text.push_str(line);
                    page.text.push('\n');
                }
            }
        }
        let all: BTreeSet<String> = page.definitions.keys().cloned().collect();
        assert_eq!(page.described, all, "the template names no line for a type, or names a type that there isn't");
        page.text
    }

    /// `TYPE`, or `TYPE but OTHER` without the members that it has from another.
    fn root(&mut self, line: &str) {
        let (name, other) = parts(line);
        assert!(self.described.insert(name.to_string()), "{name} is described twice");
        let without: BTreeSet<String> = other.map(|other| self.members(other)).into_iter().flatten().collect();
        let mut nested = Vec::new();
        self.table(name, &without, &mut nested);
        self.nested.extend(nested);
    }

    /// The types that a table refers to, and those that they refer to, each with a heading of its own.
    fn nested(&mut self, names: Vec<String>) {
        for name in names {
            if self.headings.contains_key(&name) || !self.described.insert(name.clone()) {
                continue;
            }
            let _ = write!(self.text, "### {name}\n\n");
            for line in wrapped(&plain(description(&self.definitions[&name]))) {
                let _ = writeln!(self.text, "{line}");
            }
            self.text.push('\n');
            let mut nested = Vec::new();
            self.table(&name, &BTreeSet::new(), &mut nested);
            self.text.push('\n');
            self.nested(nested);
        }
    }

    /// The members of a type, in the order in which they are serialized.
    fn members(&self, name: &str) -> Vec<String> {
        let schema = self.definitions.get(name).unwrap_or_else(|| panic!("there is no type {name}"));
        let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{name} has no members"));
        // Those that are always there are listed in their order; of the others, any order will do.
        let required = schema["required"].as_array().into_iter().flatten();
        let mut all: Vec<String> = required.map(|name| name.as_str().unwrap().to_string()).collect();
        all.extend(properties.keys().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
        all
    }

    fn table(&mut self, name: &str, without: &BTreeSet<String>, nested: &mut Vec<String>) {
        let schema = self.definitions.get(name).unwrap_or_else(|| panic!("there is no type {name}")).clone();
        if let Some(values) = values(&schema) {
            self.text.push_str("| value | meaning |\n| --- | --- |\n");
            for (value, meaning) in values {
                let _ = writeln!(self.text, "| `\"{value}\"` | {} |", cell(&meaning));
            }
            return;
        }
        self.text.push_str("| member | type | meaning |\n| --- | --- | --- |\n");
        for member in self.members(name).iter().filter(|member| !without.contains(*member)) {
            let property = &schema["properties"][member];
            let meaning = description(property);
            assert!(!meaning.is_empty(), "{name}.{member} has no doc comment");
            let optional = !schema["required"].as_array().is_some_and(|names| names.contains(&Value::from(&**member)));
            let mut kind = self.kind_of(property, nested);
            if optional {
                kind = kind.replace(" or null", ", or not there");
            }
            let _ = writeln!(self.text, "| `{member}` | {kind} | {} |", cell(meaning));
        }
    }

    /// What a member holds, in words; types of their own are added to `nested`.
    fn kind_of(&self, schema: &Value, nested: &mut Vec<String>) -> String {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap().to_string();
            nested.push(name.clone());
            let heading = self.headings.get(&name).cloned().unwrap_or_else(|| name.to_lowercase());
            return format!("[`{name}`](#{heading})");
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            return choices.iter().map(|choice| self.kind_of(choice, nested)).collect::<Vec<_>>().join(" or ");
        }
        let one = |kind: &str, nested: &mut Vec<String>| match kind {
            "string" => "text".to_string(),
            "integer" | "number" => "number".to_string(),
            "boolean" => "bool".to_string(),
            "null" => "null".to_string(),
            "array" => format!("list of {}", self.kind_of(&schema["items"], nested)),
            "object" if schema["additionalProperties"].is_object() => {
                format!("object: text to {}", self.kind_of(&schema["additionalProperties"], nested))
            }
            "object" => "object".to_string(),
            kind => panic!("there is no word for the type {kind}"),
        };
        match &schema["type"] {
            Value::String(kind) => one(kind, nested),
            Value::Array(kinds) => {
                let kinds = kinds.iter().map(|kind| one(kind.as_str().unwrap(), nested));
                kinds.collect::<Vec<_>>().join(" or ")
            }
            _ => panic!("there is no word for the type of {schema}"),
        }
    }
}

/// What a line of the template between braces says.
fn placeholder(line: &str) -> Option<&str> {
    line.strip_prefix('{').and_then(|line| line.strip_suffix('}'))
}

/// `TYPE`, and of `TYPE but OTHER` the other.
fn parts(placeholder: &str) -> (&str, Option<&str>) {
    placeholder.split_once(" but ").map_or((placeholder, None), |(name, other)| (name, Some(other)))
}

fn headings() -> BTreeMap<String, String> {
    let mut heading = String::new();
    let mut all = BTreeMap::new();
    for line in TEMPLATE.lines() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        } else if let Some(line) = placeholder(line) {
            all.insert(parts(line).0.to_string(), heading.clone());
        }
    }
    all
}

/// The values of an enum of names, with what they mean.
fn values(schema: &Value) -> Option<Vec<(String, String)>> {
    let variants = schema["oneOf"].as_array()?;
    let value = |variant: &Value| {
        let name = variant["const"].as_str().unwrap_or_else(|| panic!("a variant is no name: {variant}"));
        (name.to_string(), description(variant).to_string())
    };
    Some(variants.iter().map(value).collect())
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// A doc comment on one line.
fn plain(text: &str) -> String {
    assert!(!text.contains("]("), "a link in a doc comment leads nowhere on the page: {text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A doc comment in a cell of a table.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

/// A text in lines of at most 120 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.len() + 1 + word.len() > 120 {
            lines.push(word.to_string());
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines
}

#[test]
fn the_page_of_json_says_what_the_types_of_the_reports_say() {
    let page = Page::make();
    if std::env::var_os("AEROLITH_WRITE_PAGES").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap();
    let differs = found.lines().zip(page.lines()).find(|(found, made)| found != made);
    assert!(
        found == page,
        "docs/json.md is out of date: AEROLITH_WRITE_PAGES=1 cargo test --test cli json. First: {differs:#?}"
    );
}

#[test]
fn every_command_has_its_section_on_the_page_of_json_and_every_section_its_command() {
    let titles: BTreeSet<&str> = TEMPLATE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let command = aerolith::cli::command();
    let names: BTreeSet<&str> = command.get_subcommands().map(|command| command.get_name()).collect();
    let names: BTreeSet<&str> = names.into_iter().filter(|name| *name != "help").collect();
    assert_eq!(titles, names);
    for section in TEMPLATE.split("\n## ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        assert!(text.len() > 40 || text.contains('{'), "the section {title} says nothing");
    }
}
