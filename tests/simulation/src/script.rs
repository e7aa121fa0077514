use std::fmt;

use anyhow::{Context as _, bail, ensure};

/// What befalls the world at some time. Nodes and Services are numbers from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process is gone, without a word.
    Kill(usize),
    /// The process is started, if none runs.
    Start(usize),
    /// The process is told to end.
    Leave(usize),
    /// The process stands still; its kernel does not.
    Stall(usize),
    /// It goes on.
    Resume(usize),
    /// The machine loses power.
    PowerOff(usize),
    /// The machine starts, and its process with it.
    PowerOn(usize),
    /// The machine sleeps. Its clock runs on.
    Suspend(usize),
    /// The virtual machine is held. Its clock stands.
    Freeze(usize),
    /// Either is over.
    Wake(usize),
    /// The node's port carries nothing.
    Unplug(usize),
    /// It does again.
    Plug(usize),
    /// The node goes to the other side of a cut through the segment.
    Cut(usize),
    /// The segment is whole, and nobody is deaf.
    Heal,
    /// Nothing of the first reaches the second.
    Deaf(usize, usize),
    /// So many of a hundred packets are lost.
    Loss(u32),
    /// The node's clock goes so many millionths too fast.
    Drift(usize, i32),
    /// The API server can be reached, or not.
    Api(bool),
    /// The node carries the label that excludes it, or not.
    Exclude(usize, bool),
    /// The node is Ready, or not.
    Ready(usize, bool),
    /// The Service has endpoints, or none.
    Endpoints(usize, bool),
    /// The Service asks for this node, once more if it did already, or for none.
    Prefer(usize, Option<usize>),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_off = |on: bool| if on { "on" } else { "off" };
        match *self {
            Self::Kill(n) => write!(f, "kill {n}"),
            Self::Start(n) => write!(f, "start {n}"),
            Self::Leave(n) => write!(f, "leave {n}"),
            Self::Stall(n) => write!(f, "stall {n}"),
            Self::Resume(n) => write!(f, "resume {n}"),
            Self::PowerOff(n) => write!(f, "power-off {n}"),
            Self::PowerOn(n) => write!(f, "power-on {n}"),
            Self::Suspend(n) => write!(f, "suspend {n}"),
            Self::Freeze(n) => write!(f, "freeze {n}"),
            Self::Wake(n) => write!(f, "wake {n}"),
            Self::Unplug(n) => write!(f, "unplug {n}"),
            Self::Plug(n) => write!(f, "plug {n}"),
            Self::Cut(n) => write!(f, "cut {n}"),
            Self::Heal => f.write_str("heal"),
            Self::Deaf(from, to) => write!(f, "deaf {from} {to}"),
            Self::Loss(percent) => write!(f, "loss {percent}"),
            Self::Drift(n, ppm) => write!(f, "drift {n} {ppm}"),
            Self::Api(on) => write!(f, "api {}", on_off(on)),
            Self::Exclude(n, on) => write!(f, "exclude {n} {}", on_off(on)),
            Self::Ready(n, on) => write!(f, "ready {n} {}", on_off(on)),
            Self::Endpoints(n, on) => write!(f, "endpoints {n} {}", on_off(on)),
            Self::Prefer(n, Some(node)) => write!(f, "prefer {n} {node}"),
            Self::Prefer(n, None) => write!(f, "prefer {n} nobody"),
        }
    }
}

/// An [`Action`] and when, in milliseconds since the speakers were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: u64,
    /// What.
    pub action: Action,
}

/// All that decides about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// How many nodes there are, at most 1,000.
    pub nodes: usize,
    /// How many Services, each with one address; at most 250.
    pub services: usize,
    /// After how many milliseconds the best candidate takes a Service back from a living owner, if at all.
    pub fail_back: Option<u64>,
    /// For latencies, losses and jitter.
    pub seed: u64,
    /// When it ends, in milliseconds.
    pub until: u64,
    /// In order of time.
    pub steps: Vec<Step>,
}

impl Script {
    /// Reads what [`fmt::Display`] writes. Empty lines and what follows a `#` are skipped.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut script =
            Self { nodes: 0, services: 0, fail_back: None, seed: 0, until: 0, steps: Vec::new() };
        for line in text.lines() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            if !words.is_empty() {
                script.take(&words).with_context(|| format!("the line {line:?} of a script"))?;
            }
        }
        ensure!((1..=1_000).contains(&script.nodes), "a script has 1 to 1000 nodes, not {}", script.nodes);
        ensure!(script.services <= 250, "a script has at most 250 services, not {}", script.services);
        ensure!(script.steps.is_sorted_by_key(|step| step.at), "the steps are not in order of time");
        Ok(script)
    }

    fn take(&mut self, words: &[&str]) -> anyhow::Result<()> {
        match words {
            ["nodes", count] => self.nodes = count.parse()?,
            ["services", count] => self.services = count.parse()?,
            ["fail-back", delay] => self.fail_back = Some(delay.parse()?),
            ["seed", seed] => self.seed = seed.parse()?,
            ["until", until] => self.until = until.parse()?,
            ["at", at, action @ ..] => {
                let action = self.action(action)?;
                self.steps.push(Step { at: at.parse()?, action });
            }
            _ => bail!(
                "it is neither nodes, services, fail-back, seed and until with a number, nor at TIME ACTION"
            ),
        }
        Ok(())
    }

    fn action(&self, words: &[&str]) -> anyhow::Result<Action> {
        let node = |word: &str| -> anyhow::Result<usize> {
            let number = word.parse()?;
            ensure!(number < self.nodes, "there are only {} nodes", self.nodes);
            Ok(number)
        };
        let on = |word: &str| match word {
            "on" => Ok(true),
            "off" => Ok(false),
            other => bail!("{other} is neither on nor off"),
        };
        let service = |word: &str| -> anyhow::Result<usize> {
            let number = word.parse()?;
            ensure!(number < self.services, "there are only {} services", self.services);
            Ok(number)
        };
        Ok(match words {
            ["kill", n] => Action::Kill(node(n)?),
            ["start", n] => Action::Start(node(n)?),
            ["leave", n] => Action::Leave(node(n)?),
            ["stall", n] => Action::Stall(node(n)?),
            ["resume", n] => Action::Resume(node(n)?),
            ["power-off", n] => Action::PowerOff(node(n)?),
            ["power-on", n] => Action::PowerOn(node(n)?),
            ["suspend", n] => Action::Suspend(node(n)?),
            ["freeze", n] => Action::Freeze(node(n)?),
            ["wake", n] => Action::Wake(node(n)?),
            ["unplug", n] => Action::Unplug(node(n)?),
            ["plug", n] => Action::Plug(node(n)?),
            ["cut", n] => Action::Cut(node(n)?),
            ["heal"] => Action::Heal,
            ["deaf", from, to] => Action::Deaf(node(from)?, node(to)?),
            ["loss", percent] => Action::Loss(percent.parse()?),
            ["drift", n, ppm] => Action::Drift(node(n)?, ppm.parse()?),
            ["api", state] => Action::Api(on(state)?),
            ["exclude", n, state] => Action::Exclude(node(n)?, on(state)?),
            ["ready", n, state] => Action::Ready(node(n)?, on(state)?),
            ["endpoints", n, state] => Action::Endpoints(service(n)?, on(state)?),
            ["prefer", n, "nobody"] => Action::Prefer(service(n)?, None),
            ["prefer", n, other] => Action::Prefer(service(n)?, Some(node(other)?)),
            _ => bail!("there is no such action"),
        })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, services, fail_back, seed, until, steps } = self;
        writeln!(f, "nodes {nodes}\nservices {services}\nseed {seed}")?;
        if let Some(delay) = fail_back {
            writeln!(f, "fail-back {delay}")?;
        }
        for Step { at, action } in steps {
            writeln!(f, "at {at} {action}")?;
        }
        writeln!(f, "until {until}")
    }
}
