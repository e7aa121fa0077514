use crate::membership::{
    MemberState::{self, Alive, Dead, Degraded, Gone, Held, Leaving, Unknown},
    member::{Signal, next_state},
};

const NEW: MemberState = Alive { settled: false };
const FULL: MemberState = Alive { settled: true };
const HELD_NEW: MemberState = Held { settled: false };
const HELD: MemberState = Held { settled: true };
const STATES: [MemberState; 9] = [Unknown, NEW, FULL, Degraded, HELD_NEW, HELD, Dead, Leaving, Gone];

#[test]
fn every_state_answers_every_signal_as_the_table_says() {
    // Rows: signals. Columns: the state before, in the order of `STATES`.
    let table = [
        (Signal::Heard, [FULL, NEW, FULL, NEW, NEW, FULL, NEW, NEW, Gone]),
        (
            Signal::HeardLeaving,
            [Leaving, Leaving, Leaving, Leaving, Leaving, Leaving, Leaving, Leaving, Gone],
        ),
        (
            Signal::Deaf,
            [Degraded, Degraded, Degraded, Degraded, Degraded, Degraded, Degraded, Degraded, Gone],
        ),
        (Signal::Unproven, STATES),
        (Signal::Held, [Unknown, HELD_NEW, HELD, HELD_NEW, HELD_NEW, HELD, Dead, Dead, Gone]),
        (Signal::Silent, [Unknown, Dead, Dead, Dead, Dead, Dead, Dead, Dead, Gone]),
        (Signal::Stable, [Unknown, FULL, FULL, Degraded, HELD_NEW, HELD, Dead, Leaving, Gone]),
        (Signal::Removed, [Gone; 9]),
    ];
    for (signal, after) in table {
        for (before, after) in STATES.into_iter().zip(after) {
            assert_eq!(next_state(before, signal), after, "{before:?} and {signal:?}");
        }
    }
}

#[test]
fn only_a_living_member_may_take_over_and_only_one_that_answers_on_a_plane_is_heard() {
    let alive = STATES.map(MemberState::is_alive);
    assert_eq!(alive, [false, true, true, false, false, false, false, false, false]);
    let settled = STATES.map(MemberState::is_settled);
    assert_eq!(settled, [false, false, true, false, false, false, false, false, false]);
    let heard = STATES.map(MemberState::is_heard);
    assert_eq!(heard, [false, true, true, true, true, true, false, true, false]);
}
