//! The commands that the documentation tells people to type. Pure.

use anyhow::{Context, Result, ensure};

/// The commands of all `sh` blocks below a heading, up to the next heading of its rank, one for each line, comments left
/// out.
///
/// # Errors
/// When there is no such heading, or no command below it.
pub fn commands(document: &str, heading: &str) -> Result<Vec<String>> {
    let rank = heading.chars().take_while(|mark| *mark == '#').count();
    let (_, below) =
        document.split_once(&format!("\n{heading}\n")).with_context(|| format!("no {heading:?}"))?;
    let mut commands = Vec::new();
    let mut block = None;
    for line in below.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => {
                let command = line.split(" #").next().unwrap_or_default().trim();
                if !command.is_empty() && !command.starts_with('#') {
                    commands.push(command.to_owned());
                }
            }
            (None, Some(_)) => {}
            (None, None) => {
                let marks = line.chars().take_while(|mark| *mark == '#').count();
                if (1..=rank).contains(&marks) {
                    break;
                }
            }
        }
    }
    ensure!(!commands.is_empty(), "no command below {heading:?}");
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_shell_blocks_below_a_heading() {
        let text = "# Guide\n## One\n```sh\na b   # said\n\n# nothing\nc\n```\n```yaml\nno: 1\n```\n### Deeper\n\
            ```sh\nd\n```\n## Two\n```sh\ne\n```\n";
        assert_eq!(commands(text, "## One").expect("commands"), ["a b", "c", "d"]);
        assert_eq!(commands(text, "## Two").expect("commands"), ["e"]);
        assert!(commands(text, "## Three").is_err());
    }
}
