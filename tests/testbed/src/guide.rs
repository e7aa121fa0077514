//! What the documentation tells people to type and to write. Tests take it from there, so the documentation is true.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The commands that no test types, by how they begin, and why. Those of [`commands`] are all others.
const UNTYPED: &[(&str, &str)] = &[
    ("make ", "builds for release, or runs the tests; what it calls is tested"),
    ("sudo apt-get ", "changes the machine"),
    ("curl --proto ", "changes the machine"),
    ("rustup ", "changes the machine"),
    ("skopeo ", "needs a registry"),
    ("cargo ", "builds or tests what `make test` has built or tests"),
    ("CARGO_TARGET_", "builds for another processor"),
    ("deploy/image/", "the test of the image calls it, with paths of its own"),
    ("LANDFALL_BLESS=1 ", "writes files of the repository"),
    ("LANDFALL_E2E_ONLY=", "runs a part of the tests"),
    ("LANDFALL_SETS=", "runs a test for minutes"),
    ("tests/fuzz/", "runs for minutes"),
    (
        "kubectl apply -k deploy/monitoring",
        "needs the Prometheus operator's kinds; a test of the binary reads the files",
    ),
];

/// The folder with `README.md` in it.
///
/// # Panics
/// Never: this package is two folders below it.
#[must_use]
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("invariant: this package is in tests/testbed").to_owned()
}

/// The commands of all `sh` blocks below a heading of a page, up to the next heading of its rank, without comments. Those
/// that only people can type are left out.
///
/// # Errors
/// When there is no such page or heading, or no command below it.
pub fn commands(page: &str, heading: &str) -> Result<Vec<String>> {
    let blocks = blocks(page, heading, "sh")?;
    let mut commands: Vec<String> = blocks.iter().flat_map(|block| split(block)).collect();
    commands.retain(|command| !UNTYPED.iter().any(|(beginning, _)| command.starts_with(beginning)));
    ensure!(!commands.is_empty(), "{page} has no command for a test below {heading:?}");
    Ok(commands)
}

/// The blocks of a language below a heading of a page, up to the next heading of its rank.
///
/// # Errors
/// When there is no such page, heading or block.
pub fn blocks(page: &str, heading: &str, language: &str) -> Result<Vec<String>> {
    let file = repository().join(page);
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let below: Vec<Block> = sections(&text).into_iter().filter(|block| block.is_below(heading)).collect();
    let blocks = below.into_iter().filter(|block| block.language == language);
    let blocks: Vec<String> = blocks.map(|block| block.text).collect();
    ensure!(!blocks.is_empty(), "{page} has no block of {language:?} below {heading:?}");
    Ok(blocks)
}

/// A block of code, and the headings that it is below, the nearest last.
#[derive(Debug)]
struct Block {
    headings: Vec<String>,
    language: String,
    text: String,
}

impl Block {
    fn is_below(&self, heading: &str) -> bool {
        self.headings.iter().any(|above| above == heading)
    }
}

fn rank(line: &str) -> usize {
    line.chars().take_while(|mark| *mark == '#').count()
}

fn sections(text: &str) -> Vec<Block> {
    let mut headings: Vec<String> = Vec::new();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block {
                    headings: headings.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) if rank(line) > 0 => {
                headings.retain(|above| rank(above) < rank(line));
                headings.push(line.to_owned());
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of a block, those over several lines in one piece.
fn split(block: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let mut command = line.split(" #").next().unwrap_or_default().trim_end().to_owned();
        while command.ends_with('\\') {
            command.truncate(command.len() - 1);
            command.push_str(lines.next().unwrap_or_default().trim());
        }
        if let Some((_, word)) = command.split_once("<<'") {
            let end = word.trim_end_matches('\'').to_owned();
            for line in lines.by_ref() {
                command.push('\n');
                command.push_str(line);
                if line == end {
                    break;
                }
            }
        }
        if !command.is_empty() && !command.starts_with('#') {
            commands.push(command);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Page, heading, and the test that types the commands below it.
    const TYPED: &[(&str, &str, &str)] = &[
        ("CONTRIBUTING.md", "## Try something by hand", "tests/e2e/tests/by_hand.rs"),
        ("README.md", "## Install on a cluster", "tests/e2e/src/cluster.rs"),
        ("README.md", "## The first Service", "tests/e2e/tests/removal.rs"),
        ("docs/admission.md", "## When no webhook answers", "tests/e2e/tests/admission/main.rs"),
        ("docs/aws.md", "## Install", "tests/e2e/tests/aws/cloud.rs"),
        ("docs/aws.md", "## Pods that wait for their targets", "tests/e2e/tests/admission/gates.rs"),
        ("docs/failover.md", "## A planned move", "tests/e2e/tests/moves.rs"),
        ("docs/installs.md", "## In the place of MetalLB", "tests/e2e/tests/installs.rs"),
        ("docs/installs.md", "## Two installs side by side", "tests/e2e/tests/installs.rs"),
        ("docs/installs.md", "## Removing one", "tests/e2e/tests/removal.rs"),
        ("docs/metallb-kinds.md", "## Ours over MetalLB's", "kubernetes/tests/metallb/takeover.rs"),
        ("docs/plan.md", "## Against a cluster", "tests/e2e/tests/removal.rs"),
        ("docs/standalone.md", "## Two machines", "tests/e2e/tests/standalone.rs"),
        ("tests/testbed/README.md", "## By hand", "tests/e2e/tests/by_hand.rs"),
    ];

    fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() && name != "target" && name != ".git" {
                pages(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_command_of_the_documentation_is_typed_by_a_test_or_has_a_reason() {
        let root = repository();
        let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
        let mut files = Vec::new();
        pages(&root, &mut files);
        let mut typed = Vec::new();
        for file in files {
            let page = file.strip_prefix(&root).unwrap().display().to_string();
            for block in sections(&fs::read_to_string(&file).unwrap()) {
                if block.language != "sh" {
                    continue;
                }
                for command in split(&block.text) {
                    if let Some(target) = command.strip_prefix("make ") {
                        let target = target.split(' ').next().unwrap();
                        assert!(
                            makefile.contains(&format!("\n{target}:")),
                            "{page}: there is no `{command}`"
                        );
                    }
                    if UNTYPED.iter().any(|(beginning, _)| command.starts_with(beginning)) {
                        continue;
                    }
                    let by = TYPED.iter().find(|(name, heading, _)| *name == page && block.is_below(heading));
                    let by = by.unwrap_or_else(|| panic!("{page}: no test types `{command}`"));
                    typed.push(*by);
                }
            }
        }
        for (page, heading, test) in TYPED {
            assert!(typed.contains(&(page, heading, test)), "{page} has no command below {heading:?}");
            let source = fs::read_to_string(root.join(test)).unwrap();
            let names = [page, heading].map(|text| format!("{text:?}"));
            assert!(
                names.iter().all(|name| source.contains(name)),
                "{test} does not read {page} below {heading:?}"
            );
        }
    }

    #[test]
    fn commands_over_several_lines_are_in_one_piece() {
        let block = "a b   # said\n\n# nothing\nc \\\n    d\ne <<'END'\nf # not a comment\nEND\ng\n";
        assert_eq!(split(block), ["a b", "c d", "e <<'END'\nf # not a comment\nEND", "g"]);
    }

    #[test]
    fn blocks_are_found_below_all_their_headings() {
        let text = "# Page\n## One\n```sh\na\n```\n### Deeper\n```yaml\nb: 1\n```\n## Two\n```sh\n# no heading\n```\n";
        let below = |heading: &str| -> Vec<String> {
            sections(text)
                .into_iter()
                .filter(|block| block.is_below(heading))
                .map(|block| block.text)
                .collect()
        };
        assert_eq!(below("## One"), ["a\n", "b: 1\n"]);
        assert_eq!(below("### Deeper"), ["b: 1\n"]);
        assert_eq!(below("## Two"), ["# no heading\n"]);
        assert_eq!(below("# Page").len(), 3);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = commands("README.md", "## Nowhere").unwrap_err().to_string();
        assert!(error.contains("README.md") && error.contains("## Nowhere"), "{error}");
    }
}
