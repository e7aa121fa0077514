//! Each verdict that takes more than one object or a mode, by the words of the rule, and what must hold for any set.

#[cfg(test)]
mod admission;
#[cfg(test)]
mod advertisements;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod unsupported;
