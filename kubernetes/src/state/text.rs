/// The longest text of all faults, in bytes: enough for a screen, and little in each of a thousand objects.
const LONGEST: usize = 1024;
/// Room for the note that counts what was left out.
const NOTE: usize = 32;

/// Whether a program can use the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// All faults in one text; empty if there is none.
    faults: Box<str>,
}

impl Verdict {
    /// The verdict on a configuration with these faults, one sentence each, in any order. There is a limit of 1,024
    /// bytes: what does not fit is counted, and a first sentence that is longer than that is cut.
    #[must_use]
    pub fn of(faults: impl IntoIterator<Item = String>) -> Self {
        let mut faults: Vec<String> = faults.into_iter().collect();
        faults.sort_unstable();
        faults.dedup();
        let mut text = String::new();
        for (told, fault) in faults.iter().enumerate() {
            let more = faults.len() - told;
            let separator = if told == 0 { "" } else { "; " };
            // The last one needs no room for a note.
            let room = if more == 1 { LONGEST } else { LONGEST - NOTE };
            if text.len() + separator.len() + fault.len() <= room {
                text.push_str(separator);
                text.push_str(fault);
                continue;
            }
            if told > 0 {
                text.push_str(&format!("; and {more} more"));
                break;
            }
            text.push_str(&fault[..fault.floor_char_boundary(LONGEST - NOTE - "…".len())]);
            text.push('…');
            if more > 1 {
                text.push_str(&format!("; and {} more", more - 1));
            }
            break;
        }
        Self { faults: text.into() }
    }

    /// Whether there is no fault.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    /// All faults in one text; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(faults: &[&str]) -> String {
        Verdict::of(faults.iter().map(|fault| (*fault).to_owned())).text().to_owned()
    }

    #[test]
    fn all_faults_are_in_one_text_in_order() {
        assert!(Verdict::of([]).is_valid());
        assert_eq!(text(&[]), "");
        assert_eq!(text(&["a: one"]), "a: one");
        assert_eq!(text(&["b: two", "a: one", "b: two"]), "a: one; b: two");
        assert_eq!(Verdict::of(["b".into(), "a".into()]), Verdict::of(["a".into(), "b".into()]));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let many: Vec<String> = (0..1000).map(|number| format!("fault {number:04}")).collect();
        let text = Verdict::of(many).text().to_owned();
        assert!(text.len() <= LONGEST, "{}", text.len());
        let (told, left_out) = text.rsplit_once("; and ").unwrap();
        let told = told.split("; ").count();
        assert_eq!(left_out, format!("{} more", 1000 - told));
        assert!(text.starts_with("fault 0000; fault 0001; ") && told > 70, "{text}");
    }

    #[test]
    fn one_long_fault_is_cut_at_a_character() {
        for (long, others) in [("ä".repeat(2000), 0), (format!("a{}", "ä".repeat(2000)), 3)] {
            let mut faults = vec![long];
            faults.extend((0..others).map(|number| format!("ö{number}")));
            faults.sort();
            let text = Verdict::of(faults).text().to_owned();
            assert!(text.len() <= LONGEST && text.contains('…'), "{} {text}", text.len());
            assert_eq!(text.ends_with("; and 3 more"), others == 3, "{text}");
        }
    }

    #[test]
    fn a_text_that_just_fits_is_whole() {
        let fits = "x".repeat(LONGEST);
        assert_eq!(text(&[&fits]), fits);
        let half = "x".repeat(LONGEST / 2 - 1);
        let other = "y".repeat(LONGEST / 2 - 1);
        assert_eq!(text(&[&half, &other]).len(), LONGEST);
        assert!(text(&[&half, &other, "z"]).ends_with("; and 2 more"));
    }
}
