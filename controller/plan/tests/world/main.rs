//! The world against a small stand-in for the API server. Section numbers in the names of cases are those of the
//! reference on MetalLB that the project works from.

#[cfg(test)]
mod announced;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flight;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod start;
#[cfg(test)]
mod waking;
