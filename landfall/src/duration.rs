use std::time::Duration;

use landfall_kubernetes::convert;

/// A duration of the command line, written as in a manifest: `90s`, `1m30s`, `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    convert::duration("", text).map_err(|invalid| invalid.message.into())
}
