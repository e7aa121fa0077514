//! The world against a small stand-in for the API server. Sections in the names of cases are those of
//! `reference/metallb.md`.

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod flight;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod start;
#[cfg(test)]
mod waking;
