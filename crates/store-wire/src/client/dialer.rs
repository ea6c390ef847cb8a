//! One live connection per target and protocol.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::lookup_host;

use crate::endpoint::{ConnectError, Connection, Endpoint, Protocol};

/// The port of a store node unless told otherwise.
pub const DEFAULT_PORT: u16 = 7400;
/// From so many targets on, those without a live connection are forgotten.
const TARGETS_KEPT_MAX: usize = 256;

/// What is dialled: `HOST[:PORT]`, where the host is a DNS name, an IPv4 address, or an IPv6 address
/// (in brackets if a port follows).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    port: u16,
}

impl Target {
    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Target {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        let refused = || ConnectError::BadTarget {
            target: text.to_owned(),
        };
        let port_of = |text: &str| {
            // `u16::from_str` takes a sign.
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let port = text.parse::<u16>().ok().filter(|port| *port > 0);
            port.filter(|_| is_number).ok_or_else(refused)
        };
        let (host, port) = if let Ok(IpAddr::V6(address)) = text.parse() {
            (address.to_string(), DEFAULT_PORT)
        } else if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(refused)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => port_of(port)?,
                None if rest.is_empty() => DEFAULT_PORT,
                None => return Err(refused()),
            };
            host.parse::<std::net::Ipv6Addr>().map_err(|_| refused())?;
            (host.to_owned(), port)
        } else if let Some((host, port)) = text.split_once(':') {
            (host.to_owned(), port_of(port)?)
        } else {
            (text.to_owned(), DEFAULT_PORT)
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_allowed) {
            return Err(refused());
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The place of one connection: locked while it is being made, so that it is dialled once.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// Dials targets and keeps their connections. Clones share them.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    slots: Arc<Mutex<HashMap<(Target, Protocol), Slot>>>,
}

impl Dialer {
    /// A dialler on `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            slots: Arc::default(),
        }
    }

    /// The endpoint it dials from.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A live connection to `HOST[:PORT]`: the one there is, or a new one. Several callers that ask
    /// for the same at the same time wait for one attempt.
    ///
    /// # Cancel safety
    /// Safe: the next caller dials instead.
    ///
    /// # Errors
    /// See [`ConnectError`]. Where a name has several addresses, the error of the last one tried.
    pub async fn connect(
        &self,
        target: &str,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        let target: Target = target.parse()?;
        let slot = self.slot(&target, protocol);
        // Held while dialling: that is what makes the others wait for this attempt.
        let mut connection = slot.lock().await;
        if let Some(live) = connection.as_ref().filter(|known| !known.is_closed()) {
            return Ok(live.clone());
        }
        *connection = None;
        let made = self.dial(&target, protocol).await?;
        *connection = Some(made.clone());
        Ok(made)
    }

    fn slot(&self, target: &Target, protocol: Protocol) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= TARGETS_KEPT_MAX {
            slots.retain(|_, slot| is_in_use(slot));
        }
        Arc::clone(slots.entry((target.clone(), protocol)).or_default())
    }

    /// Tries the addresses of a target one after the other.
    async fn dial(&self, target: &Target, protocol: Protocol) -> Result<Connection, ConnectError> {
        let mut last_error = ConnectError::NotResolved {
            target: target.to_string(),
            source: None,
        };
        for address in self.resolve(target).await? {
            match self
                .endpoint
                .connect_to(address, &target.host, protocol)
                .await
            {
                Ok(connection) => return Ok(connection),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        let addresses = lookup_host((target.host.as_str(), target.port)).await;
        let addresses = addresses.map_err(|source| ConnectError::NotResolved {
            target: target.to_string(),
            source: Some(source),
        })?;
        let takes_v6 = self
            .endpoint
            .local_address()
            .is_ok_and(|local| local.is_ipv6());
        Ok(addresses
            .filter(|address| takes_v6 || address.is_ipv4())
            .collect())
    }
}

/// Whether a slot holds a live connection, or someone is just dialling.
fn is_in_use(slot: &Slot) -> bool {
    match slot.try_lock() {
        Ok(connection) => connection
            .as_ref()
            .is_some_and(|connection| !connection.is_closed()),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, u16) {
        let target: Target = text.parse().unwrap();
        (target.host, target.port)
    }

    #[test]
    fn every_form_of_a_target_is_read() {
        assert_eq!(parsed("store-1"), ("store-1".into(), DEFAULT_PORT));
        assert_eq!(
            parsed("store-1.example:7401"),
            ("store-1.example".into(), 7401)
        );
        assert_eq!(parsed("127.0.0.1:7402"), ("127.0.0.1".into(), 7402));
        assert_eq!(parsed("::1"), ("::1".into(), DEFAULT_PORT));
        assert_eq!(parsed("[::1]"), ("::1".into(), DEFAULT_PORT));
        assert_eq!(parsed("[fe80::1]:7403"), ("fe80::1".into(), 7403));
    }

    #[test]
    fn a_target_prints_so_that_it_reads_back() {
        for text in ["store-1:7400", "[::1]:7400", "10.0.0.1:1"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            ":7400",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:a",
            "a:1:2",
            "[::1",
            "[::1]x",
            "[host]:1",
            "[::1]:",
            "ho st",
            "https://host",
            "host/",
            "[]:1",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?} was accepted");
        }
    }
}
