use clap::{Arg, ArgAction};

/// Flags of the programs in Go whose flags are taken here.
pub(crate) trait GoFlag {
    /// A flag that is true or false, and says true where it is given alone. As in Go its value needs `=`.
    #[must_use]
    fn go_bool(self) -> Self;
}

impl GoFlag for Arg {
    fn go_bool(self) -> Self {
        self.value_name("BOOL")
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    }
}
