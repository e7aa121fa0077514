use clap::{
    Arg, ArgAction,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _},
};
use landfall_aws_plan::go_bool;

/// Flags of the programs in Go whose flags are taken here.
pub(crate) trait GoFlag {
    /// A flag that is true or false, in each spelling of Go, and says true where it is given alone. As in Go its value needs `=`.
    #[must_use]
    fn go_bool(self) -> Self;
}

impl GoFlag for Arg {
    fn go_bool(self) -> Self {
        let words = [
            PossibleValue::new("true").aliases(["1", "t", "T", "TRUE", "True"]),
            PossibleValue::new("false").aliases(["0", "f", "F", "FALSE", "False"]),
        ];
        self.value_name("BOOL")
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(words).map(|word| go_bool(&word) == Some(true)))
    }
}
