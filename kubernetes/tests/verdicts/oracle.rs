//! The program that asks MetalLB's parser: `tests/interop/metallb/oracle`.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;
use serde_json::json;

use crate::{Set, answers::Outcome};

/// What MetalLB says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    verdict: Outcome,
    /// Its words.
    #[serde(default)]
    pub(crate) error: String,
    /// Of a set that waits for something: what becomes of it once that is there.
    rest: Option<Outcome>,
    /// What the Services of an accepted set get, in their order.
    #[serde(default)]
    pub(crate) services: Vec<Assignment>,
}

/// What a Service gets.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Assignment {
    /// None when it is refused.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why it is refused.
    #[serde(default)]
    pub(crate) error: String,
}

impl Answer {
    /// Of a set that waits for something and cannot be accepted even then, that it is refused. The parser stops at the
    /// first error.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.verdict, self.rest) {
            (Outcome::Transient, Some(Outcome::Refused)) => Outcome::Refused,
            (verdict, _) => verdict,
        }
    }
}

/// A running one.
pub(crate) struct Oracle {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    pub(crate) fn start() -> Self {
        let folder = env::var_os("LANDFALL_ORACLE").map_or_else(build, PathBuf::from);
        let program = folder.join("oracle");
        let child = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { questions: child.stdin.take(), answers, child }
    }

    pub(crate) fn ask(&mut self, set: &Set) -> Answer {
        let question = json!({ "mode": set.mode.as_str(), "objects": set.objects });
        writeln!(self.questions.as_mut().unwrap(), "{question}").expect("the oracle takes a question");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the oracle answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?} on {question}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It ends at the end of its input.
        drop(self.questions.take());
        drop(self.child.wait());
    }
}

fn build() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interop/metallb/build");
    let output = Command::new(script).arg("oracle").output().expect(script);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
