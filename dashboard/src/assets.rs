//! The files the page is made of, inside the program: scripts, the wasm module, styles.
//!
//! The name of the folder they are served from is a hash of their contents, so every file may be
//! kept for ever, and relative imports between them stay valid. They were compressed when they were
//! built. A program built without the browser part still has its styles.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Where the files are served.
const ROOT: &str = "/_ui";
/// The folder of the files that are there without the browser part.
const PLAIN: &str = "plain";

const KEPT_FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASKED_AGAIN: &str = "no-cache";

static BUNDLE: Bundle = include!(concat!(env!("OUT_DIR"), "/bundle.rs"));
static PLAIN_FILES: &[File] = &[
    File {
        path: "style.css",
        plain: include_bytes!("../assets/style.css"),
        brotli: None,
        gzip: None,
    },
    File {
        path: "pages.css",
        plain: include_bytes!("../assets/pages.css"),
        brotli: None,
        gzip: None,
    },
    File {
        path: "pages.js",
        plain: include_bytes!("../assets/pages.js"),
        brotli: None,
        gzip: None,
    },
    File {
        path: "favicon.svg",
        plain: include_bytes!("../assets/favicon.svg"),
        brotli: None,
        gzip: None,
    },
];

/// The browser part, or an empty stand-in.
#[derive(Debug, Clone, Copy)]
pub struct Bundle {
    hash: &'static str,
    files: &'static [File],
}

#[derive(Debug, PartialEq, Eq)]
struct File {
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

impl Default for Bundle {
    /// What this program was built with.
    fn default() -> Self {
        BUNDLE
    }
}

impl Bundle {
    /// Whether the program was built without the browser part.
    pub fn is_empty(self) -> bool {
        self.files.is_empty()
    }

    /// Where the browser finds a file of the browser part; `None` without it.
    pub fn address(self, path: &str) -> Option<String> {
        let is_there = self.files.iter().any(|file| file.path == path);
        is_there.then(|| format!("{ROOT}/{}/{path}", self.hash))
    }

    /// Where the browser finds a file that is there with or without the browser part.
    pub fn address_or_plain(self, path: &str) -> String {
        self.address(path)
            .unwrap_or_else(|| format!("{ROOT}/{PLAIN}/{path}"))
    }
}

/// Serves the files.
pub fn router() -> Router {
    Router::new().route("/_ui/{folder}/{*path}", get(file))
}

async fn file(Path((folder, path)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let (files, keep) = match folder.as_str() {
        PLAIN => (PLAIN_FILES, ASKED_AGAIN),
        hash if hash == BUNDLE.hash => (BUNDLE.files, KEPT_FOR_EVER),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (bytes, encoding) = file.best(&headers);
    let mut response = (
        [
            (header::CONTENT_TYPE, content_type(&path)),
            (header::CACHE_CONTROL, keep),
            (header::VARY, "accept-encoding"),
        ],
        bytes,
    )
        .into_response();
    if let Some(encoding) = encoding {
        let encoding = header::HeaderValue::from_static(encoding);
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

impl File {
    /// The smallest form that the browser takes.
    fn best(&self, headers: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
        let accepted = headers
            .get(header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let accepts = |name: &str| {
            accepted.split(',').any(|part| {
                let mut words = part.split(';').map(str::trim);
                words.next() == Some(name) && words.next() != Some("q=0")
            })
        };
        match (self.brotli, self.gzip) {
            (Some(brotli), _) if accepts("br") => (brotli, Some("br")),
            (_, Some(gzip)) if accepts("gzip") => (gzip, Some("gzip")),
            _ => (self.plain, None),
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = File {
        path: "a.js",
        plain: b"plain",
        brotli: Some(b"br"),
        gzip: Some(b"gz"),
    };

    fn encoding(accepted: &'static str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT_ENCODING,
            header::HeaderValue::from_static(accepted),
        );
        FILE.best(&headers).1
    }

    #[test]
    fn the_smallest_accepted_form_is_sent() {
        assert_eq!(encoding("gzip, deflate, br, zstd"), Some("br"));
        assert_eq!(encoding("gzip, deflate"), Some("gzip"));
        assert_eq!(encoding("br;q=0, gzip"), Some("gzip"));
        assert_eq!(encoding("identity"), None);
    }
}
