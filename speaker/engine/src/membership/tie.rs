/// How the receiver stands with the sender. Who does not say is far, and wants nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tie {
    /// By the sender's ring it is near: one of the two watches the other.
    pub(super) near: bool,
    /// It was lost, and came back a moment ago.
    pub(super) back: bool,
    /// It is to answer at once.
    pub(super) answer: bool,
    /// It died, which is held against it, and must be heard for longer before it counts again.
    pub(super) doubted: bool,
}

impl Tie {
    pub(super) fn bits(self) -> u8 {
        let Self { near, back, answer, doubted } = self;
        let bits = [near, back, answer, doubted];
        bits.iter().enumerate().fold(0, |bits, (bit, set)| bits | (u8::from(*set) << bit))
    }

    /// Bits that we do not know say nothing.
    pub(super) fn from_bits(bits: u8) -> Self {
        let set = |bit: u32| bits & (1 << bit) != 0;
        Self { near: set(0), back: set(1), answer: set(2), doubted: set(3) }
    }
}
