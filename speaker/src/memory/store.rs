use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use landfall_model::Observation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Place;

/// What was observed: one change of an object on each line, the last one counts.
const FACTS: &str = "facts.jsonl";
/// All else.
const ABOUT: &str = "about.json";
/// A speaker that ends may hold the directory for as long as its shutdown lasts.
const LOCKED: Duration = Duration::from_secs(5);
/// The file of facts is written anew when it is this large and twice what it was, in bytes.
const LARGE: u64 = 1 << 20;
/// The extension of a file that is not complete yet.
const STAGED: &str = "new";

/// The memory of one node. Clones share one. Calls wait for the disk.
#[derive(Clone, Debug)]
pub struct Memory {
    directory: Arc<Path>,
    /// The directory, locked for as long as this process has the memory.
    lock: Arc<File>,
    facts: Arc<Mutex<Facts>>,
}

/// The state of the file of facts.
#[derive(Debug, Default)]
struct Facts {
    /// Bytes after it was last written anew.
    compact: u64,
    /// Bytes now.
    size: u64,
    /// A write failed, so its end may be half a line.
    torn: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct About {
    place: Option<Place>,
    boot: Option<u64>,
}

/// One line of the file of facts.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    object: &'a str,
    #[serde(borrow)]
    fact: Option<&'a RawValue>,
}

/// Why something cannot be remembered.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Another speaker of this node has it.
    #[error("{path} is in use: two speakers of one node need two directories, see --state-dir")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot use {path}; check --state-dir")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What is written for an object; `None` forgets it.
pub(super) type Changes = BTreeMap<String, Option<Box<RawValue>>>;

impl Memory {
    /// The memory in `directory`, which is made if it is missing. Only the owner may read it. Lines that cannot be read,
    /// such as one that a crash cut off, are left out.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process has had it for five seconds.
    pub fn open(directory: &Path) -> Result<Self, MemoryError> {
        let failed = failed(directory);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(&failed)?;
        let lock = File::open(directory).map_err(&failed)?;
        let start = Instant::now();
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::Error(error) => return Err(failed(error)),
                TryLockError::WouldBlock if start.elapsed() < LOCKED => sleep(Duration::from_millis(100)),
                TryLockError::WouldBlock => return Err(MemoryError::InUse { path: directory.to_owned() }),
            }
        }
        let memory =
            Self { directory: directory.into(), lock: Arc::new(lock), facts: Arc::new(Mutex::default()) };
        memory.with_facts(Self::compact)?;
        Ok(memory)
    }

    /// Removes a memory from `directory`, and the directory if nothing else is in it. What is not there is no error.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(directory: &Path) -> io::Result<()> {
        let files = [FACTS, ABOUT].map(|name| directory.join(name));
        for file in files.iter().flat_map(|file| [file.with_extension(STAGED), file.clone()]) {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        // Others may have files there, or it may be the mount point of a container.
        drop(fs::remove_dir(directory));
        Ok(())
    }

    /// A number that rises with every start on this node: seconds since 1970, and more than at the last start where the
    /// clock went back.
    ///
    /// # Errors
    /// When it cannot be kept. Use the clock alone then.
    pub fn next_boot(&self) -> Result<u64, MemoryError> {
        let about = self.about()?;
        let boot = about.boot.map_or(0, |last| last.saturating_add(1)).max(clock());
        self.set_about(&About { boot: Some(boot), ..about })?;
        Ok(boot)
    }

    /// Where this node was, if it knows.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn place(&self) -> Result<Option<Place>, MemoryError> {
        Ok(self.about()?.place)
    }

    /// Keeps where this node is. In another cluster than before, all facts are forgotten.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn set_place(&self, place: &Place) -> Result<(), MemoryError> {
        let about = self.about()?;
        match &about.place {
            Some(before) if before == place => return Ok(()),
            Some(before) if before.cluster_id != place.cluster_id => {
                self.with_facts(|memory, facts| memory.rewrite(facts, &Changes::new()))?;
            }
            Some(_) | None => {}
        }
        self.set_about(&About { place: Some(place.clone()), ..about })
    }

    /// The facts about all objects but those in `except`, in the order of their objects. Facts that another version of
    /// this program wrote, and this one cannot read, are left out.
    pub(super) fn facts(&self, except: &BTreeSet<String>) -> Result<Vec<Observation>, MemoryError> {
        let mut known = self.with_facts(|memory, _| memory.read())?;
        known.retain(|object, _| !except.contains(object));
        let total = known.len();
        let read = |fact: Option<Box<RawValue>>| serde_json::from_str(fact?.get()).ok();
        let facts: Vec<Observation> = known.into_values().filter_map(read).collect();
        if facts.len() < total {
            let unreadable = total - facts.len();
            tracing::warn!(
                op = "remember",
                unreadable,
                "another version remembered facts that this one cannot read"
            );
        }
        Ok(facts)
    }

    /// Keeps changes of facts. After an error some of them may be kept; the same ones may be given again.
    pub(super) fn keep(&self, changes: &Changes) -> Result<(), MemoryError> {
        self.with_facts(|memory, facts| {
            if facts.torn {
                memory.compact(facts)?;
            }
            facts.torn = true;
            let mut file =
                OpenOptions::new().append(true).create(true).mode(0o600).open(memory.path(FACTS))?;
            facts.size += write_lines(&mut file, changes)?;
            facts.torn = false;
            if facts.size > LARGE.max(2 * facts.compact) { memory.compact(facts) } else { Ok(()) }
        })
    }

    /// Writes the file of facts anew, with one line for each object.
    fn compact(&self, facts: &mut Facts) -> io::Result<()> {
        let known = self.read()?;
        self.rewrite(facts, &known)
    }

    fn rewrite(&self, facts: &mut Facts, known: &Changes) -> io::Result<()> {
        let mut size = 0;
        self.replace(FACTS, |file| {
            size = write_lines(file, known)?;
            Ok(())
        })?;
        *facts = Facts { compact: size, size, torn: false };
        Ok(())
    }

    /// What the file of facts says last of each object that is not gone.
    fn read(&self) -> io::Result<Changes> {
        let mut known = Changes::new();
        let file = match File::open(self.path(FACTS)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(known),
            Err(error) => return Err(error),
        };
        let mut unreadable = 0;
        for line in BufReader::new(file).split(b'\n') {
            match serde_json::from_slice::<Line<'_>>(&line?) {
                Ok(Line { object, fact: Some(fact) }) => {
                    drop(known.insert(object.to_owned(), Some(fact.to_owned())))
                }
                Ok(Line { object, fact: None }) => drop(known.remove(object)),
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            tracing::warn!(
                op = "remember",
                unreadable,
                "lines of what was remembered cannot be read and are left out"
            );
        }
        Ok(known)
    }

    fn about(&self) -> Result<About, MemoryError> {
        let path = self.path(ABOUT);
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(About::default()),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    fn set_about(&self, about: &About) -> Result<(), MemoryError> {
        let write = |file: &mut File| serde_json::to_writer(file, about).map_err(io::Error::from);
        self.replace(ABOUT, write).map_err(failed(&self.path(ABOUT)))
    }

    /// Puts a new file in the place of an old one, in one step, also where the machine stops in between.
    fn replace(&self, name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let staged = self.path(name).with_extension(STAGED);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&staged, self.path(name))?;
        self.lock.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn with_facts<T>(&self, call: impl FnOnce(&Self, &mut Facts) -> io::Result<T>) -> Result<T, MemoryError> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        call(self, &mut facts).map_err(failed(&self.path(FACTS)))
    }
}

/// Writes lines to the disk and says how many bytes they are.
fn write_lines(file: &mut File, changes: &Changes) -> io::Result<u64> {
    let mut written = 0;
    let mut buffer = BufWriter::new(&mut *file);
    for (object, fact) in changes {
        let mut line = serde_json::to_vec(&Line { object, fact: fact.as_deref() })?;
        line.push(b'\n');
        written += line.len() as u64;
        buffer.write_all(&line)?;
    }
    buffer.flush()?;
    drop(buffer);
    file.sync_data()?;
    Ok(written)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> MemoryError {
    move |source| MemoryError::Io { path: path.to_owned(), source }
}

/// Seconds since 1970.
pub(crate) fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
