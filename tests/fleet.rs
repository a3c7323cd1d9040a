//! A whole fleet.
