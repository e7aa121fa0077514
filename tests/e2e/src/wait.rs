//! Waiting for a condition, with a deadline and an error that says what was there instead.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// The pause between two looks. What is looked at are processes, files and servers of this machine.
const PACE: Duration = Duration::from_millis(25);

/// Looks again and again until `look` succeeds. Its error says what was seen instead of what is waited for.
///
/// # Errors
/// After `patience`, with `what` and the last error of `look`.
pub fn until<T>(what: impl Display, patience: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(seen) => return Ok(seen),
            Err(instead) if start.elapsed() >= patience => {
                return Err(anyhow!("waited {patience:?} for {what}, last seen: {instead:#}"));
            }
            Err(_) => thread::sleep(PACE),
        }
    }
}

/// Looks for the whole of `span` and fails as soon as `look` does. For what must not happen.
///
/// # Errors
/// The first error of `look`, with what should have held.
pub fn throughout(what: impl Display, span: Duration, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < span {
        look().map_err(|broken| {
            anyhow!("{what} should hold for {span:?}, but after {:?}: {broken:#}", start.elapsed())
        })?;
        thread::sleep(PACE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let seen = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            if looks < 3 { bail!("only {looks}") } else { Ok(looks) }
        });
        assert!(matches!(seen, Ok(3)));
    }

    #[test]
    fn the_error_says_what_was_there_instead() {
        let failed = until("a miracle", Duration::ZERO, || -> Result<()> { bail!("an ordinary day") });
        let text = failed.map_err(|error| error.to_string()).expect_err("it does not happen");
        assert!(text.contains("a miracle") && text.contains("an ordinary day"), "{text}");
    }

    #[test]
    fn what_must_not_happen_is_noticed() {
        let mut looks = 0;
        let noticed = throughout("calm", Duration::from_secs(5), || {
            looks += 1;
            if looks == 2 { bail!("a storm") } else { Ok(()) }
        });
        assert!(noticed.is_err());
        assert!(throughout("calm", Duration::from_millis(1), || Ok(())).is_ok());
    }
}
