//! Targets for fuzzing: each is a function over any bytes that panics when Landfall does something wrong.
//!
//! Parsers get the bytes as they are, state machines get operations that are made of them. All of them are in
//! [`TARGETS`]. `tests/replay.rs` runs every committed input on the stable toolchain; the programs in `libfuzzer/`,
//! outside of this workspace, hand the same functions to libFuzzer (`make fuzz`).
//!
//! A target checks more than that nothing panics: what was parsed means the same when it is written and parsed again,
//! every refused input is counted, no two hold what one may hold, nobody answers for what is not his, and machines that
//! are left in peace agree.

mod targets;

// The stand-ins of other crates' tests: the same LAN and the same API server.
#[path = "../../../controller/plan/tests/world/cluster.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "a part of the tests of landfall-plan")]
mod cluster;
#[path = "../../../speaker/engine/tests/simulation/lan/mod.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "a part of the tests of landfall-engine")]
mod lan;
#[path = "../../../speaker/engine/tests/objects/mod.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "a part of the tests of landfall-engine")]
mod objects;

/// One way to feed bytes to Landfall.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its folders in `corpus/` and `seeds/` and of its program in `libfuzzer/`.
    pub name: &'static str,
    /// Runs one input.
    ///
    /// Panics when Landfall does something wrong.
    pub run: fn(&[u8]),
    /// How many made-up inputs a replay runs: fewer where one takes long.
    pub made_up: u32,
}

macro_rules! targets {
    ($($name:ident $made_up:literal,)+) => {
        /// Every target.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: targets::$name, made_up: $made_up }),+];
    };
}

targets! {
    frame 2000,
    arp 2000,
    neighbor 2000,
    heartbeat 400,
    profile 400,
    key 200,
    range 2000,
    selector 2000,
    pattern 400,
    requests 1000,
    object 1000,
    documents 400,
    manifests 100,
    allocator 400,
    world 100,
    lease 1000,
    membership 50,
    ownership 400,
    responder 1000,
    speaker 100,
    speakers 5,
}

/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target is called {name}")).run)(input);
}
