//! Who looks at the page, and what they may do.

use serde::{Deserialize, Serialize};

/// What somebody may do through the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees readings, series and the cluster, and changes nothing.
    Reader,
    /// Does all that the dashboard's own identity may.
    Operator,
}

/// Who looks at the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// The name they logged in by; `None` where nobody has to log in.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
}

impl Role {
    /// Its name, as in the file of users.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }
}

impl Visitor {
    /// Whoever is there, where nobody has to log in.
    pub const ANYBODY: Self = Self {
        name: None,
        role: Role::Operator,
    };
}
