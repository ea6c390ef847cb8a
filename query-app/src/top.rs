//! The live view of a terminal: latest readings with their course, and how the nodes are.
//!
//! [`state`] is what is shown and what keys change of it, [`view`] draws it, [`session`] asks the store
//! and the keyboard. Neither of the first two knows a terminal; [`screen`] takes it and gives it back.

pub(crate) mod screen;
pub(crate) mod session;
pub(crate) mod state;
mod view;
