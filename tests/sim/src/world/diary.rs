//! All that happens in a world, line by line, if it is asked for. It outlives a panic: then it is needed most.
//!
//! May import: nothing of the world's but its time. Deliberately absent: what is worth a line.

use std::cell::Cell;
use std::fmt::Write as _;

use super::{SECOND, Time};

thread_local! {
    static LEFT: Cell<Option<(Time, Option<String>)>> = const { Cell::new(None) };
}

/// See the module.
#[derive(Debug)]
pub(super) struct Diary {
    text: Option<String>,
    pub(super) now: Time,
}

impl Diary {
    pub(super) fn new(is_asked_for: bool) -> Self {
        Self { text: is_asked_for.then(String::new), now: 0 }
    }

    /// One line, if anybody wants it.
    pub(super) fn note(&mut self, who: impl FnOnce() -> String, what: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            // Writing to a string cannot fail.
            let _never_fails =
                writeln!(text, "{:>12.6} {:<12} {}", self.now as f64 / SECOND as f64, who(), what());
        }
    }

    pub(super) fn into_text(mut self) -> Option<String> {
        self.text.take()
    }
}

impl Drop for Diary {
    fn drop(&mut self) {
        if std::thread::panicking() {
            LEFT.set(Some((self.now, self.text.take())));
        }
    }
}

/// What the world that has just panicked in this thread leaves behind: when that was, and what had happened until then.
pub(crate) fn left_behind() -> (Time, Option<String>) {
    LEFT.take().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_behind_what_had_happened_and_when() {
        let panicked = std::panic::catch_unwind(|| {
            let mut diary = Diary::new(true);
            diary.now = 2 * SECOND;
            diary.note(|| "orders-0".to_owned(), || "does something".to_owned());
            assert!(diary.now < SECOND, "planted by this test");
        });
        assert!(panicked.is_err());
        let (at, text) = left_behind();
        assert_eq!(at, 2 * SECOND);
        assert_eq!(text.as_deref(), Some("    2.000000 orders-0     does something\n"));
        assert_eq!(left_behind(), (0, None), "once");
    }
}
