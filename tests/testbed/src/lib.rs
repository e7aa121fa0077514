//! The test bed: a real Kubernetes control plane, nodes and clients on a LAN of network namespaces.
//!
//! ```text
//!   br0 ─┬─ router   the default gateway of all; nothing is behind it
//!        ├─ control  etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//!        ├─ n1       kube-proxy, a stand-in for the kubelet ── Pods, each in a namespace of its own
//!        ├─ n2 …     the same
//!        └─ c1 …     clients that know nothing of Kubernetes
//! ```
//!
//! Everything is what it is in a cluster, except the kubelet and the container runtime: a stand-in runs a Pod's containers
//! as processes (the module `kubelet` says how). What tests and people do to a bed are the methods of [`TestBed`]; the program
//! `landfall-testbed` has the same as commands. It needs root, iproute2 and nftables; nothing is left after it.

pub mod access;
pub mod ask;
pub mod backend;
pub mod bed;
pub mod certificates;
pub mod cli;
pub mod container;
pub mod control_plane;
pub mod guide;
mod kubelet;
pub mod node;
pub mod programs;
pub mod server;

pub use ask::until;
pub use bed::{Builder, TestBed};
pub use landfall_lan::{Host, Process};
pub use node::ProxyMode;
