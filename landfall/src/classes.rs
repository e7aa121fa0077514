use clap::Args;
use landfall_model::{Classes, NoClasses};

use crate::go_flag::GoFlag as _;

/// Which Services a command is about, by class.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClassArgs {
    /// Handle Services of these load balancer classes, with commas between or one flag each; without it or empty,
    /// Services without a class
    #[arg(long, env = "LANDFALL_LB_CLASS", value_name = "CLASS", value_delimiter = ',')]
    lb_class: Vec<String>,

    /// Handle Services without a class; false or true [default: true without --lb-class, else false]
    #[arg(long, env = "LANDFALL_HANDLE_UNCLASSED", go_bool())]
    handle_unclassed: Option<bool>,
}

impl ClassArgs {
    /// The classes that were asked for, where Services without one are another provider's unless the flags say so.
    pub(crate) fn without_unclassed(mut self) -> Result<Classes, NoClasses> {
        self.handle_unclassed.get_or_insert(false);
        self.classes()
    }

    /// The classes that were asked for.
    pub(crate) fn classes(self) -> Result<Classes, NoClasses> {
        let Self { lb_class, handle_unclassed } = self;
        Classes::new(lb_class.iter().map(String::as_str), handle_unclassed)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        classes: ClassArgs,
    }

    #[test]
    fn classes_are_named_by_commas_or_one_flag_each() {
        let rows: &[(&[&str], Result<Classes, NoClasses>)] = &[
            (&["--lb-class="], Ok(Classes::default())),
            (&["--lb-class=x"], Ok(Classes::only("x"))),
            (&["--lb-class", "x"], Ok(Classes::only("x"))),
            (&["--lb-class=x,y"], Classes::new(["x", "y"], None)),
            (&["--lb-class=x", "--lb-class=y"], Classes::new(["x", "y"], None)),
            (&["--lb-class=x", "--handle-unclassed"], Classes::new(["x"], Some(true))),
            (&["--lb-class=x", "--handle-unclassed=true"], Classes::new(["x"], Some(true))),
            (&["--lb-class=", "--handle-unclassed=false"], Err(NoClasses)),
        ];
        for (arguments, expected) in rows {
            let command = Command::try_parse_from([&["x"], *arguments].concat()).unwrap();
            assert_eq!(command.classes.classes(), *expected, "{arguments:?}");
        }
    }
}
