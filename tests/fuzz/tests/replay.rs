//! Runs every committed input of every target, and a bounded number of made-up ones, on the stable toolchain.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use landfall_fuzz::{TARGETS, Target};

/// No input may make Landfall hold more memory than this at one time, in bytes.
const MEMORY: usize = 32 << 20;
/// No made-up input is longer.
const LONGEST: u64 = 600;

/// Counts the memory that the test's own thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static HIGHEST: Cell<usize> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    // A thread that ends has nobody to tell.
    let _ = HELD.try_with(|held| {
        let now = held.get().saturating_add(more).saturating_sub(less);
        held.set(now);
        let _ = HIGHEST.try_with(|highest| highest.set(highest.get().max(now)));
    });
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the rules of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the rules of `GlobalAlloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller keeps the rules of `GlobalAlloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where the inputs are: `seeds` made by hand, with names that tell what they are, and `corpus` found by fuzzing.
const FOLDERS: [&str; 2] = ["seeds", "corpus"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Names and contents of the files of a folder, in order; nothing when there is none.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What went wrong with an input, if anything did.
fn fault(target: &Target, input: &[u8]) -> Option<String> {
    let before = HELD.get();
    HIGHEST.set(before);
    if catch_unwind(|| (target.run)(input)).is_err() {
        return Some("it panics, see above".to_owned());
    }
    let held = HIGHEST.get().saturating_sub(before);
    (held > MEMORY).then(|| format!("it takes {held} bytes of memory, more than {MEMORY}"))
}

/// A random sequence (SplitMix64), so that a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(LONGEST)).map(|_| self.byte()).collect()
    }

    /// A known input with some bytes changed, put in, taken out or cut off.
    fn mutated(&mut self, known: &[u8]) -> Vec<u8> {
        let mut bytes = known.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.index(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.byte()),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 if at < bytes.len() => bytes[at] = self.byte(),
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}

#[test]
fn every_input_does_what_it_should() {
    let mut faults = String::new();
    for target in TARGETS {
        let known: Vec<_> = FOLDERS.iter().flat_map(|name| inputs(&folder(name).join(target.name))).collect();
        assert!(!known.is_empty(), "{} has no input in seeds or corpus: see CONTRIBUTING.md", target.name);
        for (path, input) in &known {
            if let Some(fault) = fault(target, input) {
                let _ = writeln!(faults, "{}: {fault}", path.display());
            }
        }
        let mut random = Random(0x6c61_6e64_6661_6c6c);
        for number in 0..target.made_up {
            let input = match number % 4 {
                0 => random.bytes(),
                _ => {
                    let (_, input) = &known[random.index(known.len())];
                    random.mutated(input)
                }
            };
            if let Some(fault) = fault(target, &input) {
                let _ = writeln!(faults, "{}, made-up input {number}: {fault}\n{}", target.name, hex(&input));
                break;
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A target without inputs or without a program is not fuzzed; a folder without a target is not replayed.
#[test]
fn folders_and_programs_are_those_of_the_targets() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len(), "two targets of one name");
    let list = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(list(folder("corpus")), names, "folders in corpus/");
    assert!(list(folder("seeds")).is_subset(&names), "a folder in seeds/ has no target");
    let programs: BTreeSet<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(list(folder("libfuzzer/programs")), programs, "programs in libfuzzer/programs/");
    let manifest = fs::read_to_string(folder("libfuzzer/Cargo.toml")).unwrap();
    for name in &names {
        assert!(
            manifest.contains(&format!("path = \"programs/{name}.rs\"")),
            "{name} is not in libfuzzer/Cargo.toml"
        );
        let program = fs::read_to_string(folder("libfuzzer/programs").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("run(\"{name}\", ")), "the program {name} runs another target");
    }
}
