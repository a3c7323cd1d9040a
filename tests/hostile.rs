//! Files and clusters that mean harm: what they say is quoted, escaped, hidden or refused, and never obeyed.

mod commands;
mod input;
mod mutate;
mod output;
mod run;
mod sandbox;
mod secrets;
mod unseen;
