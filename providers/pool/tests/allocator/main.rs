//! The allocator against the rules that MetalLB's users know. Sections in the names of cases are those of
//! `reference/metallb.md`.

#[cfg(test)]
mod assignment;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod keeping;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sharing;
