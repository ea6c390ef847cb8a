//! Series that Tidemark's own programs write about themselves: everything below `_tidemark/`.
//!
//! An agent writes `_tidemark/agents/NAME/INSTANCE/…`, where `NAME` is the name in its certificate.
//! Nobody else writes there, whatever patterns a certificate holds; they are read like any other.
//! What lets users of the HTTP API in is below `_tidemark/api-tokens/`: for operators alone.
//! A board is held against patterns as if it were the series `_tidemark/boards/NAME`, which there never is.

use crate::board::BoardName;
use crate::path::{PathError, SeriesPath};

/// The first segment of every such path.
pub const RESERVED_ROOT: &str = "_tidemark";
/// The second segment of those that agents write.
const AGENTS: &str = "agents";
/// The second segment of those that say who may use the HTTP API.
const API_TOKENS: &str = "api-tokens";

/// The second segment of what stands for a board.
const BOARDS: &str = "boards";

/// Whether `path` is one that only Tidemark's own programs write.
pub fn is_reserved(path: &SeriesPath) -> bool {
    path.segments().next() == Some(RESERVED_ROOT)
}

/// Whether `path` is one of those that agents with the name `agent` in their certificate write.
pub fn is_of_agent(path: &SeriesPath, agent: &str) -> bool {
    let mut segments = path.segments();
    segments.next() == Some(RESERVED_ROOT)
        && segments.next() == Some(AGENTS)
        && segments.next() == Some(agent)
        && segments.next().is_some()
}

/// Whether `path` is one that only operators read and write: a token of the HTTP API.
pub fn is_of_api_token(path: &SeriesPath) -> bool {
    let mut segments = path.segments();
    segments.next() == Some(RESERVED_ROOT) && segments.next() == Some(API_TOKENS)
}

/// The series of the API token `id`.
///
/// # Errors
/// [`PathError`] if the id is no segment of a path.
pub fn api_token(id: &str) -> Result<SeriesPath, PathError> {
    SeriesPath::new(format!("{RESERVED_ROOT}/{API_TOKENS}/{id}"))
}

/// The path that patterns of an identity or a token must cover for the board `name`.
pub fn board(name: &BoardName) -> SeriesPath {
    SeriesPath::new(format!("{RESERVED_ROOT}/{BOARDS}/{name}"))
        .expect("a board's name is a segment of a path")
}

/// Below what path the `instance` of an agent reports.
///
/// # Errors
/// [`PathError`] if a name is no segment of a path.
pub fn agent_folder(agent: &str, instance: &str) -> Result<SeriesPath, PathError> {
    SeriesPath::new(format!("{RESERVED_ROOT}/{AGENTS}/{agent}/{instance}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SeriesPath {
        SeriesPath::new(text).unwrap()
    }

    #[test]
    fn what_begins_with_the_root_alone_is_reserved() {
        assert!(is_reserved(&path("_tidemark")));
        assert!(is_reserved(&path("_tidemark/agents/press/plant/dropped")));
        for free in [
            "_tidemarks/a",
            "plant/_tidemark/a",
            "tidemark/agents/a/b",
            "_Tidemark/a",
        ] {
            assert!(!is_reserved(&path(free)), "{free}");
        }
    }

    #[test]
    fn tokens_of_the_api_are_told_from_others() {
        assert!(is_of_api_token(&api_token("a1").unwrap()));
        assert!(is_of_api_token(&path("_tidemark/api-tokens")));
        for other in [
            "_tidemark/agents/a/b",
            "a/api-tokens/b",
            "_tidemark/api-tokens-2/b",
        ] {
            assert!(!is_of_api_token(&path(other)), "{other}");
        }
        assert!(api_token("..").is_err());
    }

    #[test]
    fn every_name_of_a_board_is_a_segment() {
        for name in ["-", "0", &"x".repeat(crate::board::BOARD_NAME_BYTES_MAX)] {
            let path = board(&BoardName::new(name).unwrap());
            assert_eq!(path.as_str(), format!("_tidemark/boards/{name}"));
        }
    }

    #[test]
    fn an_agent_has_what_is_below_its_own_name() {
        let folder = agent_folder("press", "plant").unwrap();
        assert!(is_of_agent(&path(&format!("{folder}/dropped")), "press"));
        for foreign in [
            "_tidemark/agents/press",
            "_tidemark/agents/press-2/plant/dropped",
            "_tidemark/agents/pres/plant/dropped",
            "_tidemark/nodes/press/plant/dropped",
            "a/agents/press/plant/dropped",
        ] {
            assert!(!is_of_agent(&path(foreign), "press"), "{foreign}");
        }
        assert!(agent_folder("press", "..").is_err());
    }
}
