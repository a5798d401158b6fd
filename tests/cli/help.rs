//! The definition of the command line and its help.

use super::support::Sandbox;
use clap::Command;

fn each(command: &mut Command, path: &str, see: &mut dyn FnMut(&str, String)) {
    for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
        let path = format!("{path} {}", subcommand.get_name());
        let help = subcommand.render_long_help().to_string();
        see(&path, help);
        each(subcommand, &path, see);
    }
}

#[test]
fn the_definition_is_consistent() {
    aerolith::cli::command().debug_assert();
}

#[test]
fn the_help_of_every_command_has_an_example_that_begins_like_the_command() {
    let mut command = aerolith::cli::command();
    let mut seen = 0;
    each(&mut command, "aerolith", &mut |path, help| {
        seen += 1;
        assert!(help.contains("Example"), "{path} has no example: {help}");
        let begins = help.lines().any(|line| {
            let line = line.trim_start_matches("Example: ").trim_start();
            line.starts_with(path) || line.contains(&format!("| {path}")) || line.starts_with("aerolith --repo")
        });
        assert!(begins, "no example of {path} shows it: {help}");
    });
    assert!(seen >= 24, "{seen}");
}

#[test]
fn every_command_stands_in_the_readme_and_the_changelog_and_has_its_json_described() {
    let read = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (readme, changelog, schemas) = (read("README.md"), read("CHANGELOG.md"), read("docs/json.md"));
    for command in aerolith::cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(readme.contains(&format!("aerolith {name}")) || name == "demo", "README.md lacks {name}");
        assert!(changelog.contains(&format!("`{name}`")), "CHANGELOG.md lacks {name}");
        assert!(schemas.contains(&format!("## {name}")), "docs/json.md lacks {name}");
    }
}

#[test]
fn help_and_version_succeed_and_what_is_unknown_is_a_usage_error() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["--help"]).ends(0).shows(&["Exit codes: 0 done, 1 failed, 2 usage", "SNAPSHOT is an id"]);
    sandbox.run(&["backup", "--help"]).ends(0).shows(&["Examples:", "aerolith backup asb:", "Global options"]);
    sandbox.run(&["--version"]).ends(0).shows(&["aerolith "]);
    sandbox.run(&[]).ends(2).says(&["Usage"]);
    sandbox.run(&["frobnicate"]).ends(2).says(&["frobnicate"]);
    sandbox.run(&["ls"]).ends(2).says(&["<SNAPSHOT>"]);
    sandbox.run(&["backup", "asb:x", "--kind", "weekly"]).ends(2).says(&["weekly", "incremental"]);
}

#[test]
fn the_help_names_live_clusters_first() {
    let help = Sandbox::empty().run(&["--help"]).ends(0).out;
    let first = help.find("SOURCE and TARGET are").unwrap();
    assert!(help[first..].starts_with("SOURCE and TARGET are aerospike://"), "{help}");
    assert!(help.find("aerolith backup aerospike://").unwrap() < first, "{help}");
}

#[test]
fn completions_are_printed_for_every_shell_without_a_repository() {
    let sandbox = Sandbox::empty();
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef aerolith"), ("fish", "complete -c aerolith")] {
        sandbox.run(&["completions", shell]).ends(0).shows(&[part, "backup", "read-data"]);
    }
    sandbox.run(&["completions", "elvish"]).ends(0);
    sandbox.run(&["completions", "cmd"]).ends(2).says(&["cmd", "bash", "fish"]);
    sandbox.run(&["completions"]).ends(2).says(&["<SHELL>"]);
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["man"]).ends(0).shows(&[".TH aerolith", "AEROLITH_REPO"]);
    sandbox.run(&["man", "pages/man1"]).ends(0);
    let page = |name: &str| std::fs::read_to_string(sandbox.path(&format!("pages/man1/{name}.1"))).unwrap();
    for command in aerolith::cli::command().get_subcommands() {
        assert!(page(&format!("aerolith-{}", command.get_name())).contains(".TH"), "{}", command.get_name());
    }
    assert!(page("aerolith-key-passwd").contains("master key stays"));
    sandbox.write("file", "");
    sandbox.run(&["man", "file"]).ends(1).says(&["cannot write manual pages into file"]);
}
