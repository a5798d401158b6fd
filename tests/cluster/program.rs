//! The program, run as a user does.

use aerolith::store::LocalStore;
use aerolith::{CreateOptions, KdfCost, Repository};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const PASSWORD: &str = "a passphrase of the tests";

/// What a run of the program left.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A directory with an empty repository in it.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::create(directory.path().join("repo")).unwrap();
        let options = CreateOptions::default().cost(KdfCost::WEAK);
        Repository::create(Arc::new(store), PASSWORD.as_bytes(), &options).unwrap();
        Self { directory }
    }

    pub fn repository(&self) -> Repository {
        let store = LocalStore::open(self.directory.path().join("repo")).unwrap();
        Repository::open(Arc::new(store), PASSWORD.as_bytes()).unwrap()
    }

    /// Writes a file into the directory.
    pub fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.directory.path().join(name), contents).unwrap();
    }

    /// Starts the program; the caller ends it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerolith"));
        command.current_dir(self.directory.path()).args(arguments);
        command.env("AEROLITH_REPO", "repo").env("AEROLITH_PASSWORD", PASSWORD);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// Runs the program with variables in its environment.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let output = self.command(arguments).envs(variables.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(!err.contains("panicked"), "{err}");
        Output { code: output.status.code().unwrap_or(-1), out, err }
    }
}
