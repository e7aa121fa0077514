//! moto as a child process, asked one request at a time per service.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    query::Parameters,
    refusal::Refusal,
    wire::{Answer, Request},
    xml::Element,
};

/// The program's path, for who has it already. Without this variable the script `moto` of this crate installs it.
const PROGRAM: &str = "LANDFALL_MOTO";

/// A running moto. It ends with this value.
#[derive(Debug)]
pub(crate) struct Moto {
    child: Mutex<Child>,
    address: SocketAddr,
    /// moto is not safe under parallel calls (it answers 500 when two of them change one list), so each service has one
    /// call at a time.
    turns: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    /// Answers by region and question.
    recalled: Mutex<BTreeMap<(String, String), Element>>,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        end(child);
    }
}

/// Runs moto until its own standard input ends, which also happens when the process that holds the other end is killed. It
/// keeps no standard error, so that the end of moto is the end of that.
const KEEPER: &str = r#""$0" "$@" & moto=$!; exec 2>&-; read -r _; kill -KILL $moto; wait $moto"#;

fn end(keeper: &mut Child) {
    drop(keeper.stdin.take());
    // It fails only if somebody else has waited already.
    let _ = keeper.wait();
}

impl Moto {
    /// Starts moto on a free port that the kernel chooses, and waits until it says which.
    pub(crate) fn start() -> Result<Self> {
        let program = program()?;
        let mut child = Command::new("sh")
            .args(["-c", KEEPER, &program, "-H", "127.0.0.1", "-p", "0"])
            // Requested certificates are issued at once: nobody validates a domain here.
            .env("MOTO_ACM_VALIDATION_WAIT", "-1")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("moto does not start: {program}"))?;
        let said = child.stderr.take().context("moto has no standard error")?;
        let mut lines = BufReader::new(said);
        let mut all = String::new();
        let address = loop {
            let start = all.len();
            if lines.read_line(&mut all)? == 0 {
                end(&mut child);
                bail!("moto ended before it listened: {all}");
            }
            let line = all.get(start..).unwrap_or_default();
            if let Some((_, rest)) = line.split_once("Running on http://") {
                break rest.trim().parse().with_context(|| format!("moto's address in '{line}'"))?;
            }
        };
        // It logs each request; an unread pipe would stop it.
        thread::spawn(move || std::io::copy(&mut lines.by_ref(), &mut std::io::sink()));
        Ok(Self { child: Mutex::new(child), address, turns: Mutex::default(), recalled: Mutex::default() })
    }

    /// Hands a request over as it is.
    pub(crate) fn forward(&self, service: &str, request: &Request) -> Answer {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(service.to_owned()).or_default())
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        request.send(self.address).unwrap_or_else(|error| {
            Refusal {
                code: "ServiceUnavailable".to_owned(),
                message: format!("moto does not answer: {error}"),
                status: 503,
            }
            .answer(service)
        })
    }

    /// As [`Self::ask`], for what only changes when [`Self::forget`] is called: moto is asked once.
    pub(crate) fn recall(
        &self,
        service: &str,
        region: &str,
        parameters: &Parameters,
    ) -> Result<Element, Refusal> {
        // Held while moto is asked, so that nothing old is kept after it was to be forgotten.
        let mut recalled = self.recalled.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (region.to_owned(), parameters.encode());
        if let Some(answer) = recalled.get(&question) {
            return Ok(answer.clone());
        }
        let answer = self.ask(service, region, parameters)?;
        recalled.insert(question, answer.clone());
        Ok(answer)
    }

    /// Something has changed that was recalled.
    pub(crate) fn forget(&self) {
        self.recalled.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes a Query call and reads its answer.
    pub(crate) fn ask(
        &self,
        service: &str,
        region: &str,
        parameters: &Parameters,
    ) -> Result<Element, Refusal> {
        let answer = self.forward(service, &Request::query(service, region, parameters.encode()));
        if answer.status != 200 {
            return Err(Refusal::of_moto(&answer));
        }
        match Element::parse(&String::from_utf8_lossy(&answer.body)) {
            Ok((root, _)) => Ok(root),
            Err(error) => Err(Refusal {
                code: "InternalFailure".to_owned(),
                message: format!("moto's answer is no XML: {error}"),
                status: 500,
            }),
        }
    }
}

fn program() -> Result<String> {
    if let Ok(program) = env::var(PROGRAM) {
        return Ok(program);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("moto");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} does not run", script.display()))?;
    if !output.status.success() {
        bail!("{} failed with {}; its reason is above", script.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
