//! The allocator against the rules that MetalLB's users know. Section numbers in the names of cases are those of the
//! reference on MetalLB that the project works from.

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
mod rules;
#[cfg(test)]
mod sharing;
