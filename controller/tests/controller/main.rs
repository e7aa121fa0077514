//! The whole controller.

#[cfg(test)]
mod files;
