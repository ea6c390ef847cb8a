//! Tests of the whole system with its real programs: see `tests/system.rs`. Nothing is exported.
