//! On the real control plane.
